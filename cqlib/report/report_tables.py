"""The report's smaller tables, as lines of cells: costs, baselines, precision and recall, protocols, all numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from cqlib.experiments import paper
from cqlib.experiments.record import Record
from cqlib.experiments.rows import label_of, short_label
from cqlib.metrics.protocols import PROTOCOLS, split_name, with_protocol
from cqlib.report.critic_cost import multiply_adds
from cqlib.report.run_sets import AT, FEATURES, PLACES, RunSet, commonest, measured

BEST_STEP = re.compile(r"step [\d,]+ of [\d,]+, chosen on training images \([^)]*\)")
COUNT = re.compile(r"(?:(?<=[nlet] = )|(?<=subsets of ))\d+\b")
"""A number of images as protocols tell it: n = 250, n_real = n_fake = 1000, n_train = n_test = 500, subsets of 500."""


def costs(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> list[list[str]]:
    """Model, runs, device, parameters and the flow's share, critic and its multiply-adds, steps, seconds, images/s,
    memory in MB; of `rows`, by default of every row that ran. Means over the runs on the device that most of them had:
    times on several devices have no mean."""
    lines = []
    for runs in sets:
        for row in rows or dict.fromkeys(paper.canonical(run.row) for run in runs.records):
            done = [run for run in runs.of(row) if run.status == "done"]
            if done:
                device = commonest(run.device for run in done)
                done = [run for run in done if run.device == device]
                counts, mean = done[0].parameters, _mean_of(done)
                total, flow = counts.get("total"), counts.get("flow")
                share = f"{100 * flow / total:.1f} %" if total and flow else "—"
                lines.append([
                    short_label(row), f"{PLACES[runs.place]}: {runs.label}", device, _whole(total), share,
                    _whole(counts.get("critic")), _millions(multiply_adds(done[0])), _whole(mean("steps")),
                    _whole(mean("seconds")), _whole(mean("images_per_second")), _whole(mean("peak_memory_bytes", 1e6)),
                ])  # fmt: skip
    return lines


def baselines(sets: Sequence[RunSet], rows: Collection[str]) -> list[dict[str, Any]]:
    """What each of `rows` that was measured against baselines has to beat, and whether it does.

    One line per run set and kind of features: the distance of the last and of the best step, of an untrained copy
    and of independent Gaussian pixels; BPD and that of a histogram per pixel. Means over seeds.
    """
    lines = []
    for runs in sets:
        for row in rows:
            done = [run for run in runs.of(row) if run.status == "done"]
            known = {name for run in done for name in run.metrics}
            for _, distance, _ in FEATURES.values():
                last, best = f"{distance}@T1", f"{distance}-best@T1"
                bars = [f"{distance}-untrained@T1", f"{distance}-gaussian@T1"]
                if last not in known or not known & {*bars, "BPD-histogram"}:
                    continue
                beaten = [_mean(done, last) < _mean(done, bar) for bar in bars if bar in known]
                if known >= {"BPD", "BPD-histogram"}:
                    beaten.append(_mean(done, "BPD") < _mean(done, "BPD-histogram"))
                steps = sorted({run.best_step for run in done if best in run.metrics and run.best_step is not None})
                cells = [measured(name, done) for name in (last, best, *bars, "BPD", "BPD-histogram")]
                lines.append({
                    "label": short_label(row), "runs": f"{PLACES[runs.place]}: {runs.label}", "distance": distance,
                    "cells": cells, "steps": ", ".join(f"{step:,}" for step in steps) or "—",
                    "seeds": len(done), "beats": all(beaten),
                })  # fmt: skip
    return lines


def _mean(done: Sequence[Record], name: str) -> float:
    values = [run.metrics[name].value for run in done if name in run.metrics]
    return sum(values) / len(values)


def coverage(sets: Sequence[RunSet], rows: Collection[str]) -> list[list[Any]]:
    """Model, runs, precision and recall at both temperatures, seeds, of `rows`; no line where none is measured."""
    lines = []
    for runs in sets:
        for row in rows:
            done = [run for run in runs.of(row) if run.status == "done"]
            for kind in dict.fromkeys(name.partition("@")[0].removeprefix("Recall") for run in done
                                      for name in run.metrics if name.startswith("Recall")):  # fmt: skip
                cells = [measured(f"{score}{kind}@{t}", done) for score in ("Precision", "Recall") for t in AT]
                lines.append([short_label(row), f"{PLACES[runs.place]}: {runs.label}", *cells, str(len(done))])
    return lines


def _mean_of(done: Sequence[Record]):
    def mean(name: str, unit: float = 1.0) -> float | None:
        values = [getattr(run, name) for run in done if getattr(run, name) is not None]
        return sum(values) / len(values) / unit if values else None

    return mean


def _whole(value: float | None) -> str:
    return f"{value:,.0f}" if value else "—"


def _millions(value: int | None) -> str:
    return f"{value / 1e6:,.1f} M" if value else "—"


def protocols(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Every protocol once, with the metrics that were taken by it; what differs from run to run in numbers of images or
    in the step that was chosen is put together."""
    found: dict[tuple[str, ...], tuple[dict[str, None], list[set[int]]]] = {}
    for runs in sets:
        for run in runs.records:
            for name, metric in run.metrics.items():
                text = BEST_STEP.sub("the best of the kept steps, chosen on training images", metric.protocol)
                counts = [int(count) for count in COUNT.findall(text)]
                names, seen = found.setdefault(tuple(COUNT.split(text)), ({}, [set() for _ in counts]))
                names[name] = None
                for before, count in zip(seen, counts, strict=True):
                    before.add(count)
    return [(", ".join(names), _with_counts(text, seen)) for text, (names, seen) in found.items()]


