"""Weight-normalised layers whose scales and biases are set by a first batch.

Reference: Salimans and Kingma, "Weight normalization", NIPS 2016, section 3. The output h = g (v / |v|) * x + b of a
layer is linear in (g, b), so that from any start

    g <- g t / std(h),   b <- (b - mean(h)) t / std(h)

give each output channel mean 0 and standard deviation t over batch and positions.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cqlib.nets.autoregressive import MaskedConv2d

SMALLEST = 1e-6
"""A channel whose outputs have at most this standard deviation keeps its scale: there is none to set it by."""


class DataInitialised(nn.Module):
    """A layer that sets its parameters from its input while `initialising` is True."""

    initialising = False


@contextmanager
def initialising(net: nn.Module) -> Iterator[None]:
    """Inside, a batch that passes through `net` (once) sets its weight-normalised layers, one after the other."""
    with ExitStack() as stack, torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, DataInitialised):
                layer.initialising = True
                stack.callback(setattr, layer, "initialising", False)
            elif lengths(layer) is not None:
                stack.callback(layer.register_forward_hook(_normalise_outputs).remove)
        yield


def lengths(layer: Any) -> nn.Parameter | None:
    """g of a `MaskedConv2d` or of a layer with torch's `weight_norm`, one number per output channel; else None."""
    if isinstance(layer, MaskedConv2d):
        return layer.scale
    weight = getattr(getattr(layer, "parametrizations", None), "weight", None)
    return getattr(weight, "original0", None)


def _factor_and_mean(h: Tensor, target: float | Tensor) -> tuple[Tensor, Tensor]:
    """t / std(h) and mean(h) per channel, each (channels,), of outputs h (N, channels, ...)."""
    deviation, mean = torch.std_mean(h, [k for k in range(h.dim()) if k != 1], correction=0)
    return torch.where(deviation > SMALLEST, target / deviation, 1.0), mean


def _normalise_outputs(layer: Any, _inputs: tuple, h: Tensor) -> Tensor:
    """A forward hook: set g and b, t being `layer.start` where there is one, else 1, and return the new outputs."""
    factor, mean = _factor_and_mean(h, torch.as_tensor(getattr(layer, "start", 1.0), dtype=h.dtype, device=h.device))
    g: Any = lengths(layer)
    channels = (1, -1, *[1] * (h.dim() - 2))
    g.mul_(factor.view_as(g))
    layer.bias.sub_(mean).mul_(factor)
    return (h - mean.view(channels)) * factor.view(channels)


class WeightNormed(DataInitialised):
    """`layer`, which has a bias, with filters g v / |v|, as in the code of Salimans et al. 2016. A first batch sets g
    and the bias so that outputs have standard deviation `start`; g trains only with `train_scale`."""

    g: Tensor
    layer: Any

    def __init__(
        self, layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, *, start: float = 1.0, train_scale: bool = False
    ):
        super().__init__()
        self.layer, self.start = layer, start
        output = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        self.filter_axes = [k for k in range(layer.weight.dim()) if k != output]
        nn.init.normal_(layer.weight, std=0.05)
        nn.init.zeros_(self.layer.bias)
        g = torch.ones([n if k == output else 1 for k, n in enumerate(layer.weight.shape)])
        if train_scale:
            self.g = nn.Parameter(g)
        else:
            self.register_buffer("g", g)

    def forward(self, x: Tensor) -> Tensor:
        if self.initialising and len(x) > 1:
            zero = torch.zeros_like(self.layer.bias)
            h = functional_call(self.layer, {"weight": self._unit(), "bias": zero}, x)
            g, mean = _factor_and_mean(h.float(), self.start)
            self.g.copy_(g.view_as(self.g))
            self.layer.bias.copy_(-mean * g)
        return functional_call(self.layer, {"weight": self.weight()}, x)

    def weight(self) -> Tensor:
        """The filters in use, g v / |v|."""
        return self.g * self._unit()

    def _unit(self) -> Tensor:
        v = self.layer.weight
        return v * (v.square().sum(self.filter_axes, keepdim=True) + 1e-6).rsqrt()
