"""Rows of images, each with a name, and a picture of what kinds of images cost."""

from collections.abc import Mapping, Sequence

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter, SymmetricalLogLocator

from cqlib.data.grids import grid
from cqlib.suite.cells import number
from cqlib.suite.report import plots

SIDE, LABEL, LINE, GAP = 0.62, 1.55, 0.17, 0.04
"""In inches: the side of an image, the width of rows' names, the height of a line of text, the gap between rows."""


def strips(rows: Mapping[str, torch.Tensor], *, columns: Sequence[str] = ()) -> Figure:
    """One row of images (N, C, H, W) uint8 per name; `columns`, if not empty, are the texts above the images of the
    first row."""
    most = max(len(images) for images in rows.values())
    width, height = LABEL + SIDE * most, (SIDE + GAP) * len(rows) + LINE * bool(columns)
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(width, height)
        figure.set_layout_engine("none")  # images of all rows in one lattice
        top = height - LINE * bool(columns)
        for k, text in enumerate(columns):
            figure.text((LABEL + (k + 0.5) * SIDE) / width, (top + 0.02) / height, text, ha="center", va="bottom")
        for name, images in rows.items():
            n = len(images)
            ax = figure.add_axes((LABEL / width, (top - SIDE) / height, n * SIDE / width, SIDE / height))
            ax.set_axis_off()
            ax.imshow(grid(images, columns=n), interpolation="none", aspect="auto")
            figure.text((LABEL - 0.06) / width, (top - SIDE / 2) / height, name, ha="right", va="center")
            top -= SIDE + GAP
        return figure


def cost_board(
    images: Mapping[str, torch.Tensor], costs: Mapping[str, torch.Tensor], reference: str, unit: str, what: str
) -> tuple[Figure, str]:
    """A figure of kinds of images (N, C, H, W) uint8, the cheapest first, and what it shows in words: four images of
    each kind, the mean and the middle 90 % of their costs (N,) in `unit`, and a line at the mean of `reference`."""
    means = {name: float(values.mean()) for name, values in costs.items()}
    order = sorted(images, key=means.__getitem__)
    with plots.subplots(7.0, 0.42 * len(order) + 0.5, 1, 2, width_ratios=[1.6, 4]) as (figure, (left, ax)):
        left.set_axis_off()
        examples = torch.cat([images[name][:4] for name in order])
        left.imshow(grid(examples, columns=4), interpolation="none", aspect="auto")
        ax.axvline(means[reference], color=plots.FAINT, linewidth=0.8)
        for i, name in enumerate(order):
            colour = plots.SERIES[name == reference]
            ends = costs[name].double().quantile(torch.tensor([0.05, 0.95]).double())
            ax.plot(ends, [i, i], color=colour, linewidth=1.2)
            ax.plot(means[name], i, "o", color=colour, markersize=5)
        ax.set_yticks(range(len(order)), [f"{name}  {number(means[name])}" for name in order])
        ax.set_ylim(len(order) - 0.5, -0.5)
        ax.set_xscale("symlog", linthresh=1)  # one kind may cost twenty times another, or less than nothing
        ax.xaxis.set_major_locator(SymmetricalLogLocator(ax.xaxis.get_transform(), subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.grid(True, axis="x")
        ax.set_xlabel(f"{unit}:\nmean, and the middle 90 % of images")
    return figure, f"{what}: {', '.join(f'{name} {number(means[name])}' for name in order)}"
