"""Lesson 01, pictures: both divergences, their minima, and fits while the modes of p move apart and in the plane."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cqlib.lessons.kl_divergences import fits
from cqlib.lessons.kl_divergences.gaussians import Gaussians, inside, kl, on_line
from cqlib.report import plots
from cqlib.report.cells import Line, panels, picture, subplots, table

FORWARD, REVERSE = plots.SERIES[0], plots.SERIES[1]
X = "x (standard deviations of a mode)"
SEPARATIONS = tuple(0.2 * i for i in range(41))
OTHER_MINIMA = {"color": REVERSE, "linestyle": (0, (2, 2)), "linewidth": 1.1}


def grid(reach: float, n: int = 601) -> Tensor:
    """Points of [-reach, reach], (n, 1)."""
    return torch.linspace(-reach, reach, n, dtype=torch.float64)[:, None]


def density(ax: Axes, p: Gaussians, x: Tensor) -> None:
    """Draw the density p over x (n, 1) as a grey area."""
    ax.fill_between(x[:, 0], p.log_prob(x).exp(), color=plots.FAINT, alpha=0.35, linewidth=0, label="p")


def both_divergences(p: Gaussians, qs: Mapping[str, Gaussians]) -> HTML:
    """KL(p || q) and KL(q || p) of every fit, and the share of one density in the other one's 99 % region."""
    lines = [(name, kl(p, q), kl(q, p), f"{inside(p, q):.0%}", f"{inside(q, p):.0%}") for name, q in qs.items()]
    columns = {"q": None, "KL(p ‖ q)": 3, "KL(q ‖ p)": 3, "of p inside q": None, "of q inside p": None}
    return table("Both divergences of every fit, in nats", columns, lines)


def integrands(p: Gaussians) -> HTML:
    """Both fits, and under each the integrand of its divergence: the signed area is the divergence."""
    x, qs, words = grid(8), fits.named_fits(p), []
    cases = (("forward", FORWARD, "p ln(p / q)", "KL(p ‖ q)"), ("reverse", REVERSE, "q ln(q / p)", "KL(q ‖ p)"))
    with subplots(8.2, 4.4, 2, 2, sharex=True, sharey="row") as (figure, axes):
        for (ax, under), (name, colour, formula, divergence) in zip(axes.T, cases, strict=True):
            q = qs[f"{name} fit"]
            a, b = (p, q) if name == "forward" else (q, p)
            value, cost = float(kl(a, b)), a.log_prob(x).exp() * (a.log_prob(x) - b.log_prob(x))
            density(ax, p, x)
            ax.plot(x, q.log_prob(x).exp(), color=colour, label="q")
            ax.legend(frameon=False)
            ax.set_title(f"{name}: {divergence} = {value:.3f} nats")
            under.fill_between(x[:, 0], cost, color=colour, alpha=0.3, linewidth=0)
            under.plot(x, cost, color=colour)
            under.axhline(0, color=plots.FAINT, linewidth=0.8)
            under.set(title=f"where it arises: {formula}", xlabel=X)
            words.append(f"{name}: mean {float(q.means[0, 0]):.2f}, {value:.2f} nats")
        axes[0, 0].set_ylabel("density")
        axes[1, 0].set_ylabel("nats per unit of x")
    alt = "The forward fit covers both modes and the gap between them, the reverse fit lies on one mode. "
    return picture(figure, alt + "; ".join(words))


def landscape(p: Gaussians) -> HTML:
    """Both divergences over the mean and the standard deviation of q, every third contour with its height in nats, and
    paths of steepest descent of KL(q || p)."""
    minima = fits.minima(p)
    with subplots(8.6, 3.5, 1, 2, sharey=True) as (figure, (first, second)):
        _contours(first, lambda q: kl(p, q, 201), FORWARD, "KL(p ‖ q)")
        _contours(second, lambda q: kl(q, p, 201), REVERSE, "KL(q ‖ p)")
        for mean in (-5, -2, 0, 2, 5):
            path = fits.descent_path(p, on_line([mean], [1], [1]))
            second.plot(path[:, 0], path[:, 1].exp(), color=plots.INK, linewidth=1)
            second.plot(mean, 1.0, "o", color=plots.INK, markersize=3)
        for ax, minimum in [(first, fits.forward(p)), *((second, q) for q in minima)]:
            ax.plot(float(minimum.means), float(minimum.roots), "P", color=plots.INK, markersize=8, clip_on=False)
        first.set_ylabel("standard deviation s of q")
    places = ", ".join(f"m = {float(q.means):.1f} with s = {float(q.roots):.1f}" for q in minima)
    return picture(figure, f"KL(p || q) has one minimum; KL(q || p) has {len(minima)}, at {places}")


