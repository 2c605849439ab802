"""The trade-off, as claims and as pictures: what bits and what samples CQ and CQ-F reach as lambda changes, whatever
its unit.

A model's front is the lower-left envelope of the points (bits, FD) of one seed at all lambda: the points that no other
one beats in both, with straight lines between them. These claims are this project's own. They were chosen after
published seeds had been seen, and stand outside the paper's tally and outside Holm's correction.

The pictures show likelihood against quality along lambda, without f and with f.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cqlib.metrics.quantities import QUANTITIES, Quantity, decimal
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.claims import IS_MISLEADS
from cqlib.suite.experiments.rows import marker_numbers, short_label
from cqlib.suite.experiments.trade_off import CQ, CQ_F, GAN, LAMBDA, NOTEBOOK, WITHOUT_L_Q, front, usual_lambda
from cqlib.suite.experiments.variants import row_and_changes
from cqlib.suite.report import plots
from cqlib.suite.report.groups import Group, most_complete_by
from cqlib.suite.report.inference import effect_of, welch
from cqlib.suite.report.pictures import plot, point_of, samples
from cqlib.suite.report.verdicts import effect_text, interval_text, judge
from cqlib.util.text import count_of

MIN_WEIGHTS, MIN_SEEDS = 3, 3
"""A front has so many values of lambda at least, 0 included; with fewer seeds its claims are a sketch."""
CHOSEN_LATE = (
    "These claims are this project’s own, chosen after published seeds had been seen. They count neither in the "
    "paper’s tally nor in Holm’s correction."
)


class Point(NamedTuple):
    """Bits per dimension and Fréchet distance of one run: of both, lower is better."""

    bits: float
    distance: float

    def no_worse(self, other: "Point") -> bool:
        """Whether it is at most the other's in both."""
        return self.bits <= other.bits and self.distance <= other.distance


