"""Sample grids, learning curves and scatter plots as matplotlib figures, and those as inline SVG. Series differ by
labels and markers as well as by colour (near the Okabe-Ito palette, for the common colour-vision deficiencies)."""

import base64
import html
import io
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cqlib.data.grids import grid
from cqlib.report.label_placement import Label, place

INK, FAINT, PAPER = "#1b1f24", "#8b929c", "#fdfdfb"
SERIES = ("#0072b2", "#d55e00", "#007a59", "#a8478a", "#8a6a00", "#4b5563", "#b4174b", "#4d7c0f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("-", "--", ":")
MANY = 5  # up to so many models in a plot have a line per seed
FEW = 3  # the axis of so many models is never broken: the gap between them is what the picture shows
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


class End(NamedTuple):
    """Where a line of a plot ends: its label, the height, and how it is drawn."""

    label: str
    y: float
    colour: str
    dash: str = "-"
    width: float = 1.7


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


def sample_board(rows: Mapping[str, Mapping[str, Tensor]], *, columns: int) -> Figure:
    """Grids side by side: `rows[row label][title]` are images (N, C, H, W) uint8."""
    across = max(len(row) for row in rows.values())
    beside: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "rotation": 90}
    with subplots(2.1 * across, 2.3 * len(rows), len(rows), across, squeeze=False) as (figure, axes):
        for ax in axes.flat:
            ax.set_axis_off()
        for line, (label, row) in zip(axes, rows.items(), strict=True):
            name = label.replace(", ", ",\n")
            line[0].annotate(name, (0, 0.5), (-3, 0), ha="right", va="center", ma="center", weight="bold", **beside)
            for ax, (title, images) in zip(line, row.items(), strict=False):
                ax.imshow(grid(images, columns=columns), interpolation="none")
                ax.set_title(title)
    return figure


