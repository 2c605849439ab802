"""A training step: ours, the textbook way on the same system, and with couplings by torchflows.

Ours is the step of the rows as they are trained: fp32, channels last, the data set as one tensor, fused optimisers.
Steps are those of the middle of training. On a CPU they have the size of `quick`; on a GPU that of `paper`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.comparison import Comparison, Other, Step
from benchmarks.textbook import TextbookLoop
from cqlib.models.base import Losses, System
from cqlib.models.registry import RECIPES, build
from cqlib.recipe import Recipe, TrainingConfig
from cqlib.training.loop import Loop

IMAGES = 2000
"""Random images that stand for a data set."""
TEXTBOOK = "textbook loop: DataLoader, eager fp32, contiguous"

Change = Callable[[System], None]


def recipe_on(row: str, device: torch.device) -> Recipe:
    """The recipe of a row: of `quick` at 16 pixels on a CPU, of `paper` at 32 on a GPU."""
    profile, size = ("paper", 32) if device.type == "cuda" else ("quick", 16)
    return RECIPES[row](row, profile, size)


def random_images(size: int, n: int = IMAGES) -> Tensor:
    """Random images, uint8 (n, 3, size, size)."""
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8)


def make_step(system: System, images: Tensor, config: TrainingConfig, device: torch.device) -> Callable[[], Losses]:
    """A function that takes the next training step on `images`, all of label 0, and returns the losses. The global
    state of random numbers is set to that of seed 0; nothing is saved."""
    labels = torch.zeros(len(images), dtype=torch.long)
    loop = Loop(system, images, labels, config, 0, Path(), "steps", device)
    loop.step = config.steps // 2

    def step() -> Losses:
        losses, _ = loop.one_step()
        loop.step += 1
        return losses

    return step


def our_step(row: str, device: torch.device) -> Step:
    """The step as the row is trained."""
    recipe = recipe_on(row, device)
    return make_step(build(recipe.system), random_images(recipe.system.size), recipe.training, device)


def textbook_step(row: str, device: torch.device, *, change: Change | None = None) -> Step:
    """The step of the textbook loop on the same system, after `change`."""
    recipe = recipe_on(row, device)
    system = build(recipe.system)
    if change is not None:
        change(system)
    images = random_images(recipe.system.size)
    return TextbookLoop(system, images, recipe.training, device, done=recipe.training.steps // 2).step


def torchflows_nvp(system: System) -> None:
    """Replace Real NVP's f by one assembled from torchflows, around nets of the same widths and blocks. They do less
    work: a net of ours sees a checkerboard as a whole image of which half is masked, one of theirs as half an image."""
    from benchmarks.torchflows_nvp import BatchNormedNet, TorchflowsRealNVP

    c = system.config.flow
    system.flow = TorchflowsRealNVP(system.shape, lambda channels, width: BatchNormedNet(channels, width, c.blocks),
                                    c.width, couplings=3, scales=c.scales)  # fmt: skip


CQF, NVP = "table1/cq-f", "table3/nvp"

COMPARISONS = (
    Comparison("cqf-step", partial(our_step, CQF), (
        Other(TEXTBOOK, partial(textbook_step, CQF), cpu=1.5, cuda=4.0),
    )),
    Comparison("nvp-step", partial(our_step, NVP), (
        Other(TEXTBOOK, partial(textbook_step, NVP)),
        Other("nets of the same widths and blocks, couplings by torchflows",
              partial(textbook_step, NVP, change=torchflows_nvp), needs="torchflows"),
    )),
)  # fmt: skip
ROWS = {row.name: row for row in COMPARISONS}
"""Name -> row."""
