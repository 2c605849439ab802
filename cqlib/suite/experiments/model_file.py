"""The file of a trained model, model.safetensors, alike from a run and from `save`: its class, its config, its weights.
A run's file also tells of the training. Files of the first published runs lack class and config, which their record
has."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from cqlib.models.base import System
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.suite.experiments.experiment import Experiment
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError

RECORD, WEIGHTS, ENCODER = "record.json", "model.safetensors", "encoder.safetensors"
"""Files in a run's folder: its record, its model, and the encoder around a GAN's frozen decoder. The latter two hold
averaged weights, with the hashes of the experiment and of the data that they belong to."""
STORED: dict[str, Any] = {
    "git": dict, "weights": dict, "status": str, "steps": int, "seconds": (int, float), "skipped": int, "notes": list,
    "device": str,
}  # fmt: skip
"""Fields of a finished training's file, beside class, config and hashes."""


def write_model(file: Path, system: System, training: dict[str, Any] | None = None) -> Path:
    """Write a system to `file`, with what is to be kept of its training; returns `file`. Raises OSError."""
    of_model = {"model": type(system).__name__, "config": asdict(system.config), "weights": dict(system.state_dict())}
    save_checkpoint(file, of_model | (training or {}))
    return file


def stored_training(path: Path, e: Experiment, data: str | None = None) -> dict[str, Any] | None:
    """What a finished training of this experiment left at `path` (on data of this fingerprint), as `STORED` lists it,
    or None."""
    try:
        state = load_checkpoint(path)
    except (FileNotFoundError, CheckpointError):
        return None
    same = state.get("training_hash") == e.training_hash and data in (None, state.get("data"))
    whole = all(isinstance(state.get(key), kind) for key, kind in STORED.items())
    return {key: state[key] for key in STORED} if same and whole else None


def load_weights(system: System, weights: dict[str, Tensor], path: Path) -> None:
    """Load `weights`, read from `path`, into `system`; those of an encoder lack the frozen generator if they are
    published: `system` keeps its own. UserError where names or shapes do not fit."""
    own = system.state_dict() if isinstance(system, FrozenDecoder) else {}
    try:
        system.load_state_dict({name: value for name, value in own.items() if name.startswith("generator.")} | weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        name = type(system).__name__
        remedy = f"if its nets are your own, make them in a subclass of {name} and call its load; else delete it"
        raise UserError(f"{path} does not hold the weights of a {name}: {remedy}, then train or fetch it") from error
