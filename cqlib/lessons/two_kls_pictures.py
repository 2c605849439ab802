"""What lesson 01 shows of both fits on the line: where each divergence arises, and how it depends on the modes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from cqlib import plots, show
from cqlib.lessons.drawing import difference, legend, number, table
from cqlib.lessons.gaussians import Gaussians, entropy, gaussian, inside, kl
from cqlib.lessons.two_kls import (
    SHARE,
    Branch,
    branches,
    descend,
    flow_down,
    forward,
    minima,
    pack,
    slope,
    switches_at,
    two_modes,
    unpack,
)
from cqlib.show import picture

FORWARD, REVERSE = plots.SERIES[0], plots.SERIES[1]
X = "x (standard deviations of a mode)"


def named(p: Gaussians) -> dict[str, Gaussians]:
    """The forward fit and every reverse fit that is found, the best first, by name."""
    found = {"forward fit": forward(p)}
    for i, q in enumerate(minima(p)):
        found["reverse fit" if i == 0 else f"reverse, minimum {i + 1}"] = q
    return found


def both_ways(p: Gaussians, fits: dict[str, Gaussians], caption: str = "Both divergences of every fit, in nats") -> HTML:
    """KL(p || q) and KL(q || p) of every fit, and how much of one density lies where the other one does."""
    lines = [
        [name, number(float(kl(p, q)), 3), number(float(kl(q, p)), 3), f"{inside(p, q):.1%}", f"{inside(q, p):.1%}"]
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
            cost = (first.log_prob(x).exp() * (first.log_prob(x) - second.log_prob(x)))
            density(ax, p, x)
            ax.plot(x, q.log_prob(x).exp(), color=colour)
            peak, side = float(q.means[0, 0]), q.means + q.roots[0]
            ax.annotate("q", (float(side), float(q.log_prob(side).exp())), (4, 2), textcoords="offset points",
                        color=colour)  # fmt: skip
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


# --- over the separation ---------------------------------------------------------------------------------------


def _at(ax: Axes, separation: float, share: float, x: Tensor) -> None:
    """One separation: p, the forward fit, the best reverse fit, and dashed the other minima."""
    p = two_modes(separation, share)
    density(ax, p, x)
    q = forward(p)
    ax.plot(x, q.log_prob(x).exp(), color=FORWARD, label=f"forward, {kl(p, q):.2f} nats")
    for i, q in enumerate(minima(p)):
        style = {"label": f"reverse, {kl(q, p):.2f} nats"} if i == 0 else {"linestyle": (0, (2, 2)), "linewidth": 1.1}
        ax.plot(x, q.log_prob(x).exp(), color=REVERSE, **style)
    ax.set_title(f"separation {separation:g}")
    ax.set_xlabel(X)
    ax.set_ylim(0, 0.48)


def at_separations(separations: Sequence[float] = (2, 4, 4.8, 6), share: float = SHARE) -> HTML:
    """Both fits for several separations of the modes: the still picture of the slider."""
    return picture(_board(separations, share), _alt(separations, share))


def _board(separations: Sequence[float], share: float) -> Figure:
    with matplotlib.rc_context(plots.STYLE):
        columns = min(2, len(separations))
        rows = math.ceil(len(separations) / columns)
        figure = plots.blank(4.2 * columns + 0.4, 2.5 * rows)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for ax, d in zip(axes, separations, strict=False):
            _at(ax, d, share, line(max(6, d / 2 + 4)))
            handles = ax.get_legend_handles_labels()
            ax.legend(*handles, frameon=False, fontsize=8, loc="upper right")
        for ax in axes[::columns]:
            ax.set_ylabel("density")
        return figure


def _alt(separations: Sequence[float], share: float) -> str:
    words = []
    for d in separations:
        p = two_modes(d, share)
        found = ", ".join(f"{float(q.means):.1f}" for q in minima(p))
        words.append(f"separation {d:g}: forward mean {float(forward(p).means):.1f}, reverse means {found}")
    return "Two modes with the forward fit and all minima of the reverse divergence; " + "; ".join(words)


def separation_slider() -> Any:
    """Sliders for the separation of the modes and the weight of the left one above the picture that follows them;
    None where nobody can move them (`show.live`)."""
    if not show.live():
        return None
    import ipywidgets as widgets

    def redraw(separation: float, weight: float) -> None:
        view.value = picture(_board([separation], weight), _alt([separation], weight)).data

    view = widgets.HTML()
    common = {"continuous_update": False, "style": {"description_width": "initial"}}
    separation = widgets.FloatSlider(6, min=0, max=9, step=0.2, description="separation", **common)
    weight = widgets.FloatSlider(SHARE, min=0.5, max=0.95, step=0.05, description="weight of the left mode", **common)
    widgets.interactive_output(redraw, {"separation": separation, "weight": weight})
    return widgets.VBox([widgets.HBox([separation, weight]), view])


SEPARATIONS = tuple(0.2 * i for i in range(41))


def over_separation(share: float = SHARE, separations: Sequence[float] = SEPARATIONS) -> HTML:
    """The least KL(p || q), and KL(q || p) at each of its minima, over the separation; and who covers what."""
    followed = branches(separations, share)
    ps = {d: two_modes(d, share) for d in separations}
    forwards = {d: forward(p) for d, p in ps.items()}
    best = {d: min((b.at(d) for b in followed if b.at(d)), key=lambda q, d=d: float(kl(q, ps[d]))) for d in ps}
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 3.4)
        left, right = figure.subplots(1, 2)
        left.plot(separations, [float(kl(p, forwards[d])) for d, p in ps.items()], color=FORWARD)
        left.annotate("forward", (separations[-1], float(kl(ps[separations[-1]], forwards[separations[-1]]))),
                      (0, 6), textcoords="offset points", color=FORWARD, ha="right")  # fmt: skip
        for branch, style in zip(followed, ("-", "--", ":"), strict=True):
            _branch(left, branch, ps, style)
        left.set_ylim(0, 1.35)
        left.set_ylabel("divergence (nats)")
        left.set_title("forward, and each minimum of reverse")
        for d, text in ((-math.log(share), f"−ln {share:g}"), (-math.log(1 - share), f"−ln {1 - share:.2g}")):
            left.axhline(d, color=plots.FAINT, linewidth=0.8, zorder=0)
            left.annotate(text, (0, d), (0, 2), textcoords="offset points", color=plots.FAINT)
        _shares(right, ps, forwards, FORWARD, "forward")
        _shares(right, ps, best, REVERSE, "best reverse")
        right.set_ylabel("share of mass")
        right.set_ylim(0.5, 1.02)
        right.set_title("who lies inside whose 99 % region")
        legend(right, loc="lower left")
        legend(left, loc="upper left")
        for ax in (left, right):
            ax.set_xlabel("separation (standard deviations of a mode)")
    ends = "; ".join(f"{b.name} from {min(b.separations):.1f} to {max(b.separations):.1f}" for b in followed)
    return picture(figure, f"Divergences over the separation of the modes. Minima of the reverse one: {ends}")


def _branch(ax: Axes, branch: Branch, ps: dict[float, Gaussians], style: str) -> None:
    values = [float(kl(q, ps[d])) for d, q in zip(branch.separations, branch.fits, strict=True)]
    ax.plot(branch.separations, values, style, color=REVERSE, label=f"reverse, {branch.name}")


def _shares(ax: Axes, ps: dict[float, Gaussians], fits: dict[float, Gaussians], colour: str, name: str) -> None:
    ds = list(ps)
    ax.plot(ds, [inside(ps[d], fits[d]) for d in ds], color=colour, label=f"of p inside q, {name}")
    ax.plot(ds, [inside(fits[d], ps[d]) for d in ds], "--", color=colour, label=f"of q inside p, {name}")


def switches(shares: Sequence[float] = (0.5, 0.6)) -> HTML:
    """Where the best reverse fit changes from both modes to one, and what it costs there."""
    lines = []
    for share in shares:
        d = switches_at(share)
        p = two_modes(d, share)
        costs = [float(kl(q, p)) for q in minima(p)[:2]]
        lines.append([f"{100 * share:.0f} : {100 * (1 - share):.0f}", number(d, 2), number(costs[0], 4), number(costs[1], 4)])
    head = ["Weights", "separation", "KL(q ‖ p), nats", "the other minimum"]
    return table("Where the best reverse fit changes", head, lines)


# --- the landscape ---------------------------------------------------------------------------------------------


def landscape(p: Gaussians, starts: Sequence[float] = (-5, -2, 0, 2, 5)) -> HTML:
    """Both divergences over the mean and the standard deviation of q, and where steepest descent leads in reverse."""
    m, t = torch.linspace(-6, 6, 61).double(), torch.linspace(math.log(0.4), math.log(5), 41).double()
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


def _contours(ax: Axes, m: Tensor, t: Tensor, objective: Callable[[Gaussians], Tensor], colour: str, title: str) -> None:
    values = torch.stack([torch.stack([objective(unpack(torch.stack([a, b]))) for a in m]) for b in t])
    levels = float(values.min()) + torch.linspace(0.1, 5.5, 22).square()
    ax.contour(m, t.exp(), values, levels=levels, colors=colour, linewidths=0.8)
    ax.set_title(title)
    ax.set_yscale("log")
    ax.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    ax.minorticks_off()
    ax.set_xlabel("mean m of q")
    ax.grid(False)


