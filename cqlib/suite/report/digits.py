"""Which digits the samples show, as a classifier counts them, and how many could be read by eye."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from cqlib.suite.experiments.rows import short_label
from cqlib.suite.report.run_sets import RunSet, nearest_first
from cqlib.util.paths import PUBLISHED

READ, SHARES = "Digits-read", tuple(f"Digit-{digit}" for digit in range(10))
"""Metrics: the share of samples that the classifier reads with confidence, and that of each digit."""
BY_EYE = PUBLISHED / "read_by_eye.json"
"""{"how": who read what, in words; "run_set": the published runs whose samples were read, as `RunSet.name`; row:
{"legible": 41, "of": 64}}: written by hand, after reading the samples."""


class Line(NamedTuple):
    """A row's means over seeds, shares in [0, 1]; `by_eye` is "41 of 64", or empty; `source`: the records."""

    label: str
    read: float
    by_eye: str
    shares: tuple[float, ...]
    source: str


def lines(sets: Sequence[RunSet], rows: Sequence[str]) -> list[Line]:
    """Real images, then each of `rows`, by the nearest of `sets` that has counted its digits; empty where none has."""
    found = {}
    for runs in reversed(nearest_first(sets)):
        for row in rows:
            read, *shares = (runs.mean(row, name) for name in (READ, *SHARES))
            if read and all(shares):
                values = tuple(share.value for share in shares if share)
                found[row] = Line(short_label(row), read.value, _by_eye(row, runs), values, read.source)
    of_real = [f"{name}-real" for name in (READ, *SHARES)]
    counted = ((runs, run) for runs in sets for run in runs.finished if run.metrics.keys() >= set(of_real))
    first_counted = next(counted, None)
    if not found or not first_counted:
        return []
    runs, run = first_counted
    read_real, *real = (run.metrics[name].number for name in of_real)
    first = Line("Real images", read_real, _by_eye("real", runs), tuple(real), f"{run.folder}.json")
    return [first, *(found[row] for row in rows if row in found)]


def how_read() -> str:
    """How samples were read by eye, in words; empty where the file does not say so."""
    return str(_read_by_eye().get("how", ""))


def _by_eye(row: str, runs: RunSet) -> str:
    counts = _read_by_eye()
    read = runs.origin == "published" and runs.name == counts.get("run_set")
    return "{legible} of {of}".format(**counts[row]) if read and row in counts else ""


def _read_by_eye() -> dict[str, Any]:
    return dict(json.loads(BY_EYE.read_text(encoding="utf-8"))) if BY_EYE.is_file() else {}
