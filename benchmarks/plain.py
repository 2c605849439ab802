"""The textbook loop: torch's own DataLoader and optimisers as they come, fp32, eager, contiguous memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cqlib.models.base import Losses, System
from cqlib.recipe import TrainingConfig
from cqlib.training.optimisers import warm_ema

OPTIMISERS = {"adam": torch.optim.Adam, "adamax": torch.optim.Adamax}


class Images(Dataset):
    """uint8 (N, C, H, W) one by one, each through `transform`; with `pil` as torchvision's data sets hold them."""

    def __init__(self, images: Tensor, transform: Callable, *, pil: bool = False):
        self.images, self.transform = images, transform
        self.arrays = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()) if pil else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.transform(self.images[i] if self.arrays is None else Image.fromarray(self.arrays[i]))


def endless(loader: DataLoader) -> Iterator[Tensor]:
    """Its batches, epoch after epoch."""
    while True:
        yield from loader


def flipped_bytes(images: Tensor, batch_size: int, *, pil: bool = False, workers: int = 0) -> Iterator[Tensor]:
    """uint8 batches of flipped images from a DataLoader, each image by itself, in `workers` processes beside this one;
    `pil` as for `Images`."""
    steps = [transforms.RandomHorizontalFlip(), *([transforms.PILToTensor()] if pil else [])]
    data = Images(images, transforms.Compose(steps), pil=pil)
    return endless(DataLoader(data, batch_size, shuffle=True, drop_last=True, num_workers=workers,
                              persistent_workers=workers > 0))  # fmt: skip


def floats(images: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Batches in [-1, 1] as torchvision's data sets and transforms give them, not flipped."""
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    return endless(DataLoader(Images(images, steps, pil=True), batch_size, shuffle=True, drop_last=True))


def plain_stepper(
    system: System, images: Tensor, config: TrainingConfig, device: torch.device
) -> Callable[[], dict[str, float]]:
    """A call that takes a training step of the same mathematics as `training.stepper`, the textbook way: losses,
    `backward`, `step`; and returns the last losses as numbers, as one logs them."""
    system.to(device).train()
    average = AveragedModel(system, multi_avg_fn=warm_ema(config.ema), use_buffers=True)
    kind, rate = OPTIMISERS[config.optimiser], config.learning_rate
    generator = kind(system.generator_parameters(), lr=rate, betas=config.betas)
    critic_rate = config.critic_learning_rate or rate
    weights = system.critic_parameters()
    critic = kind(weights, lr=critic_rate, betas=config.critic_betas or config.betas) if weights else None
    batches = flipped_bytes(images, config.batch_size)
    done = config.steps // 2

    def update(losses: Losses, optimiser: torch.optim.Optimizer, clip: float | None = None) -> dict[str, float]:
        optimiser.zero_grad()
        losses["total"].backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], clip)
        optimiser.step()
        return {name: value.item() for name, value in losses.items()}

    def step() -> dict[str, float]:
        nonlocal done
        system.schedule(done, config.steps)
        if critic is not None:
            for k in range(config.n_critic):
                x = next(batches).to(device)
                update(system.critic_losses(x, step=done * config.n_critic + k), critic)
        named = update(system.generator_losses(next(batches).to(device)), generator, config.gradient_clip)
        average.update_parameters(system)
        done += 1
        return named

    return step
