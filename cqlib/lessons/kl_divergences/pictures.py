"""What lesson 01 shows of both fits on the line: where each divergence arises, and how it depends on the modes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import matplotlib
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from torch import Tensor

from cqlib.lessons.drawing import difference, number, table
from cqlib.lessons.kl_divergences.fits import (
    descend,
    flow_down,
    forward,
    minima,
    natural_curvature,
    pack,
    slope,
    unpack,
)
from cqlib.lessons.kl_divergences.gaussians import Gaussians, entropy, gaussian, inside, kl
from cqlib.report import plots
from cqlib.report.cells import picture

FORWARD, REVERSE = plots.SERIES[0], plots.SERIES[1]
X = "x (standard deviations of a mode)"


def named(p: Gaussians) -> dict[str, Gaussians]:
    """The forward fit and every reverse fit that is found, the best first, by name."""
    found = {"forward fit": forward(p)}
    for i, q in enumerate(minima(p)):
        found["reverse fit" if i == 0 else f"reverse, minimum {i + 1}"] = q
    return found


def both_ways(
    p: Gaussians, fits: dict[str, Gaussians], caption: str = "Both divergences of every fit, in nats"
) -> HTML:
    """KL(p || q) and KL(q || p) of every fit, and how much of one density lies where the other one does."""
    lines = [
        [name, number(float(kl(p, q)), 3), number(float(kl(q, p)), 3), f"{inside(p, q):.0%}", f"{inside(q, p):.0%}"]
        for name, q in fits.items()
    ]
    return table(caption, ["q", "KL(p ‖ q)", "KL(q ‖ p)", "of p inside q", "of q inside p"], lines)


def density(ax: Axes, p: Gaussians, x: Tensor) -> None:
    """p as a grey hill."""
    ax.fill_between(x[:, 0], p.log_prob(x).exp(), color=plots.FAINT, alpha=0.35, linewidth=0, label="p")


def line(reach: float, n: int = 601) -> Tensor:
    """Points of [-reach, reach], (n, 1)."""
    return torch.linspace(-reach, reach, n, dtype=torch.float64)[:, None]


def where_it_costs(p: Gaussians, reach: float = 8) -> HTML:
    """Both fits, and under each the integrand of its divergence: the signed area is the divergence."""
    x, words = line(reach), []
    fits = named(p)
    cases = [
        ("forward", fits["forward fit"], FORWARD, lambda q: (p, q), "p ln(p / q)", "KL(p ‖ q)"),
        ("reverse", fits["reverse fit"], REVERSE, lambda q: (q, p), "q ln(q / p)", "KL(q ‖ p)"),
    ]
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.2, 4.4)
        above, below = figure.subplots(2, 2, sharex=True, sharey="row")
        for ax, under, (name, q, colour, order, formula, divergence) in zip(above, below, cases, strict=True):
            first, second = order(q)
            value = float(kl(first, second))
            cost = first.log_prob(x).exp() * (first.log_prob(x) - second.log_prob(x))
            density(ax, p, x)
            ax.plot(x, q.log_prob(x).exp(), color=colour)
            peak, side = float(q.means[0, 0]), q.means + q.roots[0]
            ax.annotate("q", (float(side), float(q.log_prob(side).exp())), (4, 2), textcoords="offset points",
                        color=colour)  # fmt: skip
            top = p.means[-1:]
            ax.annotate(
                "p", (float(top), float(p.log_prob(top).exp())), (0, 3), textcoords="offset points", ha="center"
            )
            ax.set_title(f"{name}: {divergence} = {value:.3f} nats")
            under.fill_between(x[:, 0], cost, color=colour, alpha=0.3, linewidth=0)
            under.plot(x, cost, color=colour)
            under.axhline(0, color=plots.FAINT, linewidth=0.8)
            under.set_title(f"where it arises: {formula}")
            under.set_xlabel(X)
            words.append(f"{name}: mean {peak:.2f}, {value:.2f} nats")
        above[0].set_ylabel("density")
        below[0].set_ylabel("nats per unit of x")
    alt = "The forward fit covers both modes and the gap between them, the reverse fit lies on one mode. "
    return picture(figure, alt + "; ".join(words))


def forward_checks(p: Gaussians) -> HTML:
    """The closed form of the forward fit against descent from afar, its gradient, and its divergence."""
    q = forward(p)
    away = gaussian(q.means[0] + 3, 0.5 * q.roots[0])
    found = descend(lambda q: kl(p, q), away)
    closed = 0.5 * math.log(2 * math.pi * math.e * float(q.roots[0, 0, 0]) ** 2) - float(entropy(p))
    lines = [
        ["mean", number(float(q.means), 6), number(float(found.means), 6)],
        ["standard deviation", number(float(q.roots), 6), number(float(found.roots), 6)],
        ["KL(p ‖ q)", number(closed, 6), number(float(kl(p, q)), 6)],
        ["gradient, largest entry", "0", difference(float(slope(lambda q: kl(p, q), q).abs().max()))],
        ["least curvature in (m/s², −1/2s²), 50 q", "> 0", difference(natural_curvature(p))],
    ]
    return table("The forward fit", ["", "closed form", "quadrature and descent"], lines)


def reverse_checks(p: Gaussians) -> HTML:
    """Every minimum of KL(q || p): its gradient is 0 and its Hessian positive."""
    lines = []
    for q in minima(p):
        hessian = torch.autograd.functional.hessian(lambda theta: kl(unpack(theta), p), pack(q))
        size = float(slope(lambda q: kl(q, p), q).abs().max())
        lines.append([f"m = {number(float(q.means), 3)}", number(float(q.roots), 3), number(float(kl(q, p)), 4),
                      difference(size), number(float(torch.linalg.eigvalsh(hessian)[0]), 3)])  # fmt: skip
    head = ["Minimum", "s", "KL(q ‖ p), nats", "gradient", "least curvature"]
    return table("Minima of KL(q ‖ p) over the mean m and ln s", head, lines)


# --- the landscape ---------------------------------------------------------------------------------------------


def landscape(p: Gaussians, starts: Sequence[float] = (-5, -2, 0, 2, 5)) -> HTML:
    """Both divergences over the mean and the standard deviation of q, and where steepest descent leads in reverse."""
    m, t = torch.linspace(-6, 6, 49).double(), torch.linspace(math.log(0.4), math.log(5), 33).double()
    found = minima(p)
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 3.5)
        first, second = figure.subplots(1, 2, sharey=True)
        _contours(first, m, t, lambda q: kl(p, q, 201), FORWARD, "KL(p ‖ q)")
        _contours(second, m, t, lambda q: kl(q, p, 201), REVERSE, "KL(q ‖ p)")
        for mean in starts:
            start = unpack(torch.tensor([mean, 0.0], dtype=torch.float64))
            path = flow_down(p, start)
            second.plot(path[:, 0], path[:, 1].exp(), color=plots.INK, linewidth=1)
            second.plot(mean, 1.0, "o", color=plots.INK, markersize=3)
        for ax, fits in ((first, [forward(p)]), (second, found)):
            for q in fits:
                ax.plot(float(q.means), float(q.roots), "P", color=plots.INK, markersize=8, clip_on=False)
        first.set_ylabel("standard deviation s of q")
    places = ", ".join(f"m = {float(q.means):.1f} with s = {float(q.roots):.1f}" for q in found)
    return picture(figure, f"KL(p || q) has one minimum; KL(q || p) has {len(found)}, at {places}")


def _contours(
    ax: Axes, m: Tensor, t: Tensor, objective: Callable[[Gaussians], Tensor], colour: str, title: str
) -> None:
    values = torch.stack([torch.stack([objective(unpack(torch.stack([a, b]))) for a in m]) for b in t])
    levels = float(values.min()) + torch.linspace(0.1, 5.5, 22).square()
    ax.contour(m, t.exp(), values, levels=levels, colors=colour, linewidths=0.8)
    ax.set_title(title)
    ax.set_yscale("log")
    ax.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    ax.minorticks_off()
    ax.set_xlabel("mean m of q")
    ax.grid(False)
