"""PixelCNN++: P(x) as a product over pixels in raster order, each a mixture of discretised logistics.

Reference: Salimans, Karpathy, Chen, Kingma, "PixelCNN++: Improving the PixelCNN with discretized logistic mixture
likelihood and other modifications", ICLR 2017, and its published code openai/pixel-cnn: net and optimiser.

    P(x) = prod_i P(x_i | x_<i)

The probability of an 8-bit image is exact: it sums to 1 over all images.

Deviations:
- Pixels enter as the centres of their cells, (v + 1/2) / 128 - 1, not as v / 127.5 - 1; the probability of a cell is
  never approximated by a density.
- Samples are exact: the uniform noise is not kept away from 0 and 1, and each channel is rounded to 8 bits before the
  next one.
- The code trains until it is stopped; here 300,000 steps, about 770 epochs of CIFAR-10. It initialises weights by
  16 images; here the first batch does.
- Its Adam divides by sqrt(v + 1e-8), torch's by sqrt(v) + 1e-8: the same for gradients far above 1e-4, as these are.
- The averaged weights' decay warms up.
- `quick` and `study`: narrower nets, no dropout, flips, and far fewer steps on smaller batches.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from cqlib.models.base import LikelihoodConfig, LikelihoodSystem
from cqlib.nets.distributions import LogisticMixture, outputs_per_component
from cqlib.nets.pixelcnnpp import PixelCNNPP
from cqlib.nets.pixelcnnpp_cache import CachedPixelCNNPP, sample_mixtures
from cqlib.nets.weight_norm import initialising
from cqlib.pixels import cell_centres
from cqlib.recipe import Recipe, TrainingConfig


@dataclass(frozen=True)
class PixelCNNPPConfig(LikelihoodConfig):
    """Width and depth of the net (`blocks` per stage and stream), its dropout, and the number of mixture components."""

    width: int
    blocks: int
    components: int
    dropout: float


class PixelCNNPPSystem(LikelihoodSystem):
    """x ~ prod_i P(x_i | x_<i)."""

    config: PixelCNNPPConfig
    bound = "exact"
    dequantised = False

    def __init__(self, config: PixelCNNPPConfig):
        super().__init__(config)
        c = config
        outputs = c.components * outputs_per_component(c.image_channels)
        self.net = PixelCNNPP(c.image_channels, outputs, width=c.width, blocks=c.blocks, dropout=c.dropout)

    def initialise(self, x: Tensor) -> None:
        """Sets the layers by x: outputs get mean 0 and standard deviation 1, or 0.1 in the last layer of a block."""
        with initialising(self.net):
            self.net(cell_centres(x))

    def log_probabilities(self, x: Tensor) -> Tensor:
        """ln P(x_i | x_<i) of every pixel of uint8 images (N, C, S, S); -> (N, S, S)."""
        dtype = self.net.out.bias.dtype
        return LogisticMixture.of(self.net(cell_centres(x).to(dtype)), x.shape[1]).log_probability(x)

    def nats(self, x: Tensor, *, importance_samples: int = 1, generator: Generator | None = None) -> Tensor:
        return -self.log_probabilities(x).flatten(1).sum(1)

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images, centres of 8-bit cells, without dropout."""
        channels, size, _ = self.shape
        bias = self.net.out.bias
        u = torch.rand(n, 1 + channels, size, size, device=bias.device, generator=generator).to(bias.dtype)
        return sample_mixtures(CachedPixelCNNPP(self.net, n, size), u)


ROWS, CONFIG, SYSTEM = ("table3/pixelcnnpp",), PixelCNNPPConfig, PixelCNNPPSystem


def recipe(row: str, profile: str, size: int) -> Recipe:
    width, blocks, components, dropout = {
        "paper": (160, 5, 10, 0.5), "study": (32, 2, 10, 0.0), "quick": (32, 1, 5, 0.0), "smoke": (8, 1, 2, 0.5),
    }[profile]  # fmt: skip
    adam: dict[str, Any] = {
        "learning_rate": 1e-3, "betas": (0.95, 0.9995), "decay_per_step": 0.999995, "ema": 0.9995,
    }  # fmt: skip
    training = {
        "paper": TrainingConfig(300_000, 128, flips=False, log_every=200, **adam),
        "study": TrainingConfig(1800, 32, **adam),
        "quick": TrainingConfig(1800, 32, **adam),
        "smoke": TrainingConfig(20, 16, log_every=5, **adam),
    }[profile]
    return Recipe(PixelCNNPPConfig(size, width, blocks, components, dropout), training)
