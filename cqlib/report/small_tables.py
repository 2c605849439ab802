"""The report's smaller tables, from run sets: costs, baselines, protocols, all numbers."""

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cqlib.experiments.record import Record
from cqlib.experiments.rows import label_of, short_label
from cqlib.metrics.protocols import PROTOCOLS, split_name
from cqlib.metrics.quantities import FEATURES
from cqlib.models.adversarial import AdversarialSystem, CriticConfig
from cqlib.report.run_sets import RunSet, most_common

BEST_STEP = re.compile(r"step [\d,]+ of [\d,]+, chosen on training images \([^)]*\)")
COUNT = re.compile(r"(?:(?<=[nlet] = )|(?<=subsets of ))\d+\b")
"""A number of images in the words of a protocol: n = 250, n_real = n_fake = 1000, subsets of 500."""


def _measured(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> Iterator[tuple[RunSet, str]]:
    """Every run set with every one of `rows`, by default of its own, that has a finished run in it."""
    return ((runs, row) for runs in sets for row in rows or runs.rows if runs.done(row))


def costs(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> list[list[str]]:
    """Model, runs, device, parameters and the flow's share, critic and its multiply-adds, steps, seconds, images/s,
    memory in MB; of `rows`, by default of every row that ran. Means over the runs on their most common device."""
    lines = []
    for runs, row in _measured(sets, rows):
        device = most_common(run.device for run in runs.done(row))
        done = [run for run in runs.done(row) if run.device == device]
        counts, critic = done[0].parameters, critic_multiply_adds(done[0])
        total, flow = counts.get("total"), counts.get("flow")
        share = f"{100 * flow / total:.1f} %" if total and flow else "—"
        passes = f"{critic / 1e6:,.1f} M" if critic else "—"
        megabytes = [(run.peak_memory_bytes or 0) / 1e6 for run in done]
        speed = ([run.steps for run in done], [run.seconds for run in done],
                 [run.images_per_second for run in done], megabytes)  # fmt: skip
        lines.append([short_label(row), runs.title, device, _whole([total]), share, _whole([counts.get("critic")]),
                      passes, *map(_whole, speed)])  # fmt: skip
    return lines


def _whole(values: Sequence[float | None]) -> str:
    """The mean of those that are known, to whole numbers."""
    known = [value for value in values if value]
    return f"{fmean(known):,.0f}" if known else "—"


def critic_multiply_adds(record: Record) -> int | None:
    """Multiply-adds of the record's critic for one image; None where it has none, or one of another kind."""
    try:
        system = record.config["recipe"]["system"]
        critic, channels, size = (system[name] for name in ("critic", "image_channels", "size"))
    except KeyError:  # a likelihood model, or the record of another version
        return None
    if not isinstance(critic, dict):  # none, or the widths of a GAN of the literature
        return None
    config = CriticConfig(tuple(critic["widths"]), blocks=critic.get("blocks", 0))
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        net = AdversarialSystem(SimpleNamespace(critic=config, image_channels=channels, size=size)).critic
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, channels, size, size))
    return counter.get_total_flops() // 2


def baselines(sets: Sequence[RunSet], rows: Collection[str]) -> list[dict[str, Any]]:
    """The distance of the last and of the best step of `rows`, of an untrained copy and of independent Gaussian pixels;
    BPD and that of a histogram per pixel; and whether the model beats them. A line per run set and kind of features."""
    lines = []
    for (runs, row), (_, distance) in itertools.product(_measured(sets, rows), FEATURES.values()):
        last, best = f"{distance}@T1", f"{distance}-best@T1"
        bars = [f"{distance}-untrained@T1", f"{distance}-gaussian@T1"]
        means = {name: mean.value for name in runs.metrics_of(row) if (mean := runs.mean(row, name))}
        if last in means and means.keys() & {*bars, "BPD-histogram"}:
            races = [(last, bar) for bar in bars] + [("BPD", "BPD-histogram")]
            beats = all(means[a] < means[b] for a, b in races if {a, b} <= means.keys())
            steps = {run.best_step for run in runs.done(row) if best in run.metrics and run.best_step is not None}
            lines.append({
                "label": short_label(row), "runs": runs.title, "distance": distance, "beats": beats,
                "cells": [runs.cell(row, name) for name in (last, best, *bars, "BPD", "BPD-histogram")],
                "steps": ", ".join(f"{step:,}" for step in sorted(steps)) or "—", "seeds": len(runs.done(row)),
            })  # fmt: skip
    return lines


def protocols(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Every protocol once, whatever its numbers of images and the step chosen, with the metrics taken by it; what the
    literature's are, where any was used, and which ones a data set was too small for."""
    merged: dict[tuple[str, ...], tuple[dict[str, None], list[set[int]]]] = {}
    for run in (run for runs in sets for run in runs.records):
        for name, metric in run.metrics.items():
            text = BEST_STEP.sub("the best of the kept steps, chosen on training images", metric.protocol)
            counts = COUNT.findall(text)
            metrics, seen = merged.setdefault(tuple(COUNT.split(text)), ({}, [set() for _ in counts]))
            metrics[name] = None
            for numbers, count in zip(seen, counts, strict=True):
                numbers.add(int(count))
    texts = []
    for (first, *parts), (metrics, seen) in merged.items():
        counts = [" or ".join(f"{n:,}" for n in sorted(numbers)) for numbers in seen]
        words = "".join(count + part for count, part in zip(counts, parts, strict=True))
        texts.append((", ".join(metrics), first + words))
    used = {split_name(name)[1] for metrics, _ in merged.values() for name in metrics} - {""}
    texts += [(name, protocol.about) for name, protocol in PROTOCOLS.items() if used and name in {"paper", *used}]
    left_out = ((runs.label, note) for runs in sets for run in runs.finished for note in run.notes)
    return texts + list(dict.fromkeys(pair for pair in left_out if pair[1].startswith("protocol ")))


def all_numbers(sets: Sequence[RunSet]) -> list[dict[str, Any]]:
    """A table of each run set: a line per metric, then the number of seeds, a column per model; means ± deviations."""
    tables = []
    for runs in sets:
        if measured := {row: runs.metrics_of(row) for row in runs.rows if runs.done(row)}:
            metrics = dict.fromkeys(name for names in measured.values() for name in names)
            lines: list[list[Any]] = [
                [name, *(runs.cell(row, name) if name in measured[row] else "" for row in measured)] for name in metrics
            ]
            lines.append(["seeds", *(str(len(runs.done(row))) for row in measured)])
            count = sum(map(len, measured.values()))
            head = ["Metric", *map(label_of, measured)]
            tables.append({"caption": runs.title, "head": head, "lines": lines, "count": count})
    return tables
