"""Residuals of a decoder, y - mu(z) with z ~ q(z|x), and how they differ from the noise that it assumes.

For a factorised Gaussian decoder e = (y - mu(z)) / sigma(z) is N(0, I).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from cqlib import losses
from cqlib.models.cq import CoverageQuality
from cqlib.pixels import LN_LEVELS, dequantise
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.lessons.linear_decoder import LinearDecoder

BATCH = 250
Decoder = LinearDecoder | CoverageQuality


@dataclass(frozen=True)
class Reconstruction:
    """Images x, features y = f(x), mu(z) and ln sigma(z) for one z ~ q(z|x) each, and f^-1(mu(z)): (N, C, H, W).
    `log_det`: ln |det df/dx|, `log_ratio`: ln p(z) - ln q(z|x) at the draw, (N,)."""

    x: Tensor
    y: Tensor
    mean: Tensor
    log_sigma: Tensor
    image_of_mean: Tensor
    log_det: Tensor
    log_ratio: Tensor

    def first(self, n: int) -> "Reconstruction":
        """The reconstruction of the first n images."""
        return Reconstruction(*(values[:n] for values in vars(self).values()))

    def select(self, i: int) -> "Reconstruction":
        """The reconstruction of the i-th image alone."""
        return Reconstruction(*(values[i : i + 1] for values in vars(self).values()))

    def draw(self, generator: Generator) -> Tensor:
        """y = mu(z) + sigma(z) eps with eps ~ N(0, I), (N, C, H, W)."""
        return self.mean + self.log_sigma.exp() * torch.randn(self.mean.shape, generator=generator)

    @property
    def residual(self) -> Tensor:
        """y - mu(z)."""
        return self.y - self.mean

    @property
    def image_residual(self) -> Tensor:
        """x - f^-1(mu(z)); without f the same as `residual`."""
        return self.x - self.image_of_mean

    @property
    def standardised(self) -> Tensor:
        """e = (y - mu(z)) / sigma(z)."""
        return self.residual * (-self.log_sigma).exp()

    @property
    def nats(self) -> Tensor:
        """-ln p(x, z) / q(z|x) in units of 8-bit cells, (N,): its mean is the bound L_C."""
        log_p = losses.decoder_log_density(self.y, self.log_det, self.mean, self.log_sigma)
        return self.x[0].numel() * LN_LEVELS - log_p - self.log_ratio


def decoders_of(rows: Sequence[str], models: Mapping[str, ModelAndData]) -> dict[str, Decoder]:
    """Label -> decoder of those `rows` that have a model."""
    return {m.name: m.model for row, m in models.items() if row in rows}


@torch.no_grad()
def _reconstruct_batch(decoder: Decoder, images: Tensor, generator: Generator) -> Reconstruction:
    v = dequantise(images, generator=generator)
    q = decoder.infer(v, generator)
    mean, log_sigma = decoder.decode(q.z)
    y, log_det = decoder.features(v)
    return Reconstruction(v, y, mean, log_sigma, decoder.image(mean), log_det, q.log_ratio)


def reconstruct(decoder: Decoder, images: Tensor, seed: int = 0) -> Reconstruction:
    """The `Reconstruction` of uint8 images (N, C, H, W), with one draw of z and of u, dequantisation's noise, each."""
    generator = Generator().manual_seed(seed)
    parts = [_reconstruct_batch(decoder, batch, generator) for batch in images.split(BATCH)]
    return Reconstruction(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))


def flat_residuals(decoder: Decoder, images: Tensor, seed: int = 0) -> Tensor:
    """e = (y - mu(z)) / sigma(z) of uint8 images, flat, (N, D): those of `reconstruct`, and nothing else is kept."""
    generator = Generator().manual_seed(seed)
    parts = (_reconstruct_batch(decoder, batch, generator) for batch in images.split(BATCH))
    return torch.cat([part.standardised.flatten(1) for part in parts])


@torch.no_grad()
def model_noise(decoder: Decoder, reconstruction: Reconstruction) -> Tensor:
    """The decoder's own noise in image space, (N, C, H, W): draws x ~ p(x|z) less f^-1(mu(z)), with the z of
    `reconstruction`."""
    generator = Generator().manual_seed(0)
    if isinstance(decoder, LinearDecoder):
        return decoder.noise_like(reconstruction.mean, generator)
    y = reconstruction.draw(generator)
    return torch.cat([decoder.image(batch) for batch in y.split(BATCH)]) - reconstruction.image_of_mean


def offset_correlation(r: Tensor, down: int, across: int) -> float:
    """The correlation over images of two values of r (N, C, H, W), `down` rows and `across` columns apart; mean over
    places and colours."""
    h, w = r.shape[2:]
    r = r - r.mean(0)
    a, b = r[:, :, : h - down, : w - across], r[:, :, down:, across:]
    return float(((a * b).mean(0) / (a.square().mean(0) * b.square().mean(0)).sqrt()).mean())


def distance_correlations(r: Tensor, distances: Sequence[int]) -> list[float]:
    """For each distance in pixels, the mean of `offset_correlation` that far down and that far across."""
    return [(offset_correlation(r, d, 0) + offset_correlation(r, 0, d)) / 2 for d in distances]


def neighbour_correlation(r: Tensor) -> float:
    """The correlation of values of r (N, C, H, W) at a distance of one pixel."""
    return distance_correlations(r, [1])[0]


def colour_correlation(r: Tensor) -> float:
    """The mean correlation between two colours of one pixel, of r (N, C, H, W)."""
    r = r - r.mean(0)
    r = r / r.square().mean(0).sqrt()
    pairs = torch.combinations(torch.arange(r.shape[1]))
    return float((r[:, pairs[:, 0]] * r[:, pairs[:, 1]]).mean())


def excess_kurtosis(r: Tensor) -> float:
    """E[r^4] / E[r^2]^2 - 3, over N, of each value of r (N, ...) about its mean; mean over values; 0 if Gaussian."""
    r = (r - r.mean(0)).double()
    return float((r.pow(4).mean(0) / r.square().mean(0).square()).mean() - 3)
