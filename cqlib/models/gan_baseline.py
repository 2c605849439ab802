"""The GANs of Table 3: x = G(z), z ~ N(0, I), trained by a critic alone; BPD comes from `frozen_decoder.py`.

Deviations: `quick` and `study` have narrower nets, batches of 64 or 16 and far fewer images, with the papers'
optimisers. They also have what Table 1's rows have and most of the papers lack: averaged weights, flips, and learning
rates that fall to 0 over the second half.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from cqlib import losses
from cqlib.models.base import Losses, System, frozen
from cqlib.nets.conv import pyramid
from cqlib.pixels import dequantise


@dataclass(frozen=True)
class GANBaselineConfig:
    """The fields that the configs of all GAN baselines share."""

    size: int
    _: KW_ONLY
    latent: int = 128
    image_channels: int = 3


@dataclass(frozen=True)
class TwoNetsConfig(GANBaselineConfig):
    """`widths` of the generator and of the `critic`, from the finest resolution on."""

    widths: tuple[int, ...]
    critic: tuple[int, ...]


class GANBaseline(System):
    """A generator and a critic, by default trained by cross-entropy."""

    config: GANBaselineConfig
    critic: nn.Module
    real: Any = staticmethod(dequantise)
    """uint8 images (N, C, S, S) -> what the critic sees of them."""
    discriminator_loss: Any = staticmethod(losses.discriminator_loss)
    generator_loss: Any = staticmethod(losses.non_saturating_generator_loss)
    """`discriminator_loss(real, fake)` and `generator_loss(fake)` take the critic's outputs, each (N,), on real and on
    generated images, and return a scalar."""

    def __init__(self, config: GANBaselineConfig, generator: nn.Module, critic: nn.Module):
        """`generator` maps codes (N, latent) to images (N, C, S, S) in [-1, 1]."""
        super().__init__(config)
        self.generator = generator
        self.critic = critic

    def prior(self, n: int, generator: Generator | None = None) -> Tensor:
        """z ~ N(0, I), (n, latent)."""
        return torch.randn(n, self.config.latent, device=self.device, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        """G(z): (N, latent) -> (N, C, S, S) in [-1, 1]. Where the paper draws other codes, z is mapped to them here."""
        return self.generator(z)

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        return self.decode(self.prior(n, generator))

    def real_and_fake(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the critic sees of uint8 images x (N, C, S, S), and as many generated images, without gradient."""
        with torch.no_grad():
            fake = self.fakes(x)
        return self.real(x), fake

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """`discriminator_loss` of real and generated images, which pass the critic one after the other."""
        real, fake = self.real_and_fake(x)
        loss = self.discriminator_loss(self.critic(real), self.critic(fake))
        return {"discriminator": loss, "total": loss}

    def generator_losses(self, x: Tensor) -> Losses:
        """`generator_loss` on as many samples as there are images; the critic's parameters get no gradient."""
        fake = self.fakes(x)
        with frozen(self.critic):
            loss = self.generator_loss(self.critic(fake))
        return {"generator": loss, "total": loss}


def cnn_widths(profile: str, size: int) -> tuple[int, ...]:
    """Widths of the standard CNN, from the finest resolution to the bottom."""
    return pyramid({"paper": 64, "study": 32, "quick": 32, "smoke": 8}[profile], size)[:4]
