"""The smallest decoder with independent pixels, mu(z) = m + W z and one sigma: posterior and likelihood are exact.

Reference: Tipping and Bishop, "Probabilistic principal component analysis", JRSS B 61, 1999, Eqs. (2) to (8).
"""

import functools
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal

from cqlib.data.dataset import Dataset
from cqlib.models.variational import Inference
from cqlib.pixels import dequantise
from cqlib.util.errors import UserError


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and covariance (D, D) of images in [-1, 1), float64, and their `shape` (C, H, W)."""

    mean: Tensor
    covariance: Tensor
    shape: tuple[int, ...]

    @functools.cached_property
    def principal(self) -> tuple[Tensor, Tensor]:
        """Variances (D,) along the principal directions, the smallest first, and the directions, columns of (D, D)."""
        variances, directions = torch.linalg.eigh(self.covariance)
        return variances, directions


def moments(v: Tensor) -> Moments:
    """The `Moments` of dequantised images v (N, C, H, W) in [-1, 1)."""
    x = v.flatten(1)
    mean, covariance = x.mean(0, dtype=torch.float64), torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for part in x.split(1000):  # float64 of all images at once takes hundreds of megabytes
        deviations = part.double() - mean
        covariance += deviations.T @ deviations / len(x)
    return Moments(mean, covariance, tuple(v.shape[1:]))


def training_moments(images: Dataset) -> Moments:
    """Mean and covariance of the training images. UserError where they are too few for a covariance."""
    required = images.train.images[0].numel() + 1
    if len(images.train) < required:
        raise UserError(f"{images.name}: a full covariance takes {required:,} training images or more")
    return moments(dequantise(images.train.images, generator=Generator().manual_seed(0)))


@dataclass(frozen=True)
class LinearDecoder:
    """z ~ N(0, I) of k dimensions, x = m + W z + noise of covariance Sigma: `weights` W (D, k), `noise` Sigma (D, D),
    float64. Images are (N, C, H, W) in [-1, 1)."""

    images: Moments
    weights: Tensor
    noise: Tensor

    @functools.cached_property
    def marginal(self) -> MultivariateNormal:
        """p(x) = N(m, W W^T + Sigma), of flat images."""
        return MultivariateNormal(self.images.mean, self.weights @ self.weights.T + self.noise)

    def infer(self, v: Tensor, generator: Generator | None = None) -> Inference:
        """A draw from the true posterior p(z|v) = N(A (v - m), I - A W), A = W^T (W W^T + Sigma)^-1."""
        gain = torch.cholesky_solve(self.weights, self.marginal.scale_tril).T
        unit, zero = torch.eye(len(gain), dtype=gain.dtype), gain.new_zeros(len(gain))
        prior, error = MultivariateNormal(zero, unit), MultivariateNormal(zero, unit - gain @ self.weights)
        noise = torch.randn(len(v), len(gain), generator=generator, dtype=gain.dtype) @ error.scale_tril.T
        z = (v.flatten(1).double() - self.images.mean) @ gain.T + noise
        return Inference(z, {}, prior.log_prob(z) - error.log_prob(noise))

    def prior(self, n: int, generator: Generator | None = None) -> Tensor:
        """n draws of z ~ N(0, I), (n, k)."""
        return torch.randn(n, self.weights.shape[1], generator=generator, dtype=self.weights.dtype)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """mu(z), and the log of each pixel's standard deviation: two of (N, C, H, W)."""
        mean = (self.images.mean + z @ self.weights.T).float().view(-1, *self.images.shape)
        log_sigma = 0.5 * self.noise.diagonal().log().float().view(self.images.shape)
        return mean, log_sigma.expand_as(mean)

    def noise_like(self, mean: Tensor, generator: Generator | None = None) -> Tensor:
        """Noise of covariance Sigma for means (N, C, H, W)."""
        eps = torch.randn(len(mean), len(self.noise), generator=generator, dtype=torch.float64)
        return (eps @ torch.linalg.cholesky(self.noise).T).float().view_as(mean)

    def features(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """y = x and ln |det| = 0: no f here."""
        return v, v.new_zeros(len(v))

    def image(self, y: Tensor) -> Tensor:
        """x = y."""
        return y

    def log_prob(self, v: Tensor) -> Tensor:
        """ln p(v), exactly; (N, C, H, W) -> float64 (N,)."""
        return self.marginal.log_prob(v.flatten(1).double())


def fit(images: Moments, latent: int) -> LinearDecoder:
    """The maximum-likelihood decoder with a code of `latent` < D dimensions and Sigma = sigma^2 I. sigma^2 is the mean
    variance of the directions that have no code; along the others W W^T adds what their variance exceeds it by."""
    variances, directions = images.principal
    codes = slice(len(variances) - latent, None)
    sigma2 = variances[: codes.start].mean()
    weights = directions[:, codes] * (variances[codes] - sigma2).sqrt()
    return LinearDecoder(images, weights, sigma2 * torch.eye(len(variances), dtype=torch.float64))


def correlated(decoder: LinearDecoder) -> LinearDecoder:
    """The decoder with the same W, and as Sigma the covariance of x - mu(z) with z ~ p(z|x). For the decoder of `fit`
    that is S - W W^T, with S the covariance of the images."""
    return replace(decoder, noise=decoder.images.covariance - decoder.weights @ decoder.weights.T)
