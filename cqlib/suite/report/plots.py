"""Sample grids, learning curves and scatter plots as matplotlib figures, and those as inline SVG. Series differ by
labels and markers as well as by colour (near the Okabe-Ito palette, for the common colour-vision deficiencies)."""

import base64
import html
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from torch import Tensor

from cqlib.data.grids import grid

INK, FAINT, PAPER = "#1b1f24", "#8b929c", "#fdfdfb"
SERIES = ("#0072b2", "#d55e00", "#007a59", "#a8478a", "#8a6a00", "#4b5563", "#b4174b", "#4d7c0f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("-", "--", ":")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif", "font.size": 9.0, "axes.titlesize": 9.0, "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "text.color": INK, "axes.labelcolor": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.edgecolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": FAINT,
    "grid.alpha": 0.25, "grid.linewidth": 0.6, "lines.linewidth": 1.6,
    "figure.dpi": 110, "savefig.dpi": 144, "svg.fonttype": "none",
}  # fmt: skip
PLAIN = {**STYLE, "text.parse_math": False}
"""The style where labels come from records: a dollar sign is drawn as such and does not begin a formula."""
VARIABLES = {INK: "var(--ink,#1b1f24)", FAINT: "var(--faint,#8b929c)", PAPER: "var(--page,#fdfdfb)"} | {
    colour: f"var(--series-{i},{colour})" for i, colour in enumerate(SERIES)
}

Curve = Sequence[tuple[float, float]]  # [[step, value], ...]


class Point(NamedTuple):
    """A mark of `quality_against_likelihood`; `bpd_std` and `distance_std` are standard deviations over seeds, 0 for
    one seed. A line joins marks with the same `line`; one without stands alone."""

    label: str
    bpd: float
    distance: float
    bpd_std: float = 0.0
    distance_std: float = 0.0
    line: str = ""


