"""Which digits the samples show, as a classifier counts them, and how many could be read by eye."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from cqlib.experiments.rows import short_label
from cqlib.report.run_sets import RunSet, nearest_first
from cqlib.util.paths import PUBLISHED

READ, SHARES = "Digits-read", tuple(f"Digit-{digit}" for digit in range(10))
"""Metrics: the share of samples that the classifier reads with confidence, and that of each digit."""
BY_EYE = PUBLISHED / "read_by_eye.json"
"""{row: {"legible": 41, "of": 64}}: written by hand, after reading published samples without knowing whose they are."""


class Line(NamedTuple):
    """A row's means over seeds, shares in [0, 1]; `by_eye` is "41 of 64", or empty."""

    label: str
    read: float
    by_eye: str
    shares: tuple[float, ...]


def lines(sets: Sequence[RunSet], rows: Sequence[str]) -> list[Line]:
    """Real images, then each of `rows`, by the nearest of `sets` that has counted its digits; empty where none has."""
    found = []
    for row in rows:
        counted = (means for runs in nearest_first(sets) if (means := _means(runs, row)))
        found += [Line(short_label(row), means[0], _by_eye(row), means[1:]) for means in list(counted)[:1]]
    real = [metrics for runs in sets for run in runs.finished
            if all(name in (metrics := run.metrics) for name in map("{}-real".format, (READ, *SHARES)))]  # fmt: skip
    if found and real:
        read, *shares = (real[0][f"{name}-real"].value for name in (READ, *SHARES))
        found.insert(0, Line("Real images", read, _by_eye("real"), tuple(shares)))
    return found


def _means(runs: RunSet, row: str) -> tuple[float, ...]:
    means = [runs.mean(row, name) for name in (READ, *SHARES)]
    return tuple(mean.value for mean in means if mean) if all(means) else ()


def _by_eye(row: str) -> str:
    counts = json.loads(BY_EYE.read_text(encoding="utf-8")) if BY_EYE.is_file() else {}
    return "{legible} of {of}".format(**counts[row]) if row in counts else ""
