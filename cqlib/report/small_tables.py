"""The report's smaller tables, from run sets: costs, baselines, protocols."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cqlib.experiments.record import Record
from cqlib.experiments.rows import short_label
from cqlib.metrics.metric import Protocol, counts_of, in_words
from cqlib.metrics.protocols import PROTOCOLS
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report.run_sets import RunSet, most_common
from cqlib.report.values import source_of


def _rows_with_runs(sets: Sequence[RunSet], rows: Collection[str] | None) -> Iterator[tuple[RunSet, str]]:
    """(run set, row) for every one of `rows`, or of the run set's own, that has a finished run in it."""
    return ((runs, row) for runs in sets for row in rows or runs.rows if runs.done(row))


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


def protocols(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """(metrics, protocol) for every protocol, where those that differ only in numbers of images are one; then the
    protocols of the literature, where any was used, and those that a data set was too small for."""
    measured = [item for runs in sets for run in runs.records for item in run.metrics.items()]
    counts: dict[tuple[str, Protocol], dict[str, set[int]]] = {}
    for name, metric in measured:
        of_any_size = replace(metric.protocol, n_real=None, n_fake=None, subset_size=None)
        for count, n in counts_of(metric).items():
            counts.setdefault((name, of_any_size), {}).setdefault(count, set()).add(n)
    merged: dict[str, list[str]] = {}
    for (name, protocol), numbers in counts.items():
        words = {count: " or ".join(f"{n:,}" for n in sorted(of)) for count, of in numbers.items()}
        merged.setdefault(in_words(name, protocol, words), []).append(name)
    texts = [(", ".join(names), words) for words, names in merged.items()]
    used = {metric.protocol.preset for _, metric in measured} - {None}
    texts += [(name, preset.about) for name, preset in PROTOCOLS.items() if used and name in {"paper", *used}]
    left_out = ((runs.label, f"protocol {name} left out: {lacks}") for runs in sets for run in runs.finished
                for name, lacks in _left_out(run))  # fmt: skip
    return texts + list(dict.fromkeys(left_out))


def _left_out(run: Record) -> Iterator[tuple[str, str]]:
    """The protocols of the literature that a run's profile asks for and its data set is too small for, and why."""
    measured = {metric.protocol.preset for metric in run.metrics.values()}
    asked = run.setting("evaluation", "protocols")
    for name in PROTOCOLS:
        if isinstance(asked, list) and name in asked and name not in measured:
            yield name, PROTOCOLS[name].shortfall(run.n_train or 0, run.data.shape[0])
