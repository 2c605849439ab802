"""Sampling pixel by pixel: from cached activations, and by a full pass over the image for each pixel or value.

All full passes cost the same, so a few are timed and the rest is extrapolated.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Work
from benchmarks.steps import RowRecipe
from cqlib.models.registry import build
from cqlib.training.device import to_device

IMAGES = 16
PIXELCNNPP = RowRecipe("table3/pixelcnnpp", "paper", 32)
PIXELRNN = RowRecipe("table3/pixelrnn", "quick", 16)


def cached(of: RowRecipe, device: torch.device, *, n: int = IMAGES) -> Work:
    """A batch of `n` samples, as this package draws them."""
    recipe = of.on(device)
    system = to_device(build(recipe.system), recipe.training, device).eval()
    return Work(lambda: system.sample(n))


def full_passes(of: RowRecipe, passes: int, timed: int, device: torch.device, *, n: int = IMAGES) -> Work:
    """A batch of `n` samples that takes so many passes over whole images, of which some are `timed`; a pass is one for
    the likelihood, which has the distributions of all pixels."""
    recipe = of.on(device)
    system = to_device(build(recipe.system), recipe.training, device).eval()
    x = torch.zeros(n, *system.shape, dtype=torch.uint8, device=device)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(timed):
                system.nats(x)

    return Work(run, timed / passes)


ROWS = (
    Comparison("pixelcnnpp-sampling", partial(cached, PIXELCNNPP), (
        Other("a full pass per pixel (2 of 1,024 timed a round)", partial(full_passes, PIXELCNNPP, 32 * 32, 2),
              cpu=30, cuda=30),
    ), rounds=3),
    Comparison("pixelrnn-sampling", partial(cached, PIXELRNN), (
        Other("a full pass per value (4 of 768 timed a round)", partial(full_passes, PIXELRNN, 3 * 16 * 16, 4),
              cpu=5, cuda=5),
    )),
)  # fmt: skip
