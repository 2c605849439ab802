"""Frozen-decoder BPD (bits per dimension), starred in the tables: "obtained using VAE with frozen GAN decoder".

A trained generator G is frozen; an encoder q(z|x) and one isotropic sigma are trained for it:

    z ~ N(0, I),   x ~ N(G(z), sigma^2 I)

This model has full support, so that its ELBO gives a finite bound on the BPD of every image, which G alone does not.

Deviations: the slides say no more than the quoted words. The encoder is like that of the VAE row (for the hierarchical
GAN it is the bottom-up net), and is trained as the VAE row is, for half as many steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from cqlib import losses
from cqlib.models import cq
from cqlib.models.variational import VariationalModel
from cqlib.nets.conv import Encoder
from cqlib.nets.hierarchical import FlatEncoder, HierarchyConfig
from cqlib.recipe import FrozenDecoderStage


@dataclass(frozen=True)
class FrozenDecoderConfig:
    """The encoder that is trained for a generator."""

    size: int
    widths: tuple[int, ...]
    latent: int
    image_channels: int = 3
    sigma_start: float = 0.3


@dataclass(frozen=True)
class HierarchicalFrozenDecoderConfig(FrozenDecoderConfig):
    """The encoder for a generator of hierarchical codes, as in `nets.hierarchical.HierarchyConfig`."""

    blocks: int = 1
    residual: float = 0.1


class FrozenDecoder(VariationalModel):
    """x ~ N(G(z), sigma^2 I) with G fixed; trains the encoder and ln sigma."""

    def __init__(self, config: FrozenDecoderConfig, generator: Any):
        """`generator`, a system, offers `decode(z)`; its parameters are frozen and it stays in evaluation mode."""
        super().__init__(config)
        c = config
        self.generator = generator.requires_grad_(False).eval()
        if isinstance(c, HierarchicalFrozenDecoderConfig):
            layers = HierarchyConfig(c.latent, c.blocks, residual=c.residual)
            self.encoder = FlatEncoder(c.widths, layers, image_channels=c.image_channels)
        else:
            self.encoder = Encoder(c.size, c.widths, c.latent, image_channels=c.image_channels)
        self.log_sigma = nn.Parameter(torch.tensor(math.log(c.sigma_start)))

    def train(self, mode: bool = True) -> FrozenDecoder:
        super().train(mode)
        self.generator.eval()
        return self

    def log_density(self, v: Tensor, z: Tensor) -> Tensor:
        """ln N(v; G(z), sigma^2 I)."""
        return losses.gaussian_log_density(v, self.generator.decode(z), self._log_sigma())

    def _log_sigma(self) -> Tensor:
        """ln sigma, where sigma is at least half an 8-bit cell: a density must not collapse on quantised data."""
        return self.log_sigma.clamp(min=math.log(1 / 256))

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """G(z) plus isotropic noise with a standard deviation of temperature times sigma."""
        mean = self.generator.sample(n, generator=generator)
        noise = torch.randn(mean.shape, device=mean.device, generator=generator)
        return mean + temperature * self._log_sigma().exp() * noise


def frozen_decoder_stage(config: Any, profile: str, encoder: FrozenDecoderConfig | None = None) -> FrozenDecoderStage:
    """The stage for a GAN's `config`: `encoder` (by default one like that of the profile's VAE), and the VAE's training
    for half of its steps."""
    vae = cq.recipe("table1/vae", profile, config.size)
    encoder = encoder or FrozenDecoderConfig(config.size, vae.system.widths, config.latent, config.image_channels)
    return FrozenDecoderStage(encoder, replace(vae.training, steps=vae.training.steps // 2))
