"""Residuals of a decoder, y - mu(z) with z ~ q(z|x), and their distance from the noise of its model.

For a factorised Gaussian decoder e = (y - mu(z)) / sigma(z) is N(0, I). Let C be the second moments of the e of real
images. On average over these images a Gaussian of covariance C is better by

    KL(N(0, C) || N(0, I)) = 1/2 sum_i (C_ii - 1 - ln C_ii)  -  1/2 ln det R,   R = the correlations in C,

nats: the first part is for wrong scales, the second for neglected correlations, and neither is ever negative.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cqlib import losses
from cqlib.lessons.factorised_decoders.linear_decoder import LinearDecoder, log_normal
from cqlib.models.hybrid import HybridModel
from cqlib.pixels import LN_LEVELS, dequantise

BATCH = 250
Decoder = LinearDecoder | HybridModel


@dataclass(frozen=True)
class Reconstruction:
    """Images x, features y = f(x), and the decoder's mu(z) and ln sigma(z) for one z ~ q(z|x) each: (N, C, H, W)."""

    x: Tensor
    y: Tensor
    mean: Tensor
    log_sigma: Tensor
    image_of_mean: Tensor
    """f^-1(mu(z))."""
    log_det: Tensor
    """ln |det df/dx|, (N,)."""
    log_ratio: Tensor
    """ln p(z) - ln q(z|x) at the draw, (N,)."""

    @property
    def residual(self) -> Tensor:
        """y - mu(z)."""
        return self.y - self.mean

    @property
    def image_residual(self) -> Tensor:
        """x - f^-1(mu(z)); without f the same as `residual`."""
        return self.x - self.image_of_mean

    @functools.cached_property
    def standardised(self) -> Tensor:
        """e = (y - mu(z)) / sigma(z)."""
        return self.residual * (-self.log_sigma).exp()

    @property
    def nats(self) -> Tensor:
        """-ln p(x, z) / q(z|x) in units of 8-bit cells, (N,): its mean is the bound L_C."""
        log_p = losses.decoder_log_density(self.y, self.log_det, self.mean, self.log_sigma)
        return self.x[0].numel() * LN_LEVELS - log_p - self.log_ratio


@torch.no_grad()
def reconstruct(decoder: Decoder, images: Tensor, seed: int = 0) -> Reconstruction:
    """Images uint8 (N, C, H, W) with one draw of u and z each."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for batch in images.split(BATCH):
        v = dequantise(batch, generator=generator)
        q = decoder.infer(v, generator)
        mean, log_sigma = decoder.decode(q.z)
        y, log_det = decoder.features(v)
        parts.append((v, y, mean, log_sigma, decoder.image(mean), log_det, q.log_ratio))
    return Reconstruction(*(torch.cat(column) for column in zip(*parts, strict=True)))


def offset_correlation(r: Tensor, down: int, across: int) -> float:
    """The correlation between values of r (N, C, H, W) that are `down` and `across` pixels apart, in one colour: over
    the N images at every place, and then the mean over places and colours."""
    h, w = r.shape[2:]
    r = r - r.mean(0)
    a, b = r[:, :, : h - down, : w - across], r[:, :, down:, across:]
    return float(((a * b).mean(0) / (a.square().mean(0) * b.square().mean(0)).sqrt()).mean())


def distance_correlations(r: Tensor, distances: Sequence[int]) -> list[float]:
    """`offset_correlation` at each distance in pixels, the mean of across and down."""
    return [(offset_correlation(r, d, 0) + offset_correlation(r, 0, d)) / 2 for d in distances]


def neighbour_correlation(r: Tensor) -> float:
    """The correlation of values of r (N, C, H, W) at a distance of one pixel."""
    return distance_correlations(r, [1])[0]


def colour_correlation(r: Tensor) -> float:
    """The mean correlation between two colours of one pixel, of r (N, C, H, W)."""
    r = r - r.mean(0)
    r = r / r.square().mean(0).sqrt()
    pairs = [(i, j) for i in range(r.shape[1]) for j in range(i)]
    return float(sum((r[:, i] * r[:, j]).mean() for i, j in pairs) / len(pairs))


def excess_kurtosis(r: Tensor) -> float:
    """E[r^4] / E[r^2]^2 - 3 of each value of r (N, ...) about its mean, then the mean over values: 0 if Gaussian."""
    r = (r - r.mean(0)).double()
    return float((r.pow(4).mean(0) / r.square().mean(0).square()).mean() - 3)


@dataclass(frozen=True)
class Covariance:
    """Second moments C of standardised residuals, float64 (D, D), and the gain of N(0, C) over N(0, I)."""

    matrix: Tensor

    @functools.cached_property
    def root(self) -> Tensor:
        """The lower-triangular root of C."""
        return torch.linalg.cholesky(self.matrix)

    @property
    def scales(self) -> float:
        """1/2 sum_i (C_ii - 1 - ln C_ii), nats per image."""
        c = self.matrix.diagonal()
        return float(0.5 * (c - 1 - c.log()).sum())

    @property
    def correlations(self) -> float:
        """-1/2 ln det R, nats per image."""
        return float(0.5 * self.matrix.diagonal().log().sum() - self.root.diagonal().log().sum())

    def gain(self, e: Tensor) -> Tensor:
        """ln N(e; 0, C) - ln N(e; 0, I) of standardised residuals e (N, C, H, W); -> (N,), nats."""
        e = e.flatten(1).double()
        independent = -0.5 * e.square().sum(1) - 0.5 * e.shape[1] * math.log(2 * math.pi)
        return log_normal(e, self.root) - independent

    def whiten(self, e: Tensor) -> Tensor:
        """L^-1 e, flat (N, D): uncorrelated, if C is the covariance of e."""
        return torch.linalg.solve_triangular(self.root, e.flatten(1).double().T, upper=False).T


def covariance(e: Tensor) -> Covariance:
    """Of standardised residuals e (N, C, H, W); N must exceed C H W."""
    e = e.flatten(1).double()
    return Covariance(e.T @ e / len(e))
