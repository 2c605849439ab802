"""GAN: the decoder's mean as generator, trained by L_Q alone.

Reference: Eqs. (1) and (2) of the slides; Goodfellow et al. 2014; the sum of both generator losses after Sonderby
et al. 2017. Its BPD comes from `frozen_decoder.py`.

Deviations: a tanh keeps G(z) in [-1, 1] (the decoders with a likelihood are linear there, since mu(z) is a feature
y and not a pixel); the rest is `CoverageQuality`'s decoder and critic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from cqlib.models.adversarial import AdversarialSystem, CriticConfig
from cqlib.models.base import Losses
from cqlib.models.coverage_quality import scale
from cqlib.models.frozen_decoder import FrozenDecoderConfig
from cqlib.nets.conv import Decoder, pyramid
from cqlib.recipe import FrozenDecoderStage, Recipe, TrainingConfig


@dataclass(frozen=True)
class GANConfig:
    """Generator and critic."""

    size: int
    widths: tuple[int, ...]
    critic: CriticConfig
    latent: int = 64
    image_channels: int = 3
    norm: Literal["batch", "group", "none"] = "group"


class GAN(AdversarialSystem):
    """Deterministic x = G_theta(z), z ~ N(0, I): low-dimensional support and no likelihood."""

    def __init__(self, config: GANConfig):
        super().__init__((config.image_channels, config.size, config.size), config.critic)
        self.config = config
        self.decoder, self.codes = self._generator()

    def _generator(self) -> tuple[nn.Module, int]:
        """The net before the tanh, and how many codes it takes."""
        c = self.config
        return Decoder(c.size, c.widths, c.latent, out_channels=c.image_channels, norm=c.norm), c.latent

    def decode(self, z: Tensor) -> Tensor:
        """G(z): (N, codes) -> (N, C, S, S) in [-1, 1]."""
        return torch.tanh(self.decoder(z))

    def fakes(self, n: int) -> Tensor:
        """G(z) for n codes."""
        return self.decode(torch.randn(n, self.codes, device=next(self.parameters()).device))

    @torch.no_grad()
    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images in [-1, 1]; there is no decoder noise for a temperature to scale."""
        device = next(self.parameters()).device
        return self.decode(torch.randn(n, self.codes, device=device, generator=generator))

    def generator_losses(self, x: Tensor) -> Losses:
        """L_Q, Eq. (2)."""
        quality = self.quality_loss(len(x))
        return {"quality": quality, "total": quality}


def recipe(row: str, profile: str, size: int, image_channels: int = 3) -> Recipe:
    """`table1/gan`: decoder, critic and training of CQ at the same profile; its BPD by the starred recipe."""
    if row != "table1/gan":
        raise KeyError(row)
    s = scale(profile, size)
    widths = pyramid(s.base, size)
    critic = CriticConfig(pyramid(s.critic_base, size), s.penalty_weight, s.penalty_every)
    config = GANConfig(size, widths, critic, latent=s.latent, image_channels=image_channels)
    return Recipe(config, s.training, frozen_decoder_stage(config, s.training))


def frozen_decoder_stage(config: GANConfig, training: TrainingConfig) -> FrozenDecoderStage:
    """The encoder of the VAE row, trained half as long as the generator was."""
    encoder = FrozenDecoderConfig(config.size, config.widths, config.latent, config.image_channels, config.norm)
    return FrozenDecoderStage(encoder, replace(training, steps=max(1, training.steps // 2)))
