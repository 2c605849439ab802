"""What moves the weights: optimisers by name, and the average of the weights that is evaluated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cqlib.recipe import TrainingConfig


def optimiser(parameters: list[nn.Parameter], config: TrainingConfig, rate: float) -> torch.optim.Optimizer:
    """The optimiser that `config` names, at learning rate `rate`."""
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=config.betas, fused=True)
    if config.optimiser == "adamax":
        return torch.optim.Adamax(parameters, lr=rate, betas=config.betas, foreach=True)
    if config.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=rate, alpha=config.betas[1], foreach=True)
    raise ValueError(f"unknown optimiser '{config.optimiser}': adam, adamax or rmsprop")


def match_layouts(optimiser: torch.optim.Optimizer) -> None:
    """Give each state tensor its parameter's memory layout, which the file does not keep: fused kernels go
    through both in the order of memory, so that a mismatch would mix up channels without a word."""
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)


def warm_ema(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Exponential moving average whose decay rises as (1 + t) / (10 + t), so that the start is forgotten."""

    def update(averages: list[Tensor], current: list[Tensor], n_averaged: Tensor | int) -> None:
        t = float(n_averaged)
        weight = 1 - min(decay, (1 + t) / (10 + t))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, current, weight)
        else:  # counters, such as batch norm's
            for a, c in zip(averages, current, strict=True):
                a.copy_(c)

    return update
