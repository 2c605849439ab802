"""The report's tables as lines to show, from run sets alone.

First the paper's tables: for every row the paper's numbers, then what each run set measured. Then the smaller ones:
costs, baselines, precision and recall, protocols, all numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import torch

from cqlib.experiments import paper
from cqlib.experiments.record import Record
from cqlib.experiments.rows import label_of, short_label
from cqlib.metrics.protocols import PROTOCOLS, split_name, with_protocol
from cqlib.models.adversarial import AdversarialSystem, CriticConfig
from cqlib.nets.count import multiply_adds
from cqlib.report.run_sets import AT, FEATURES, ORIGINS, Cell, RunSet, most_common
from cqlib.report.verdicts import NUMBER_LABELS, compare, temperatures
from cqlib.util.text import decimal

PUBLISHED_DATA = {
    "npz:cifar10-first-3500": (
        "true CIFAR-10: its first 3,500 training images, measured on the 500 that follow; with so few images, BPD "
        "cannot be set against the paper's"
    ),
    "npz:cifar10-jpeg": (
        "the whole of CIFAR-10 saved as JPEG at quality 75: compression has changed its pixels, so BPD compares with "
        "nobody else's"
    ),
    "tiny-imagenet": "40,000 of Tiny ImageNet's 100,000 training images, 200 a class, averaged to 32×32",
    "tiny-imagenet:64": "40,000 of Tiny ImageNet's 100,000 training images, 200 a class, at 64×64",
}
"""What stands behind the names of the published records' data that their publishers do not describe."""
BEST_STEP = re.compile(r"step [\d,]+ of [\d,]+, chosen on training images \([^)]*\)")
COUNT = re.compile(r"(?:(?<=[nlet] = )|(?<=subsets of ))\d+\b")
"""A number of images in the words of a protocol: n = 250, n_real = n_fake = 1000, n_train = n_test = 500, subsets of
500."""


# --- the paper's tables --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judgement:
    """The verdict on the paper's numbers that share it: "BPD, IS" "not comparable" and why."""

    metrics: str
    label: str
    reason: str

    @property
    def text(self) -> str:
        """ "BPD, IS: other data"."""
        return f"{self.metrics}: {self.reason}"


@dataclass(frozen=True)
class Line:
    """One line of a row: its source ("paper", "published", "local", "none"), cells, or a remark in their place."""

    source: str
    label: str
    detail: str = ""
    features: str = ""
    cells: tuple[Cell, ...] = ()
    seeds: str = ""
    judgements: tuple[Judgement, ...] = ()
    remark: str = ""
    command: str = ""


