"""The rows of sampling pixel by pixel: from cached activations, and by a full pass over the image for each pixel or
value.

All full passes cost the same, so a few are timed and the rest is extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Side, Work
from cqlib.models.base import LikelihoodSystem
from cqlib.models.pixelcnnpp import PixelCNNPPConfig, PixelCNNPPSystem
from cqlib.models.pixelrnn import PixelRNN
from cqlib.models.registry import RECIPES, build
from cqlib.recipe import TrainingConfig
from cqlib.training.device import to_device

POSITIONS = 2
IMAGES = 16


Prepared = tuple[LikelihoodSystem, Callable[[], object], int]
"""A system, a full pass over a batch, and how many such passes a batch of images takes."""


def sampled(prepare: Callable[[torch.device], Prepared], cached: bool, n: int, positions: int) -> Side:
    """A side: a batch of `n` images. `cached`: from cached activations, else by full passes, `positions` of which are
    timed."""

    def side(device: torch.device) -> Work:
        system, full_pass, passes = prepare(device)
        if cached:
            return Work(lambda: system.sample(n), images=n)

        def run() -> None:
            with torch.inference_mode():
                for _ in range(positions):
                    full_pass()

        return Work(run, positions / passes, n)

    return side


def pixelcnnpp(cached: bool, *, size: int = 32, width: int = 160, blocks: int = 5, n: int = IMAGES,
               positions: int = POSITIONS) -> Side:  # fmt: skip
    """`sampled` from PixelCNN++, whose default sizes are those of its paper."""

    def prepare(device: torch.device) -> Prepared:
        config = PixelCNNPPConfig(size, width, blocks, 10, 0.5)
        system: PixelCNNPPSystem = to_device(build(config), TrainingConfig(steps=1), device).eval()
        x = torch.zeros(n, 3, size, size, device=device)
        return system, lambda: system.net(x), size**2

    return sampled(prepare, cached, n, positions)


def pixelrnn(cached: bool, *, profile: str = "quick", size: int = 16, n: int = IMAGES, positions: int = 4) -> Side:
    """`sampled` from the Diagonal BiLSTM of a profile."""

    def prepare(device: torch.device) -> Prepared:
        recipe = RECIPES["table3/pixelrnn"]("table3/pixelrnn", profile, size)
        system: PixelRNN = to_device(build(recipe.system), recipe.training, device).eval()
        x = torch.zeros(n, 3, size, size, dtype=torch.int64, device=device)
        return system, lambda: system.logits(x), x[0].numel()

    return sampled(prepare, cached, n, positions)


def words(what: str, values: int, positions: int) -> str:
    """The other side in words: a full pass per `what`, and how many of the `values` passes are timed."""
    return f"a full pass per {what} ({positions} of {values:,} timed a round)"


ROWS = (
    Comparison("pixelcnnpp-sampling", pixelcnnpp(True), (
        Other(words("pixel", 32 * 32, POSITIONS), pixelcnnpp(False), cpu=30, cuda=30),
    ), rounds=3),
    Comparison("pixelrnn-sampling", pixelrnn(True), (
        Other(words("value", 3 * 16 * 16, 4), pixelrnn(False), cpu=5, cuda=5),
    )),
)  # fmt: skip
