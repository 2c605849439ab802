"""GAN: the decoder's mean as generator, trained by L_Q alone.

Reference: Eqs. (1) and (2) of the slides; Goodfellow et al. 2014; the sum of both generator losses after Sonderby
et al. 2017. Its BPD comes from `frozen_decoder.py`.

Deviations: a tanh keeps G(z) in [-1, 1] (decoders with a likelihood end linearly, since mu(z) is in the space
of features y).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from cqlib.models import coverage_quality
from cqlib.models.adversarial import AdversarialSystem, CriticConfig
from cqlib.models.base import Losses
from cqlib.models.frozen_decoder import frozen_decoder_stage
from cqlib.nets.conv import Decoder
from cqlib.recipe import Recipe


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

    config: GANConfig

    def __init__(self, config: GANConfig):
        super().__init__(config)
        self.decoder, self.latent_size = self._generator()

    def _generator(self) -> tuple[nn.Module, int]:
        """The net before the tanh, and the size of its z."""
        c = self.config
        return Decoder(c.size, c.widths, c.latent, out_channels=c.image_channels, norm=c.norm), c.latent

    def decode(self, z: Tensor) -> Tensor:
        """G(z): (N, latent_size) -> (N, C, S, S) in [-1, 1]."""
        return torch.tanh(self.decoder(z))

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        return self.decode(torch.randn(n, self.latent_size, device=self.device, generator=generator))

    def generator_losses(self, x: Tensor) -> Losses:
        """L_Q, Eq. (2)."""
        quality = self.quality_loss(self.fakes(x))
        return {"quality": quality, "total": quality}


ROWS, CONFIG, SYSTEM = ("table1/gan",), GANConfig, GAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """Decoder, critic and training of CQ, except for the generator's betas (`gan_training`)."""
    cq = coverage_quality.recipe("table1/cq", profile, size).system
    config = GANConfig(size, cq.widths, cq.critic, latent=cq.latent)
    training = coverage_quality.profile_settings(profile, size).gan_training
    return Recipe(config, training, frozen_decoder_stage(config, profile))
