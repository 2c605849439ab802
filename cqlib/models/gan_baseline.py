"""The GANs of Table 3: x = G(z), z ~ N(0, I), trained by a critic alone; BPD comes from `frozen_decoder.py`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Generator, Tensor, nn

from cqlib.models.base import Losses, System, frozen
from cqlib.nets.conv import pyramid
from cqlib.nets.precision import at_least_fp32
from cqlib.pixels import dequantise
from cqlib.recipe import TrainingConfig


@dataclass(frozen=True)
class GANBaselineConfig:
    """The fields that the configs of all GAN baselines share."""

    size: int
    _: KW_ONLY
    latent: int = 128
    image_channels: int = 3


class GANBaseline(System):
    """A generator and a critic. Subclasses give `critic_losses`, and `generator_loss` or `generator_losses`."""

    config: GANBaselineConfig
    critic: nn.Module

    def __init__(self, config: GANBaselineConfig, generator: nn.Module, critic: nn.Module):
        """`generator` maps codes (N, latent) to images (N, C, S, S) in [-1, 1]."""
        super().__init__(config)
        self.generator = generator
        self.critic = critic

    def codes(self, n: int, generator: Generator | None = None) -> Tensor:
        """z ~ N(0, I), (n, latent)."""
        return torch.randn(n, self.config.latent, device=self.device, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        """G(z): (N, latent) -> (N, C, S, S) in [-1, 1]. Where the paper draws other codes, z is mapped to them here."""
        return at_least_fp32(self.generator(z))

    def fakes(self, n: int) -> Tensor:
        """G(z) for n codes, differentiable."""
        return self.decode(self.codes(n))

    @torch.no_grad()
    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images in [-1, 1]; there is no decoder noise for a temperature to scale."""
        return self.decode(self.codes(n, generator)).clamp(-1, 1)

    def real_and_fake(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, C, S, S) -> the images dequantised, and as many generated ones without their graph."""
        with torch.no_grad():
            fake = self.fakes(len(x))
        return dequantise(x), fake

    def generator_loss(self, fake_scores: Tensor) -> Tensor:
        """The loss of the generator from the critic's output on generated images; (N,) -> scalar."""
        raise NotImplementedError

    def generator_losses(self, x: Tensor) -> Losses:
        """`generator_loss` on as many samples as there are images; the critic's parameters get no gradient."""
        fake = self.fakes(len(x))
        with frozen(self.critic):
            loss = self.generator_loss(self.critic(fake))
        return {"generator": loss, "total": loss}


ADAM = TrainingConfig(steps=100_000, learning_rate=2e-4, ema=0.0, flips=False, autocast="off", log_every=200)
"""What the papers' trainings share."""


def cnn_widths(profile: str, size: int) -> tuple[int, ...]:
    """Widths of the standard CNN, from the finest resolution to the bottom."""
    return pyramid({"paper": 64, "study": 32, "quick": 32, "smoke": 8}[profile], size)[:4]


