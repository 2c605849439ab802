"""Mixtures of a few Gaussians on the line or in the plane, whose divergences are numbers without sampling noise.

    p(x) = sum_k w_k N(x; m_k, L_k L_k^T)

An expectation under p is a sum over components of the trapezoidal rule in each component's own coordinates, which
converges geometrically for the smooth integrands of these lessons.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from cqlib.lessons import toy2d

REACH = 9.0
"""How far quadrature reaches from a component's mean, in standard deviations; it leaves out 1e-18 of the mass."""
NODES = {1: 1801, 2: 121}
FINE = {1: 7201, 2: 161}
"""Dimensions -> quadrature nodes per dimension: for integrals, and for regions, whose borders fall between nodes."""


@functools.cache
def _standard(dimensions: int, n: int) -> tuple[Tensor, Tensor]:
    """Nodes (n^d, d) and weights (n^d,) for a standard normal."""
    axis = torch.linspace(-REACH, REACH, n, dtype=torch.float64)
    points = torch.cartesian_prod(*[axis] * dimensions).view(-1, dimensions)
    weights = (-0.5 * points.square().sum(1)).exp()
    return points, weights / weights.sum()


@dataclass(frozen=True)
class Gaussians:
    """A mixture of K Gaussians, float64: `weights` (K,) that sum to 1, `means` (K, d), lower-triangular `roots` L
    (K, d, d); d is 1 or 2."""

    weights: Tensor
    means: Tensor
    roots: Tensor

    @property
    def dimensions(self) -> int:
        """d."""
        return self.means.shape[1]

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p(x) of points (n, d); -> (n,)."""
        centred = (x - self.means[:, None]).mT  # (K, d, n)
        white = torch.linalg.solve_triangular(self.roots, centred, upper=False)
        log_normal = -0.5 * white.square().sum(1) - 0.5 * self.dimensions * math.log(2 * math.pi)
        log_volume = self.roots.diagonal(dim1=1, dim2=2).log().sum(1)
        return torch.logsumexp(log_normal + (self.weights.log() - log_volume)[:, None], 0)

    def nodes(self, n: int | None = None) -> tuple[Tensor, Tensor]:
        """Points (N, d) and weights (N,) such that sum_i w_i f(x_i) = E_p[f(x)], with n nodes per dimension."""
        points, weights = _standard(self.dimensions, n or NODES[self.dimensions])
        x = self.means[:, None] + points @ self.roots.mT
        return x.flatten(0, 1), (self.weights[:, None] * weights).flatten()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent points (n, d)."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dimensions, 1, generator=generator, dtype=torch.float64)
        return self.means[which] + (self.roots[which] @ noise)[..., 0]

    def even(self, n: int) -> Tensor:
        """About n points (n, 1) of a density on the line, spread as evenly as its mass: the middles of w_k n equal
        parts of the mass of component k. A plain mean over them is an expectation, to about 1e-4 for n = 100,000."""
        parts = []
        for weight, mean, root in zip(self.weights, self.means, self.roots, strict=True):
            share = round(float(weight) * n)
            middles = (torch.arange(share, dtype=torch.float64) + 0.5) / share
            parts.append(mean + root[0, 0] * torch.special.ndtri(middles))
        return torch.cat(parts)[:, None]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and covariance (d, d)."""
        mean = self.weights @ self.means
        off = self.means - mean
        within = (self.weights[:, None, None] * (self.roots @ self.roots.mT)).sum(0)
        return mean, within + (self.weights[:, None] * off).T @ off


def gaussian(mean: Tensor, root: Tensor) -> Gaussians:
    """The single Gaussian N(mean, root root^T) of mean (d,) and root (d, d)."""
    return Gaussians(torch.ones(1, dtype=torch.float64), mean[None], root[None])


def on_line(means: Sequence[float], sigmas: Sequence[float], weights: Sequence[float]) -> Gaussians:
    """A mixture on the line; weights are scaled to sum to 1."""
    w, m, s = (torch.tensor(values, dtype=torch.float64) for values in (weights, means, sigmas))
    return Gaussians(w / w.sum(), m[:, None], s[:, None, None])


def in_plane(name: str) -> Gaussians:
    """A density of `cqlib.lessons.toy2d` that is a mixture of Gaussians, say "eight-gaussians"."""
    mixture = cast(toy2d.GaussianMixture, toy2d.density(name))
    k = len(mixture.centres)
    roots = mixture.sigma * torch.eye(2, dtype=torch.float64).expand(k, 2, 2)
    return Gaussians(torch.full((k,), 1 / k, dtype=torch.float64), mixture.centres, roots)


def kl(p: Gaussians, q: Gaussians, n: int | None = None) -> Tensor:
    """KL(p || q) = E_p[ln p(x) - ln q(x)] in nats, a scalar that autograd can differentiate for both."""
    x, weights = p.nodes(n)
    return weights @ (p.log_prob(x) - q.log_prob(x))


def entropy(p: Gaussians) -> Tensor:
    """h(p) = -E_p[ln p(x)] in nats."""
    x, weights = p.nodes()
    return -(weights @ p.log_prob(x))


def jensen_shannon(p: Gaussians, q: Gaussians) -> Tensor:
    """JS(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, between 0 and ln 2 nats."""
    m = mixed(p, q, 0.5)
    return 0.5 * (kl(p, m) + kl(q, m))


def mixed(p: Gaussians, q: Gaussians, share: float) -> Gaussians:
    """(1 - share) p + share q."""
    weights = torch.cat([(1 - share) * p.weights, share * q.weights])
    return Gaussians(weights, torch.cat([p.means, q.means]), torch.cat([p.roots, q.roots]))


def region_level(p: Gaussians) -> float:
    """ln p at the border of p's smallest region that holds 99 % of its mass."""
    x, weights = p.nodes(FINE[p.dimensions])
    log_p, order = p.log_prob(x).sort(descending=True)
    return float(log_p[torch.searchsorted(weights[order].cumsum(0), 0.99)])


def inside(p: Gaussians, q: Gaussians) -> float:
    """The share of p in the region of `region_level(q)`; good to about 1e-3 on the line, 3e-3 in the plane."""
    x, weights = p.nodes(FINE[p.dimensions])
    return float(weights[q.log_prob(x) >= region_level(q)].sum())
