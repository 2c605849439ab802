"""Layers with filters of a length that start from the data: a first batch sets lengths and biases.

Reference: Salimans and Kingma, "Weight normalization", NIPS 2016, section 3. The output h = g (v / |v|) * x + b of a
layer is linear in (g, b), so that from wherever they are

    g <- g t / std(h),   b <- (b - mean(h)) t / std(h)

give each output channel mean 0 and standard deviation t over batch and positions. t is 1, or what the layer's `start`
says of its channels.

The layers of `nets/weight_norm.py` do this themselves; this is for torch's `weight_norm` and for masked convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from cqlib.nets.autoregressive import MaskedConv2d

SMALLEST = 1e-6
"""A channel that varies less than this says nothing of a scale, and keeps its own."""


def lengths(layer: nn.Module) -> nn.Parameter | None:
    """g, one number per output channel; None for a layer without."""
    if isinstance(layer, MaskedConv2d):
        return layer.scale
    weight = getattr(getattr(layer, "parametrizations", None), "weight", None)
    return getattr(weight, "original0", None)


def _start(layer: nn.Module, _inputs: tuple, h: Tensor) -> Tensor:
    """Set g and b by h (N, channels, …), and return what h is with them."""
    g, channels = lengths(layer), (1, -1, *[1] * (h.dim() - 2))
    deviation, mean = torch.std_mean(h, [k for k in range(h.dim()) if k != 1], correction=0)
    target = torch.as_tensor(getattr(layer, "start", 1.0), dtype=h.dtype, device=h.device)
    factor = torch.where(deviation > SMALLEST, target / deviation, 1.0)
    g.mul_(factor.view_as(g))
    layer.bias.sub_(mean).mul_(factor)
    return (h - mean.view(channels)) * factor.view(channels)


@contextmanager
def starting_from_data(net: nn.Module) -> Iterator[None]:
    """Inside, what passes through `net` sets its layers by it, one after the other; each is to be passed once.

    In full precision: bf16 would blur the statistics, and autocast keeps a copy of each bias from before.
    """
    device = next(net.parameters()).device
    with ExitStack() as stack:
        for layer in net.modules():
            if lengths(layer) is not None:
                stack.callback(layer.register_forward_hook(_start).remove)
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(torch.no_grad())
        yield
