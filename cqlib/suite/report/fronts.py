"""The trade-off as claims: what bits and what samples CQ and CQ-F reach as lambda changes, whatever its unit.

A model's front is the lower-left envelope of the points (bits, FD) of one seed at all lambda: the points that no other
one beats in both, with straight lines between them. These claims are this project's own. They were chosen after
published seeds had been seen, and stand outside the paper's tally and outside Holm's correction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from cqlib.metrics.quantities import QUANTITIES, decimal
from cqlib.suite.experiments.trade_off import CQ, CQ_F, WITHOUT_L_Q, front
from cqlib.suite.report.inference import effect_of, welch
from cqlib.suite.report.run_sets import RunSet
from cqlib.suite.report.verdicts import effect_text, interval_text, judge
from cqlib.util.text import count_of

MIN_WEIGHTS, MIN_SEEDS = 3, 3
"""A front has so many values of lambda at least, 0 included; with fewer seeds its claims are a sketch."""
CHOSEN_LATE = (
    "These claims are this project’s own. They were chosen after published seeds had been seen, and count neither in "
    "the paper’s tally nor in Holm’s correction."
)


class Point(NamedTuple):
    """Bits per dimension and Fréchet distance of one run: of both, lower is better."""

    bits: float
    distance: float

    def no_worse(self, other: "Point") -> bool:
        """Whether it is at most the other's in both."""
        return self.bits <= other.bits and self.distance <= other.distance


def envelope(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one beats in both coordinates, by the first, which rises while the second falls."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points):
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
    """A claim about the fronts of a run set. The label is one of `verdicts.judge`, "sketch" with fewer `seeds`, of CQ-F
    or of CQ, than `MIN_SEEDS`, or "not reached". `effect` is in bits per dimension or percent, positive as claimed;
    `text` has it with its 95 % interval."""

    id: str
    sentence: str
    label: str
    text: str
    seeds: int
    effect: float | None = None


def fronts(runs: RunSet) -> tuple[dict[str, dict[int, list[Point]]], str]:
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


def results(runs: RunSet) -> list[FrontResult]:
    """What the fronts of a run set say: at equal bits and at equal distance, in the middle of CQ's own range; whether
    CQ-F's front dominates; and whether the critic costs fewer bits with f. Empty without fronts."""
    found, name = fronts(runs)
    if not found or not all(found.values()):
        return []
    of_cq, with_f = found[CQ], found[CQ_F]
    ends = [end for points in of_cq.values() for end in (envelope(points)[0], envelope(points)[-1])]
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


def _critic_costs(runs: RunSet) -> list[list[float]]:
    """What the critic costs at the usual lambda, in bits, by seed: with f, and without; empty if any row is missing."""
    sides = []
    for row in (CQ_F, CQ):
        bits = [{v.seed: v.value for v in runs.numbers(each, "BPD")} for each in (row, WITHOUT_L_Q[row])]
        sides.append([bits[0][seed] - bits[1][seed] for seed in sorted(bits[0].keys() & bits[1].keys())])
    return sides if all(sides) else []
