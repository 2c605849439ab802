"""Weight-normalised layers, with filters g v / |v|, and the first batch that sets their scales g and their biases.

Reference: Salimans and Kingma, "Weight normalization", NIPS 2016, section 3. The output h = g (v / |v|) * x + b of a
layer is linear in (g, b), so that from any start

    g <- g t / std(h),   b <- (b - mean(h)) t / std(h)

give each output channel mean 0 and standard deviation t over batch and positions.

The nets of Tables 1 and 2 use torch's own `weight_norm`; the layers here follow the codes of rivals, in which v and g
start otherwise, g is not always trained, or v is masked. They stay apart since the names and the order of parameters
are those of trained models and of the steps that tests have pinned.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cqlib.nets.conv import at_least_fp32

SMALLEST = 1e-6
"""A channel whose outputs have at most this standard deviation keeps its scale: there is none to set it by."""


def unit_filters(v: Tensor, output_axis: int = 0, epsilon: float = 0.0) -> Tensor:
    """v / |v|, where |v|^2 + `epsilon` is summed over all axes but that of the output channels."""
    axes = [k for k in range(v.dim()) if k != output_axis]
    return v * (v.square().sum(axes, keepdim=True) + epsilon).rsqrt()


class WeightNormConv2d(nn.Conv2d):
    """A weight-normalised k x k convolution, (N, a, H, W) -> (N, b, H, W); `scaled`: whether there is a learned g per
    output channel, which starts at 1."""

    start = 1.0

    def __init__(self, a: int, b: int, kernel: int, *, bias: bool = True, scaled: bool = True):
        super().__init__(a, b, kernel, padding=kernel // 2, bias=bias)
        self.g = nn.Parameter(torch.ones(b, 1, 1, 1)) if scaled else None

    def directions(self) -> Tensor:
        """v (b, a, k, k)."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        filters = unit_filters(self.directions())
        return self._conv_forward(x, filters if self.g is None else self.g * filters, self.bias)


class WeightNormed(nn.Module):
    """`layer`, which has a bias, weight-normalised as in the code of Salimans et al. 2016. A first batch sets g and the
    bias so that outputs have standard deviation `start`; g trains only with `train_scale`."""

    g: Tensor
    layer: Any

    def __init__(
        self, layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, *, start: float = 1.0, train_scale: bool = False
    ):
        super().__init__()
        self.layer, self.start = layer, start
        self.output_axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        nn.init.normal_(layer.weight, std=0.05)
        nn.init.zeros_(self.layer.bias)
        g = torch.ones([n if k == self.output_axis else 1 for k, n in enumerate(layer.weight.shape)])
        if train_scale:
            self.g = nn.Parameter(g)
        else:
            self.register_buffer("g", g)

    @property
    def bias(self) -> Tensor:
        return self.layer.bias

    def weight(self) -> Tensor:
        """The filters in use, g v / |v|."""
        return self.g * unit_filters(self.layer.weight, self.output_axis, epsilon=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return functional_call(self.layer, {"weight": self.weight()}, x)


def scales(layer: Any) -> Tensor | None:
    """g of a weight-normalised layer, torch's or one of this file, one number per output channel; None where there is
    no g."""
    if isinstance(layer, WeightNormConv2d | WeightNormed):
        return layer.g
    weight = getattr(getattr(layer, "parametrizations", None), "weight", None)
    return getattr(weight, "original0", None)


@torch.no_grad()
def initialise(layer: Any, x: Tensor) -> None:
    """Set g and b of a weight-normalised layer by a batch x of inputs: outputs (N, channels, ...) get mean 0 and the
    standard deviation `layer.start`, one for all channels or one for each."""
    h = at_least_fp32(layer.forward(x))
    deviation, mean = torch.std_mean(h, [k for k in range(h.dim()) if k != 1], correction=0)
    target = torch.as_tensor(layer.start, dtype=deviation.dtype, device=h.device)
    factor = torch.where(deviation > SMALLEST, target / deviation, 1.0)
    g: Any = scales(layer)
    g.mul_(factor.view_as(g))
    layer.bias.sub_(mean).mul_(factor)


@contextmanager
def initialising(net: nn.Module) -> Iterator[None]:
    """Inside, a batch that passes through `net` (once) initialises its weight-normalised layers, each before it is
    used; without gradients."""
    with ExitStack() as stack, torch.no_grad():
        for layer in net.modules():
            if scales(layer) is not None:
                stack.callback(layer.register_forward_pre_hook(lambda layer, inputs: initialise(layer, *inputs)).remove)
        yield
