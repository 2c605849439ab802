"""Optimisers by name, whose steps can be skipped on the device, and their state from a file."""

from typing import Any

import torch
from torch import Tensor, nn

from cqlib.recipe import TrainingConfig

BITS = {4: torch.int32, 8: torch.int64}
"""Bytes of a number -> whole numbers of that size."""


class Skipping(torch.optim.Optimizer):
    """Where `found_inf` () is 1, a step changes neither parameters nor state, as torch's fused Adam does it on a CPU
    and with CUDA, and the host need not know. Old and new bits are multiplied by 0 or 1, since 0 times NaN is NaN, in
    a few calls for all tensors."""

    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if self.found_inf is None:
            return super().step(closure)
        bad = self.found_inf.to(torch.int32)
        before = self._bits()
        kept = dict(zip(before, torch._foreach_mul([*before.values()], bad), strict=True))
        loss = super().step(closure)
        now = self._bits()  # perhaps more: a first step makes the state, of zeros
        torch._foreach_mul_([*now.values()], 1 - bad)
        torch._foreach_add_([now[key] for key in kept], [*kept.values()])
        return loss

    def _bits(self) -> dict[tuple[Tensor, str], Tensor]:
        """(Parameter, name) -> the memory of the parameter, or of its state of that name, as whole numbers."""
        found = {}
        for p in (p for group in self.param_groups for p in group["params"]):
            for name, value in {"itself": p.detach(), **self.state.get(p, {})}.items():
                if value.device == p.device:  # steps counted on the host, which only an Adamax of MPS does, go on
                    found[p, name] = value.view(BITS[value.element_size()])
        return found


class SkippingAdam(Skipping, torch.optim.Adam):
    """For devices whose fused kernel does not look at `found_inf`."""


class SkippingAdamax(Skipping, torch.optim.Adamax):
    """torch's own cannot skip."""


class SkippingRMSprop(Skipping, torch.optim.RMSprop):
    """torch's own cannot skip."""


def make_optimiser(
    parameters: list[nn.Parameter], config: TrainingConfig, rate: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """The optimiser that `config` names, at learning rate `rate`; all its state is on the device of the parameters. A
    step is skipped where its `found_inf` () is 1."""
    device = parameters[0].device.type
    on_gpu = device == "cuda"
    if config.optimiser == "adam":
        kind = torch.optim.Adam if device in ("cpu", "cuda") else SkippingAdam
        return kind(parameters, lr=rate, betas=betas, eps=config.epsilon, fused=True)
    if config.optimiser == "adamax":
        return SkippingAdamax(parameters, lr=rate, betas=betas, foreach=True, capturable=on_gpu)
    return SkippingRMSprop(parameters, lr=rate, alpha=betas[1], foreach=True, capturable=on_gpu)


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
