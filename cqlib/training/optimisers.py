"""Optimisers by name, and the average of the weights that is evaluated."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cqlib.models.base import System
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


def step_unless(optim: torch.optim.Optimizer, bad: Tensor) -> None:
    """Take a step of `optim`, unless `bad` (bool, no dimension, on the parameters' device) is true; the host does not
    wait to learn that."""
    group = optim.param_groups[0]
    if group.get("fused"):
        optim.found_inf = bad.float()  # type: ignore[attr-defined]  # as torch.amp.GradScaler does
        optim.step()
        return
    params = [p for p in group["params"] if p.grad is not None]
    before = {p: {key: value.detach().clone() for key, value in _tensors(optim, p).items()} for p in params}
    optim.step()
    with torch.no_grad():
        for p in params:
            for key, value in _tensors(optim, p).items():  # after a bad step, state that it created is zeros
                value.copy_(torch.where(bad, before[p].get(key, torch.zeros_like(value)), value))


def _tensors(optim: torch.optim.Optimizer, p: nn.Parameter) -> dict[str, Tensor]:
    """What a step changes: the parameter and its state."""
    return {"": p, **optim.state.get(p, {})}


class AveragedWeights(AveragedModel):
    """`AveragedModel` of parameters and buffers that counts its updates on the host, without waiting for the device."""

    module: System

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.rule = warm_ema(decay)
        super().__init__(model)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Average in the present weights of `model`; the first time, copy them."""
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for ours, source in (self.module.parameters(), model.parameters()), (self.module.buffers(), model.buffers()):
            for average, current in zip(ours, source, strict=True):
                lists = groups.setdefault(average.dtype, ([], []))
                lists[0].append(average.detach())
                lists[1].append(current.detach())
        count = int(self.n_averaged)
        for averages, currents in groups.values():
            if count == 0:
                torch._foreach_copy_(averages, currents)
            else:
                self.rule(averages, currents, count)
        self.n_averaged += 1


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