def learning_curves(
    series: Mapping[str, Sequence[Curve]], *, ylabel: str, marks: Mapping[str, int], levels: Mapping[str, float] = {}
) -> Figure:
    """Curves over training steps: `series[label]` holds one per seed. `marks`: label -> its number in
    `colour_and_marker`. Of more than `MANY` models the means over seeds; `describe_lines` says so. `levels`: label ->
    height of a thin line to compare the curves with."""
    with subplots(4.7, 3.1, style=PLAIN) as (figure, ax):
        ends = []
        for label, curves in _drawn(series).items():
            (colour, _), dash = colour_and_marker(marks[label]), DASHES[marks[label] // len(SERIES) % len(DASHES)]
            for curve in curves:
                ax.plot(*zip(*curve, strict=True), dash, color=colour, linewidth=1.7 if len(curves) == 1 else 1.0)
            ends.append(End(label, float(np.mean([curve[-1][1] for curve in curves])), colour, dash))
        ax.set(xlabel="training step", ylabel=ylabel)
        ax.margins(x=0.01)
        if (limits := y_limits(series)) is not None:
            heights = (*limits, *levels.values())
            ax.set_ylim(min(heights), max(heights))
        for label, height in levels.items():
            ends.append(End(label, height, INK, "-", 0.8))
            ax.axhline(height, color=INK, linewidth=ends[-1].width, zorder=1)
        label_ends(ax, ends)
    return figure


def _drawn(series: Mapping[str, Sequence[Curve]]) -> Mapping[str, Sequence[Curve]]:
    if not _means(series):
        return series
    means = {}
    for label, curves in series.items():
        values: dict[float, list[float]] = {}
        for step, value in chain(*curves):
            values.setdefault(step, []).append(value)
        means[label] = [[(step, fmean(values[step])) for step in sorted(values)]]
    return means


def _means(series: Mapping[str, Sequence[Curve]]) -> bool:
    return len(series) > MANY and any(len(curves) > 1 for curves in series.values())


def y_limits(series: Mapping[str, Sequence[Curve]]) -> tuple[float, float] | None:
    """Limits of the y axis that leave outliers out: the 1 % and 99 % quantiles of what is drawn, widened to the end of
    every curve, with some margin. None where all values span at most three times that range."""
    series = _drawn(series)
    values = np.array([value for curves in series.values() for curve in curves for _, value in curve])
    low, high = np.quantile(values, (0.01, 0.99))
    ends = [curve[-1][1] for curves in series.values() for curve in curves]
    low, high = min(low, *ends), max(high, *ends)
    if np.ptp(values) <= 3 * (high - low):
        return None
    margin = 0.08 * (high - low)
    return float(max(low - margin, values.min())), float(min(high + margin, values.max()))


def describe_lines(series: Mapping[str, Sequence[Curve]]) -> str:
    """What the lines of `learning_curves` are, and what `y_limits` leaves out: "one line per seed; cut: GAN reaches
    41"."""
    lines = "means over seeds" if _means(series) else "one line per seed"
    if (limits := y_limits(series)) is None:
        return lines
    found = {label: [value for _, value in chain(*curves)] for label, curves in _drawn(series).items()}
    beyond = [f"{label} reaches {f'{end:,.3g}'.replace('-', '−')}" for label, values in found.items()
              for end in (min(values), max(values)) if not limits[0] <= end <= limits[1]]  # fmt: skip
    return f"{lines}; cut: {', '.join(beyond)}"


def quality_against_likelihood(
    points: Sequence[Point], *, ylabel: str, marks: Mapping[str, int], legend: Mapping[str, int],
    xlabel: str = "bits per dimension (lower is better)", title: str = "", size: tuple[float, float] = (4.9, 3.6),
) -> Figure:  # fmt: skip
    """Likelihood (BPD, across) against image quality (a score, up), with bars of standard deviations over seeds.

    The axis of BPD of more than `FEW` models is broken where one gap would take half of it. `marks`: line -> its number
    in `colour_and_marker`; `legend`: what stands above the plot -> such a number; `size` in inches.
    """
    parts = _ranges([(p.bpd - p.bpd_std, p.bpd + p.bpd_std) for p in points])
    widths = [high - low for low, high in parts]
    options: dict[str, Any] = {"squeeze": False, "sharey": True, "width_ratios": widths, "style": PLAIN}
    with subplots(*size, 1, len(parts), **options) as (figure, axes):
        panels = axes[0]
        for ax, (low, high) in zip(panels, parts, strict=True):
            ax.set_xlim(low, high)
            ax.xaxis.set_major_locator(MaxNLocator(max(1, round(6 * (high - low) / sum(widths)))))
        _break(panels)
        panels[0].margins(y=0.14)
        panels[0].set(ylabel=ylabel, title=title)
        figure.supxlabel(xlabel, fontsize=STYLE["axes.labelsize"])

        def panel(point: Point) -> Axes:
            return panels[sum(point.bpd > high for _, high in parts[:-1])]

        labels, lines = [], []
        for name in dict.fromkeys(p.line or p.label for p in sorted(points, key=lambda p: p.bpd)):
            mine = [p for p in points if name == (p.line or p.label)]
            colour, marker = colour_and_marker(marks[name])
            for p, q in pairwise(mine):
                for ax in dict.fromkeys((panel(p), panel(q))):
                    lines.append((ax, [p.bpd, q.bpd], [p.distance, q.distance], colour))
            for p in mine:
                panel(p).scatter(p.bpd, p.distance, s=42, marker=marker, color=colour, zorder=3, clip_on=False)
                lines.append((panel(p), [p.bpd - p.bpd_std, p.bpd + p.bpd_std], [p.distance] * 2, colour))
                ends = [p.distance - p.distance_std, p.distance + p.distance_std]
                lines.append((panel(p), [p.bpd] * 2, ends, colour))
                labels.append(Label(p.label, panel(p), (p.bpd, p.distance), colour))
        for ax, x, y, colour in lines:
            ax.plot(x, y, color=colour, linewidth=0.9, zorder=1)
        if min(p.distance for p in points) >= 0:  # a score that has a least value
            panels[0].set_ylim(bottom=max(0, panels[0].get_ylim()[0]))
        if legend:
            looks = {label: colour_and_marker(number) for label, number in legend.items()}
            handles = [Line2D([], [], linestyle="", color=colour, marker=marker, label=label)
                       for label, (colour, marker) in looks.items()]  # fmt: skip
            where: dict[str, Any] = {"loc": "outside upper left", "frameon": False, "handletextpad": 0.2}
            figure.legend(handles=handles, ncols=len(handles), **where)
        place(figure, labels, [line[:3] for line in lines])
    return figure


def colour_and_marker(i: int) -> tuple[str, str]:
    """Colour and marker of the i-th series; no two of the first 64 series have the same pair."""
    return SERIES[i % len(SERIES)], MARKERS[(i + i // len(SERIES)) % len(MARKERS)]


def _ranges(bars: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The parts (low, high) of an axis that is to hold `bars` (low, high), one for each model, with some room at the
    ends: two where there are more than `FEW` bars and one gap takes more than half of the axis, else one."""
    bars = sorted(bars)
    ends = np.maximum.accumulate([high for _, high in bars])
    gaps = [low - end for (low, _), end in zip(bars[1:], ends[:-1], strict=True)]
    parts = [(bars[0][0], ends[-1])]
    if len(bars) > FEW and max(gaps) > (ends[-1] - bars[0][0]) / 2:
        cut = int(np.argmax(gaps))
        parts = [(bars[0][0], ends[cut]), (bars[cut + 1][0], ends[-1])]
    most = max(abs(end) for part in parts for end in part)  # a small room beside huge numbers would be rounded away
    room = max(0.02, 1e-3 * most, 0.14 * max(high - low for low, high in parts))
    return [(low - room, high + room) for low, high in parts]


def _break(panels: Sequence[Axes]) -> None:
    """Marks a broken axis: no spine between the panels, a slanted stroke on either side."""
    for left, right in pairwise(panels):
        right.spines["left"].set_visible(False)
        right.tick_params(left=False)
        stroke: dict[str, Any] = {"marker": [(-0.5, -1), (0.5, 1)], "markersize": 8, "color": FAINT, "clip_on": False}
        left.plot([1], [0], transform=left.transAxes, **stroke)
        right.plot([0], [0], transform=right.transAxes, **stroke)


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
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # figure_1, axes_1: not unique once a page has two figures
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)  # the page's font instead, once, below
    text = re.sub(r"(font: (?:bold |\d+ )?[\d.]+px) [^;\"]*", r"\1 var(--sans,sans-serif)", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    opening = f'<svg role="img" aria-label="{html.escape(alt)}" style="font-family: var(--sans,sans-serif)" '
    return _shorter(text).replace("<svg ", opening, 1)


def _shorter(svg: str) -> str:
    """The same drawing in half of the bytes: no indentation, no groups, backgrounds or rotations that do nothing;
    styles used more than once become classes; numbers from 1 up in attributes, so not in the text of labels, are cut to
    one or two decimals."""
    svg = re.sub(r"\n\s+", "\n", svg)
    svg = re.sub(r'="[^"]*"', lambda attribute: re.sub(r"\b(\d\d+\.\d|[1-9]\.\d\d)\d+", r"\1", attribute[0]), svg)
    svg = re.sub(r' d="[^"CQ]*"', lambda path: re.sub(r"\s+(L )?", " ", path[0]).replace(' "', '"'), svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"|<path d="[^"]*" style="fill: none"/>\n', "", svg)
    inner = re.compile(r"<g>\n((?:(?!</?g\b).)*)</g>\n", re.DOTALL)
    while inner.search(svg):
        svg = inner.sub(r"\1", svg)
    used = Counter(re.findall(r'style="([^"]*)"', svg))
    names = {style: f"s{zlib.crc32(style.encode()):x}" for style, n in used.items() if n > 1}
    svg = re.sub(r'style="([^"]*)"', lambda m: f'class="{names[m[1]]}"' if m[1] in names else m[0], svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())  # equal names are equal rules on a page
    return svg.replace("</style>", f"{rules}</style>", 1)


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """`data:` address of a picture, so that the page needs no second file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def label_ends(ax: Axes, ends: Sequence[End]) -> None:
    """Labels right of the axes at the heights of lines' ends, pushed apart where they overlap. Before each a stroke is
    drawn like its line: two lines of one colour differ in their dashes."""
    low, high = ax.get_ylim()
    gap, below = 0.065 * (high - low), -np.inf
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    for label, y, colour, dash, width in sorted(ends, key=lambda end: end.y):
        below = max(y, below + gap)
        stroke = {"arrowstyle": "-", "linestyle": dash, "linewidth": width, "color": colour, "relpos": (0, 0.5)}
        ax.annotate(label, (1.0, below), (20, 0), color=colour, annotation_clip=False, arrowprops=stroke, **where)
