"""Weight normalisation whose scales and biases start from the data.

Reference: Salimans and Kingma, "Weight normalization", NIPS 2016, section 3, as the code of Salimans et al. 2016 has
it: filters of length 1 by `v / |v|`, scales g that are set from the first batch and then fixed, unless they train.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call


class DataInitialised(nn.Module):
    """A layer that can set itself by a batch: inside `initialising` its next forward pass does so."""

    initialising = False


@contextmanager
def initialising(net: nn.Module) -> Iterator[None]:
    """Inside, what passes through `net` sets the layers that start from data, one after the other."""
    found = [m for m in net.modules() if isinstance(m, DataInitialised)]
    for m in found:
        m.initialising = True
    try:
        with torch.no_grad():
            yield
    finally:
        for m in found:
            m.initialising = False


class WeightNormed(DataInitialised):
    """`layer` (Conv2d, ConvTranspose2d or Linear, with its bias) with filters of direction v and length g.

    Initialisation gives each output channel mean 0 and standard deviation `start`. g trains only with `train_scale`.
    """

    def __init__(self, layer: nn.Module, *, start: float = 1.0, train_scale: bool = False):
        super().__init__()
        self.layer, self.start = layer, start
        output = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        self.filter_axes = [k for k in range(layer.weight.dim()) if k != output]
        nn.init.normal_(layer.weight, std=0.05)
        nn.init.zeros_(layer.bias)
        g = torch.ones([n if k == output else 1 for k, n in enumerate(layer.weight.shape)])
        if train_scale:
            self.g = nn.Parameter(g)
        else:
            self.register_buffer("g", g)

    def forward(self, x: Tensor) -> Tensor:
        if self.initialising and len(x) > 1:
            nothing = torch.zeros_like(self.layer.bias)
            self._start(functional_call(self.layer, {"weight": self._unit(), "bias": nothing}, x))
        return functional_call(self.layer, {"weight": self.weight()}, x)

    def weight(self) -> Tensor:
        """The filters in use, g v / |v|."""
        return self.g * self._unit()

    def _unit(self) -> Tensor:
        v = self.layer.weight
        return v * (v.square().sum(self.filter_axes, keepdim=True) + 1e-6).rsqrt()

    def _start(self, h: Tensor) -> None:
        """g and b by the outputs h for filters of length 1 and no bias."""
        deviation, mean = torch.std_mean(h.float(), [k for k in range(h.dim()) if k != 1], correction=0)
        g = self.start / deviation.clamp(min=1e-6)
        self.g.copy_(g.view_as(self.g))
        self.layer.bias.copy_(-mean * g)
