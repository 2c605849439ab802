"""Optimisers by name, their state from a file, and the rule by which weights are averaged."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cqlib.recipe import TrainingConfig

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_optimiser(
    parameters: list[nn.Parameter], config: TrainingConfig, rate: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """The optimiser that `config` names, at learning rate `rate`; all its state is on the device of the parameters."""
    on_gpu = parameters[0].is_cuda
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=betas, eps=config.epsilon, fused=True)
    if config.optimiser == "adamax":
        return torch.optim.Adamax(parameters, lr=rate, betas=betas, foreach=True, capturable=on_gpu)
    return torch.optim.RMSprop(parameters, lr=rate, alpha=betas[1], foreach=True, capturable=on_gpu)


def load_state(optim: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a `state_dict` from a file, perhaps saved on another device, into an optimiser of the same parameters. The
    count of steps goes to the device on which `optim` expects it; each other tensor gets the memory layout of its
    parameter, which files do not keep. `optim` keeps its own learning rate."""
    own = [{key: group[key] for key in group.keys() & {"lr", "capturable"}} for group in optim.param_groups]
    optim.load_state_dict(state)
    for group, kept in zip(optim.param_groups, own, strict=True):
        group.update(kept)
        on_device = group.get("capturable") or group.get("fused")
        for p in group["params"]:
            kept_state = optim.state.get(p, {})
            for key, value in kept_state.items():
                if key == "step" and isinstance(value, Tensor):
                    kept_state[key] = value.to(p.device if on_device else "cpu")
                elif isinstance(value, Tensor) and value.shape == p.shape:
                    kept_state[key] = torch.empty_like(p).copy_(value)


def warm_ema(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """The update rule of an exponential moving average whose decay rises as (1 + t) / (10 + t) up to `decay`, so that
    it soon forgets the first weights."""

    def update(averages: Tensors, current: Tensors, n_averaged: Tensor | int) -> None:
        t = float(n_averaged)
        weight = 1 - min(decay, (1 + t) / (10 + t))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, current, weight)
        else:  # counters, such as batch norm's
            for a, c in zip(averages, current, strict=True):
                a.copy_(c)

    return update