def _with_counts(parts: Sequence[str], seen: Sequence[set[int]]) -> str:
    """A protocol put together again, with all the numbers that stood between its parts."""
    told = [" or ".join(f"{n:,}" for n in sorted(counts)) for counts in seen]
    return "".join(part + count for part, count in zip(parts, [*told, ""], strict=True))


def other_protocols(sets: Sequence[RunSet]) -> dict[str, Any]:
    """Scores under further protocols beside the main one's: their names, what each is, lines of cells.

    One line per row, run set and score; empty lists where no record has any. `notes` say what was left out.
    """
    done = [(runs, run) for runs in sets for run in runs.records if run.status == "done"]
    found = {split_name(metric)[1] for _, run in done for metric in run.metrics} - {""}
    names = sorted(found, key=lambda name: (list(PROTOCOLS).index(name) if name in PROTOCOLS else len(PROTOCOLS), name))
    about = [(name, PROTOCOLS[name].about) for name in ("paper", *names) if name in PROTOCOLS] if names else []
    lines = []
    for runs in sets:
        for row in dict.fromkeys(paper.canonical(run.row) for run in runs.records):
            mine = [run for run in runs.of(row) if run.status == "done"]
            scores = dict.fromkeys(plain for run in mine for plain, name in map(split_name, run.metrics) if name)
            for plain in scores:
                cells = [measured(key, mine) for key in (plain, *(with_protocol(plain, name) for name in names))]
                line = {"label": label_of(row), "runs": f"{PLACES[runs.place]}: {runs.label}", "metric": plain}
                lines.append({**line, "cells": cells})
    notes = dict.fromkeys(f"{runs.label}: {note}" for runs, run in done for note in run.notes
                          if note.startswith("protocol "))  # fmt: skip
    return {"names": names, "about": about, "lines": lines, "notes": list(notes)}


def all_numbers(sets: Sequence[RunSet]) -> list[dict[str, Any]]:
    """A table of each run set: a line per metric, then the number of seeds, a column per model; means over seeds with
    their standard deviation, "" where a model has no such metric."""
    views = []
    for runs in sets:
        rows = dict.fromkeys(paper.canonical(run.row) for run in runs.records)
        done = {row: found for row in rows if (found := [run for run in runs.of(row) if run.status == "done"])}
        has = {row: dict.fromkeys(name for run in found for name in run.metrics) for row, found in done.items()}
        names = dict.fromkeys(name for metrics in has.values() for name in metrics)
        lines = [[name, *(measured(name, done[row]) if name in has[row] else "" for row in done)] for name in names]
        view = {
            "caption": f"{PLACES[runs.place]}: {runs.label}",
            "head": ["Metric", *map(label_of, done)],
            "lines": [*lines, ["seeds", *(str(len(found)) for found in done.values())]],
            "count": sum(map(len, has.values())),
        }
        views += [view] if done else []
    return views
