"""The fronts of the trade-off as measured: BPD against a score, a point per lambda."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import fmean, stdev

from cqlib.experiments.record import Record

Point = tuple[float, float]
"""BPD and a score."""
Runs = Callable[[str], Sequence[Record]]
"""Name of a row, or of a changed one (`variants.variant`) -> its finished runs."""


def points_by_weight(runs: Runs, front: Mapping[float, str], score: str) -> dict[float, dict[int, Point]]:
    """lambda -> seed -> BPD and `score` of the rows of a `front` (lambda -> name). A lambda is left out where no run
    has measured both."""
    points = {weight: points_of(runs(name), score) for weight, name in front.items()}
    return {weight: by_seed for weight, by_seed in points.items() if by_seed}


def points_of(records: Sequence[Record], score: str) -> dict[int, Point]:
    """Seed -> BPD and `score`, of those of `records` that have measured both."""
    return {run.seed: (run.metrics["BPD"].value, run.metrics[score].value)
            for run in records if run.metrics.keys() >= {"BPD", score}}  # fmt: skip


def mean(points: Iterable[Point]) -> Point:
    """The mean of each coordinate."""
    bpd, score = zip(*points, strict=True)
    return fmean(bpd), fmean(score)


def spread(points: Collection[Point]) -> Point:
    """The standard deviation of each coordinate; 0 for one point."""
    if len(points) < 2:
        return 0.0, 0.0
    bpd, score = zip(*points, strict=True)
    return stdev(bpd), stdev(score)
