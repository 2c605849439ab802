"""The trade-off as pictures and in words: likelihood against quality along lambda, without f and with f."""

from collections.abc import Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cqlib.metrics.quantities import QUANTITIES, Quantity, decimal
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.claims import IS_MISLEADS
from cqlib.suite.experiments.rows import marker_numbers, short_label
from cqlib.suite.experiments.trade_off import CQ, CQ_F, GAN, LAMBDA, NOTEBOOK, WITHOUT_L_Q, front, usual_lambda
from cqlib.suite.experiments.variants import row_and_changes
from cqlib.suite.report import plots
from cqlib.suite.report.pictures import plot, point_of
from cqlib.suite.report.run_sets import RunSet, most_complete_by
from cqlib.util.text import count_of

FRONTS = {"without f": CQ, "with f": CQ_F}
REAL, COVERS = "samples look more real", "samples cover more"
DRAWN = {QUANTITIES[id]: better for id, better in (("fid", REAL), ("kid", REAL), ("is", REAL), ("coverage", COVERS))}
"""Score that is drawn against BPD -> what a better value of it means."""
FIRST = QUANTITIES["fid"]
"""The paper's score, whose picture is shown first."""
HOW_TO_READ = (
    "Each line joins models that differ in λ alone, the weight of the quality loss: VAE and VAE-F have none (λ = 0), "
    "CQ and CQ-F of Table 1 have λ = {:g}. The GAN’s bits are those of a VAE around its frozen generator. Bars are "
    "standard deviations over seeds."
)
DOTTED = "A dotted line has only these two points."


def most_complete(sets: Sequence[RunSet], profile: str) -> RunSet:
    """The run set with most of its profile's points; of equals one of `profile`, then the nearest. UserError if there
    is none."""

    def ran(runs: RunSet) -> float:
        return fmean(bool(runs.done(name)) for row in WITHOUT_L_Q for name in _front(row, runs).values())

    return most_complete_by(sets, ran, profile)


def sets_with_fronts(sets: Sequence[RunSet], profile: str) -> list[RunSet]:
    """The most complete run set, then all others that have runs with another lambda than Table 1's."""
    first = [most_complete(sets, profile)] if sets else []
    others = [runs for runs in sets if any(row_and_changes(name)[1].keys() == {LAMBDA} for name in runs.rows)]
    return first + [runs for runs in others if runs not in first]


def figures(runs: RunSet, how_to_read: bool = True) -> list[dict[str, Any]]:
    """Pictures of BPD against each of `DRAWN`, where a front has two points or more. All but those of `FIRST` are
    marked `more`; if `how_to_read`, the captions of `FIRST` say how to read them."""
    panels = []
    for quantity, name in [(drawn, name) for drawn in DRAWN for name in drawn.names]:
        if quantity.id == "is" and runs.data in IS_MISLEADS:
            continue
        if max(map(len, fronts(runs, name).values())) > 1:
            caption = _caption(runs, quantity, name, how_to_read)
            panels.append(plot(*draw_fronts(runs, quantity, name), caption, more=quantity is not FIRST))
    return panels


def fronts(runs: RunSet, score: str) -> dict[str, dict[float, plots.Point]]:
    """ "without f", "with f" -> lambda -> BPD and `score`, means over seeds, of what is finished."""
    found: dict[str, dict[float, plots.Point]] = {}
    for words, row in FRONTS.items():
        line = f"{words} ({short_label(WITHOUT_L_Q[row])}, {short_label(row)})"
        points = {weight: point_of(runs, name, score, "" if name in paper.ROWS else f"λ {weight:,g}", line)
                  for weight, name in _front(row, runs).items()}  # fmt: skip
        found[words] = {weight: point for weight, point in points.items() if point}
    return found


def draw_fronts(runs: RunSet, quantity: Quantity, name: str) -> tuple[Figure, str]:
    """The figure, and what it shows in words."""
    points = [point for along in fronts(runs, name).values() for point in along.values()]
    marks = {point.line: marker_numbers([FRONTS[words]])[short_label(FRONTS[words])]
             for words, along in fronts(runs, name).items() for point in along.values()}  # fmt: skip
    if gan := point_of(runs, GAN, name):
        points.append(gan)
    ylabel = f"{name} ({quantity.better}: {DRAWN[quantity]})"
    look: dict[str, Any] = {"size": (5.2, 4.2), "legend": "outside upper left"}
    figure = plots.quality_against_likelihood(points, ylabel=ylabel, marks=marks | marker_numbers([GAN]), **look)
    _point_to_better(figure.axes[0], quantity.better)
    values = [f"{p.line} {p.label}: {p.bpd:.2f}, {decimal(name, p.distance)}".lstrip() for p in points]
    return figure, f"{name} against bits per dimension, {runs.title}: {'; '.join(values)}"


def _point_to_better(axes: Axes, better: str) -> None:
    """An arrow into the corner that is good at both."""
    end, start, text = (0.015, 0.07, 0.08) if better == "lower" else (0.985, 0.93, 0.92)
    arrow = {"arrowstyle": "->", "color": plots.FAINT, "linewidth": 1.2}
    axes.annotate("", (0.015, end), (0.07, start), "axes fraction", "axes fraction", arrowprops=arrow)
    axes.text(0.075, text, "better", transform=axes.transAxes, color=plots.FAINT, va="center", fontsize=8)


def _caption(runs: RunSet, quantity: Quantity, name: str, how_to_read: bool) -> str:
    """The caption of a picture. For `FIRST` it also says how to read all of them (if `how_to_read`), how many seeds
    stand behind a point, and which points are not trained yet."""
    parts = [f"{name} against bits per dimension. {runs.title}."]
    if quantity is FIRST:
        parts += [HOW_TO_READ.format(usual_lambda(runs.data, runs.size))] * how_to_read
        parts += [DOTTED] * any(len(along) == 2 for along in fronts(runs, name).values())
        counts = sorted({len(runs.done(name)) for row in FRONTS.values() for name in _front(row, runs).values()} - {0})
        parts += [f"{' or '.join(count_of(n, 'seed') for n in counts)} per point.", not_trained(runs)]
    return " ".join(filter(None, parts))


def not_trained(runs: RunSet) -> str:
    """The points of either front, and the GAN, that have no finished run, with the command; empty if all have one."""
    rows = dict.fromkeys([*chain(*(_front(row, runs).values() for row in FRONTS.values())), GAN])
    absent = [short_label(row) for row in rows if not runs.done(row)]
    return f"Not trained yet: {'; '.join(absent)}. To train them: {runs.command(NOTEBOOK, rows)}" if absent else ""


def _front(row: str, runs: RunSet) -> dict[float, str]:
    return front(row, runs.profile, runs.data, runs.size)
