"""A VAE whose decoder models correlations between pixels: a Gaussian p(x|z) that does not factorise.

Reference: the slides name it ("First idea: use non-factorial Gaussian") and no more; the rest is the VAE of Table 1
(`cq.py`), its encoder, decoder and training. For the density: Petersen and Pedersen, "The Matrix
Cookbook", 2012, Eqs. (24) and (156) (determinant lemma and Woodbury identity).

    p(x|z) = N(mu(z), diag(sigma(z)^2) + L(z) L(z)^T),   L of `rank` columns

Deviations:
- A full covariance that depends on z would take D (D + 1) / 2 outputs of the decoder, 295,296 at 16 pixels: here it is
  a diagonal plus a matrix of low rank.
- L starts small, at `FACTOR_START` times the decoder's output; at 0 it would have no gradient.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from cqlib.models import cq
from cqlib.models.cq import CoverageQuality, CoverageQualityConfig
from cqlib.nets.conv import Decoder
from cqlib.recipe import Recipe

FACTOR_START = 0.1


def most_exact(device: torch.device) -> torch.dtype:
    """float64; float32 on MPS, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def low_rank_log_density(residual: Tensor, log_sigma: Tensor, factors: Tensor) -> Tensor:
    """ln N(r; 0, diag(sigma^2) + L L^T) of the `residual` r (N, D), for ln sigma (N, D) and L^T = `factors` (N, k, D);
    -> (N,).

    O(D k^2), in fp64. With e = r / sigma and W = L / sigma, the quadratic form is the minimum over a of
    |e - W a|^2 + |a|^2, attained at a = (I + W^T W)^-1 W^T e: a sum of squares, without cancellation. NaN where L is
    not finite.
    """
    with torch.autocast(residual.device.type, enabled=False):
        scale, exact = (-log_sigma).exp(), most_exact(residual.device)
        e = (residual * scale).to(exact)
        w = (factors * scale[:, None]).to(exact)
        identity = torch.eye(w.shape[1], dtype=w.dtype, device=w.device)
        root, failed = torch.linalg.cholesky_ex(identity + w @ w.mT)
        half = torch.linalg.solve_triangular(root, w @ e[..., None], upper=False)  # cholesky_solve may wait for a GPU
        a = torch.linalg.solve_triangular(root.mT, half, upper=True)
        quadratic = (e - (w.mT @ a).squeeze(-1)).square().sum(1) + a.square().sum((1, 2))
        half_log_det = root.diagonal(dim1=1, dim2=2).log().sum(1)
        log_p = -0.5 * quadratic - half_log_det - 0.5 * e.shape[1] * math.log(2 * math.pi)
        return torch.where(failed == 0, log_p, torch.nan).to(residual.dtype) - log_sigma.sum(1)


@dataclass(frozen=True)
class FullCovarianceConfig(CoverageQualityConfig):
    """The VAE's config, and the number of columns of L(z)."""

    rank: int = 8


class VAEFullCovariance(CoverageQuality):
    """z ~ N(0, I), x = mu(z) + L(z) a + sigma(z) eps with a and eps from N(0, I)."""

    config: FullCovarianceConfig

    def make_nets(self) -> None:
        super().make_nets()
        c = self.config
        self.decoder = Decoder(c.size, c.widths, c.latent, out_channels=(2 + c.rank) * c.image_channels)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode_all(z)[:2]

    def decode_all(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """mu(z) and ln sigma(z), two of (N, C, S, S), and L(z)^T, (N, rank, C, S, S)."""
        raw, factors = self.decoder(z).tensor_split([2 * self.shape[0]], dim=1)
        factors = FACTOR_START * factors.unflatten(1, (self.config.rank, self.shape[0]))
        return *self.mean_and_log_sigma(raw), factors

    def log_density(self, v: Tensor, z: Tensor) -> Tensor:
        mean, log_sigma, factors = self.decode_all(z)
        return low_rank_log_density((v - mean).flatten(1), log_sigma.flatten(1), factors.flatten(2))

    def sample_features(self, z: Tensor, temperature: float, generator: Generator | None = None) -> Tensor:
        """x = mu(z) + T (sigma(z) eps + L(z) a), (N, C, S, S), with T = `temperature`, eps and a from N(0, I)."""
        mean, log_sigma, factors = self.decode_all(z)
        if temperature == 0:
            return mean
        eps = torch.randn(mean.shape, device=mean.device, generator=generator)
        a = torch.randn(factors.shape[:2], device=mean.device, generator=generator)
        noise = log_sigma.exp() * eps + (a[:, :, None, None, None] * factors).sum(1)
        return mean + temperature * noise


ROWS, CONFIG, SYSTEM = ("extra/vae-full-covariance",), FullCovarianceConfig, VAEFullCovariance
RANK = {"smoke": 2, "quick": 8, "study": 8, "paper": 16}


def recipe(row: str, profile: str, size: int) -> Recipe:
    """The VAE's recipe, with a decoder that also gives L(z)."""
    vae = cq.recipe("table1/vae", profile, size)
    return Recipe(FullCovarianceConfig(**vars(vae.system), rank=RANK[profile]), vae.training)
