"""Lesson 01, the two ways to fit a Gaussian q to a density p, exactly.

forward   KL(p || q) = E_p[ln p - ln q]   smallest where q has the mean and the covariance of p
reverse   KL(q || p) = E_q[ln q - ln p]   can have several minima; found by descent from several starts
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import integrate, optimize
from torch import Tensor

from cqlib.lessons.kl_divergences.gaussians import Gaussians, gaussian, kl, on_line

SHARE = 0.6
"""Weight of the left mode of `two_modes`."""
COARSE = {1: 601, 2: 81}
"""Nodes per dimension while descending; the values that are shown use all of them."""


def two_modes(separation: float, share: float = SHARE) -> Gaussians:
    """p = share N(-d/2, 1) + (1 - share) N(d/2, 1): one unit of x is the standard deviation of a mode."""
    return on_line([-separation / 2, separation / 2], [1, 1], [share, 1 - share])


def forward(p: Gaussians) -> Gaussians:
    """argmin_q KL(p || q) over all Gaussians: the one with the mean and the covariance of p."""
    mean, covariance = p.moments()
    return gaussian(mean, torch.linalg.cholesky(covariance))


# --- q as a vector that can be moved freely --------------------------------------------------------------------


def pack(q: Gaussians) -> Tensor:
    """A single Gaussian as (m, ln diag L, L_21 if d = 2)."""
    below = q.roots[0, 1:, 0]
    return torch.cat([q.means[0], q.roots[0].diagonal().log(), below])


def unpack(theta: Tensor, *, factorised: bool = False) -> Gaussians:
    """The inverse of `pack`; `factorised` takes L_21 for 0."""
    d = 1 if len(theta) == 2 else 2
    root = torch.diag(theta[d : 2 * d].exp())
    if d == 2 and not factorised:
        corner = torch.tensor([[0, 0], [1, 0]], dtype=theta.dtype)
        root = root + theta[4] * corner
    return gaussian(theta[:d], root)


Objective = Callable[[Gaussians], Tensor]


def slope(objective: Objective, q: Gaussians) -> Tensor:
    """Gradient of objective(q) with respect to `pack(q)`."""
    theta = pack(q).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(unpack(theta)), theta)
    return gradient


def natural_curvature(p: Gaussians, n: int = 50) -> float:
    """The least eigenvalue of the Hessian of KL(p || q) in the natural parameters (m / s^2, -1 / 2 s^2) of q, over n
    random Gaussians on the line. It is positive wherever KL(p || q) is convex in them."""

    def divergence(natural: Tensor) -> Tensor:
        variance = -0.5 / natural[1]
        return kl(p, gaussian((variance * natural[0])[None], variance.sqrt().view(1, 1)), COARSE[1])

    draws = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    least = []
    for m, log_s in draws * torch.tensor([4, 0.7]):
        precision = (-2 * log_s).exp()
        hessian = torch.autograd.functional.hessian(divergence, torch.stack([m * precision, -0.5 * precision]))
        least.append(float(torch.linalg.eigvalsh(hessian)[0]))
    return min(least)


def descend(objective: Objective, start: Gaussians, *, factorised: bool = False) -> Gaussians:
    """A local minimum of objective(q), by BFGS from `start`."""

    def both(values: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.tensor(values, requires_grad=True)
        value = objective(unpack(theta, factorised=factorised))
        (gradient,) = torch.autograd.grad(value, theta)
        return float(value.detach()), gradient.numpy()

    # gtol below what rounding allows: BFGS then stops by itself, at the last digit it can see
    found = optimize.minimize(both, pack(start).numpy(), jac=True, method="BFGS", options={"gtol": 1e-9})
    return unpack(torch.tensor(found.x), factorised=factorised)


def reverse(p: Gaussians, start: Gaussians, *, factorised: bool = False) -> Gaussians:
    """The minimum of KL(q || p) over Gaussians q to which descent from `start` leads."""
    n = COARSE[p.dimensions]
    return descend(lambda q: kl(q, p, n), start, factorised=factorised)


def minima(p: Gaussians, starts: Iterable[Gaussians] | None = None) -> list[Gaussians]:
    """The minima of KL(q || p) that descent finds, the lowest first; by default it starts from each component of p and
    from the forward fit."""
    if starts is None:
        starts = [gaussian(m, root) for m, root in zip(p.means, p.roots, strict=True)] + [forward(p)]
    found: list[Gaussians] = []
    for start in starts:
        q = reverse(p, start)
        if all(apart(q, other) > 1e-2 for other in found):
            found.append(q)
    return sorted(found, key=lambda q: float(kl(q, p)))


def apart(a: Gaussians, b: Gaussians) -> float:
    """The largest difference of means, log-scales and L_21."""
    return float((pack(a) - pack(b)).abs().max())


def flow_down(p: Gaussians, start: Gaussians, time: float = 60.0) -> Tensor:
    """Where steepest descent of KL(q || p) takes (m, ln s) of a Gaussian on the line; (steps, 2)."""

    def downhill(_: float, theta: np.ndarray) -> np.ndarray:
        return -slope(lambda q: kl(q, p, COARSE[1]), unpack(torch.tensor(theta))).numpy()

    path = integrate.solve_ivp(downhill, (0, time), pack(start).numpy(), method="LSODA", rtol=1e-5)
    return torch.tensor(path.y.T)


# --- over the separation ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Branch:
    """A minimum of KL(q || p) that is followed while the modes of `two_modes` move."""

    name: str
    separations: list[float]
    fits: list[Gaussians]

    def at(self, separation: float) -> Gaussians | None:
        """The minimum at that separation, where there is this one."""
        for d, q in zip(self.separations, self.fits, strict=True):
            if abs(d - separation) < 1e-9:
                return q
        return None


def branches(separations: Sequence[float], share: float = SHARE) -> list[Branch]:
    """The minimum that covers both modes, followed as they part, and those at the left and at the right mode, followed
    as they meet. A branch ends where descent falls into another minimum."""
    order = sorted(separations)
    broad = _follow("both modes", order, on_line([0], [1], [1]), share)
    narrow = [
        _follow(name, order[::-1], on_line([side * order[-1] / 2], [1], [1]), share)
        for name, side in (("left mode", -1), ("right mode", 1))
    ]
    return [broad, *narrow]


def _follow(name: str, separations: Sequence[float], q: Gaussians, share: float) -> Branch:
    branch = Branch(name, [], [])
    for d in separations:
        last, q = q, reverse(two_modes(d, share), q)
        if branch.fits and apart(q, last) > 0.8:  # no fit moves so far in one step
            break
        branch.separations.append(d)
        branch.fits.append(q)
    return branch


def switches_at(share: float = SHARE, low: float = 5.0, high: float = 6.5) -> float:
    """The separation at which the best reverse fit changes from both modes to the left one: KL(q || p) is equal."""

    def gap(d: float) -> float:
        p = two_modes(d, share)
        left, both = reverse(p, on_line([-d / 2], [1], [1])), reverse(p, forward(p))
        return float(kl(left, p) - kl(both, p))

    return float(optimize.brentq(gap, low, high, xtol=1e-4))
