"""NVP: Real NVP on the logits of dequantised pixels, x = f^-1(y) with y ~ N(0, I).

Reference: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017, and the authors' code
(tensorflow/models, research/real_nvp). Its net is in `cqlib.nets.real_nvp`.

Deviations (those of the net are in its files):
- Samples are drawn with running averages in every batch norm, and the squeeze of pixels into [0.05, 0.95] is undone.
  The authors' code draws with batch statistics within the nets and leaves the squeeze as it is.
- 200,000 updates: the sources give none.
- At 32 and 16 pixels `paper` is the paper's CIFAR-10 model; at 64 its model for that size, as remembered (the code's
  documentation has 4 blocks); at 48, for which there is none, the same with 4 scales.
- `quick` and `study` have smaller nets, averaged weights and far fewer updates; the learning rate falls to 0, so that
  running averages become those of the final weights.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from cqlib import losses
from cqlib.models.base import LikelihoodConfig, LikelihoodSystem, Losses
from cqlib.nets.real_nvp import MaskedCoupling, MultiScaleConfig, MultiScaleRealNVP
from cqlib.nets.weight_norm import lengths
from cqlib.pixels import LN_LEVELS, dequantise
from cqlib.recipe import Recipe, TrainingConfig

SHARE = 0.9
"""Pixels are mapped to the middle of the logit's domain (0, 1) and fill this share of it."""
PENALTY = 5e-5
"""Weight of `NVP.penalty` in the loss, which is in nats per image."""


def to_logits(v: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels v (N, C, H, W) in [-1, 1) -> logit of 1/2 + 0.9 v / 2, and its log-determinant (N,)."""
    p = 0.5 + 0.5 * SHARE * v
    logits = p.log() - (-p).log1p()
    log_slope = softplus(logits) + softplus(-logits) + math.log(0.5 * SHARE)  # -ln p (1 - p) is the logit's slope
    return logits, log_slope.flatten(1).sum(1)


def from_logits(logits: Tensor) -> Tensor:
    """The inverse of `to_logits`, with values in (-1 / 0.9, 1 / 0.9), not only in the range of pixels."""
    return (0.5 * logits).tanh() / SHARE


@dataclass(frozen=True)
class NVPConfig(LikelihoodConfig):
    """Scales and nets of f."""

    flow: MultiScaleConfig


class NVP(LikelihoodSystem):
    """p(x) = N(f(x); 0, I) |det df/dx|, a density of dequantised images. In training mode every batch norm uses the
    batch, in evaluation mode its running averages."""

    config: NVPConfig
    bound = "dequantisation bound"

    def __init__(self, config: NVPConfig):
        super().__init__(config)
        self.flow = MultiScaleRealNVP(config.image_channels, config.flow)

    def log_density(self, v: Tensor) -> Tensor:
        """ln p(v) of dequantised images v (N, C, S, S) in [-1, 1); -> (N,)."""
        logits, of_logits = to_logits(v)
        y, log_det = self.flow(logits)
        zero = y.new_zeros(())
        return losses.gaussian_log_density(y, zero, zero) + log_det + of_logits

    def log_weight(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """ln p of a uniform point of the image's cell, in units of cells, each of volume 128^-D; (N,)."""
        return self.log_density(dequantise(x, generator=generator)) - math.prod(x.shape[1:]) * LN_LEVELS

    def penalty(self) -> Tensor:
        """The sum of squares of all filters' magnitudes and checkerboard couplings' scales, as in the authors' code."""
        magnitudes = [g for m in self.modules() if isinstance(g := lengths(m), nn.Parameter)]
        scales = [m.scale for m in self.modules() if isinstance(m, MaskedCoupling) and m.parity is not None]
        return torch.stack([p.square().sum() for p in magnitudes + scales]).sum()

    def generator_losses(self, x: Tensor) -> Losses:
        """-ln p(x) in nats per image, and the L2 penalty of the reference code."""
        nats, penalty = self.nats(x).mean(), PENALTY * self.penalty()
        return {"coverage": nats, "penalty": penalty, "total": nats + penalty}

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        y = torch.randn(n, *self.shape, device=self.device, generator=generator)
        was_training = self.training
        x = self.eval().flow.inverse(y)
        self.train(was_training)
        return from_logits(x)


ROWS, CONFIG, SYSTEM = ("table3/nvp",), NVPConfig, NVP


def recipe(row: str, profile: str, size: int) -> Recipe:
    of_size = {48: MultiScaleConfig(4, 32, 2), 64: MultiScaleConfig(5, 32, 2)}
    flow = {
        "paper": of_size.get(size, MultiScaleConfig(2, 64, 8)),
        "study": MultiScaleConfig(3, 32, 2),
        "quick": MultiScaleConfig(2, 32, 2),
        "smoke": MultiScaleConfig(2, 4, 1),
    }[profile]
    adam: dict[str, Any] = {"learning_rate": 1e-3, "betas": (0.9, 0.999), "gradient_clip": 100.0}
    training = {
        "paper": TrainingConfig(200_000, 64, ema=0.0, log_every=200, **adam),
        "study": TrainingConfig(1200, 64, decay_from=0.5, **adam),
        "quick": TrainingConfig(1000, 64, decay_from=0.5, **adam),
        "smoke": TrainingConfig(20, 16, decay_from=0.5, log_every=5, **adam),
    }[profile]
    return Recipe(NVPConfig(size, flow), training)
