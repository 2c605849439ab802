"""What the machine can do at best: the roof under which a training step runs."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cqlib.training.device import wall_clock


@functools.cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """The most multiplications and additions per second, of five runs each of a large matrix product and of a large 3x3
    convolution, operands in `dtype`. They are random, since a GPU draws less power, and so runs faster, on operands
    that are all equal."""
    side, batch = (8192, 512) if device.type == "cuda" else (2048, 32)
    channels, pixels = 256, 32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(batch, channels, pixels, pixels, device=device, dtype=dtype)
    w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype) / 48  # outputs of the size of inputs
    x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
    product = (lambda: a @ b, 2.0 * side**3)
    convolution = (lambda: conv2d(x, w, padding=1), 2.0 * batch * pixels**2 * channels**2 * 9)
    best = 0.0
    with torch.no_grad():
        for work, count in (product, convolution):
            work()
            for _ in range(5):
                best = max(best, count / wall_clock(work, device))
    return best


class _Counter(TorchDispatchMode):
    """Adds up what torch's formulas say. `FlopCounterMode` does too, but its hooks refuse a gradient penalty."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


class _Clock(TorchDispatchMode):
    """Adds up the seconds within convolutions, forward and backward."""

    CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten.convolution_backward)
    total = 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._overloadpacket not in self.CONVOLUTIONS:
            return func(*args, **(kwargs or {}))
        began = time.perf_counter()
        out = func(*args, **(kwargs or {}))
        self.total += time.perf_counter() - began
        return out


def convolution_seconds(action: Callable[[], object]) -> float:
    """The seconds of one call on the CPU that pass inside convolutions, which no change around them makes faster."""
    with _Clock() as clock:
        action()
    return clock.total


def operations(action: Callable[[], object]) -> int:
    """Multiplications and additions of one call, in convolutions and matrix products, backward passes included."""
    with _Counter() as counter:
        action()
    return counter.total
