"""Lesson 01, the two ways to fit a Gaussian q to a density p, exactly.

forward   KL(p || q) = E_p[ln p - ln q]   smallest where q has the mean and the covariance of p
reverse   KL(q || p) = E_q[ln q - ln p]   can have several minima; located by descent from several starts
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from scipy import integrate, optimize
from torch import Tensor

from cqlib.lessons.kl_divergences.gaussians import Gaussians, gaussian, kl, on_line

WEIGHT = 0.6
"""Weight of the left mode of `two_modes`."""
COARSE = {1: 601, 2: 81}
"""Dimensions -> quadrature nodes per dimension during descent; printed values use more of them (`NODES`)."""
Objective = Callable[[Gaussians], Tensor]


def two_modes(separation: float, weight: float = WEIGHT) -> Gaussians:
    """p = w N(-d/2, 1) + (1 - w) N(d/2, 1), d the separation: one unit of x is the standard deviation of a mode."""
    return on_line([-separation / 2, separation / 2], [1, 1], [weight, 1 - weight])


def forward(p: Gaussians) -> Gaussians:
    """argmin_q KL(p || q) over all Gaussians: the one with the mean and the covariance of p."""
    mean, covariance = p.moments()
    return gaussian(mean, torch.linalg.cholesky(covariance))


def pack(q: Gaussians) -> Tensor:
    """A single Gaussian as (m, ln diag L, L_21 if d = 2)."""
    return torch.cat([q.means[0], q.roots[0].diagonal().log(), q.roots[0, 1:, 0]])


def unpack(theta: Tensor, *, factorised: bool = False) -> Gaussians:
    """The inverse of `pack`; `factorised` takes L_21 for 0."""
    d = 1 if len(theta) == 2 else 2
    root = torch.diag(theta[d : 2 * d].exp())
    if d == 2 and not factorised:
        root = root + theta[4] * torch.tensor([[0, 0], [1, 0]], dtype=theta.dtype)
    return gaussian(theta[:d], root)


def gradient(objective: Objective, q: Gaussians) -> Tensor:
    """The gradient of objective(q) with respect to `pack(q)`."""
    theta = pack(q).detach().requires_grad_()
    return torch.autograd.grad(objective(unpack(theta)), theta)[0]


def descend(objective: Objective, start: Gaussians, *, factorised: bool = False) -> Gaussians:
    """A local minimum of objective(q), by BFGS from `start`."""

    def value_and_gradient(values: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.tensor(values, requires_grad=True)
        value = objective(unpack(theta, factorised=factorised))
        return float(value.detach()), torch.autograd.grad(value, theta)[0].numpy()

    options = {"gtol": 1e-9}  # below what rounding allows: BFGS stops at the last digit it can resolve
    result = optimize.minimize(value_and_gradient, pack(start).numpy(), jac=True, method="BFGS", options=options)
    return unpack(torch.tensor(result.x), factorised=factorised)


def reverse(p: Gaussians, start: Gaussians, *, factorised: bool = False) -> Gaussians:
    """The minimum of KL(q || p) over Gaussians q to which descent from `start` leads."""
    n = COARSE[p.dimensions]
    return descend(lambda q: kl(q, p, n), start, factorised=factorised)


def minima(p: Gaussians, starts: Iterable[Gaussians] | None = None) -> list[Gaussians]:
    """The minima of KL(q || p) that descent from `starts` (by default p's modes and forward fit) finds, each once, the
    lowest first."""
    if starts is None:
        starts = [gaussian(m, root) for m, root in zip(p.means, p.roots, strict=True)] + [forward(p)]
    distinct: list[Gaussians] = []
    for start in starts:
        q = reverse(p, start)
        if all(distance(q, other) > 1e-2 for other in distinct):
            distinct.append(q)
    return sorted(distinct, key=lambda q: float(kl(q, p)))


def named_fits(p: Gaussians) -> dict[str, Gaussians]:
    """The forward fit and all `minima` of the reverse divergence, by name."""
    best, *others = minima(p)
    return {"forward fit": forward(p), "reverse fit": best} | {
        f"reverse, minimum {k}": q for k, q in enumerate(others, start=2)
    }


def distance(a: Gaussians, b: Gaussians) -> float:
    """The largest difference of means, log-scales and L_21."""
    return float((pack(a) - pack(b)).abs().max())


def descent_path(p: Gaussians, start: Gaussians) -> Tensor:
    """The path (steps, 2) of (m, ln s) of a Gaussian on the line under steepest descent of KL(q || p)."""

    def velocity(_: float, theta: np.ndarray) -> np.ndarray:
        return -gradient(lambda q: kl(q, p, COARSE[1]), unpack(torch.tensor(theta))).numpy()

    return torch.tensor(integrate.solve_ivp(velocity, (0, 60), pack(start).numpy(), method="LSODA", rtol=1e-5).y.T)


def branches(separations: Sequence[float]) -> dict[str, dict[float, Gaussians]]:
    """Name of a minimum of KL(q || p) -> separation of the modes -> q. "both modes" is the one that descent from the
    forward fit reaches; the others are those from the left and the right mode, at separations where they differ."""
    fits: dict[str, dict[float, Gaussians]] = {"both modes": {}, "left mode": {}, "right mode": {}}
    for d in separations:
        p = two_modes(d)
        fits["both modes"][d] = both = reverse(p, forward(p))
        for name, mean in (("left mode", -d / 2), ("right mode", d / 2)):
            q = reverse(p, on_line([mean], [1], [1]))
            if distance(q, both) > 0.5:
                fits[name][d] = q
    return fits


def crossover(weight: float) -> float:
    """The separation at which the best reverse fit changes from both modes to the left one: KL(q || p) is equal.
    `weight` of the left mode: from 0.5 to 0.6, where both minima exist at all separations searched; else ValueError."""
    if not 0.5 <= weight <= 0.6:
        raise ValueError(f"weight {weight} is not from 0.5 to 0.6")

    def gap(d: float) -> float:
        p = two_modes(d, weight)
        left, both = reverse(p, on_line([-d / 2], [1], [1])), reverse(p, forward(p))
        return float(kl(left, p) - kl(both, p))

    return float(optimize.brentq(gap, 5.0, 6.5, xtol=1e-4))
