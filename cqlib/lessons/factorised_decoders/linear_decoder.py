"""The smallest decoder with independent pixels, mu(z) = m + W z and one sigma: posterior and likelihood are exact.

Reference: Tipping and Bishop, "Probabilistic principal component analysis", JRSS B 61, 1999, Eqs. (2) to (8).
"""

import functools
import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from cqlib.models.variational import Inference


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and covariance (D, D) of images in [-1, 1), float64, and their `shape` (C, H, W)."""

    mean: Tensor
    covariance: Tensor
    shape: tuple[int, ...]

    @functools.cached_property
    def directions(self) -> tuple[Tensor, Tensor]:
        """Variances (D,) along the principal directions, the columns of (D, D), the largest first."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return values.flip(0), vectors.flip(1)


def moments(v: Tensor) -> Moments:
    """Of dequantised images v (N, C, H, W)."""
    x = v.flatten(1).double()
    mean = x.mean(0)
    x = x - mean
    return Moments(mean, x.T @ x / len(x), tuple(v.shape[1:]))


@dataclass(frozen=True)
class LinearDecoder:
    """z ~ N(0, I) of k dimensions, x = m + W z + noise of covariance Sigma. Images are (N, C, H, W) in [-1, 1)."""

    images: Moments
    weights: Tensor
    """W, float64 (D, k)."""
    noise: Tensor
    """Sigma, float64 (D, D)."""

    @functools.cached_property
    def _roots(self) -> tuple[Tensor, Tensor]:
        """Lower-triangular roots of Sigma and of W W^T + Sigma."""
        total = self.weights @ self.weights.T + self.noise
        return torch.linalg.cholesky(self.noise), torch.linalg.cholesky(total)

    def infer(self, v: Tensor, generator: Generator | None = None) -> Inference:
        """A draw from the true posterior p(z|v) = N(A^-1 W^T Sigma^-1 (v - m), A^-1), A = I + W^T Sigma^-1 W."""
        root = self._roots[0]
        w = torch.linalg.solve_triangular(root, self.weights, upper=False)
        e = torch.linalg.solve_triangular(root, self._centred(v).T, upper=False)
        a = torch.linalg.cholesky(torch.eye(w.shape[1], dtype=w.dtype) + w.T @ w)
        mean = torch.cholesky_solve(w.T @ e, a)
        eps = torch.randn(mean.shape, generator=generator, dtype=w.dtype)
        z = (mean + torch.linalg.solve_triangular(a.T, eps, upper=True)).T
        log_posterior = -0.5 * eps.square().sum(0) + a.diagonal().log().sum()
        return Inference(z, {}, -0.5 * z.square().sum(1) - log_posterior)

    def prior(self, n: int, generator: Generator | None = None) -> Tensor:
        """z ~ N(0, I), (n, k)."""
        return torch.randn(n, self.weights.shape[1], generator=generator, dtype=torch.float64)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """mu(z), and the log of each pixel's standard deviation: two of (N, C, H, W)."""
        mean = (self.images.mean + z @ self.weights.T).float().view(-1, *self.images.shape)
        log_sigma = 0.5 * self.noise.diagonal().log().float().view(self.images.shape)
        return mean, log_sigma.expand_as(mean)

    def noise_like(self, mean: Tensor, generator: Generator | None = None) -> Tensor:
        """Noise of covariance Sigma for means (N, C, H, W)."""
        eps = torch.randn(len(mean), len(self.noise), generator=generator, dtype=torch.float64)
        return (eps @ self._roots[0].T).float().view_as(mean)

    def features(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """y = x and ln |det| = 0: no f here."""
        return v, v.new_zeros(len(v))

    def image(self, y: Tensor) -> Tensor:
        """x = y."""
        return y

    def log_prob(self, v: Tensor) -> Tensor:
        """ln p(v) = ln N(v; m, W W^T + Sigma), exactly; (N, C, H, W) -> float64 (N,)."""
        return log_normal(self._centred(v), self._roots[1])

    def _centred(self, v: Tensor) -> Tensor:
        return v.flatten(1).double() - self.images.mean


def log_normal(residual: Tensor, root: Tensor) -> Tensor:
    """ln N(r; 0, L L^T) of r (N, D) with the lower-triangular root L (D, D); -> (N,)."""
    white = torch.linalg.solve_triangular(root, residual.T, upper=False)
    half_log_det = root.diagonal().log().sum()
    return -0.5 * white.square().sum(0) - half_log_det - 0.5 * len(root) * math.log(2 * math.pi)


def fit(images: Moments, latent: int) -> LinearDecoder:
    """The maximum-likelihood decoder with `latent` < D codes and Sigma = sigma^2 I: sigma^2 is the mean variance of the
    directions that have no code, and W W^T brings the others up to theirs."""
    variances, directions = images.directions
    sigma2 = variances[latent:].mean()
    weights = directions[:, :latent] * (variances[:latent] - sigma2).sqrt()
    return LinearDecoder(images, weights, sigma2 * torch.eye(len(variances), dtype=torch.float64))


def correlated(decoder: LinearDecoder) -> LinearDecoder:
    """The decoder with the same codes and the Sigma that they leave: the covariance of x - mu(z), z ~ p(z|x).
    For the decoder of `fit` that is S - W W^T, with S the covariance of the images."""
    return replace(decoder, noise=decoder.images.covariance - decoder.weights @ decoder.weights.T)
