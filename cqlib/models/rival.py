"""What the adversarial rivals of Table 3 share: x = G(z), z ~ N(0, I), and nothing but a critic to train by.

Each rival's file gives its generator, its critic and both losses. A likelihood comes from `frozen_decoder.py` alone.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Generator, Tensor, nn

from cqlib.models.base import System, frozen
from cqlib.models.coverage_quality import scale
from cqlib.models.frozen_decoder import FrozenDecoderConfig
from cqlib.nets.conv import pyramid
from cqlib.nets.precision import at_least_fp32
from cqlib.pixels import dequantise
from cqlib.recipe import FrozenDecoderStage, TrainingConfig


@dataclass(frozen=True)
class RivalConfig:
    """What every rival's config says."""

    size: int
    _: KW_ONLY
    latent: int = 128
    image_channels: int = 3


class Rival(System):
    """A generator and a critic. Subclasses give `critic_losses` and `generator_losses`."""

    critic: nn.Module

    def __init__(self, config: RivalConfig, generator: nn.Module, critic: nn.Module):
        """`generator` maps codes (N, latent) to images (N, C, S, S) in [-1, 1]."""
        super().__init__()
        self.config = config
        self.shape = (config.image_channels, config.size, config.size)
        self.generator = generator
        self.critic = critic

    def codes(self, n: int, generator: Generator | None = None) -> Tensor:
        """z ~ N(0, I), (n, latent)."""
        device = next(self.generator.parameters()).device
        return torch.randn(n, self.config.latent, device=device, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        """G(z): (N, latent) -> (N, C, S, S) in [-1, 1]. A system whose paper draws other codes maps z to them here."""
        return at_least_fp32(self.generator(z))

    def fakes(self, n: int) -> Tensor:
        """G(z) for n codes, with its graph."""
        return self.decode(self.codes(n))

    @torch.no_grad()
    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images in [-1, 1]; there is no decoder noise for a temperature to scale."""
        return self.decode(self.codes(n, generator)).clamp(-1, 1)

    def real_and_fake(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, C, S, S) -> the images dequantised, and as many made ones without their graph."""
        with torch.no_grad():
            fake = self.fakes(len(x))
        return dequantise(x), fake

    def judged(self, n: int) -> Tensor:
        """The critic's output on n fresh samples; the critic's own parameters get no gradient by it."""
        fake = self.fakes(n)
        with frozen(self.critic):
            return self.critic(fake)


def frozen_stage(config: RivalConfig, profile: str) -> FrozenDecoderStage:
    """The starred recipe round a rival: the encoder of the profile's VAE, trained half as long."""
    vae = scale(profile, config.size)
    encoder = FrozenDecoderConfig(config.size, pyramid(vae.base, config.size), config.latent, config.image_channels)
    return FrozenDecoderStage(encoder, replace(vae.training, steps=max(1, vae.training.steps // 2)))


def shortened(paper: TrainingConfig, profile: str, *, quick: int, study: int) -> TrainingConfig:
    """The paper's training in a profile: under `quick` and `study` so many steps of it, in bf16 where that is fast."""
    if profile == "paper":
        return paper
    if profile == "smoke":
        generator_batch = paper.generator_batch and 32
        return replace(paper, steps=20, batch_size=16, generator_batch=generator_batch, log_every=5)
    brief = replace(paper, batch_size=64, autocast="auto", log_every=50)
    return replace(brief, steps=quick, snapshots=3) if profile == "quick" else replace(brief, steps=study)
