"""f^-1 with its gradient, as the quality loss needs it: x = f^-1(y), and from a scalar of x back to y and weights."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Side, Work, repeated
from benchmarks.steps import CQF, Recipes, torchflows_f
from cqlib.models.registry import build
from cqlib.training.device import fast_bf16, keep_freed_memory

PASSES = 10


def inverse(recipe: Recipes, *, library: bool = False, as_trained: bool = True, passes: int = PASSES) -> Side:
    """A side: `passes` of f^-1 and its gradient on a batch. f is this package's, or torchflows' if `library`;
    `as_trained`: in bf16 where that is fast, and channels last, else in fp32, contiguous."""

    def side(device: torch.device) -> Work:
        r = recipe(device)
        system = build(r.system)
        if library:
            torchflows_f(system)
        f: nn.Module = system.flow.to(device)
        low = as_trained and fast_bf16(device)
        if as_trained:
            keep_freed_memory()
            f.to(memory_format=torch.channels_last)
        y = torch.randn(r.training.batch_size, *system.shape, device=device, requires_grad=True)

        def once() -> None:
            f.zero_grad()
            y.grad = None
            with torch.autocast(device.type, torch.bfloat16) if low else nullcontext():
                x = f.inverse(y)
            x.square().mean().backward()

        format = torch.bfloat16 if low else torch.float32
        return repeated(once, passes, images=len(y), format=format)

    return side


ROWS = (
    Comparison("flow-inverse", inverse(CQF), (
        Other("the same, eager fp32, contiguous", inverse(CQF, as_trained=False)),
        Other("torchflows, the same nets, eager fp32", inverse(CQF, library=True, as_trained=False), cpu=1.5, cuda=1.5,
              needs="torchflows"),
    )),
)  # fmt: skip
