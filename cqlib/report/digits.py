"""Which digits the samples show, as a classifier counts them, and how many could be read by eye."""

import json
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from cqlib.experiments.rows import short_label
from cqlib.report.run_sets import RunSet, nearest_first
from cqlib.report.values import Mean
from cqlib.util.paths import PUBLISHED

READ, SHARES = "Digits-read", tuple(f"Digit-{digit}" for digit in range(10))
"""Metrics: the share of samples that the classifier reads with confidence, and that of each digit."""
BY_EYE = PUBLISHED / "read_by_eye.json"
"""{row: {"legible": 41, "of": 64}}: written by hand, after reading published samples without knowing whose they are."""


class Line(NamedTuple):
    """A row's means over seeds, shares in [0, 1]; `by_eye` is "41 of 64", or empty; `source`: the records."""

    label: str
    read: float
    by_eye: str
    shares: tuple[float, ...]
    source: str


def lines(sets: Sequence[RunSet], rows: Sequence[str]) -> list[Line]:
    """Real images, then each of `rows`, by the nearest of `sets` that has counted its digits; empty where none has."""
    found = []
    for row in rows:
        counted = (means for runs in nearest_first(sets) if (means := _means(runs, row)))
        found += [Line(short_label(row), means[0].value, _by_eye(row), tuple(mean.value for mean in means[1:]),
                       means[0].source) for means in islice(counted, 1)]  # fmt: skip
    of_real = [f"{name}-real" for name in (READ, *SHARES)]
    run = next((run for runs in sets for run in runs.finished if run.metrics.keys() >= set(of_real)), None)
    if found and run:
        read, *shares = (run.metrics[name].value for name in of_real)
        found.insert(0, Line("Real images", read, _by_eye("real"), tuple(shares), f"{run.folder}.json"))
    return found


def _means(runs: RunSet, row: str) -> list[Mean]:
    means = [mean for name in (READ, *SHARES) if (mean := runs.mean(row, name))]
    return means if len(means) == 1 + len(SHARES) else []


def _by_eye(row: str) -> str:
    counts = json.loads(BY_EYE.read_text(encoding="utf-8")) if BY_EYE.is_file() else {}
    return "{legible} of {of}".format(**counts[row]) if row in counts else ""
