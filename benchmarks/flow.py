"""f^-1 with its gradient, as the quality loss needs it: x = f^-1(y), and from a scalar of x back to y and weights."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Side, Work, repeated
from benchmarks.steps import CQF, Recipes, torchflows_f
from cqlib.models.registry import build
from cqlib.training.device import keep_freed_memory

PASSES = 10


def inverse(recipe: Recipes, *, library: bool = False, as_trained: bool = True, passes: int = PASSES) -> Side:
    """A side: `passes` of f^-1 and its gradient on a batch. f is this package's, or torchflows' if `library`;
    `as_trained`: channels last, else contiguous."""

    def side(device: torch.device) -> Work:
        r = recipe(device)
        system = build(r.system)
        if library:
            torchflows_f(system)
        f: nn.Module = system.flow.to(device)
        if as_trained:
            keep_freed_memory()
            f.to(memory_format=torch.channels_last)
        y = torch.randn(r.training.batch_size, *system.shape, device=device, requires_grad=True)

        def once() -> None:
            f.zero_grad()
            y.grad = None
            f.inverse(y).square().mean().backward()

        return repeated(once, passes, images=len(y), format=torch.float32)

    return side


ROWS = (
    Comparison("flow-inverse", inverse(CQF), (
        Other("the same, contiguous", inverse(CQF, as_trained=False)),
        Other("torchflows, the same nets, contiguous", inverse(CQF, library=True, as_trained=False), cpu=1.5, cuda=1.5,
              needs="torchflows"),
    )),
)  # fmt: skip