@contextmanager
def subplots(
    width: float, height: float, rows: int = 1, columns: int = 1, *, style: Mapping[Any, Any] = STYLE, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """Context with a figure of that size in inches and its axes as `Figure.subplots` returns them, where `style`
    holds."""
    with matplotlib.rc_context({**style}):
        figure = blank(width, height)
        yield figure, figure.subplots(rows, columns, **options)


def blank(width: float, height: float) -> Figure:
    """An empty figure of that size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot, no global list of open figures, no window
    return figure


def sample_board(rows: Mapping[str, Mapping[str, Tensor]], *, columns: int, captions: Mapping[str, str] = {}) -> Figure:
    """Grids side by side: `rows[row label][title]` are images (N, C, H, W) uint8; `captions[title]` stands below."""
    across = max(len(row) for row in rows.values())
    below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center", "va": "top"}
    beside: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "rotation": 90}
    with subplots(2.1 * across, 2.3 * len(rows), len(rows), across, squeeze=False) as (figure, axes):
        for ax in axes.flat:
            ax.set_axis_off()
            ax.set_anchor("S")  # what room there is goes to the title
        for line, (label, row) in zip(axes, rows.items(), strict=True):
            name = label.replace(", ", ",\n")
            line[0].annotate(name, (0, 0.5), (-3, 0), ha="right", va="center", ma="center", weight="bold", **beside)
            for ax, (title, images) in zip(line, row.items(), strict=False):
                ax.imshow(grid(images, columns=columns), interpolation="none")
                ax.set_title(title)
                ax.annotate(captions.get(title, ""), (0.5, 0), (0, -4), fontsize=9, **below)
    return figure


def learning_curves(
    series: Mapping[str, Sequence[Curve]], *, ylabel: str, marks: Mapping[str, int], levels: Mapping[str, float] = {}
) -> Figure:
    """Curves over training steps: `series[label]` holds one per seed, of which the mean is drawn. `marks`: label -> its
    number in `colour_and_marker`. `levels`: label -> height of a thin line to compare the curves with. Rare peaks that
    would flatten the rest leave the plot."""
    means = mean_curves(series)
    low, usual, highest = np.quantile([value for curve in means.values() for _, value in curve], (0.0, 0.99, 1.0))
    with subplots(5.6, 3.1, style=PLAIN) as (figure, ax):
        for label, curve in means.items():
            (colour, _), dash = colour_and_marker(marks[label]), DASHES[marks[label] // len(SERIES) % len(DASHES)]
            ax.plot(*zip(*curve, strict=True), dash, color=colour, linewidth=1.7, label=label)
        ax.set(xlabel="training step", ylabel=ylabel)
        ax.margins(x=0.01)
        usual = max(usual, *levels.values()) if levels else usual
        if highest - low > 3 * (usual - low) > 0:
            ax.set_ylim(low - 0.05 * (usual - low), usual + 0.1 * (usual - low))
        for label, height in levels.items():
            ax.axhline(height, color=INK, linewidth=0.8, zorder=1, label=label)
        _legend(figure, "outside right upper")
    return figure


def _legend(figure: Figure, place: str) -> None:
    """The labels of all that is drawn, in a column right of the plot or in a line above it."""
    look: dict[str, Any] = {"loc": place, "ncols": 1 if "right" in place else 9, "frameon": False}
    figure.legend(fontsize=8.5, handletextpad=0.5, **look)


def mean_curves(series: Mapping[str, Sequence[Curve]]) -> dict[str, Curve]:
    """Label -> the mean over its curves at every step that any of them has."""
    means: dict[str, Curve] = {}
    for label, curves in series.items():
        values: dict[float, list[float]] = {}
        for step, value in chain(*curves):
            values.setdefault(step, []).append(value)
        means[label] = [(step, fmean(values[step])) for step in sorted(values)]
    return means


def describe_lines(series: Mapping[str, Sequence[Curve]]) -> str:
    """What the lines of `learning_curves` are."""
    return "means over seeds" if any(len(curves) > 1 for curves in series.values()) else "one seed"


def quality_against_likelihood(
    points: Sequence[Point], *, ylabel: str, marks: Mapping[str, int], size: tuple[float, float] = (5.6, 3.6),
    legend: str = "outside right upper",
) -> Figure:  # fmt: skip
    """Likelihood (BPD, across) against image quality (a score, up), with bars of standard deviations over seeds. Points
    of one line are joined, in their order, by dots where there are but two, and have their labels beside them: left of
    those of the leftmost line and below, right of those of others and above. `marks`: line, or label of a point without
    one -> its number in `colour_and_marker`; `size` in inches; `legend`: its place, as matplotlib calls it."""
    with subplots(*size, style=PLAIN) as (figure, ax):
        for i, name in enumerate(dict.fromkeys(p.line or p.label for p in sorted(points, key=lambda p: p.bpd))):
            mine = [p for p in points if name == (p.line or p.label)]
            colour, marker = colour_and_marker(marks[name])
            ax.errorbar(
                [p.bpd for p in mine], [p.distance for p in mine],
                xerr=[p.bpd_std for p in mine], yerr=[p.distance_std for p in mine],
                color=colour, marker=marker, markersize=6.5, label=name,
                linestyle=":" if len(mine) == 2 else "-", linewidth=0.9, elinewidth=0.9,
            )  # fmt: skip
            offset: dict[str, Any] = {"xytext": (6, 6) if i else (-8, -12), "ha": "left" if i else "right"}
            for p in mine:
                if p.line:
                    ax.annotate(p.label, (p.bpd, p.distance), textcoords="offset points", **offset, color=colour)
        ax.margins(x=0.13, y=0.14)
        ax.set(xlabel="bits per dimension (lower is better)", ylabel=ylabel)
        if min(p.distance for p in points) >= 0:  # a score that has a least value
            ax.set_ylim(bottom=max(0, ax.get_ylim()[0]))
        _legend(figure, legend)
    return figure


def colour_and_marker(i: int) -> tuple[str, str]:
    """Colour and marker of the i-th series; no two of the first 64 series have the same pair."""
    return SERIES[i % len(SERIES)], MARKERS[(i + i // len(SERIES)) % len(MARKERS)]


def to_svg(figure: Figure, alt: str) -> str:
    """The figure as an `<svg>` element for a page: themed by CSS variables, `alt` read by screen readers. Equal figures
    give equal text: no date, no random ids."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": alt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # in a page its own fonts show it
        FigureCanvasSVG(figure)
        figure.dpi = FigureCanvasSVG.fixed_dpi
        if layout := figure.get_layout_engine():
            layout.execute(figure)
            figure.set_layout_engine("none")  # else `savefig` would draw twice, once for the layout
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\n\s+", "\n", text)
    coordinates = r' (?:d|x|y|transform)="[^"]*"'  # a hundredth of a pixel is enough
    text = re.sub(coordinates, lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # figure_1, axes_1: not unique once a page has two figures
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)  # the page's font instead, once, below
    text = re.sub(r"(font: (?:bold |\d+ )?[\d.]+px) [^;\"]*", r"\1 var(--sans,sans-serif)", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    opening = f'<svg role="img" aria-label="{html.escape(alt)}" style="font-family: var(--sans,sans-serif)" '
    return text.replace("<svg ", opening, 1)


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """`data:` address of a picture, so that the page needs no second file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
