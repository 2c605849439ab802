"""Training steps on their own: how long one takes, and steps one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cqlib.models.base import Losses, System
from cqlib.recipe import TrainingConfig
from cqlib.training.device import wall_clock
from cqlib.training.loop import Loop


def measure(system: System, config: TrainingConfig, device: torch.device, steps: int = 2) -> float:
    """Seconds per training step in the middle of training, over `steps` after a first one, on random images."""
    devices = [device] if device.type == "cuda" else []
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=devices):
        images = torch.randint(256, (2 * config.batch_size, *system.shape), dtype=torch.uint8)
        labels = torch.zeros(len(images), dtype=torch.long)
        loop = Loop(system, images, labels, config, 0, Path(folder), "measure", device)
        loop.step = config.steps // 2  # a system that grows is cheap at its start
        loop.one_step()

        def several() -> None:
            for _ in range(steps):
                loop.one_step()
                loop.step += 1

        return wall_clock(several, device) / steps


def stepper(system: System, images: Tensor, config: TrainingConfig, device: torch.device) -> Callable[[], Losses]:
    """A function that takes the next training step on `images`, from the middle of training on, and returns the losses.

    For systems without labels. The global state of random numbers is set to that of seed 0, and nothing is saved.
    """
    loop = Loop(system, images, None, config, 0, Path(), "steps", device)
    loop.step = config.steps // 2

    def step() -> Losses:
        losses, _ = loop.one_step()
        loop.step += 1
        return losses

    return step
