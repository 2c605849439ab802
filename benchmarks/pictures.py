"""The pictures of docs/performance.md, in the report's style, from what was measured; each stands alone as a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from benchmarks.comparison import Ratio
from benchmarks.cost import Growth, exponent
from benchmarks.time_to_quality import Learning
from cqlib.report.plots import FAINT, INK, PAPER, PLAIN, colour_and_marker, subplots, to_svg

Drawing = Callable[[Sequence[Any]], str]
"""All entries -> an SVG; "" where there is nothing to draw."""


def time_to_quality(entries: Sequence[Any]) -> str:
    """Each quality against seconds, both sides, and the bound."""
    sides = [e for e in entries if isinstance(e, Learning)]
    if not sides:
        return ""
    bounds = sides[0].bounds
    with subplots(7.0, 2.9, 1, len(bounds), style=PLAIN) as (figure, axes):
        for ax, (name, bound) in zip(axes, bounds.items(), strict=True):
            for i, side in enumerate(sides):
                colour, marker = colour_and_marker(i)
                ax.plot(side.seconds, side.qualities[name], color=colour, marker=marker, markersize=4, label=side.side)
            ax.axhline(bound, color=INK, linewidth=0.9, linestyle="--")
            where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            ax.annotate("published records", (0, bound), (4, -3), va="top", **where)
            ax.set(xlabel="seconds", title=name)
            ax.set_xlim(left=0)
            ax.margins(y=0.12)
        axes[0].legend(frameon=False)
        return standalone(figure, "time_to_quality")


def cost(entries: Sequence[Any]) -> str:
    """Seconds above, memory below, a column for each thing that grows; both axes logarithmic."""
    growths = [e for e in entries if isinstance(e, Growth)]
    if not growths:
        return ""
    columns = list(dict.fromkeys(g.over for g in growths))
    devices = list(dict.fromkeys(g.device for g in growths))
    with subplots(8.2, 4.2, 2, len(columns), squeeze=False, sharey="row", style=PLAIN) as (figure, axes):
        for g in growths:
            column, (colour, marker) = columns.index(g.over), colour_and_marker(devices.index(g.device))
            spread = [[median - min(rounds), max(rounds) - median]
                      for median, rounds in zip(g.medians, g.seconds, strict=True)]  # fmt: skip
            panels = ((1e3, g.medians, spread), (1e-6, g.bytes, None))
            for ax, (unit, values, bars) in zip(axes[:, column], panels, strict=True):
                ys = [unit * value for value in values]
                errors = None if bars is None else [[unit * b[k] for b in bars] for k in range(2)]
                ax.errorbar(g.values, ys, errors, color=colour, marker=marker, markersize=4, label=g.device)
                ax.annotate(f"exponent {exponent(g.values, values)[0]:.2f}", (0.05, 0.9), xycoords="axes fraction",
                            color=colour)  # fmt: skip
                logarithmic(ax, g.values)
            axes[1, column].set_xlabel(g.over)
        axes[0, 0].set_ylabel("ms per step")
        axes[1, 0].set_ylabel("MB")
        if len(devices) > 1:
            axes[0, 0].legend(frameon=False)
        return standalone(figure, "cost")


def logarithmic(ax: Axes, values: Sequence[int]) -> None:
    """Make both axes logarithmic, with ticks at `values` on the x axis and plain numbers on the y axis."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(values)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([str(value) for value in values])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.margins(y=0.25)


def workers(entries: Sequence[Any]) -> str:
    """A bar of seconds for each way."""
    ways = [e for e in entries if isinstance(e, Ratio) and e.name == "workers"]
    if not ways:
        return ""
    seconds = {words: s for r in reversed(ways) for words, s in ((r.ours, r.ours_s), (r.other, r.other_s))}
    names = sorted(seconds, key=lambda name: ("Ray" not in name, seconds[name]))
    with subplots(5.6, 0.5 + 0.36 * len(names), style={**PLAIN, "axes.grid.axis": "x"}) as (figure, ax):
        colours = [colour_and_marker("Ray" in name)[0] for name in names]
        ax.barh(names, [seconds[name] for name in names], height=0.6, color=colours)
        for name in names:
            place = (seconds[name], name)
            ax.annotate(f"{seconds[name]:,.0f} s", place, (4, 0), textcoords="offset points", va="center")
        ax.set_xlabel("seconds for the five rows, shortened")
        ax.margins(x=0.12)
        ax.spines["left"].set_color(FAINT)
        ax.tick_params(left=False)
        return standalone(figure, "workers")


def standalone(figure: Figure, name: str) -> str:
    """The figure as the SVG of a file of its own, with the page's light background, whatever it is shown on."""
    before, bracket, after = to_svg(figure, PICTURES[name][0]).partition(">")
    return f'{before}{bracket}<rect width="100%" height="100%" fill="{PAPER}"/>{after}\n'


PICTURES: dict[str, tuple[str, Drawing]] = {
    "time_to_quality": ("BPD and Fréchet distance of CQ-F against seconds of training, by this package and by the "
                        "textbook loop, with the bounds that the published records set", time_to_quality),
    "cost": ("Milliseconds and megabytes of a training step of CQ-F as image side, batch, couplings and width of f "
             "grow, on logarithmic axes with fitted exponents", cost),
    "workers": ("Seconds that the five rows of Table 1, shortened, take in one process, in one of two threads, in two "
                "processes, and on one and two nodes of a Ray cluster", workers),
}  # fmt: skip
"""File name -> alternative text, and what draws it."""
