"""A VAE whose decoder models correlations between pixels: a Gaussian p(x|z) that does not factorise.

Reference: the slides name "full covariance" decoders beside factorised ones and no more; the rest is the VAE of Table 1
(`coverage_quality.py`), its encoder, decoder and training.

| `rank` | p(x given z) |
|---|---|
| k | N(mu(z), diag(sigma(z)^2) + L(z) L(z)^T), L of k columns |
| None | N(mu(z), S R S), S = diag(sigma(z)), R any, but the same for all z |

Deviations:
- A covariance that is full and depends on z would take D (D + 1) / 2 outputs of the decoder, 295,296 at 16 pixels: it
  is of low rank beyond its diagonal, or its correlations are shared.
- L starts small, at `FACTOR_START` times the decoder's output; at 0 it would have no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from cqlib import losses
from cqlib.models import coverage_quality
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.models.hybrid import CoverageQualityConfig, mean_and_log_sigma
from cqlib.nets.conv import Decoder
from cqlib.nets.distributions import Whitening, low_rank_log_density
from cqlib.recipe import Recipe

FACTOR_START = 0.1


@dataclass(frozen=True)
class FullCovarianceConfig(CoverageQualityConfig):
    """The VAE's config, and the columns of L(z), None for correlations that are full and shared."""

    rank: int | None = 8


class VAEFullCovariance(CoverageQuality):
    """z ~ N(0, I), x = mu(z) + L(z) a + sigma(z) eps with a and eps of N(0, I); or with eps of covariance R."""

    config: FullCovarianceConfig

    def __init__(self, config: FullCovarianceConfig):
        super().__init__(config)
        c = config
        self.whitening: Whitening | None = None
        if c.rank is None:
            self.whitening = Whitening(self.shape[0] * c.size**2)
        else:
            channels = (2 + c.rank) * c.image_channels
            self.decoder = Decoder(c.size, c.widths, c.latent, out_channels=channels, norm=c.norm)

    def raw_decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, 2 C, S, S)."""
        return self.decoder(z)[:, : 2 * self.shape[0]]

    def decode_all(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """mu(z) and ln sigma(z), two of (N, C, S, S), and L(z)^T, (N, rank, C, S, S), of rank 0 without L."""
        raw = self.decoder(z)
        own = 2 * self.shape[0]
        factors = FACTOR_START * raw[:, own:].unflatten(1, (self.config.rank or 0, self.shape[0]))
        return *mean_and_log_sigma(raw[:, :own], self.config.sigma_floor), factors

    def log_density(self, v: Tensor, z: Tensor) -> Tensor:
        """ln p(v|z) of dequantised images v (N, C, S, S); -> (N,)."""
        y, log_det = self.features(v)
        mean, log_sigma, factors = self.decode_all(z)
        if self.whitening is None:
            parts = ((y - mean).flatten(1), log_sigma.flatten(1), factors.flatten(2))
            return low_rank_log_density(*parts) + log_det
        white = self.whitening(((y - mean) * (-log_sigma).exp()).flatten(1))
        zero = white.new_zeros(())
        return losses.gaussian_log_density(white, zero, zero) - log_sigma.flatten(1).sum(1) + log_det

    def generate(self, n: int, *, temperature: float, generator: Generator | None = None) -> Tensor:
        """x = mu(z) + T (sigma(z) eps + L(z) a), not clamped; differentiable."""
        mean, log_sigma, factors = self.decode_all(self.prior(n, generator))
        if temperature == 0:
            return self.image(mean)
        eps = torch.randn(mean.shape, device=mean.device, generator=generator)
        if self.whitening is not None:
            eps = self.whitening.inverse(eps.flatten(1)).view_as(eps)
        a = torch.randn(factors.shape[:2], device=mean.device, generator=generator)
        noise = log_sigma.exp() * eps + (a[:, :, None, None, None] * factors).sum(1)
        return self.image(mean + temperature * noise)


ROWS, CONFIG, SYSTEM = ("extra/vae-full-covariance",), FullCovarianceConfig, VAEFullCovariance
RANK = {"smoke": 2, "quick": 8, "study": 8, "paper": 16}


def recipe(row: str, profile: str, size: int) -> Recipe:
    """Config and training of the VAE in a profile, at `size` pixels, and the rank."""
    vae = coverage_quality.recipe("table1/vae", profile, size)
    shared = {f.name: getattr(vae.system, f.name) for f in fields(vae.system)}
    return Recipe(FullCovarianceConfig(**shared, rank=RANK[profile]), vae.training)
