"""Densities in the plane that are known exactly, for points (x, y) of [-1, 1)^2."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cqlib.util.errors import unknown_name

SEED = 10


class Density:
    """A density on the plane. All numbers are natural logarithms, in float64."""

    def log_prob(self, points: Tensor) -> Tensor:
        """(n, 2) -> (n,): ln p(x, y), -inf outside the support."""
        raise NotImplementedError

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n independent points, float64 (n, 2)."""
        raise NotImplementedError


class GaussianMixture(Density):
    """Equal round Gaussians: p(x) = (1/K) sum_k N(x; centre_k, sigma^2 I), `centres` (K, 2)."""

    def __init__(self, centres: Tensor, sigma: float) -> None:
        self.centres = centres.double()
        self.sigma = sigma

    def log_prob(self, points: Tensor) -> Tensor:
        # the matrix product that cdist prefers would lose digits
        r = torch.cdist(points.double(), self.centres, compute_mode="donot_use_mm_for_euclid_dist")
        log_normal = -0.5 * (r / self.sigma) ** 2 - math.log(2 * math.pi) - 2 * math.log(self.sigma)
        return torch.logsumexp(log_normal, 1) - math.log(len(self.centres))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        which = torch.randint(len(self.centres), (n,), generator=generator)
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return self.centres[which] + self.sigma * noise


class TwoMoons(Density):
    """Two half rings that clasp each other: p(x) = 1/2 sum over moons of N(r; R, sigma^2) / (pi r), r the distance from
    the moon's centre."""

    RADIUS, SIGMA = 0.5, 0.05
    CENTRES = torch.tensor([[-0.25, -0.125], [0.25, 0.125]], dtype=torch.float64)

    def log_prob(self, points: Tensor) -> Tensor:
        dx, dy = (points.double() - self.CENTRES[:, None]).unbind(-1)  # (2, n): from each moon's centre
        r = torch.hypot(dx, dy).clamp(min=1e-12)
        z = (r - self.RADIUS) / self.SIGMA
        moon = (-0.5 * z * z).exp() / (math.sqrt(2 * math.pi) * self.SIGMA * math.pi * r)
        return (0.5 * torch.where(torch.stack([dy[0] >= 0, dy[1] < 0]), moon, 0.0)).sum(0).log()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        which = torch.randint(2, (n,), generator=generator)
        angle = math.pi * (torch.rand(n, generator=generator, dtype=torch.float64) + which)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        r = (self.RADIUS + self.SIGMA * noise)[:, None]  # r < 0 is ten sigma away
        return self.CENTRES[which] + r * torch.stack([angle.cos(), angle.sin()], 1)


class Checkerboard(Density):
    """Uniform over the 8 dark squares of a 4 x 4 board on [-0.75, 0.75)^2."""

    HALF, SQUARE = 0.75, 0.375

    def __init__(self) -> None:
        dark = [(i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0]
        self.middles = (torch.tensor(dark, dtype=torch.float64) + 0.5) * self.SQUARE - self.HALF

    def log_prob(self, points: Tensor) -> Tensor:
        index = ((points.double() + self.HALF) / self.SQUARE).floor()
        dark = ((index >= 0) & (index < 4)).all(1) & (index.sum(1) % 2 == 0)
        inside = torch.tensor(-math.log(8 * self.SQUARE**2), dtype=torch.float64)
        return torch.where(dark, inside, -math.inf)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        which = torch.randint(8, (n,), generator=generator)
        inside = torch.rand(n, 2, generator=generator, dtype=torch.float64) - 0.5
        return self.middles[which] + self.SQUARE * inside


def _eight_gaussians() -> Density:
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return GaussianMixture(0.65 * torch.stack([angle.cos(), angle.sin()], 1), 0.05)


def _grid() -> Density:
    axis = torch.linspace(-0.7, 0.7, 5, dtype=torch.float64)
    return GaussianMixture(torch.cartesian_prod(axis, axis), 0.03)


def _spiral() -> Density:
    turn = torch.linspace(0.15, 1, 60, dtype=torch.float64).sqrt()  # even spacing along the arm
    arm = 0.8 * turn[:, None] * torch.stack([(3 * math.pi * turn).cos(), (3 * math.pi * turn).sin()], 1)
    return GaussianMixture(torch.cat([arm, -arm]), 0.03)


DENSITIES: dict[str, Callable[[], Density]] = {
    "eight-gaussians": _eight_gaussians,
    "grid": _grid,
    "two-moons": TwoMoons,
    "spiral": _spiral,
    "checkerboard": Checkerboard,
}
DEFAULT = "eight-gaussians"


def density(name: str = DEFAULT) -> Density:
    """The density called `name`; UsageError, with the nearest name, for an unknown one."""
    if name not in DENSITIES:
        raise unknown_name("density", name, DENSITIES)
    return DENSITIES[name]()
