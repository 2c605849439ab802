"""PixelRNN: every value of every pixel by a softmax, given all values before it; the likelihood is exact.

Reference: van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", ICML 2016. The table's 3.00 is
the Diagonal BiLSTM.

Deviations (those of the nets stand in `cqlib.nets.pixelrnn` and `cqlib.nets.raster`):
- Remembered, not read: 12 layers of h = 128 units, a first convolution of 7x7, output convolutions of 1024, RMSProp
  and batches of 16 for CIFAR-10.
- Not known, and chosen: a constant learning rate of 1e-3, decay 0.99 of the squares, 200,000 steps, neither averaged
  weights nor flips.
- Pixel values enter as points of (-1, 1).
- `quick` and `study` are narrower and shallower, average their weights, flip images, and learn at 3e-3, which falls
  linearly to 0 over the second half, in bf16 where that is fast.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from cqlib.models.likelihood import LikelihoodBaseline, LikelihoodConfig
from cqlib.nets.pixelrnn import PixelRNNNet
from cqlib.nets.raster import LogitsAt, cached, pixel_nats, raster_sample, scaled
from cqlib.recipe import Recipe, TrainingConfig, shortened


@dataclass(frozen=True)
class PixelRNNConfig(LikelihoodConfig):
    """`layers` LSTMs of `hidden` units over maps of twice as many features, output convolutions of `width`."""

    hidden: int
    layers: int
    width: int
    layer: Literal["diagonal"] = "diagonal"
    levels: int = 256
    """Values that a pixel can take."""


class PixelRNN(LikelihoodBaseline):
    """P(x) as a product over pixels and colours."""

    bound = "exact"
    dequantised = False
    config: PixelRNNConfig

    def __init__(self, config: PixelRNNConfig):
        super().__init__(config)
        c = config
        self.net = PixelRNNNet(c.hidden, c.layers, c.width, colours=c.image_channels, levels=c.levels)

    def logits(self, x: Tensor) -> Tensor:
        """Of every value given those before it: uint8 (N, C, H, W) -> (N, C, levels, H, W)."""
        return self.net(scaled(x, self.config.levels, self.net.stem.weight))

    def nats(self, x: Tensor, *, importance_samples: int = 1, generator: Generator | None = None) -> Tensor:
        """-ln P(x), exactly; nothing is drawn."""
        return pixel_nats(self.logits(x), x)

    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images, cell centres in (-1, 1), from cached states; temperature has nothing to scale."""
        like = self.net.stem.weight
        u = torch.rand(n, *self.shape, device=like.device, dtype=like.dtype, generator=generator)
        return scaled(raster_sample(self.cached_logits(n), u), self.config.levels, u)

    def cached_logits(self, n: int) -> LogitsAt:
        """Of n images, one pixel at a time, from the states of the pixels before it."""
        return cached(self.net, self.net.stem, (n, *self.shape[1:]), self.config.levels)


ROWS, CONFIG, SYSTEM = ("table3/pixelrnn",), PixelRNNConfig, PixelRNN


def recipe(row: str, profile: str, size: int) -> Recipe:
    nets = {"paper": (128, 12, 1024), "study": (32, 4, 96), "quick": (32, 3, 64), "smoke": (6, 1, 12)}[profile]
    paper = TrainingConfig(200_000, 16, "rmsprop", betas=(0.0, 0.99), ema=0.0, flips=False, autocast="off",
                           log_every=200)  # fmt: skip
    training = shortened(paper, profile, quick=2000, study=2000, batch_size=16, snapshots=0,
                         learning_rate=3e-3, ema=0.999, flips=True, autocast="auto", decay_from=0.5)  # fmt: skip
    return Recipe(PixelRNNConfig(size, *nets), training)
