"""The trainings of one run: the row's own, and for a GAN that of an encoder round its frozen decoder, for the BPD.

Each leaves its averaged weights in the run's folder, with the hash of the experiment and of the data that they
belong to; a finished one is read from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.experiments.experiment import Experiment
from cqlib.models.base import System
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import build
from cqlib.training.device import to_device
from cqlib.training.loop import TrainingResult, train
from cqlib.util import provenance
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError
from cqlib.util.provenance import GitInfo
from cqlib.util.stop import StopRequest

Progress = Callable[[int, int, float], None]
"""(step, steps, seconds left) over all stages of a run."""

UNLABELLED = "unlabelled"
"""Name of the class that images without a label are put in (STL-10)."""
STORED = {
    "git": dict, "weights": dict, "status": str, "steps": int, "seconds": (int, float), "skipped": int, "notes": list,
    "device": str,
}  # fmt: skip
"""Fields of a finished training's checkpoint, beside its hashes."""


class Stages:
    """The one or two trainings of a run, with progress over both; a finished one is read from its weights."""

    def __init__(
        self,
        e: Experiment,
        images: Dataset,
        folder: Path,
        device: torch.device,
        stop: StopRequest,
        progress: Progress | None,
        checkpoint_seconds: float,
    ):
        self.e, self.folder, self.device, self.stop, self.progress = e, folder, device, stop, progress
        self.checkpoint_seconds = checkpoint_seconds
        self.images = images.train.images
        self.labels = labels(images, e.recipe.training.labels_per_class)
        self.fingerprint = fingerprint(images)
        self.git = self.here = provenance.git()
        """The code of the row's own training, dirty if it was in any training or now; and that of this call."""
        self.ran_on = ""
        """The device and precision of the row's own training, wherever it is measured."""
        second = e.recipe.frozen_decoder
        self.steps = [e.recipe.training.steps, second.training.steps if second else 0]
        self.notes: list[str] = []
        self.seconds = 0.0
        """Seconds of training, those before an interruption included."""
        self.spent = 0.0
        """Seconds of training in this call."""

    @property
    def key(self) -> str:
        """What a checkpoint must carry to be of this run."""
        return self.e.training_hash + self.fingerprint

    def train_system(self) -> TrainingResult:
        """The system of the row."""
        torch.manual_seed(self.e.seed)
        return self._train("training", build(self.e.recipe.system), self.e.recipe.training, 0)

    def untrained(self) -> System:
        """The system as it was before the first step."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.e.seed)
            return build(self.e.recipe.system).to(self.device).eval()

    def train_encoder(self, generator: System) -> TrainingResult:
        """An encoder and sigma round the frozen `generator`, which give a GAN its BPD."""
        stage = self.e.recipe.frozen_decoder
        torch.manual_seed(self.e.seed)
        return self._train("encoder", FrozenDecoder(stage.config, generator), stage.training, self.steps[0])

    def _train(self, name: str, system: System, config, before: int) -> TrainingResult:
        total = sum(self.steps)
        weights = self.folder / ("model.safetensors" if name == "training" else f"{name}.safetensors")
        stored = stored_training(weights, self.e, self.fingerprint)
        if _complete(stored):
            earlier = GitInfo(**stored.pop("git"))
            fill(system, stored.pop("weights"), weights)
            result = TrainingResult(to_device(system, config, self.device).eval(), git=earlier, **stored)
        else:
            clock = time.monotonic()

            def shown(step: int, steps: int, left: float) -> None:
                pace = left / max(1, steps - step) if step < steps else 0.0
                self.progress(before + step, total, pace * (total - before - step))

            result = train(
                system,
                self.images,
                config,
                seed=self.e.seed,
                folder=self.folder,
                labels=self.labels,
                name=name,
                key=self.key,
                device=self.device,
                stop=self.stop,
                progress=shown if self.progress is not None else None,
                checkpoint_seconds=self.checkpoint_seconds,
                git=self.here,
            )
            self.spent += time.monotonic() - clock
            state = {key: getattr(result, key) for key in STORED if key not in ("git", "weights")}
            state |= {"training_hash": self.e.training_hash, "data": self.fingerprint, "git": dict(vars(result.git))}
            state["weights"] = dict(result.system.state_dict())
            save_checkpoint(weights, state, keep_previous=False)
        self.git = (result.git if name == "training" else self.git).after(self.git, result.git)
        self.seconds += result.seconds
        self.ran_on = self.ran_on or result.device
        self.notes += [f"{name}: {note}" for note in result.notes]
        if result.skipped:
            self.notes.append(f"{name}: {result.skipped} non-finite steps skipped")
        return result


def stored_training(path: Path, e: Experiment, data: str | None = None) -> dict[str, Any] | None:
    """What a finished training of this experiment left at `path` (on data of this fingerprint), or None."""
    try:
        state = load_checkpoint(path)
    except (FileNotFoundError, CheckpointError):
        return None
    found = state.pop("data", None)
    right = state.pop("training_hash", None) == e.training_hash and data in (None, found)
    state.setdefault("device", "a device that was not noted")  # by earlier versions
    return state if right and isinstance(state.get("weights"), dict) else None


def _complete(stored: dict[str, Any] | None) -> bool:
    return stored is not None and stored.keys() == STORED.keys() and all(
        isinstance(stored[key], kind) for key, kind in STORED.items()
    )  # fmt: skip


def fill(system: System, weights: dict[str, Tensor], path: Path) -> None:
    """Load the weights that were found at `path`; published ones have no critic. UserError where they are not those of
    this system."""
    if not any(name.startswith("critic.") for name in weights):
        system.critic = None
    try:
        system.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path} holds other weights than its name says: delete it, then train or fetch it") from error


def load_model(path: Path, e: Experiment) -> System | None:
    """The system at `path`, or None; a published one has no critic."""
    stored = stored_training(path, e)
    if stored is None:
        return None
    with torch.random.fork_rng(devices=[]):
        system = build(e.recipe.system)
    fill(system, stored["weights"], path)
    return system.eval()


def labels(images: Dataset, per_class: int | None) -> Tensor:
    """The training labels (N,), -1 for none: all, or of the first `per_class` images of each class only."""
    found = images.train.labels.clone()
    if UNLABELLED in images.classes:
        found[found == images.classes.index(UNLABELLED)] = -1
    if per_class is not None:
        for k in range(len(images.classes)):
            found[(images.train.labels == k).nonzero().flatten()[per_class:]] = -1
    return found


def fingerprint(images: Dataset) -> str:
    """Eight digits of the training split's, eight of the test split's."""
    return images.train.fingerprint[:8] + images.test.fingerprint[:8]
