"""Tables and pictures that several lessons need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator
from torch import Tensor

from cqlib.report import page as report
from cqlib.report import plots

ORDER = ("VAE", "VAE-F", "CQ", "CQ-F", "GAN")
"""Systems in the order of their colours; others come after."""
SIGNED = "coolwarm"
"""Colour map of values on either side of 0, which is grey: both ends are visible on a light and on a dark page."""

Format = int | Callable[[float], str] | None
"""Of a table's column: decimals, or a function of the value; None for text."""


def mark(label: str) -> tuple[str, str]:
    """Colour and marker of a system."""
    return plots.mark(ORDER.index(label) if label in ORDER else len(ORDER))


def number(value: float, digits: int = 2) -> str:
    """With that many decimals, commas and a real minus; never "−0.00"."""
    text = f"{value:,.{digits}f}"
    return f"{0:.{digits}f}" if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def difference(value: float) -> str:
    """The size of a numerical error: "3e-14"."""
    return "0" if value == 0 else f"{abs(value):.0e}"


def percent(value: float) -> str:
    """A share of 1: "12.3%"."""
    return f"{value:.1%}"


def mean_and_error(values: Tensor, digits: int = 3) -> str:
    """ "0.123 ± 0.004": the mean of values (N,) and its standard error."""
    return f"{number(float(values.mean()), digits)} ± {float(values.std()) / len(values) ** 0.5:.{digits}f}"


def table(caption: str, columns: Mapping[str, Format], lines: Iterable[Sequence[str | float | Tensor]]) -> HTML:
    """A table whose first column names its lines; `columns` maps each heading to the format of its numbers. Text is
    shown as it is, in any column."""

    def cell(value: str | float | Tensor, form: Format) -> str:
        if isinstance(value, str):
            return value
        return form(float(value)) if callable(form) else number(float(value), form or 0)

    cells = [[cell(*pair) for pair in zip(line, columns.values(), strict=True)] for line in lines]
    return HTML(report.macro("plain_table", caption, list(columns), cells))


def stretched(values: Tensor, limit: float | None = None) -> Tensor:
    """Signed values (N, C, H, W) as uint8 images, 0 as mid grey, ±`limit` (default: the 99th percentile of sizes) as
    the ends."""
    if limit is None:
        limit = float(values.abs().flatten()[:: max(1, values.numel() // 100_000)].quantile(0.99))
    return (127.5 * (1 + values / limit)).round().clamp(0, 255).to(torch.uint8)


@contextmanager
def subplots(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """A figure of that size in inches and its axes, in the style of the page, for the body of the `with`; options as in
    `Figure.subplots`."""
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(width, height)
        yield figure, figure.subplots(rows, columns, **options)


def heat(ax: Axes, values: Tensor, *, limit: float, title: str) -> AxesImage:
    """A matrix in `SIGNED` colours from -limit to limit; exact zeros stay empty."""
    ax.set_title(title)
    ax.grid(False)
    array = np.ma.masked_equal(values.detach().double().numpy(), 0.0)
    return ax.imshow(array, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="none")


def bare(ax: Axes) -> None:
    """No ticks and no grid, as for an image."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def legend(ax: Axes, **where: str) -> None:
    """The labels of an axes' lines, each in the colour of its line."""
    shown = ax.legend(frameon=False, fontsize=8.5, **where)
    for text, line in zip(shown.get_texts(), shown.get_lines(), strict=True):
        text.set_color(line.get_color())


def log_scale(ax: Axes) -> None:
    """A logarithmic y axis over few decades, ticks at 1, 2 and 5."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


Line = tuple[Sequence[float], Sequence[float], str, str, str]
"""x, y, colour, marker, and a matplotlib line style; dashed lines get open markers."""


def panels(
    lines: Mapping[str, Mapping[str, Line]], *, xlabel: str, ylabel: str, width: float = 3.3, height: float = 3.0
) -> Figure:
    """Plots side by side with one y axis, `lines[title][label]` is a line; each has its own legend."""
    options = {"squeeze": False, "sharey": True}
    with subplots(width * len(lines) + 0.4, height, 1, len(lines), **options) as (figure, ((first, *others),)):
        for ax, (title, panel) in zip((first, *others), lines.items(), strict=True):
            for label, (x, y, colour, marker, style) in panel.items():
                face = colour if style == "-" else plots.PAPER
                ax.plot(x, y, style, color=colour, marker=marker, markersize=5, markerfacecolor=face, label=label)
            ax.set(title=title, xlabel=xlabel)
            legend(ax)
        first.set_ylabel(ylabel)
    return figure
