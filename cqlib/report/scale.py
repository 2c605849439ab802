"""CQ-F at several widths: BPD and Fréchet distance against the number of parameters, where records hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from cqlib.models.coverage_quality import WIDTHS
from cqlib.report import plots
from cqlib.report.run_sets import FEATURES, PLACES, RunSet, mean_and_std
from cqlib.util.text import without_paths

PERCENT = {**WIDTHS, "table1/cq-f": 100}
"""Row -> width of its nets in percent of the profile's."""
FEWEST = 3
"""Widths that make a picture."""

Series = list[tuple[int, float, float, float]]
"""(width in percent, millions of parameters, mean over seeds, their standard deviation), by width."""


def series(runs: RunSet, name: str) -> Series:
    """A metric of CQ-F by width, of finished runs."""
    found = []
    for row, percent in PERCENT.items():
        whole = (run for run in runs.of(row) if run.status == "done" and "total" in run.parameters)
        done = [run for run in whole if name in run.metrics]
        if done:
            mean, std = mean_and_std([run.metrics[name].value for run in done])
            found.append((percent, done[0].parameters["total"] / 1e6, mean, std or 0.0))
    return sorted(found)


def plots_of(runs: RunSet) -> list[dict[str, Any]]:
    """The picture of a run set, for every kind of features; none with fewer than `FEWEST` widths."""
    bpd, found = series(runs, "BPD"), []
    for _, distance, _ in FEATURES.values():
        scores = {f"T = {t}": series(runs, f"{distance}@T{t}") for t in (1, 0)}
        if min(map(len, (bpd, *scores.values()))) >= FEWEST:
            where = f"{PLACES[runs.place]}: {without_paths(runs.label)}"
            found_at = {p: fd for p, _, fd, _ in scores["T = 1"]}
            said = ", ".join(f"width {p} % {b:.2f} bpd, {found_at[p]:,.0f}" for p, _, b, _ in bpd if p in found_at)
            caption = ("CQ-F by width of all its nets, in percent of the profile's; bars: standard deviations over "
                       f"seeds, where there are several. {where}.")  # fmt: skip
            svg = plots.to_svg(figure({"BPD": {"": bpd}, distance: scores}), f"BPD and {distance} of CQ-F: {said}")
            found.append({"svg": Markup(svg), "caption": caption, "more": False, "wide": False})
    return found


def figure(panels: dict[str, dict[str, Series]]) -> Figure:
    """A panel per metric under each other, against parameters on a logarithmic axis; a line per series."""
    with matplotlib.rc_context(plots.PLAIN):
        made = plots.blank(4.7, 1.9 * len(panels))
        axes = made.subplots(len(panels), sharex=True)
        for ax, (name, lines) in zip(axes, panels.items(), strict=True):
            ax.set_ylabel(name)
            for i, (label, points) in enumerate(lines.items()):
                _line(ax, points, label, plots.mark(i)[0], filled=i == 0)
            if len(lines) > 1:
                ax.legend(frameon=False)
        ax.set_xscale("log")
        ax.set_xlabel("parameters of encoder, decoder and f, in millions")
        places = sorted({(m, p) for lines in panels.values() for points in lines.values() for p, m, _, _ in points})
        ax.xaxis.set_major_locator(FixedLocator([m for m, _ in places]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticklabels([f"{m:.2g}\n{p} %" for m, p in places])
        return made


def _line(ax: Axes, points: Sequence[tuple[int, float, float, float]], label: str, colour: str, filled: bool) -> None:
    _, x, y, std = zip(*points, strict=True)
    ax.errorbar(x, y, std, color=colour, marker="o", label=label, markerfacecolor=colour if filled else plots.PAPER)
