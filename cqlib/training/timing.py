"""Single training steps: how long one takes, and one at a time for benchmarks."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cqlib.models.base import Losses, System
from cqlib.recipe import TrainingConfig
from cqlib.training.loop import Loop
from cqlib.util.device import fork_rng, wall_clock
from cqlib.util.fp32 import full_fp32


def seconds_per_step(system: System, config: TrainingConfig, device: torch.device) -> float:
    """Seconds per training step in the middle of training, on random images: the mean of two steps, after a first one
    that is not timed."""
    with fork_rng(device), full_fp32():
        images = torch.randint(256, (2 * config.batch_size, *system.shape), dtype=torch.uint8)
        step = make_step(system, images, config, device)
        step()
        return wall_clock(lambda: (step(), step()), device) / 2


def make_step(system: System, images: Tensor, config: TrainingConfig, device: torch.device) -> Callable[[], Losses]:
    """A function that takes the next training step on `images`, all of label 0, from the middle of training on, and
    returns the losses. The global state of random numbers is set to that of seed 0; nothing is saved."""
    labels = torch.zeros(len(images), dtype=torch.long)
    loop = Loop(system, images, labels, config, 0, Path(), "steps", device)
    loop.step = config.steps // 2  # a system that grows is cheap at its start

    def step() -> Losses:
        losses, _ = loop.one_step()
        loop.step += 1
        return losses

    return step