def envelope(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one beats in both coordinates, by the first, which rises while the second falls; an
    infinite point is none of them."""
    kept: list[tuple[float, float]] = []
    for point in sorted(point for point in points if all(map(math.isfinite, point))):
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    return kept


def lowest(points: Sequence[tuple[float, float]], limit: float) -> float | None:
    """The lowest second coordinate at a first one of at most `limit`, on the envelope of `points` with straight lines
    between them; None where it is not reached."""
    kept = envelope(points)
    if not kept or limit < kept[0][0]:
        return None
    for (x0, y0), (x1, y1) in zip(kept, kept[1:], strict=False):
        if limit < x1:
            return y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
    return kept[-1][1]


@dataclass(frozen=True)
class FrontResult:
    """A claim about the fronts of a group. The label is one of `verdicts.judge`, "sketch" with fewer `seeds`, of CQ-F
    or of CQ, than `MIN_SEEDS`, or "not reached". `effect` is in bits per dimension or percent, positive as claimed;
    `text` has it with its 95 % interval."""

    id: str
    sentence: str
    label: str
    text: str
    seeds: int
    effect: float | None = None


def seed_fronts(runs: Group) -> tuple[dict[str, dict[int, list[Point]]], str]:
    """CQ and CQ-F -> seed -> its points, for the seeds that have all values of lambda that both rows have; and the name
    of the distance. Empty with fewer than `MIN_WEIGHTS` of these."""
    name = runs.score_name(QUANTITIES["fid"], [*WITHOUT_L_Q])
    points: dict[str, dict[float, dict[int, Point]]] = {}
    for row in WITHOUT_L_Q:
        for weight, of_row in front(row, runs.profile, runs.data, runs.size).items():
            bits, distances = ({v.seed: v.value for v in runs.numbers(of_row, n)} for n in ("BPD", name))
            found = {seed: Point(bits[seed], distances[seed]) for seed in bits.keys() & distances.keys()}
            points.setdefault(row, {})[weight] = found
    weights = [weight for weight in points[CQ] if all(points[row].get(weight) for row in points)]
    if len(weights) < MIN_WEIGHTS:
        return {}, name
    whole = {row: set.intersection(*(set(points[row][weight]) for weight in weights)) for row in points}
    return {row: {seed: [points[row][weight][seed] for weight in weights] for seed in sorted(whole[row])}
            for row in points}, name  # fmt: skip


def front_results(runs: Group) -> list[FrontResult]:
    """What the fronts of a group say: at equal bits and at equal distance, in the middle of CQ's own range; whether
    CQ-F's front dominates; and whether the critic costs fewer bits with f. Empty without fronts."""
    found, name = seed_fronts(runs)
    if not found or not all(found.values()):
        return []
    of_cq, with_f = found[CQ], found[CQ_F]
    kept = [on_front for points in of_cq.values() if (on_front := envelope(points))]
    if not kept:
        return []
    ends = [end for on_front in kept for end in (on_front[0], on_front[-1])]
    middle = [fmean(end[axis] for end in ends) for axis in (0, 1)]
    told = [
        _compared("front/equal-bits", f"At {middle[0]:.2f} bits, f lowers {name}", "%", QUANTITIES["fid"].equal,
                  *(_levels(row, lambda points: lowest(points, middle[0])) for row in (with_f, of_cq))),
        _compared("front/equal-distance", f"At {name} {decimal(name, middle[1])}, f lowers bits", "bpd",
                  QUANTITIES["bpd"].equal,
                  *(_levels(row, lambda points: lowest([(d, b) for b, d in points], middle[1]))
                    for row in (with_f, of_cq))),
        _dominates(with_f, of_cq),
    ]  # fmt: skip
    if costs := _critic_costs(runs):
        told.append(_compared("front/critic-bits", "With f, the critic costs fewer bits than without", "bpd",
                              QUANTITIES["bpd"].equal, *costs))  # fmt: skip
    return told


def _levels(seeds: dict[int, list[Point]], level: Callable[[list[Point]], float | None]) -> list[float | None]:
    return [level(points) for points in seeds.values()]


def _compared(
    id: str, sentence: str, unit: str, margin: float, a: Sequence[float | None], b: Sequence[float | None]
) -> FrontResult:
    """Whether the values `a`, with f, are lower than `b`, by Welch's test over seeds."""
    reached = [[value for value in side if value is not None] for side in (a, b)]
    seeds = min(map(len, (a, b)))
    missing = [
        f"{who} in {len(side) - len(values)} of {len(side)} seeds"
        for who, side, values in zip(("CQ-F", "CQ"), (a, b), reached, strict=True)
        if len(values) < len(side)
    ]
    if missing:
        return FrontResult(id, sentence, "not reached", f"not reached by {' and '.join(missing)}", seeds)
    mine, theirs = reached
    label, relative = "sketch", unit == "%"
    effect = effect_of(fmean(mine), fmean(theirs), -1, relative)
    text = "" if effect is None else effect_text(effect, unit)
    if seeds > 1:
        compared = welch(mine, theirs, margin, -1, relative)
        text += f" {interval_text(compared.low, compared.high, unit)}"
        label = judge("lower", compared, fmean(mine) < fmean(theirs))[0] if seeds >= MIN_SEEDS else label
    return FrontResult(id, sentence, label, text, seeds, effect)


def _dominates(with_f: dict[int, list[Point]], without: dict[int, list[Point]]) -> FrontResult:
    """Whether CQ-F's front dominates: each point of CQ has a point of CQ-F that is no worse in both, seed by seed."""
    both = sorted(with_f.keys() & without.keys())
    count = sum(all(any(mine.no_worse(point) for mine in with_f[seed]) for point in without[seed]) for seed in both)
    label = "holds" if count == len(both) else "contradicted" if count == 0 else "undecided"
    label = label if len(both) >= MIN_SEEDS else "sketch"
    text = f"in {count} of {count_of(len(both), 'seed')}"
    sentence = "Each CQ has a CQ-F with no more bits and no higher distance"
    return FrontResult("front/dominates", sentence, label, text, len(both))


def _critic_costs(runs: Group) -> list[list[float | None]]:
    """What the critic costs at the usual lambda, in bits, by seed, None where bits are infinite: with f, and without;
    empty if any row is missing."""
    sides: list[list[float | None]] = []
    for row in (CQ_F, CQ):
        bits = [{v.seed: v.value for v in runs.numbers(each, "BPD")} for each in (row, WITHOUT_L_Q[row])]
        costs = (bits[0][seed] - bits[1][seed] for seed in sorted(bits[0].keys() & bits[1].keys()))
        sides.append([cost if math.isfinite(cost) else None for cost in costs])
    return sides if all(sides) else []


# --- pictures

FRONTS = {"without f": CQ, "with f": CQ_F}
REAL, COVERS = "samples look more real", "samples cover more"
DRAWN = {QUANTITIES[id]: better for id, better in (("fid", REAL), ("kid", REAL), ("is", REAL), ("coverage", COVERS))}
"""Score that is drawn against BPD -> what a better value of it means."""
FIRST = QUANTITIES["fid"]
"""The paper's score, whose picture is shown first."""
HOW_TO_READ = (
    "Each line joins models that differ in λ, the weight of the quality loss: it is 0 for VAE and VAE-F, {:g} for CQ "
    "and CQ-F of Table 1. The GAN’s bits are those of a VAE around its frozen generator. Bars: standard deviations "
    "over seeds."
)
DOTTED = "A dotted line has only these two points."


def most_complete(sets: Sequence[Group], profile: str) -> Group:
    """The group with most of its profile's points; of equals one of `profile`, then the nearest. UserError if there
    is none."""

    def ran(runs: Group) -> float:
        return fmean(bool(runs.done(name)) for row in WITHOUT_L_Q for name in _front(row, runs).values())

    return most_complete_by(sets, ran, profile)


def sets_with_fronts(sets: Sequence[Group], profile: str) -> list[Group]:
    """The most complete group, then all others that have runs with another lambda than Table 1's."""
    first = [most_complete(sets, profile)] if sets else []
    others = [runs for runs in sets if any(row_and_changes(name)[1].keys() == {LAMBDA} for name in runs.rows)]
    return first + [runs for runs in others if runs not in first]


def figures(
    runs: Group, runs_dir: Path | str, out: Path | None = None, how_to_read: bool = True
) -> list[dict[str, Any]]:
    """Pictures of BPD against each of `DRAWN`, where a front has two points or more. All but those of `FIRST` are
    marked `more`. Points of `FIRST` can be chosen where there are samples (`runs_dir` and `out` as for
    `pictures.grids`); if `how_to_read`, its captions say how to read them."""
    panels = []
    for quantity, name in [(drawn, name) for drawn in DRAWN for name in drawn.names]:
        if quantity.id == "is" and runs.data in IS_MISLEADS:
            continue
        if max(map(len, mean_fronts(runs, name).values())) > 1:
            caption = _caption(runs, quantity, name, how_to_read)
            figure, alt = draw_fronts(runs, quantity, name)
            panels.append(plot(figure, alt, caption, more=quantity is not FIRST))
            if quantity is FIRST:
                panels[-1]["choices"] = choices(runs, name, figure, runs_dir, out)
    return panels


def models(runs: Group) -> list[tuple[str, str, str]]:
    """(name of the model, its lambda in words, its runs) for each point, front by front, then the GAN's."""
    fronts = (_front(row, runs).items() for row in FRONTS.values())
    found = [(short_label(row).partition(",")[0], f"{weight:,g}", row) for along in fronts for weight, row in along]
    return [*found, (short_label(GAN), "", GAN)]


def choices(runs: Group, score: str, figure: Figure, runs_dir: Path | str, out: Path | None) -> list[dict[str, Any]]:
    """The models that have samples, as figures of `pictures.grids`, and the place of their point in `figure` as `plot`
    drew it: percents from the left and from the top. CQ-F is `chosen` at first, or else the first one."""
    found: list[dict[str, Any]] = []
    for model, weight, row in models(runs):
        point, drawn = point_of(runs, row, score), samples(runs, row, runs_dir, out)
        if point and drawn:
            across, up = figure.axes[0].transData.transform((point.bpd, point.distance)) / figure.bbox.size
            scores = f"{point.bpd:.2f} bits, {score} {decimal(score, point.distance)}"
            found.append({**drawn, "label": f"{model}, λ = {weight}" if weight else model,
                          "text": f"{scores}; {drawn['text']}", "name": f"{score}, {runs.title}",
                          "left": f"{100 * across:.2f}", "top": f"{100 - 100 * up:.2f}"})  # fmt: skip
    chosen = next((each for each in found if each["of"][1] == CQ_F), found[0] if found else None)
    return [{**each, "chosen": each is chosen} for each in found]


def mean_fronts(runs: Group, score: str) -> dict[str, dict[float, plots.Point]]:
    """ "without f", "with f" -> lambda -> BPD and `score`, means over seeds, of what is finished."""
    found: dict[str, dict[float, plots.Point]] = {}
    for words, row in FRONTS.items():
        line = f"{words} ({short_label(WITHOUT_L_Q[row])}, {short_label(row)})"
        points = {weight: point_of(runs, name, score, "" if name in paper.ROWS else f"λ {weight:,g}", line)
                  for weight, name in _front(row, runs).items()}  # fmt: skip
        found[words] = {weight: point for weight, point in points.items() if point}
    return found


def draw_fronts(runs: Group, quantity: Quantity, name: str) -> tuple[Figure, str]:
    """The figure, and what it shows in words."""
    points = [point for along in mean_fronts(runs, name).values() for point in along.values()]
    marks = {point.line: marker_numbers([FRONTS[words]])[short_label(FRONTS[words])]
             for words, along in mean_fronts(runs, name).items() for point in along.values()}  # fmt: skip
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


def _caption(runs: Group, quantity: Quantity, name: str, how_to_read: bool) -> str:
    """The caption of a picture. For `FIRST` it also says how to read all of them (if `how_to_read`), how many seeds
    stand behind a point, and which points are not trained yet."""
    parts = [f"{name} against bits per dimension. {runs.title}."]
    if quantity is FIRST:
        parts += [HOW_TO_READ.format(usual_lambda(runs.data, runs.size))] * how_to_read
        parts += [DOTTED] * any(len(along) == 2 for along in mean_fronts(runs, name).values())
        counts = sorted({len(runs.done(name)) for row in FRONTS.values() for name in _front(row, runs).values()} - {0})
        parts += [f"Seeds per point: {' or '.join(map(str, counts))}.", not_trained(runs)]
    return " ".join(filter(None, parts))


def not_trained(runs: Group) -> str:
    """The points of either front, and the GAN, that have no finished run, with the command; empty if all have one."""
    rows = dict.fromkeys([*chain(*(_front(row, runs).values() for row in FRONTS.values())), GAN])
    absent = [short_label(row) for row in rows if not runs.done(row)]
    return f"Not trained yet: {'; '.join(absent)}. To train them: {runs.command(NOTEBOOK, rows)}" if absent else ""


def _front(row: str, runs: Group) -> dict[float, str]:
    return front(row, runs.profile, runs.data, runs.size)
