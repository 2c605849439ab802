"""What a notebook cell shows: pictures with a text for screen readers, tables, panels of plots."""

import html
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from IPython import get_ipython
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

from cqlib.data.grids import grid_png
from cqlib.metrics.quantities import decimal
from cqlib.suite.report import page, plots
from cqlib.suite.report.plots import subplots as subplots

Format = int | Callable[[float], str]
"""How the numbers of a column are written: with so many decimals, or by a function."""

Line = tuple[Any, Any, str, str, str]
"""x and y (sequences or tensors; x may be names), colour, marker, line style; dashed lines get open markers."""


def picture(figure: Figure, alt: str) -> HTML:
    """A figure in the colours of the page; `alt` describes it in words."""
    return HTML(page.scoped(plots.to_svg(figure, alt)))


def figures(drawn: Sequence[Mapping[str, Any]]) -> HTML:
    """Pictures of the report with their captions; empty without pictures."""
    return HTML(page.macro("figures", drawn) if drawn else "")


def pixels(images: Tensor, alt: str, *, columns: int = 8, scale: int | None = None) -> HTML:
    """Images (N, C, H, W) uint8 as one grid, each pixel `scale` pixels wide (default: images about 64 wide)."""
    png = grid_png(images, columns=columns, scale=scale or max(1, 64 // images.shape[-1]))
    return HTML(f'<img alt="{html.escape(alt)}" src="{plots.data_uri(png)}">')


def table(caption: str, header: Sequence[str] | Mapping[str, Format | None], rows: Iterable[Sequence[Any]]) -> HTML:
    """A table whose first column names its rows; a mapping as the header gives each column's format for numbers."""
    formats = list(header.values()) if isinstance(header, Mapping) else [None] * len(header)

    def cell(value: Any, form: Format | None) -> Any:
        if form is None or isinstance(value, str):
            return value
        return form(float(value)) if callable(form) else number(float(value), form)

    cells = [[cell(value, form) for value, form in zip(row, formats, strict=True)] for row in rows]
    return HTML(page.macro("plain_table", caption, list(header), cells))


def number(value: float, digits: int = 2) -> str:
    """`value` as text, with `digits` decimals, commas and a real minus; never "−0.00"."""
    return decimal("", value, digits)


def difference(value: float) -> str:
    """The size of a numerical error: "3e-14"."""
    return "0" if value == 0 else f"{abs(value):.0e}"


def mean_and_error(values: Tensor, digits: int = 3) -> str:
    """ "0.123 ± 0.004": the mean of values (N,) and its standard error."""
    return f"{number(float(values.mean()), digits)} ± {float(values.std()) / len(values) ** 0.5:.{digits}f}"


def legend(of: Axes | Figure, **where: Any) -> None:
    """Add a legend without frame, each label in the colour of its line; `where`: options of matplotlib's `legend`."""
    box = of.legend(frameon=False, fontsize=8.5, **where)
    for text, line in zip(box.get_texts(), box.get_lines(), strict=True):
        text.set_color(line.get_color())


def log_scale(ax: Axes) -> None:
    """A logarithmic y axis over few decades, ticks at 1, 2 and 5."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


def panels(
    lines: Mapping[str, Mapping[str, Line]], *, xlabel: str | Sequence[str], ylabel: str | Sequence[str],
    width: float = 3.3, height: float = 3.0,
) -> Figure:  # fmt: skip
    """Plots side by side, of lines `lines[title][label]`. They share a y axis if `ylabel` is one text, else have one
    each. Where all plots have the same labels, drawn alike, one legend stands above them."""
    shared, xlabels = isinstance(ylabel, str), [xlabel] * len(lines) if isinstance(xlabel, str) else xlabel
    with subplots(width * len(lines) + 0.4, height, 1, len(lines), squeeze=False, sharey=shared) as (figure, axes):
        for ax, (title, of_panel), text in zip(axes[0], lines.items(), xlabels, strict=True):
            for label, (x, y, colour, marker, style) in of_panel.items():
                face = colour if style == "-" else plots.PAPER
                ax.plot(x, y, style, color=colour, marker=marker, markersize=5, markerfacecolor=face, label=label)
            ax.set(title=title, xlabel=text)
        looks = [{label: line[2:] for label, line in of_panel.items()} for of_panel in lines.values()]
        if len(looks) > 1 and all(look == looks[0] for look in looks):
            place: dict[str, Any] = {"loc": "outside upper left", "ncols": len(looks[0])}
            legend(figure, handles=axes[0, 0].get_lines(), **place)
        else:
            for ax in axes[0]:
                legend(ax)
        for ax, text in zip(axes[0], [ylabel] if isinstance(ylabel, str) else ylabel, strict=False):
            ax.set_ylabel(text)
    return figure


def live() -> bool:
    """Whether this kernel is behind a page that shows widgets, known by the names that Jupyter's server and VS Code
    leave in it."""
    shell = get_ipython()
    return shell is not None and ("JPY_SESSION_NAME" in os.environ or "__vsc_ipynb_file__" in shell.user_ns)
