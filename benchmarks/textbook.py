"""The textbook loop: torch's own DataLoader and optimisers as they come, fp32, eager, contiguous memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cqlib.models.base import Losses, System
from cqlib.recipe import TrainingConfig

OPTIMISERS = {"adam": torch.optim.Adam, "adamax": torch.optim.Adamax}


def warm_ema(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """The rule of `training.average.Average` for torch's AveragedModel."""

    def update(averages: list[Tensor], current: list[Tensor], n_averaged: Tensor | int) -> None:
        t = float(n_averaged)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, current, 1 - min(decay, (1 + t) / (10 + t)))
        else:
            torch._foreach_copy_(averages, current)

    return update


class Images(Dataset):
    """A data set of uint8 images (N, C, H, W), each passed through `transform` by itself."""

    def __init__(self, images: Tensor, transform: Callable[[Tensor], Tensor]):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.transform(self.images[i])


def byte_batches(images: Tensor, batch_size: int, *, flips: bool) -> Iterator[Tensor]:
    """uint8 batches without end, epoch after epoch; `flips`: with random horizontal flips."""
    transform = transforms.RandomHorizontalFlip() if flips else nn.Identity()
    loader = DataLoader(Images(images, transform), batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


class TextbookLoop:
    """Training by the same mathematics as `cqlib.training`, the textbook way: losses, `backward`, `step`. It begins as
    if `done` steps had been taken."""

    def __init__(self, system: System, images: Tensor, config: TrainingConfig, device: torch.device, done: int = 0):
        self.system, self.config, self.device, self.done = system.to(device).train(), config, device, done
        self.average = AveragedModel(system, multi_avg_fn=warm_ema(config.ema), use_buffers=True)
        self.batches = byte_batches(images, config.batch_size, flips=config.flips)
        kind, rate = OPTIMISERS[config.optimiser], config.learning_rate
        self.generator = kind(system.generator_parameters(), lr=rate, betas=config.betas)
        critic_rate = rate if config.critic_learning_rate is None else config.critic_learning_rate
        weights = system.critic_parameters()
        self.critic = kind(weights, lr=critic_rate, betas=config.critic_betas or config.betas) if weights else None
        optimisers = [each for each in (self.generator, self.critic) if each is not None]
        self.schedules = [LambdaLR(each, lambda k: self.falling(done + k)) for each in optimisers]

    def falling(self, step: int) -> float:
        """The factor on the learning rate at a step: constant, then linear to 0, times `decay_per_step` ** step."""
        c, start = self.config, self.config.decay_from * self.config.steps
        linear = 1.0 if step < start else max(0.0, (c.steps - step) / max(1.0, c.steps - start))
        return linear * c.decay_per_step**step

    def step(self) -> dict[str, float]:
        """Take the next step; returns the generator's losses and its gradient's norm as numbers, as one logs them."""
        c = self.config
        if self.done == 0:
            self.system.initialise(next(self.batches).to(self.device))
        self.system.schedule(self.done, c.steps)
        if self.critic is not None:
            for k in range(c.n_critic):
                x = next(self.batches).to(self.device)
                losses = self.system.critic_losses(x, step=self.done * c.n_critic + k)
                self._update(losses, self.critic, c.critic_gradient_clip)
        x = next(self.batches).to(self.device)
        named = self._update(self.system.generator_losses(x), self.generator, c.gradient_clip)
        self.average.update_parameters(self.system)
        for schedule in self.schedules:
            schedule.step()
        self.done += 1
        return named

    def _update(self, losses: Losses, optimiser: torch.optim.Optimizer, clip: float | None) -> dict[str, float]:
        optimiser.zero_grad()
        losses["total"].backward()
        norm = nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], math.inf if clip is None else clip)
        optimiser.step()
        return {name: value.item() for name, value in losses.items()} | {"gradient": norm.item()}
