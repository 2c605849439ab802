"""How much work a side does, and what the machine can do at best: the roof under which a training step runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cqlib.util.device import wall_clock
from cqlib.util.fp32 import full_fp32


class Counts(NamedTuple):
    """What one call does: multiplications and additions in convolutions and matrix products, backward passes included;
    and, on a CPU, the seconds that pass inside convolutions, which no change around them makes faster."""

    operations: float
    convolution_seconds: float


class _Counter(TorchDispatchMode):
    """Counts at each operator. torch's `FlopCounterMode` uses the same formulas, but refuses a gradient penalty."""

    CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten.convolution_backward)
    operations = 0
    convolution_seconds = 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        began = time.perf_counter()
        out = func(*args, **kwargs)
        if func._overloadpacket in self.CONVOLUTIONS:
            self.convolution_seconds += time.perf_counter() - began
        if formula := flop_registry.get(func._overloadpacket):
            self.operations += formula(*args, **kwargs, out_val=out)
        return out


def counts(action: Callable[[], object]) -> Counts:
    """The counts of one call."""
    with _Counter() as counter:
        action()
    return Counts(counter.operations, counter.convolution_seconds)


def peak_flops(device: torch.device) -> float:
    """The most multiplications and additions per second in fp32, of five runs each of a large matrix product and of a
    large 3x3 convolution. Operands are random, since a GPU draws less power, and so runs faster, on equal ones."""
    side, batch = (8192, 512) if device.type == "cuda" else (2048, 32)
    channels, pixels = 256, 32
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    x = torch.randn(batch, channels, pixels, pixels, device=device)
    w = torch.randn(channels, channels, 3, 3, device=device) / 48  # outputs of the size of inputs
    x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
    product = (lambda: a @ b, 2.0 * side**3)
    convolution = (lambda: conv2d(x, w, padding=1), 2.0 * batch * pixels**2 * channels**2 * 9)
    best = 0.0
    with torch.no_grad(), full_fp32():
        for work, count in (product, convolution):
            work()
            for _ in range(5):
                best = max(best, count / wall_clock(work, device))
    return best
