"""Tables and pictures that several lessons need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

from cqlib.report import page as report
from cqlib.report import plots

ORDER = ("VAE", "VAE-F", "CQ", "CQ-F", "GAN")
"""Systems in the order of their colours; what is none of them comes after."""
SIGNED = "coolwarm"
"""Colours of values on either side of 0, which is grey: neither end is lost on a light or on a dark page."""


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


def table(caption: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> HTML:
    """A table whose first column names its lines."""
    return HTML(report.macro("plain_table", caption, list(head), [list(line) for line in lines]))


def stretched(values: Tensor, limit: float | None = None) -> Tensor:
    """Signed values (N, C, H, W) as uint8 images, 0 as mid grey, ±`limit` (default: the 99th percentile of sizes) as
    the ends."""
    if limit is None:
        limit = float(values.abs().flatten()[:: max(1, values.numel() // 100_000)].quantile(0.99))
    return (127.5 * (1 + values / limit)).round().clamp(0, 255).to(torch.uint8)


def heat(ax: Axes, values: Tensor, *, limit: float | None = None, title: str = "") -> matplotlib.image.AxesImage:
    """A matrix in `SIGNED` colours from -limit to limit; what is exactly 0 stays empty."""
    array = np.ma.masked_equal(np.asarray(values.detach(), dtype=float), 0.0)
    limit = limit or float(np.abs(array).max())
    image = ax.imshow(array, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="none")
    ax.set_title(title)
    ax.grid(False)
    return image


def legend(ax: Axes, **where: str) -> None:
    """The labels of an axes' lines, each in the colour of its line."""
    made = ax.legend(frameon=False, fontsize=8.5, **where)
    for text, line in zip(made.get_texts(), made.get_lines(), strict=True):
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
    found: Mapping[str, Mapping[str, Line]], *, xlabel: str, ylabel: str, width: float = 3.3, height: float = 3.0
) -> Figure:
    """Plots side by side with one y axis, `found[title][label]` is a line; each has its own legend."""
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(width * len(found) + 0.4, height)
        row = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
        for ax, (title, lines) in zip(row, found.items(), strict=True):
            for label, (x, y, colour, marker, style) in lines.items():
                face = colour if style == "-" else plots.PAPER
                ax.plot(x, y, style, color=colour, marker=marker, markersize=5, markerfacecolor=face, label=label)
            ax.set_title(title)
            ax.set_xlabel(xlabel)
            legend(ax)
        row[0].set_ylabel(ylabel)
        return figure
