"""The fronts of the trade-off as measured: BPD against a score, a point per lambda; the area that a front dominates,
and where two fronts cross.

Both coordinates are better when lower. Scores that are better when higher, such as IS, have fronts but no hypervolume.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import fmean, stdev

import numpy as np

from cqlib.experiments.record import Record
from cqlib.experiments.trade_off import CQ, NOTHING, front
from cqlib.metrics.metric import Metric
from cqlib.metrics.quantities import TEMPERATURES, metric_names
from cqlib.report import comparable
from cqlib.util.text import count_of

Point = tuple[float, float]
"""BPD and a score."""
Runs = Callable[[str], Sequence[Record]]
"""Name of a row, or of a changed one (`variants.variant`) -> its finished runs."""


def points_by_weight(runs: Runs, row: str, profile: str, score: str) -> dict[float, dict[int, Point]]:
    """lambda -> seed -> BPD and `score` of CQ or CQ-F (`row`) trained with it. A lambda is left out where no run has
    measured both."""
    points = {weight: points_of(runs(name), score) for weight, name in front(row, profile).items()}
    return {weight: by_seed for weight, by_seed in points.items() if by_seed}


def points_of(records: Sequence[Record], score: str) -> dict[int, Point]:
    """Seed -> BPD and `score`, of the largest group of `records` that have measured both alike."""
    return {run.seed: (run.metrics["BPD"].value, run.metrics[score].value)
            for run in comparable.largest_comparable(records, "BPD", score)}  # fmt: skip


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


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """The area that the points better than `reference` in both coordinates dominate up to `reference`, as a share of
    the rectangle from 0 to `reference` (Zitzler and Thiele 1998, in two dimensions)."""
    (right, top), area = reference, 0.0
    lowest = top
    for x, y in sorted(point for point in points if point[0] < right and point[1] < top):
        if y < lowest:
            area += (right - x) * (lowest - y)
            lowest = y
    return area / (right * top)


def efficient(points: Collection[Point]) -> list[Point]:
    """The points of a front that no other of its points beats in both coordinates, by increasing BPD."""
    return sorted((x, y) for x, y in points if not any(u < x and v < y for u, v in points))


def crossings(first: Collection[Point], second: Collection[Point]) -> list[tuple[Point, bool]]:
    """Where the lines through two fronts' efficient points cross, and whether the second is lower at more bits."""
    (x, y), (u, v) = (np.transpose(efficient(front)) for front in (first, second))
    bits = np.unique([bit for bit in (*x, *u) if max(x[0], u[0]) <= bit <= min(x[-1], u[-1])])
    gaps = np.interp(bits, x, y) - np.interp(bits, u, v)
    points, side = [], 0.0
    for (a, before), (b, after) in pairwise(zip(bits, gaps, strict=True)):
        side = before or side  # the last gap that is not 0: fronts that only touch do not cross
        if side * after < 0:
            at = float(a + (b - a) * before / (before - after))
            points.append(((at, float(np.interp(at, x, y))), bool(after > 0)))
    return points


def hypervolumes(runs: Runs, profile: str) -> dict[tuple[str, int], dict[str, Metric]]:
    """(CQ or CQ-F, seed) -> name such as "HV-lite0@T0" -> the hypervolume of that seed's front, where the seed has a
    run at every lambda of the profile. The reference point is VAE's BPD and distance, means over seeds."""
    volumes: dict[tuple[str, int], dict[str, Metric]] = {}
    for temperature in TEMPERATURES:
        names, distances = (metric_names(id, temperature) for id in ("hypervolume", "fid"))
        for name, distance in zip(names, distances, strict=True):
            for row, seed, metric in _of_distance(runs, profile, distance):
                volumes.setdefault((row, seed), {})[name] = metric
    return volumes


def _of_distance(runs: Runs, profile: str, distance: str) -> Iterator[tuple[str, int, Metric]]:
    """(row, seed, hypervolume) by BPD and one distance."""
    vae = points_of(runs(NOTHING[CQ]), distance)
    reference = mean(vae.values()) if vae else (0.0, 0.0)
    if min(reference) <= 0:
        return  # no VAE, or no area below it
    of_vae = f"VAE's BPD and {distance}, means over {count_of(len(vae), 'seed')}"
    for row in NOTHING:
        points = points_by_weight(runs, row, profile, distance)
        if points.keys() != front(row, profile).keys():
            continue  # a front with gaps has no hypervolume
        weights = ", ".join(f"{weight:,g}" for weight in points)
        protocol = f"share of the rectangle from 0 to {of_vae}, that the points of lambda = {weights} dominate"
        for seed in set.intersection(*map(set, points.values())):
            share = hypervolume((by_seed[seed] for by_seed in points.values()), reference)
            yield row, seed, Metric(share, None, len(points), protocol)