@dataclass(frozen=True)
class Group:
    """A row of the paper with all its lines."""

    id: str
    label: str
    ticks: tuple[str, ...] = ()
    citation: str = ""
    footnotes: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class View:
    """A whole table, ready for the template. `remarks` say what data the published lines are of; `columns` head the
    first two columns."""

    id: str
    name: str
    title: str
    data: str
    groups: tuple[Group, ...]
    floors: tuple[Line, ...]
    footnotes: tuple[str, ...]
    remarks: tuple[str, ...]
    columns: tuple[str, str] = ("Model", "Source")

    @property
    def scores(self) -> tuple[str, ...]:
        """The column names of IS, FID and KID, under each kind of features that stands in the table."""
        used = {"inception", *(line.features for group in self.groups for line in group.lines)}
        kinds = [scores for kind, scores in FEATURES.items() if kind in used]
        return tuple(" / ".join(dict.fromkeys(column)) for column in zip(*kinds, strict=True))

    @cached_property
    def letters(self) -> dict[str, str]:
        """Why numbers are not comparable -> its letter: a reason that stands often is printed once, below the table."""
        judged = (item for group in self.groups for line in group.lines for item in line.judgements)
        texts = dict.fromkeys(item.text for item in judged if item.label == "not comparable")
        return {text: chr(ord("a") + i % 26) * (1 + i // 26) for i, text in enumerate(texts)}


def view(
    table: paper.Table, sets: Sequence[RunSet], available: Collection[str], profile: str, alone: bool = False
) -> View:
    """`table` with the paper's numbers and every run set's; `profile` is the one of the commands shown.

    A row of `available` that was not trained here gets the command that does it; where the published records stand
    `alone`, only one that is not among them.
    """
    groups = tuple(_group(row, table, sets, available, profile, alone) for row in table.rows)
    rows = [row.id for row in table.rows]
    bars = tuple(line for runs in sets if any(map(runs.records_of, rows)) for line in floors(runs))
    data = ", ".join(paper.DATA_SETS[name].label for name in table.data)
    name = f"Table {table.id.removeprefix('table')}"
    return View(table.id, name, table.title, data, groups, bars, table.footnotes, remarks(sets, rows))


def remarks(sets: Sequence[RunSet], rows: Collection[str]) -> tuple[str, ...]:
    """What the published data is that any of `rows` were trained on, where its name does not say it."""
    trained_on = {runs.data for runs in sets if runs.origin == "published" and any(map(runs.records_of, rows))}
    return tuple(f"{name} is {text}." for name, text in PUBLISHED_DATA.items() if name in trained_on)


def count_numbers(sets: Sequence[RunSet]) -> dict[str, int]:
    """How many of the paper's numbers have each verdict, the best one where several run sets can tell. A number of a
    system that stands in two tables counts once."""
    printed = {(paper.canonical(row.id), number.data, number.metric): number
               for row in paper.ROWS.values() for number in row.numbers if number.value is not None}  # fmt: skip
    counts = dict.fromkeys(NUMBER_LABELS, 0)
    for number in printed.values():
        temperature = temperatures(number.metric)[0]
        labels = [compare(number, runs.records_of(number.row), temperature).label for runs in sets] or ["not run"]
        counts[min(labels, key=NUMBER_LABELS.index)] += 1
    return counts


def _group(row: paper.Row, table: paper.Table, sets: Sequence[RunSet], available: Collection[str],
           profile: str, alone: bool) -> Group:  # fmt: skip
    lines = [line for data in table.data if (line := paper_line(row, data)) is not None]
    for runs in sets:
        lines += measured_lines(row, table, runs)
    if not any(line.source == "local" or alone and line.source == "published" for line in lines):
        can = paper.canonical(row.id) in available or row.id in available
        command = f"./run_all.sh --profile {profile} --only {row.id}" if can else ""
        remark = "not trained here:" if can else "cannot be trained by this version yet"
        lines.append(Line("none", ORIGINS["local"], remark=remark, command=command))
    return Group(row.id, row.label, row.ticks, row.citation, row.footnotes, tuple(lines))


def paper_line(row: paper.Row, data: str) -> Line | None:
    """The printed numbers on `data`, IS and FID over both temperatures: the slides name none. None where there are
    none."""
    numbers = [number for number in row.numbers if number.data == data]
    if not any(number.text for number in numbers):
        return None
    cells = [Cell(n.text or "—", mark=n.mark, span=1 if n.metric == "bpd" else 2) for n in numbers]
    return Line("paper", "Paper", paper.DATA_SETS[data].label, cells=(*cells, Cell("—", span=2)))


def measured_lines(row: paper.Row, table: paper.Table, runs: RunSet) -> list[Line]:
    """What `runs` has of a row: one line per kind of features, so that no cell has to say which kind it is."""
    records, seeds = runs.records_of(row.id), len(runs.done(row.id))
    if records and not seeds:
        ends = ", ".join(f"seed {run.seed} {run.status} at step {run.steps:,}" for run in records)
        return [Line(runs.origin, ORIGINS[runs.origin], runs.label, remark=ends)]
    known = runs.metrics_of(row.id)
    kinds = [kind for kind, scores in FEATURES.items() if any(f"{s}@T1" in known for s in scores)] or [""] * bool(seeds)
    judgements, lines = tuple(_judgements(row, table, runs)) if seeds else (), []
    for kind in kinds:
        scores = [f"{name}@{at}" for name in FEATURES[kind or "inception"] for at in AT]
        cells = tuple(runs.cell(row.id, name) for name in ("BPD", *scores))
        judged = () if lines else judgements
        lines.append(Line(runs.origin, ORIGINS[runs.origin], runs.label, kind, cells, str(seeds), judged))
    return lines


def _judgements(row: paper.Row, table: paper.Table, runs: RunSet) -> Iterator[Judgement]:
    """Verdicts on the row's numbers for the run set's data, or the table's first data set if it has not that.

    IS and FID are judged at both temperatures; numbers with one verdict and one reason share a judgement.
    """
    data = runs.data if runs.data in table.data else next(n.data for n in row.numbers if n.value is not None)
    shared: dict[tuple[str, str], list[str]] = {}
    for number in (n for n in row.numbers if n.data == data and n.value is not None):
        verdicts = {t: compare(number, runs.records_of(row.id), t) for t in temperatures(number.metric)}
        same = len({(verdict.label, verdict.reason) for verdict in verdicts.values()}) == 1
        for t, verdict in verdicts.items():
            text = number.metric.upper() if same else f"{number.metric.upper()} at T = {t:g}"
            texts = shared.setdefault((verdict.label, verdict.reason), [])
            texts += [] if text in texts else [text]
    for key, texts in shared.items():
        yield Judgement(", ".join(texts), *key)


def floors(runs: RunSet) -> Iterator[Line]:
    """Training images against test images, as many of each as were sampled: what a perfect model gets."""
    for kind, (_, *distances) in FEATURES.items():
        measured = {name: metric for run in runs.records for name in distances
                    if (metric := run.metrics.get(f"{name}-floor")) is not None}  # fmt: skip
        if measured:
            cells = [Cell(decimal(n, measured[n].value) if n in measured else "—", span=2) for n in distances]
            n = max(metric.n for run in runs.records for name in distances
                    if (metric := run.metrics.get(f"{name}-floor")) is not None)  # fmt: skip
            detail = f"{runs.label}; n = {n:,}"
            yield Line(runs.origin, ORIGINS[runs.origin], detail, kind, (Cell("—"), Cell("—", span=2), *cells))


# --- the smaller tables --------------------------------------------------------------------------------------


def costs(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> list[list[str]]:
    """Model, runs, device, parameters and the flow's share, critic and its multiply-adds, steps, seconds, images/s,
    memory in MB; of `rows`, by default of every row that ran. Means over the runs on the device that most of them had:
    times on several devices have no mean."""
    lines = []
    for runs in sets:
        for row in rows or runs.rows:
            if done := runs.done(row):
                device = most_common(run.device for run in done)
                done = [run for run in done if run.device == device]
                counts, critic = done[0].parameters, critic_multiply_adds(done[0])
                total, flow = counts.get("total"), counts.get("flow")
                lines.append([
                    short_label(row), runs.title, device, _whole(total),
                    f"{100 * flow / total:.1f} %" if total and flow else "—", _whole(counts.get("critic")),
                    f"{critic / 1e6:,.1f} M" if critic else "—", _average(done, "steps"), _average(done, "seconds"),
                    _average(done, "images_per_second"), _average(done, "peak_memory_bytes", 1e6),
                ])  # fmt: skip
    return lines


def _average(done: Sequence[Record], name: str, unit: float = 1.0) -> str:
    values = [value for run in done if (value := getattr(run, name)) is not None]
    return _whole(fmean(values) / unit if values else None)


def _whole(value: float | None) -> str:
    return f"{value:,.0f}" if value else "—"


def critic_multiply_adds(record: Record) -> int | None:
    """Multiply-adds of the record's critic for one image; None where it has none, or one of another kind.

    The net is built without weights, from the record alone: a recipe may have changed since.
    """
    try:
        system = record.config["recipe"]["system"]
        critic = CriticConfig(**{**system["critic"], "widths": tuple(system["critic"]["widths"])})
        shape = (system["image_channels"], system["size"], system["size"])
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return multiply_adds(AdversarialSystem(shape, critic).critic, torch.empty(1, *shape))
    except (KeyError, TypeError, ValueError):
        return None


def baselines(sets: Sequence[RunSet], rows: Collection[str]) -> list[dict[str, Any]]:
    """What each of `rows` that was measured against baselines has to beat, and whether it does.

    One line per run set and kind of features: the distance of the last and of the best step, of an untrained copy
    and of independent Gaussian pixels; BPD and that of a histogram per pixel. Means over seeds.
    """
    lines = []
    for runs in sets:
        for row in rows:
            known = {*runs.metrics_of(row)}
            for _, distance, _ in FEATURES.values():
                last, best = f"{distance}@T1", f"{distance}-best@T1"
                bars = [f"{distance}-untrained@T1", f"{distance}-gaussian@T1"]
                if last not in known or not known & {*bars, "BPD-histogram"}:
                    continue
                races = [(last, bar) for bar in bars] + [("BPD", "BPD-histogram")]
                beats = all(runs.mean(row, a).value < runs.mean(row, b).value for a, b in races if {a, b} <= known)
                steps = {run.best_step for run in runs.done(row) if best in run.metrics and run.best_step is not None}
                lines.append({
                    "label": short_label(row), "runs": runs.title, "distance": distance, "beats": beats,
                    "cells": [runs.cell(row, name) for name in (last, best, *bars, "BPD", "BPD-histogram")],
                    "steps": ", ".join(f"{step:,}" for step in sorted(steps)) or "—", "seeds": len(runs.done(row)),
                })  # fmt: skip
    return lines


def coverage(sets: Sequence[RunSet], rows: Collection[str]) -> list[list[Any]]:
    """Model, runs, precision and recall at both temperatures, seeds, of `rows`; no line where none is measured."""
    lines = []
    for runs in sets:
        for row in rows:
            recalls = [name.partition("@")[0] for name in runs.metrics_of(row) if name.startswith("Recall")]
            for kind in dict.fromkeys(name.removeprefix("Recall") for name in recalls):
                cells = [runs.cell(row, f"{score}{kind}@{t}") for score in ("Precision", "Recall") for t in AT]
                lines.append([short_label(row), runs.title, *cells, str(len(runs.done(row)))])
    return lines


def protocols(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Every protocol once, with the metrics that were taken by it; what differs from run to run in numbers of images or
    in the step that was chosen is put together."""
    merged: dict[tuple[str, ...], tuple[dict[str, None], list[set[int]]]] = {}
    for run in (run for runs in sets for run in runs.records):
        for name, metric in run.metrics.items():
            text = BEST_STEP.sub("the best of the kept steps, chosen on training images", metric.protocol)
            counts = [int(count) for count in COUNT.findall(text)]
            metrics, seen = merged.setdefault(tuple(COUNT.split(text)), ({}, [set() for _ in counts]))
            metrics[name] = None
            for before, count in zip(seen, counts, strict=True):
                before.add(count)

    def words(parts: Sequence[str], seen: Sequence[set[int]]) -> str:
        counts = [" or ".join(f"{n:,}" for n in sorted(numbers)) for numbers in seen]
        return "".join(part + count for part, count in zip(parts, [*counts, ""], strict=True))

    return [(", ".join(metrics), words(parts, seen)) for parts, (metrics, seen) in merged.items()]


def other_protocols(sets: Sequence[RunSet]) -> dict[str, Any]:
    """Scores under further protocols beside the main one's: their names, what each is, lines of cells.

    One line per row, run set and score; empty lists where no record has any. `notes` say what was left out.
    """
    lines, used = [], set()
    for runs in sets:
        for row in runs.rows:
            others = [(score, name) for score, name in map(split_name, runs.metrics_of(row)) if name]
            used |= {name for _, name in others}
            lines += [{"row": row, "runs": runs, "metric": score} for score in dict.fromkeys(s for s, _ in others)]
    known = list(PROTOCOLS)
    names = sorted(used, key=lambda name: (known.index(name) if name in PROTOCOLS else len(known), name))
    for line in lines:
        row, runs, score = line["row"], line["runs"], line["metric"]
        keys = (score, *(with_protocol(score, name) for name in names))
        line |= {"label": label_of(row), "runs": runs.title, "cells": [runs.cell(row, key) for key in keys]}
    about = [(name, PROTOCOLS[name].about) for name in ("paper", *names) if name in PROTOCOLS] if names else []
    notes = dict.fromkeys(f"{runs.label}: {note}" for runs in sets for run in runs.finished for note in run.notes
                          if note.startswith("protocol "))  # fmt: skip
    return {"names": names, "about": about, "lines": lines, "notes": list(notes)}


def all_numbers(sets: Sequence[RunSet]) -> list[dict[str, Any]]:
    """A table of each run set: a line per metric, then the number of seeds, a column per model; means over seeds with
    their standard deviation, "" where a model has no such metric."""
    tables = []
    for runs in sets:
        measured = {row: runs.metrics_of(row) for row in runs.rows if runs.done(row)}
        metrics = dict.fromkeys(name for names in measured.values() for name in names)
        lines = [[name, *(runs.cell(row, name) if name in measured[row] else "" for row in measured)]
                 for name in metrics]  # fmt: skip
        table = {
            "caption": runs.title,
            "head": ["Metric", *map(label_of, measured)],
            "lines": [*lines, ["seeds", *(str(len(runs.done(row))) for row in measured)]],
            "count": sum(map(len, measured.values())),
        }
        tables += [table] if measured else []
    return tables
