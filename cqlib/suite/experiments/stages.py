"""The trainings of one run: of the row's system and, for the BPD of a GAN, of an encoder around its frozen decoder.
Each writes its averaged weights to the run's folder, with the hashes of its experiment and data."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.models.base import System
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import build_seeded
from cqlib.recipe import FrozenDecoderStage, TrainingConfig
from cqlib.suite.experiments.experiment import Experiment
from cqlib.suite.experiments.library import class_of, untrained
from cqlib.suite.experiments.model_file import ENCODER, STORED, WEIGHTS, load_weights, stored_training, write_model
from cqlib.training.device import to_device
from cqlib.training.loop import Progress, TrainingResult, train
from cqlib.util import provenance
from cqlib.util.provenance import GitInfo
from cqlib.util.stop import StopRequest

HISTORY = 20
"""Times along a training of a row of Table 1 at which samples are kept."""
UNLABELLED = "unlabelled"
"""Name of the class of images without a label (STL-10)."""


@dataclass
class Stages:
    """The one or two trainings of a run. A finished one is not repeated: its weights are read."""

    e: Experiment
    images: Dataset
    folder: Path
    stop: StopRequest
    progress: Progress | None
    checkpoint_seconds: float
    device: torch.device
    results: list[TrainingResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds_now: float = 0.0
    """Seconds of training in this call; those of `results` include the time before an interruption."""
    finite: bool = True
    """Whether the samples of the trained system are."""

    def __post_init__(self) -> None:
        self.code, self.fingerprint = provenance.git_info(), fingerprint(self.images)
        self.key = self.e.training_hash + self.fingerprint  # a checkpoint with another key is of another run

    @property
    def git(self) -> GitInfo:
        """The code of the training of the row's system, dirty if the code was dirty in any training or is dirty now."""
        return self.results[0].git.after(self.code, *(result.git for result in self.results))

    def train_system(self) -> TrainingResult:
        """Train the system of the row, or read its weights if it has been trained."""
        torch.manual_seed(self.e.seed)
        config = self.e.recipe.system
        return self._train("training", WEIGHTS, untrained(class_of(self.e.row, config), config), self.e.recipe.training)

    def untrained(self) -> System:
        """The system before its first step."""
        return build_seeded(self.e.recipe.system, self.e.seed).to(self.device)

    def train_encoder(self, generator: System, stage: FrozenDecoderStage) -> TrainingResult:
        """Train, or read, an encoder and sigma around the frozen `generator`: they give a GAN its BPD."""
        torch.manual_seed(self.e.seed)
        system, before = FrozenDecoder(stage.config, generator), self.e.recipe.training.steps
        return self._train("encoder", ENCODER, system, stage.training, before)

    def _train(
        self, name: str, weights: str, system: System, config: TrainingConfig, before: int = 0
    ) -> TrainingResult:
        path = self.folder / weights
        stored = stored_training(path, self.e, self.fingerprint)
        if stored is not None:
            git = GitInfo(**stored.pop("git"))
            load_weights(system, stored.pop("weights"), path)
            result = TrainingResult(to_device(system, config, self.device).eval(), git=git, **stored)
        else:
            clock = time.monotonic()
            result = train(
                system,
                self.images.train.images,
                config,
                seed=self.e.seed,
                folder=self.folder,
                labels=labels(self.images, self.e.recipe.training.labels_per_class),
                name=name,
                key=self.key,
                device=self.device,
                stop=self.stop,
                progress=self._progress_after(before),
                checkpoint_seconds=self.checkpoint_seconds,
                git=self.code,
                history=HISTORY if self.e.row.startswith("table1/") and not before else 0,
            )
            self.seconds_now += time.monotonic() - clock
            state = {key: getattr(result, key) for key in STORED if key not in ("git", "weights")}
            state |= {"training_hash": self.e.training_hash, "data": self.fingerprint, "git": dict(vars(result.git))}
            write_model(path, result.system, state)
        self.results.append(result)
        self.notes += [f"{name}: {note}" for note in result.notes]
        if result.skipped:
            self.notes.append(f"{name}: {result.skipped} non-finite steps skipped")
        return result

    def _progress_after(self, before: int) -> Progress | None:
        """A progress function for a training that follows `before` other steps of the run; it counts the steps of the
        whole run."""
        if (show := self.progress) is None:
            return None
        second = self.e.recipe.frozen_decoder
        all_steps = self.e.recipe.training.steps + (second.training.steps if second else 0)

        def progress(step: int, steps: int, left: float) -> None:
            pace = left / (steps - step) if step < steps else 0.0
            show(before + step, all_steps, pace * (all_steps - before - step))

        return progress


def labels(images: Dataset, per_class: int | None) -> Tensor:
    """The training labels (N,), -1 for none: all, or of the first `per_class` images of each class only."""
    targets = images.train.labels.clone()
    if UNLABELLED in images.classes:
        targets[targets == images.classes.index(UNLABELLED)] = -1
    if per_class is not None:
        for k in range(len(images.classes)):
            targets[(images.train.labels == k).nonzero().flatten()[per_class:]] = -1
    return targets


def fingerprint(images: Dataset) -> str:
    """Eight hex digits of the training split's fingerprint, then eight of the test split's."""
    return images.train.fingerprint[:8] + images.test.fingerprint[:8]
