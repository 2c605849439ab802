"""A training step, and f^-1 with its gradient: ours, the textbook way on the same system, and torchflows.

Ours is the step of the rows as they are trained: fp32, channels last, the data set as one tensor, fused optimisers. On
a CPU steps have the size of `quick`; on a GPU that of `paper`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Work, repeated
from benchmarks.textbook import TextbookLoop
from cqlib.models.base import System
from cqlib.models.registry import RECIPES, build
from cqlib.nets.coupling import CouplingNet
from cqlib.recipe import Recipe
from cqlib.suite.experiments.changes import apply_changes
from cqlib.suite.experiments.variants import Changes
from cqlib.training.timing import make_step

IMAGES = 2000
"""Random images that stand for a data set."""
STEPS = 4
"""Training steps in one run of a side: the lazy gradient penalty comes in every fourth."""
PASSES = 10
TEXTBOOK = "textbook loop: DataLoader, eager fp32, contiguous"

Change = Callable[[System], None]


@dataclass(frozen=True)
class RowRecipe:
    """The recipe of a row, of `profile` at `size` pixels; by default `quick` at 16 on a CPU, `paper` at 32 on a GPU."""

    row: str
    profile: str | None = None
    size: int | None = None
    changes: Changes = field(default_factory=dict)

    def on(self, device: torch.device) -> Recipe:
        """The recipe for that device."""
        profile, size = ("paper", 32) if device.type == "cuda" else ("quick", 16)
        profile, size = self.profile or profile, self.size or size
        return apply_changes(self.row, RECIPES[self.row](self.row, profile, size), self.changes)[0]


def random_images(size: int, n: int = IMAGES) -> Tensor:
    """Random images, uint8 (n, 3, size, size)."""
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8)


def our_step(of: RowRecipe, device: torch.device, *, steps: int = STEPS) -> Work:
    """Training steps as rows are trained."""
    recipe = of.on(device)
    images = random_images(recipe.system.size)
    return repeated(make_step(build(recipe.system), images, recipe.training, device), steps)


def textbook_step(of: RowRecipe, device: torch.device, *, change: Change | None = None, steps: int = STEPS) -> Work:
    """Steps of the textbook loop on the same system, after `change`."""
    recipe = of.on(device)
    system = build(recipe.system)
    if change is not None:
        change(system)
    images = random_images(recipe.system.size)
    return repeated(TextbookLoop(system, images, recipe.training, device, done=recipe.training.steps // 2).step, steps)


def inverse(
    of: RowRecipe, device: torch.device, *, change: Change | None = None, as_trained: bool = False, passes: int = PASSES
) -> Work:
    """f^-1 of a batch with its gradient, as the quality loss needs it: x = f^-1(y), and from a scalar of x back to y
    and the weights; f of the recipe's system after `change`, in the memory layout it is trained in, else contiguous."""
    recipe = of.on(device)
    system = build(recipe.system)
    if change is not None:
        change(system)
    f: Any = system.flow.to(device)
    if as_trained:
        f.to(memory_format=torch.channels_last)
    y = torch.randn(recipe.training.batch_size, *system.shape, device=device, requires_grad=True)

    def once() -> None:
        f.zero_grad()
        y.grad = None
        f.inverse(y).square().mean().backward()

    return repeated(once, passes)


def torchflows_f(system: System) -> None:
    """Replace CQ-F's f by one assembled from torchflows, around the same nets."""
    from benchmarks.torchflows_nvp import TorchflowsRealNVP

    c = system.config.flow

    def net(channels: int, width: int) -> CouplingNet:
        return CouplingNet(channels, channels, width, c.blocks)

    system.flow = TorchflowsRealNVP(system.shape, net, c.width, couplings=c.couplings, scales=c.scales)


def torchflows_nvp(system: System) -> None:
    """Replace Real NVP's f by one assembled from torchflows, around nets of the same widths and blocks."""
    from benchmarks.torchflows_nvp import BatchNormedNet, TorchflowsRealNVP

    c = system.config.flow
    system.flow = TorchflowsRealNVP(system.shape, lambda channels, width: BatchNormedNet(channels, width, c.blocks),
                                    c.width, couplings=3, scales=c.scales)  # fmt: skip


CQF, NVP = RowRecipe("table1/cq-f"), RowRecipe("table3/nvp")

ROWS = (
    Comparison("cqf-step", partial(our_step, CQF), (
        Other(TEXTBOOK, partial(textbook_step, CQF), cpu=1.5, cuda=4.0),
        Other("the same nets, f by torchflows, textbook loop", partial(textbook_step, CQF, change=torchflows_f),
              cpu=1.5, needs="torchflows"),
    ), counted=True),
    Comparison("nvp-step", partial(our_step, NVP), (
        Other(TEXTBOOK, partial(textbook_step, NVP)),
        Other("nets of the same widths and blocks, couplings by torchflows",
              partial(textbook_step, NVP, change=torchflows_nvp), needs="torchflows"),
    ), counted=True),
    Comparison("flow-inverse", partial(inverse, CQF, as_trained=True), (
        Other("the same, contiguous", partial(inverse, CQF)),
        Other("torchflows, the same nets, contiguous", partial(inverse, CQF, change=torchflows_f), cpu=1.5, cuda=1.5,
              needs="torchflows"),
    ), counted=True),
)  # fmt: skip
