"""Distances between two densities of the plane, by quadrature on a square lattice.

For data p and a model q, both known exactly:

- coverage KL(p || q) and quality KL(q || p), in nats;
- mass off the support: the share of q outside the support, the smallest set that holds 99 % of p;
- data missed: the share of p where q < p / 5.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cqlib.suite.lessons import toy2d

SIDE, CELLS = 1.5, 200
"""The lattice: midpoints of CELLS x CELLS cells of [-SIDE, SIDE)^2. The midpoint rule is exact to many digits for
Gaussians of a standard deviation of more than a cell, 0.015; no density of the lessons has one below 0.02."""
SUPPORT_MASS, MISSED_BELOW = 0.99, 1 / 5
"""The share of p in its support; the q / p below which a point is missed."""


@dataclass(frozen=True)
class Distance:
    """Distances of a model from the data: `coverage` and `quality` in nats, the shares `off` the support and
    `missed`."""

    coverage: float
    quality: float
    off: float
    missed: float


class Lattice:
    """The data on the lattice, and the distance of models from it. Values are float64 (cells^2,), row by row."""

    def __init__(self, data: toy2d.Density, cells: int = CELLS):
        axis = (torch.arange(cells, dtype=torch.float64) + 0.5) * 2 * SIDE / cells - SIDE
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.data, self.points = data, torch.stack([x, y], -1).view(-1, 2)
        self.area = (2 * SIDE / cells) ** 2
        self.log_p = data.log_prob(self.points)
        self.p = self.log_p.exp()
        order = self.log_p.argsort(descending=True)
        inside = order[: int((self.p[order].cumsum(0) < SUPPORT_MASS * self.p.sum()).sum()) + 1]
        self.support = torch.zeros(len(self.points), dtype=torch.bool)
        self.support[inside] = True

    def log_density(self, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
        """ln q at the lattice's points, (..., cells^2), for `log_prob` from points (N, 2) to ln q (..., N)."""
        with torch.no_grad():
            return torch.cat([log_prob(part) for part in self.points.split(5000)], -1).double()

    def integral(self, values: Tensor) -> float:
        """The integral over the square of a function with these values (cells^2,) on the lattice."""
        return float(values.sum()) * self.area

    def distance(self, log_q: Tensor) -> Distance:
        """The distance of a model with log-densities `log_q` (cells^2,). Its quality is infinite if it has mass where p
        has none, its coverage if p has mass where `log_q` is -inf."""
        q = log_q.exp()
        return Distance(
            coverage=self.integral(torch.where(self.p > 0, self.p * (self.log_p - log_q), 0.0)),
            quality=self.integral(torch.where(q > 0, q * (log_q - self.log_p), 0.0)),
            off=1 - self.integral(q[self.support]),
            missed=self.integral(self.p[log_q < self.log_p + math.log(MISSED_BELOW)]),
        )
