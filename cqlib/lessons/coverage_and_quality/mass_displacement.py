"""Lesson 02, a part eps of the data's mass displaced to a density u: q = (1 - eps) p + eps u."""

import math
from dataclasses import dataclass

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.lessons.coverage_and_quality.distances import Lattice
from cqlib.lessons.coverage_and_quality.pictures import density_board, single_density
from cqlib.lessons.toy2d import GaussianMixture
from cqlib.report.cells import number

PLACES = {
    "in the middle": GaussianMixture(torch.zeros(1, 2), 0.12),
    "in a corner": GaussianMixture(torch.full((1, 2), 1.1), 0.08),
    "all over": GaussianMixture(torch.zeros(1, 2), 0.4),
}
"""Where the mass is displaced to."""
SHARES = (0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Displacement:
    """For one place and eps: `log_q` on the lattice (CELLS^2,), and in nats `l_c`, L_C of Eq. (4) on training
    points, both divergences, and `formula`, the quality where u is off the support of p:
    (1 - eps) ln(1 - eps) + eps (ln eps + KL(u || p))."""

    log_q: Tensor
    l_c: float
    coverage: float
    quality: float
    formula: float


def displace(lattice: Lattice, place: str, eps: float) -> Displacement:
    """The data with a share eps of its mass, 0 <= eps < 1, moved to `place`; L_C on 5,000 training points."""
    u, formula = PLACES[place], 0.0

    def log_prob(x: Tensor) -> Tensor:
        rest = lattice.data.log_prob(x) + math.log1p(-eps)
        return torch.logaddexp(rest, u.log_prob(x) + math.log(eps)) if eps else rest

    train = lattice.data.sample(5000, torch.Generator().manual_seed(0))
    log_q = lattice.log_density(log_prob)
    distance = lattice.distance(log_q)
    if eps:
        of_u = lattice.distance(lattice.log_density(u.log_prob)).quality
        formula = (1 - eps) * math.log1p(-eps) + eps * (math.log(eps) + of_u)
    return Displacement(log_q, -float(log_prob(train).mean()), distance.coverage, distance.quality, formula)


def displacement_board(lattice: Lattice) -> HTML:
    """Displaced densities: a row per place, a column per eps."""
    rows = [(place, dict(_titled(lattice, place, eps) for eps in SHARES)) for place in PLACES]
    shares = ", ".join(f"{eps:g}" for eps in SHARES)
    alt = f"The data with {shares} of its mass moved {', '.join(PLACES)}: rows differ much in KL(q || p), little in "
    alt += "KL(p || q), which is least all over, where the moved mass overlaps the data"
    return density_board(lattice, rows, 7.6, 6.9, alt)


def _titled(lattice: Lattice, place: str, eps: float) -> tuple[str, Tensor]:
    d = displace(lattice, place, eps)
    return f"ε = {eps:g}: KL(p‖q) {number(d.coverage)}, KL(q‖p) {number(d.quality)}", d.log_q


def displaced_density(lattice: Lattice, place: str, eps: float) -> HTML:
    """The data with a share eps of its mass moved to `place`."""
    return single_density(lattice, *_titled(lattice, place, eps))
