"""The report's smaller tables, from run sets: costs, baselines, protocols."""

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cqlib.experiments.rows import short_label
from cqlib.metrics.protocols import PROTOCOLS, protocol_of
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report.run_sets import RunSet, most_common

COUNT = re.compile(r"(?:(?<=[nlet] = )|(?<=subsets of ))\d{1,18}\b")
"""A number of images in the words of a protocol: n = 250, n_real = n_fake = 1000, subsets of 500."""
ANY = "\0"


def _rows_with_runs(sets: Sequence[RunSet], rows: Collection[str] | None) -> Iterator[tuple[RunSet, str]]:
    """(run set, row) for every one of `rows`, or of the run set's own, that has a finished run in it."""
    return ((runs, row) for runs in sets for row in rows or runs.rows if runs.done(row))


def costs(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> list[dict[str, Any]]:
    """What each of `rows`, by default all that ran, costs, by run set: the finished runs on their most common device,
    and the numbers of parameters."""
    lines = []
    for runs, row in _rows_with_runs(sets, rows):
        device = most_common(run.device for run in runs.done(row))
        done = [run for run in runs.done(row) if run.device == device]
        lines.append({"label": short_label(row), "runs": runs.title, "device": device, "done": done,
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
    merged: dict[str, tuple[dict[str, None], list[list[int]]]] = {}
    for run in (run for runs in sets for run in runs.records):
        for name, metric in run.metrics.items():
            metrics, counts = merged.setdefault(COUNT.sub(ANY, metric.protocol), ({}, []))
            metrics[name] = None
            counts.append([int(count) for count in COUNT.findall(metric.protocol)])
    texts = []
    for words, (metrics, counts) in merged.items():
        for column in zip(*counts, strict=True):
            words = words.replace(ANY, " or ".join(f"{n:,}" for n in sorted({*column})), 1)
        texts.append((", ".join(metrics), words))
    used = {protocol_of(name) for metrics, _ in merged.values() for name in metrics} - {""}
    texts += [(name, protocol.about) for name, protocol in PROTOCOLS.items() if used and name in {"paper", *used}]
    left_out = ((runs.label, note) for runs in sets for run in runs.finished for note in run.notes)
    return texts + list(dict.fromkeys(pair for pair in left_out if pair[1].startswith("protocol ")))
