"""Lesson 02, distances between two densities of the plane, by quadrature on a square lattice.

For data p and a model q, both known exactly:

- coverage KL(p || q) and quality KL(q || p), in nats;
- mass off the support: the share of q outside the support, the smallest set that holds 99 % of p;
- data missed: the share of p where q < p / 5;
- modes covered: those whose part of the support has under q at least half of the mass that it has under p.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cqlib.lessons import toy2d

SIDE, CELLS = 1.5, 200
"""The lattice: midpoints of CELLS x CELLS cells of [-SIDE, SIDE)^2. The midpoint rule is exact to many digits for
Gaussians of a standard deviation of more than a cell, 0.015; no density of the lesson has one below 0.02."""
SUPPORT_MASS, MISSED_BELOW, DROPPED_BELOW = 0.99, 1 / 5, 1 / 2
"""The share of p in its support; the q / p below which a point is missed; the mass under q, over that under p, below
which a mode is dropped."""


@dataclass(frozen=True)
class Distance:
    """Distances of a model from the data: `coverage` and `quality` in nats, the shares `off` the support and `missed`;
    `mode_shares`: each mode's mass under the model over that under the data, empty for data without modes; `mass`: the
    model's mass on the lattice, 1 less what lies outside."""

    coverage: float
    quality: float
    off: float
    missed: float
    mode_shares: tuple[float, ...]
    mass: float

    @property
    def modes(self) -> int:
        """How many modes are covered."""
        return sum(share >= DROPPED_BELOW for share in self.mode_shares)


class Lattice:
    """The data on the lattice, and the distance of models from it. Values are float64 (CELLS^2,), row by row."""

    def __init__(self, data: toy2d.Density):
        axis = (torch.arange(CELLS, dtype=torch.float64) + 0.5) * 2 * SIDE / CELLS - SIDE
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.data, self.points = data, torch.stack([x, y], -1).view(-1, 2)
        self.area = (2 * SIDE / CELLS) ** 2
        self.log_p = data.log_prob(self.points)
        self.p = self.log_p.exp()
        order = self.log_p.argsort(descending=True)
        inside = order[: int((self.p[order].cumsum(0) < SUPPORT_MASS * self.p.sum()).sum()) + 1]
        self.support = torch.zeros(len(self.points), dtype=torch.bool)
        self.support[inside] = True

    def log_density(self, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
        """ln q at the lattice's points, (..., CELLS^2), for `log_prob` from points (N, 2) to ln q (..., N)."""
        with torch.no_grad():
            return torch.cat([log_prob(part) for part in self.points.split(5000)], -1).double()

    def integral(self, values: Tensor) -> float:
        """The integral over the square of a function with these values (CELLS^2,) on the lattice."""
        return float(values.sum()) * self.area

    def distance(self, log_q: Tensor) -> Distance:
        """The distance of a model with log-densities `log_q` (CELLS^2,). Its quality is infinite if it has mass where p
        has none, its coverage if p has mass where `log_q` is -inf."""
        q = log_q.exp()
        return Distance(
            coverage=self.integral(torch.where(self.p > 0, self.p * (self.log_p - log_q), 0.0)),
            quality=self.integral(torch.where(q > 0, q * (log_q - self.log_p), 0.0)),
            off=1 - self.integral(q[self.support]),
            missed=self.integral(self.p[log_q < self.log_p + math.log(MISSED_BELOW)]),
            mode_shares=self.mode_shares(q),
            mass=self.integral(q),
        )

    def mode_shares(self, q: Tensor) -> tuple[float, ...]:
        """By mode, the mass of q (CELLS^2,) over that of p in its part of the support: the points nearest to it."""
        if self.data.modes is None:
            return ()
        nearest = torch.cdist(self.points, self.data.modes).argmin(1)[self.support]
        zero = torch.zeros(len(self.data.modes), dtype=torch.float64)
        under_q, under_p = (zero.index_add(0, nearest, v[self.support]) for v in (q, self.p))
        return tuple((under_q / under_p).tolist())

    def jensen_shannon(self, log_q: Tensor) -> float:
        """(KL(p || m) + KL(q || m)) / 2 in nats with m = (p + q) / 2: finite whatever the supports, at most ln 2."""
        log_m = torch.logaddexp(self.log_p, log_q) - math.log(2)
        halves = [torch.where(v > -math.inf, v.exp() * (v - log_m), 0.0) for v in (self.log_p, log_q)]
        return self.integral(halves[0] + halves[1]) / 2
