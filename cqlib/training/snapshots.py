"""What is kept along a training: averaged weights, each in a file beside the checkpoint, and a picture of samples."""

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from cqlib.data.grids import grid_png
from cqlib.models.base import System
from cqlib.pixels import to_uint8
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.files import write_atomic

SHOWN, SEED = 16, 0
"""Samples of each step in a history, and the seed of their random numbers."""


def snapshot_path(checkpoint: Path, step: int) -> Path:
    """The file of a step: `training.step-375.safetensors`."""
    return checkpoint.with_name(f"{checkpoint.stem}.step-{step}.safetensors")


def save_snapshot(checkpoint: Path, key: str | None, step: int, model: nn.Module) -> None:
    """Keep the averaged weights of a step in a file of their own."""
    save_checkpoint(snapshot_path(checkpoint, step), {"key": key, "step": step, "weights": dict(model.state_dict())})


def snapshots(folder: Path, name: str, key: str) -> dict[int, dict[str, Tensor]]:
    """Step -> averaged weights of each whole snapshot of the training `name` with this `key`."""
    weights = {}
    for path in folder.glob(f"{name}.step-*.safetensors"):
        with suppress(CheckpointError):
            state = load_checkpoint(path)
            if state["key"] == key:
                weights[state["step"]] = state["weights"]
    return dict(sorted(weights.items()))


class History:
    """Samples of the averaged weights along a training, `SHOWN` at each of `count` evenly spaced steps, the last one
    included: a line of the picture at `path` for each. Codes and noise are the same at all steps."""

    def __init__(self, path: Path, steps: int, count: int):
        self.path, self.lines = path, list[Tensor]()
        self.steps = {k * steps // count for k in range(1, count + 1)}

    def keep(self, step: int, model: System) -> None:
        """Add the samples of `step`, if it is one of the steps; no random state but their own generator's changes."""
        if step not in self.steps:
            return
        samples = model.eval().sample(SHOWN, generator=torch.Generator(model.device).manual_seed(SEED))
        model.train()
        self.lines.append(to_uint8(samples).cpu())
        write_atomic(self.path, grid_png(torch.cat(self.lines), columns=SHOWN, scale=1))
