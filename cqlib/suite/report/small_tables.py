"""The report's smaller tables, from run sets: costs, baselines, protocols."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cqlib.metrics.metric import sentence
from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments.paper import canonical
from cqlib.suite.experiments.rows import short_label
from cqlib.suite.report import digits
from cqlib.suite.report.run_sets import RunSet, most_common
from cqlib.suite.report.values import source_of


def _rows_with_runs(sets: Sequence[RunSet], rows: Collection[str] | None) -> Iterator[tuple[RunSet, str]]:
    """(run set, row) for every one of `rows`, or of the run set's own, that has a finished run in it."""
    return ((runs, row) for runs in sets for row in rows or runs.rows if canonical(row) in runs.rows and runs.done(row))


def costs(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> list[dict[str, Any]]:
    """What each of `rows`, by default all that ran, costs, by run set: the finished runs on their most common device,
    and the numbers of parameters."""
    lines = []
    for runs, row in _rows_with_runs(sets, rows):
        device = most_common(run.machine for run in runs.done(row))
        done = [run for run in runs.done(row) if run.machine == device]
        source = source_of(f"{run.folder}.json" for run in done)
        lines.append({"label": short_label(row), "runs": runs.title, "device": device, "done": done, "source": source,
                      "counts": done[0].parameters})  # fmt: skip
    return lines


def baselines(sets: Sequence[RunSet], rows: Collection[str]) -> list[dict[str, Any]]:
    """For each of `rows`, by run set and kind of features: the Fréchet distance, that of an untrained copy and of
    independent Gaussian pixels; the BPD and that of a histogram per pixel; and whether the model beats these
    baselines."""
    lines = []
    for (runs, row), distance in itertools.product(_rows_with_runs(sets, rows), QUANTITIES["fid"].names):
        names = [distance, f"{distance}-untrained", f"{distance}-gaussian", "BPD", "BPD-histogram"]
        last, untrained, gaussian, bpd, histogram = (runs.mean(row, name) for name in names)
        if last and (untrained or gaussian or histogram):
            races = ((last, untrained), (last, gaussian), (bpd, histogram))
            lines.append({
                "label": short_label(row), "runs": runs.title, "distance": distance, "seeds": len(runs.done(row)),
                "beats": all(a.value < b.value for a, b in races if a and b),
                "cells": [runs.cell(row, name) for name in names],
            })  # fmt: skip
    return lines


def all_numbers(runs: RunSet) -> tuple[list[str], list[str]]:
    """The names of all that was measured of models: scores and bits, and apart from them the shares of digits. Real
    images have a column of their own."""
    names = [name for name in runs.metrics if not name.endswith(("-real", "-floor"))]
    return [name for name in names if name not in digits.SHARES], [name for name in names if name in digits.SHARES]


def protocols(sets: Sequence[RunSet]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Metrics -> every way in which they were measured: (the models, the sentence). Models of a run set that measured
    them in one way are not named; changes to their recipes are not either."""
    ways: dict[str, tuple[dict[str, None], dict[str, dict[str, None]]]] = {}
    for runs in sets:
        place = replace(runs, changes={}, distinguished_by="").label
        for row, run in ((row, run) for row, records in runs.rows.items() for run in records):
            for name, metric in run.metrics.items():
                names, models = ways.setdefault(sentence(name, metric), ({}, {}))
                names["Digits" if name.startswith("Digit") else name] = None
                models.setdefault(place, {})[short_label(row)] = None
    found: dict[str, list[tuple[str, dict[str, dict[str, None]]]]] = {}
    for way, (names, models) in ways.items():
        found.setdefault(", ".join(names), []).append((way, models))
    lines = []
    for together, told in found.items():
        ways_of = Counter(place for _, models in told for place in models)
        lines.append((together, [(_models(models, ways_of), way) for way, models in told]))
    return lines


def _models(models: dict[str, dict[str, None]], ways: Counter[str]) -> str:
    """Run sets, by their number of `ways`: the names of their models stand before those that have several."""
    named = {place: f"{', '.join(labels)} ({place})" for place, labels in models.items()}
    return "; ".join(place if ways[place] == 1 else name for place, name in named.items())
