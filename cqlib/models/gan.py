"""GAN: the decoder's mean as generator, trained by L_Q alone.

Reference: Eqs. (1) and (2) of the slides; Goodfellow et al. 2014; the sum of both generator losses after Sonderby
et al. 2017. Its BPD comes from `frozen_decoder.py`.

Deviations: a tanh keeps G(z) in [-1, 1] (decoders with a likelihood end linearly, since mu(z) is in the space
of features y).
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from cqlib.models import cq
from cqlib.models.base import Losses, System
from cqlib.models.cq import CriticConfig
from cqlib.models.frozen_decoder import frozen_decoder_stage
from cqlib.nets.conv import Decoder
from cqlib.recipe import Recipe, TrainingConfig


@dataclass(frozen=True)
class GANConfig:
    """Generator and critic."""

    size: int
    widths: tuple[int, ...]
    critic: CriticConfig
    latent: int = 64
    image_channels: int = 3


class GAN(System):
    """Deterministic x = G_theta(z), z ~ N(0, I): low-dimensional support and no likelihood."""

    config: GANConfig
    critic: nn.Module

    def __init__(self, config: GANConfig):
        super().__init__(config)
        self.critic = cq.make_critic(config.critic, config.size, config.image_channels)
        self.decoder, self.latent_size = self.make_generator()

    def make_generator(self) -> tuple[nn.Module, int]:
        """The net before the tanh, and the size of its z."""
        c = self.config
        return Decoder(c.size, c.widths, c.latent, out_channels=c.image_channels), c.latent

    def decode(self, z: Tensor) -> Tensor:
        """G(z): (N, latent_size) -> (N, C, S, S) in [-1, 1]."""
        return torch.tanh(self.decoder(z))

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        return self.decode(torch.randn(n, self.latent_size, device=self.device, generator=generator))

    def generator_losses(self, x: Tensor) -> Losses:
        """L_Q, Eq. (2)."""
        quality = cq.quality_loss(self.critic, self.fakes(x))
        return {"quality": quality, "total": quality}

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """Eq. (1) on real and generated images, and the gradient penalty on their interpolates."""
        return cq.critic_losses(self, x, step)


ROWS, CONFIG, SYSTEM = ("table1/gan",), GANConfig, GAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """Decoder and critic of CQ."""
    nets = cq.recipe("table1/cq", profile, size).system
    config = GANConfig(size, nets.widths, nets.critic, latent=nets.latent)
    return Recipe(config, training(profile, size), frozen_decoder_stage(config, profile))


def training(profile: str, size: int) -> TrainingConfig:
    """CQ's steps, batches and rates; the critic's betas for both nets; no clipping, which is for the likelihood."""
    of_cq = cq.training(profile, size)
    return replace(of_cq, betas=of_cq.critic_betas or of_cq.betas, critic_betas=None, gradient_clip=None)