def _contours(ax: Axes, objective: fits.Objective, colour: str, title: str) -> None:
    m, t = torch.linspace(-6, 6, 49).double(), torch.linspace(math.log(0.4), math.log(5), 33).double()
    values = torch.stack([torch.stack([objective(fits.unpack(torch.stack([a, b]))) for a in m]) for b in t])
    levels = float(values.min()) + torch.linspace(0.1, 5.5, 22).square()
    lines = ax.contour(m, t.exp(), values, levels=levels, colors=colour, linewidths=0.8)
    ax.clabel(lines, [*lines.levels][2::3], fmt="%.1f", fontsize=7)  # not the innermost: a minimum is marked there
    ax.set(title=title, xlabel="mean m of q", yscale="log")
    ax.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    ax.minorticks_off()
    ax.grid(False)


def separation_board(separations: Sequence[float] = (2, 4, 4.8, 6), weight: float = fits.WEIGHT) -> HTML:
    """For several separations of the modes: p, its forward fit, its best reverse fit, and, dashed, the other minima."""
    columns = min(2, len(separations))
    rows, words = math.ceil(len(separations) / columns), []
    width = 8.8 if columns == 2 else 6.6
    with subplots(width, 2.5 * rows + 0.3, rows, columns, squeeze=False, sharey=True) as (figure, axes):
        for ax, d in zip(axes.ravel(), separations, strict=False):
            p, x = fits.two_modes(d, weight), grid(max(6, d / 2 + 4))
            broad, (best, *others) = fits.forward(p), fits.minima(p)
            density(ax, p, x)
            ax.plot(x, broad.log_prob(x).exp(), color=FORWARD, label="forward fit")
            ax.plot(x, best.log_prob(x).exp(), color=REVERSE, label="reverse fit")
            for q in others:
                ax.plot(x, q.log_prob(x).exp(), **OTHER_MINIMA)
            costs = f"forward {kl(p, broad):.2f}, reverse {kl(best, p):.2f} nats"
            ax.set(title=f"separation {d:g}: {costs}", xlabel=X, ylim=(0, 0.48))
            means = ", ".join(f"{float(q.means):.1f}" for q in (best, *others))
            words.append(f"separation {d:g}: forward mean {float(broad.means):.1f}, reverse means {means}")
        for ax in axes[:, 0]:
            ax.set_ylabel("density")
        axes[0, 0].plot([], [], label="other minima of KL(q ‖ p)", **OTHER_MINIMA)
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper left", ncols=4, frameon=False)
    alt = "Two modes with the forward fit and all minima of the reverse divergence; "
    return picture(figure, alt + "; ".join(words))


