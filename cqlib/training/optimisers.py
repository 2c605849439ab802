"""What moves the weights: optimisers by name, and the average of the weights that is evaluated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cqlib.recipe import TrainingConfig


def optimiser(parameters: list[nn.Parameter], config: TrainingConfig, rate: float) -> torch.optim.Optimizer:
    """The optimiser that `config` names, at learning rate `rate`; its state, the count of steps included, is on the
    device of the parameters."""
    on_gpu = parameters[0].is_cuda
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=config.betas, fused=True)
    if config.optimiser == "adamax":
        return torch.optim.Adamax(parameters, lr=rate, betas=config.betas, foreach=True, capturable=on_gpu)
    if config.optimiser == "rmsprop":
        alpha = config.betas[1]
        return torch.optim.RMSprop(parameters, lr=rate, alpha=alpha, foreach=True, capturable=on_gpu)
    raise ValueError(f"unknown optimiser '{config.optimiser}': adam, adamax or rmsprop")


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    optimiser.param_groups[0]["lr"] = rate


def saved_state(optimiser: torch.optim.Optimizer) -> dict:
    """Its state for a file; without the rate, which `set_rate` gives to every step."""
    state = optimiser.state_dict()
    return {**state, "param_groups": [{**group, "lr": 0.0} for group in state["param_groups"]]}


def load_state(optimiser: torch.optim.Optimizer, state: dict) -> None:
    """What `saved_state` returned, perhaps on a machine of another kind, into an optimiser of the same parameters. Its
    rate stays where it is, and steps are counted where this machine wants them counted."""
    own = [{key: group[key] for key in ("lr", "capturable") if key in group} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, kept in zip(optimiser.param_groups, own, strict=True):
        group.update(kept)
        on_device = group.get("capturable") or group.get("fused")
        for p in group["params"]:
            if isinstance(step := optimiser.state.get(p, {}).get("step"), Tensor):
                optimiser.state[p]["step"] = step.to(p.device if on_device else "cpu")
    match_layouts(optimiser)


def step_unless(optimiser: torch.optim.Optimizer, bad: Tensor) -> None:
    """A step of `optimiser`, or none where `bad` (bool, of no dimension, on the parameters' device): parameters and
    state stay as they are then. The host does not wait to learn which."""
    group = optimiser.param_groups[0]
    if group.get("fused"):
        optimiser.found_inf = bad.float()  # what torch.amp.GradScaler tells a fused optimiser
        optimiser.step()
        return
    params = [p for p in group["params"] if p.grad is not None]
    with torch.no_grad():
        known = [{None: p, **optimiser.state.get(p, {})} for p in params]
        before = torch.cat([_flat(value) for of_one in known for value in of_one.values()])  # one copy, few launches
    optimiser.step()
    with torch.no_grad():
        now = [_flat(value) for p in params for value in (p, *optimiser.state[p].values())]
        if len(now) > sum(map(len, known)):  # state that this step has made is to be zeros
            parts = iter(before.split([value.numel() for of_one in known for value in of_one.values()]))
            before = torch.cat([
                next(parts) if key in of_one else torch.zeros_like(_flat(value))
                for p, of_one in zip(params, known, strict=True)
                for key, value in {None: p, **optimiser.state[p]}.items()
            ])  # fmt: skip
        kept = torch.where(bad, before, torch.cat(now)).split([len(value) for value in now])
        torch._foreach_copy_(now, list(kept))


def _flat(value: Tensor) -> Tensor:
    """Its numbers in the order of memory, which parameters and state fill without gaps."""
    return value.detach().as_strided((value.numel(),), (1,))


def match_layouts(optimiser: torch.optim.Optimizer) -> None:
    """Give each state tensor its parameter's memory layout, which the file does not keep: fused kernels go
    through both in the order of memory, so that a mismatch would mix up channels without a word."""
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)


class Average(AveragedModel):
    """`AveragedModel` of parameters and buffers whose host never waits for the device: it counts the updates itself,
    where the library sends the count to the device and reads it there."""

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, multi_avg_fn=warm_ema(decay), use_buffers=True)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the present weights of `model` in; the first ones as they are."""
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for ours, theirs in (self.module.parameters(), model.parameters()), (self.module.buffers(), model.buffers()):
            for average, current in zip(ours, theirs, strict=True):
                lists = groups.setdefault(average.dtype, ([], []))
                lists[0].append(average.detach())
                lists[1].append(current.detach())
        count = int(self.n_averaged)
        for averages, currents in groups.values():
            if count == 0:
                torch._foreach_copy_(averages, currents)
            else:
                self.multi_avg_fn(averages, currents, count)
        self.n_averaged += 1


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
