"""Averaged weights kept along a training, each in a file beside the checkpoint."""

from contextlib import suppress
from pathlib import Path

from torch import Tensor

from cqlib.util.checkpoint import CheckpointError, load_checkpoint


def snapshot_path(checkpoint: Path, step: int) -> Path:
    """The file of a step: `training.step-375.safetensors`."""
    return checkpoint.with_name(f"{checkpoint.stem}.step-{step}.safetensors")


def snapshots(folder: Path, name: str, key: str) -> dict[int, dict[str, Tensor]]:
    """Step -> averaged weights of each whole snapshot of the training `name` with this `key`."""
    weights = {}
    for path in folder.glob(f"{name}.step-*.safetensors"):
        with suppress(CheckpointError):
            state = load_checkpoint(path)
            if state["key"] == key:
                weights[state["step"]] = state["weights"]
    return dict(sorted(weights.items()))