def separation_curves() -> HTML:
    """Over the separation of the modes: the least KL(p || q), each minimum of KL(q || p), and `inside` of both fits."""
    traced = fits.branches(SEPARATIONS)
    ps = {d: fits.two_modes(d) for d in SEPARATIONS}
    broad = {d: fits.forward(p) for d, p in ps.items()}
    best = {d: min((b[d] for b in traced.values() if d in b), key=partial(kl, q=p)) for d, p in ps.items()}
    least = [float(kl(p, broad[d])) for d, p in ps.items()]
    costs: dict[str, Line] = {"forward": (SEPARATIONS, least, FORWARD, "", "-")}
    for (name, branch), style in zip(traced.items(), ("-", "--", ":"), strict=True):
        costs[f"reverse, {name}"] = (list(branch), [float(kl(q, ps[d])) for d, q in branch.items()], REVERSE, "", style)
    shares: dict[str, Line] = {}
    for name, qs, colour in (("forward", broad, FORWARD), ("best reverse", best, REVERSE)):
        shares[f"of p inside q, {name}"] = (SEPARATIONS, [inside(ps[d], qs[d]) for d in ps], colour, "", "-")
        shares[f"of q inside p, {name}"] = (SEPARATIONS, [inside(qs[d], ps[d]) for d in ps], colour, "", "--")
    lines = {"forward, and each minimum of reverse": costs, "who lies inside whose 99 % region": shares}
    x, y = "separation (standard deviations of a mode)", ["divergence (nats)", "share of mass"]
    figure = panels(lines, xlabel=x, ylabel=y, width=4.1, height=3.4)
    left, right = figure.axes
    left.set_ylim(0, 1.35)
    right.set_ylim(0.5, 1.02)
    beside: dict[str, Any] = {"textcoords": "offset points", "color": plots.FAINT, "ha": "right"}
    for weight in (fits.WEIGHT, 1 - fits.WEIGHT):
        cost = -math.log(weight)
        left.axhline(cost, color=plots.FAINT, linewidth=0.8, zorder=0)
        left.annotate(f"−ln {weight:g}", (SEPARATIONS[-1], cost), (0, 2), **beside)
    ends = "; ".join(f"{name} from {min(b):.1f} to {max(b):.1f}" for name, b in traced.items())
    return picture(figure, f"Divergences over the separation of the modes. Minima of the reverse one: {ends}")


def correlated_modes() -> Gaussians:
    """Two correlated modes of weights 0.6 and 0.4, in the manner of Bishop (2006), figure 10.3."""
    covariances = torch.tensor([[[1, 0.7], [0.7, 1]], [[1, -0.6], [-0.6, 0.8]]], dtype=torch.float64)
    means = torch.tensor([[-2.2, -1.2], [2.2, 1.2]], dtype=torch.float64)
    return Gaussians(torch.tensor([0.6, 0.4], dtype=torch.float64), means, torch.linalg.cholesky(covariances))


def contours(p: Gaussians, qs: Mapping[str, Gaussians], side: float) -> HTML:
    """p in grey, and each fit by the ellipses that lie one and two standard deviations from its mean."""
    axis = torch.linspace(-side, side, 161, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    values = p.log_prob(torch.stack([x, y], -1).view(-1, 2)).exp().view(161, 161)
    levels = [float(values.max()) * f for f in (0.03, 0.15, 0.35, 0.6, 0.85, 1.01)]
    turn = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    circle, words = torch.stack([turn.cos(), turn.sin()], -1), []
    with subplots(2.75 * len(qs), 3.4, 1, len(qs), sharey=True) as (figure, axes):
        for ax, (name, q) in zip(axes, qs.items(), strict=True):
            for low, high in pairwise(levels):
                ax.contourf(axis, axis, values, [low, high], colors=[plots.FAINT], alpha=0.15 + 0.7 * low / levels[-1])
            is_forward = name.startswith("forward")
            for radius in (1, 2):
                ellipse = q.means[0] + radius * circle @ q.roots[0].T
                ax.plot(ellipse[:, 0], ellipse[:, 1], color=FORWARD if is_forward else REVERSE)
            divergence, value = ("KL(p ‖ q)", float(kl(p, q))) if is_forward else ("KL(q ‖ p)", float(kl(q, p)))
            title = f"{name}\n{divergence} = {value:.2f} nats"
            ax.set(title=title, aspect="equal", xlim=(-side, side), ylim=(-side, side), xlabel="x₁")
            ax.grid(False)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.yaxis.set_major_locator(MaxNLocator(4))
            words.append(f"{name} at ({float(q.means[0, 0]):.1f}, {float(q.means[0, 1]):.1f}), {value:.2f} nats")
        axes[0].set_ylabel("x₂")
    return picture(figure, f"Contours of p in the plane with fitted Gaussians: {'; '.join(words)}")
