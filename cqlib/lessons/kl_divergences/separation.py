"""Lesson 01, the modes of p move apart: both fits at every separation, as pictures, as a slider, and as curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from cqlib.lessons.drawing import legend, number, table
from cqlib.lessons.kl_divergences.fits import SHARE, Branch, branches, forward, minima, switches_at, two_modes
from cqlib.lessons.kl_divergences.gaussians import Gaussians, inside, kl
from cqlib.lessons.kl_divergences.pictures import FORWARD, REVERSE, X, density, line
from cqlib.report import plots
from cqlib.report.cells import live, picture

SEPARATIONS = tuple(0.2 * i for i in range(41))


def _at(ax: Axes, separation: float, share: float, x: Tensor) -> None:
    """One separation: p, the forward fit, the best reverse fit, and dashed the other minima."""
    p = two_modes(separation, share)
    density(ax, p, x)
    best, found = forward(p), minima(p)
    ax.plot(x, best.log_prob(x).exp(), color=FORWARD, label="forward fit")
    for i, q in enumerate(found):
        style = {"linestyle": (0, (2, 2)), "linewidth": 1.1} if i else {"label": "reverse fit"}
        ax.plot(x, q.log_prob(x).exp(), color=REVERSE, **style)
    costs = f"forward {kl(p, best):.2f}, reverse {kl(found[0], p):.2f} nats"
    ax.set_title(f"separation {separation:g}: {costs}")
    ax.set_xlabel(X)
    ax.set_ylim(0, 0.48)


def at_separations(separations: Sequence[float] = (2, 4, 4.8, 6), share: float = SHARE) -> HTML:
    """Both fits for several separations of the modes: the still picture of the slider."""
    return picture(_board(separations, share), _alt(separations, share))


def _board(separations: Sequence[float], share: float) -> Figure:
    with matplotlib.rc_context(plots.STYLE):
        columns = min(2, len(separations))
        rows = math.ceil(len(separations) / columns)
        figure = plots.blank(8.8 if columns == 2 else 6.6, 2.5 * rows + 0.3)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for ax, d in zip(axes, separations, strict=False):
            _at(ax, d, share, line(max(6, d / 2 + 4)))
        for ax in axes[::columns]:
            ax.set_ylabel("density")
        axes[0].plot([], [], color=REVERSE, linestyle=(0, (2, 2)), linewidth=1.1, label="other minima of KL(q ‖ p)")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper left", ncols=4, frameon=False)
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
    None where nobody can move them (`live`)."""
    if not live():
        return None
    import ipywidgets as widgets

    def redraw(separation: float, weight: float) -> None:
        view.value = picture(_board([separation], weight), _alt([separation], weight)).data

    view = widgets.HTML()
    common = {"continuous_update": False, "style": {"description_width": "initial"}, "layout": {"width": "26em"}}
    separation = widgets.FloatSlider(6, min=0, max=9, step=0.2, description="separation", **common)
    weight = widgets.FloatSlider(SHARE, min=0.5, max=0.95, step=0.05, description="weight of the left mode", **common)
    widgets.interactive_output(redraw, {"separation": separation, "weight": weight})
    return widgets.VBox([widgets.HBox([separation, weight]), view])


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
        lines.append(
            [f"{100 * share:.0f} : {100 * (1 - share):.0f}", number(d, 2), number(costs[0], 4), number(costs[1], 4)]
        )
    head = ["Weights", "separation", "KL(q ‖ p), nats", "the other minimum"]
    return table("Where the best reverse fit changes", head, lines)
