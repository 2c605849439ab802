"""Weight normalisation, the filters of a layer as g v / |v|, and the first batch that sets lengths g and biases.

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
from torch.nn.utils import parametrize

from cqlib.nets.conv import at_least_fp32

SMALLEST = 1e-6
"""A channel whose outputs have at most this standard deviation keeps its scale: there is none to set it by."""
G, V = "parametrizations.weight.original0", "parametrizations.weight.original1"
"""The names of g and v in a layer's state dict, which are those of torch's own `weight_norm`."""
OLDER_NAMES = {"g": G, "weight": V, "layer.weight": V, "layer.bias": "bias"}


class WeightNorm(nn.Module):
    """The parametrisation g, v -> g v / |v|, where |v| is over all axes but that of the output channels, and v is 0
    where the `mask` is."""

    mask: Tensor | None

    def __init__(self, output_axis: int, mask: Tensor | None = None):
        super().__init__()
        self.output_axis = output_axis
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return torch._weight_norm(v if self.mask is None else v * self.mask, g, self.output_axis)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """g = |v| and v that give this weight."""
        return torch.norm_except_dim(weight, 2, self.output_axis), weight


def weight_norm(
    layer: Any, *, length: float | None = None, trained_length: bool = True, start: float = 1.0,
    mask: Tensor | None = None,
) -> Any:  # fmt: skip
    """`layer`, a convolution, a transposed or a dense one, from now on with filters g v / |v|, where v is its weight
    and `mask`, of v's shape, says where v stays 0. g starts at `length`, by default at |v|, and is trained if
    `trained_length`; `start`: the standard deviation that a first batch gives to outputs, one for all channels."""
    axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    parametrize.register_parametrization(layer, "weight", WeightNorm(axis, mask), unsafe=True)
    parts = layer.parametrizations.weight
    if length is not None:
        nn.init.constant_(parts.original0, length)
    if not trained_length:
        fixed = parts.original0.detach()
        del parts.original0
        parts.register_buffer("original0", fixed)
    layer.start = start
    layer.register_load_state_dict_pre_hook(_read_older_names)
    return layer


def normal_weight_norm(layer: Any, *, start: float = 1.0, trained_length: bool = True) -> Any:
    """`weight_norm` of a layer with a bias, as in the code of Salimans et al. 2016: v from N(0, 0.05^2), b at 0, and g
    at 1 until a first batch sets it."""
    nn.init.normal_(layer.weight, std=0.05)
    nn.init.zeros_(layer.bias)
    return weight_norm(layer, length=1.0, trained_length=trained_length, start=start)


def _read_older_names(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Weights saved by versions in which rows had weight norms of their own, and a g that is fixed had no name."""
    if found := [name for name in OLDER_NAMES if prefix + name in state and prefix + V not in state]:
        state.update({prefix + OLDER_NAMES[name]: state.pop(prefix + name) for name in found})
        state.setdefault(prefix + G, lengths(layer))


def lengths(layer: Any) -> Any:
    """g of a weight-normalised layer, a tensor with one number per output channel; None for any other module."""
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
    g = lengths(layer)
    g.mul_(factor.view_as(g))
    layer.bias.sub_(mean).mul_(factor)


@contextmanager
def initialising(net: nn.Module) -> Iterator[None]:
    """Inside, a batch that passes through `net` (once) initialises its weight-normalised layers, each before it is
    used; without gradients."""
    with ExitStack() as stack, torch.no_grad():
        for layer in net.modules():
            if lengths(layer) is not None:
                stack.callback(layer.register_forward_pre_hook(lambda layer, inputs: initialise(layer, *inputs)).remove)
        yield
