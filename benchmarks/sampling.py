"""The rows of sampling pixel by pixel: from cached activations, and by a full pass over the image for each pixel or
value.

All full passes cost the same, so a few are timed and the rest is extrapolated.
"""

from __future__ import annotations

import torch

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Side, Work
from cqlib.models.pixelcnnpp import PixelCNNPPConfig
from cqlib.models.pixelrnn import PixelRNN
from cqlib.models.registry import RECIPES, build
from cqlib.recipe import TrainingConfig
from cqlib.training.device import to_device

POSITIONS = 2
IMAGES = 16


def pixelcnnpp(cached: bool, *, size: int = 32, width: int = 160, blocks: int = 5, n: int = IMAGES,
               positions: int = POSITIONS) -> Side:  # fmt: skip
    """A side: a batch of `n` images from PixelCNN++, whose default sizes are those of its paper. `cached`: from cached
    activations, else by full passes, `positions` of which are timed."""

    def side(device: torch.device) -> Work:
        config = PixelCNNPPConfig(size, width, blocks, 10, 0.5)
        system = to_device(build(config), TrainingConfig(steps=1), device).eval()
        if cached:
            return Work(lambda: system.sample(n), images=n)
        x = torch.zeros(n, 3, size, size, device=device)

        def run() -> None:
            with torch.inference_mode():
                for _ in range(positions):
                    system.net(x)

        return Work(run, positions / size**2, n)

    return side


def pixelrnn(cached: bool, *, profile: str = "quick", size: int = 16, n: int = IMAGES, positions: int = 4) -> Side:
    """A side: a batch of `n` images from the Diagonal BiLSTM of a profile; `cached` and `positions` as above."""

    def side(device: torch.device) -> Work:
        recipe = RECIPES["table3/pixelrnn"]("table3/pixelrnn", profile, size)
        system: PixelRNN = to_device(build(recipe.system), recipe.training, device).eval()
        if cached:
            return Work(lambda: system.sample(n), images=n)
        x = torch.zeros(n, 3, size, size, dtype=torch.int64, device=device)

        def run() -> None:
            with torch.inference_mode():
                for _ in range(positions):
                    system.logits(x)

        return Work(run, positions / x[0].numel(), n)

    return side


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
