"""The paper's tables as lines to show: for every row the paper's numbers, then what each run set measured.

Rendered from records alone. A *run set* is what may be averaged: finished runs from one place (published with
this project, or made on this machine) on the same images of one data set and size, with one profile; seeds are its
sample.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cqlib.experiments import paper
from cqlib.experiments.record import Record
from cqlib.report.number_verdicts import NUMBER_LABELS, compare
from cqlib.report.run_sets import AT, FEATURES, PLACES, Cell, RunSet, measured
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


@dataclass(frozen=True)
class Judgement:
    """The verdict on the paper's numbers that share it: "BPD, IS" "not comparable" and why."""

    metrics: str
    label: str
    reason: str


@dataclass(frozen=True)
class Line:
    """One line of a row: its source ("paper", "published", "here"), cells, or a remark in their place."""

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
    """A whole table, ready for the template. `scores` are the column names of IS, FID and KID; `remarks` say what data
    the published lines are of."""

    id: str
    title: str
    data: str
    scores: tuple[str, str, str]
    groups: tuple[Group, ...]
    floors: tuple[Line, ...]
    footnotes: tuple[str, ...]
    remarks: tuple[str, ...]


def view(
    table: paper.Table, sets: Sequence[RunSet], available: Collection[str], profile: str, alone: bool = False
) -> View:
    """`table` with the paper's numbers and every run set's; `profile` is the one of the commands shown.

    A row of `available` that was not trained here gets the command that does it; where the published records stand
    `alone`, only one that is not among them.
    """
    groups = tuple(_group(row, table, sets, available, profile, alone) for row in table.rows)
    used = {line.features for group in groups for line in group.lines}
    kinds = [FEATURES[kind] for kind in FEATURES if kind == "inception" or kind in used]
    scores = tuple(" / ".join(dict.fromkeys(column)) for column in zip(*kinds, strict=True))
    rows = {paper.canonical(row.id) for row in table.rows}
    bars = [line for runs in sets if any(runs.of(row) for row in rows) for line in floors(runs)]
    data = ", ".join(paper.DATA_SETS[name].label for name in table.data)
    return View(table.id, table.title, data, scores, groups, tuple(bars), table.footnotes, remarks(sets, rows))


def remarks(sets: Sequence[RunSet], rows: Collection[str]) -> tuple[str, ...]:
    """What the published data is that any of `rows` were trained on, where its name does not say it."""
    return tuple(
        f"{name} is {text}." for name, text in PUBLISHED_DATA.items()
        if any((s.place, s.data) == ("published", name) and any(map(s.of, rows)) for s in sets)
    )  # fmt: skip


def count_numbers(sets: Sequence[RunSet]) -> dict[str, int]:
    """How many of the paper's numbers carry each verdict, the best one where several run sets can tell. A number of a
    system that stands in two tables counts once."""
    printed = {(paper.canonical(row.id), number.data, number.metric): (row.id, number)
               for row in paper.ROWS.values() for number in row.numbers if number.value is not None}  # fmt: skip
    counts = dict.fromkeys(NUMBER_LABELS, 0)
    for row, number in printed.values():
        labels = [compare(number, runs.of(row)).label for runs in sets] or ["not run"]
        counts[min(labels, key=NUMBER_LABELS.index)] += 1
    return counts


def _group(row: paper.Row, table: paper.Table, sets: Sequence[RunSet], available: Collection[str],
           profile: str, alone: bool) -> Group:  # fmt: skip
    lines = [paper_line(row, data) for data in table.data]
    lines = [line for line in lines if line is not None]
    for runs in sets:
        if mine := runs.of(row.id):
            lines += measured_lines(row, table, runs, mine)
    if not any(line.source == "here" or alone and line.source == "published" for line in lines):
        can = paper.canonical(row.id) in available or row.id in available
        command = f"./run_all.sh --profile {profile} --only {row.id}" if can else ""
        remark = "not trained here:" if can else "cannot be trained by this version yet"
        lines.append(Line("none", PLACES["here"], remark=remark, command=command))
    return Group(row.id, row.label, row.ticks, row.citation, row.footnotes, tuple(lines))


def paper_line(row: paper.Row, data: str) -> Line | None:
    """The printed numbers on `data`, IS and FID over both temperatures: the slides name none. None where there are
    none."""
    numbers = [number for number in row.numbers if number.data == data]
    if not any(number.text for number in numbers):
        return None
    cells = [Cell(n.text or "—", mark=n.mark, span=1 if n.metric == "bpd" else 2) for n in numbers]
    return Line("paper", "Paper", paper.DATA_SETS[data].label, cells=(*cells, Cell("—", span=2)))


def measured_lines(row: paper.Row, table: paper.Table, runs: RunSet, mine: list[Record]) -> list[Line]:
    """What `runs` has of a row: one line per kind of features, so that no cell has to say which kind it is."""
    place, done = PLACES[runs.place], [run for run in mine if run.status == "done"]
    if not done:
        ends = ", ".join(f"seed {run.seed} {run.status} at step {run.steps:,}" for run in mine)
        return [Line(runs.place, place, runs.label, remark=ends)]
    known = {name for run in done for name in run.metrics}
    kinds = [kind for kind, scores in FEATURES.items() if any(f"{s}@T1" in known for s in scores)] or [""]
    judgements = _judgements(row, table, runs, mine)
    lines = []
    for kind in kinds:
        scores = [f"{name}@{at}" for name in FEATURES[kind or "inception"] for at in AT]
        cells = tuple(measured(name, done) for name in ("BPD", *scores))
        judged = () if lines else tuple(judgements)
        lines.append(Line(runs.place, place, runs.label, kind, cells, str(len(done)), judged))
    return lines


def _judgements(row: paper.Row, table: paper.Table, runs: RunSet, mine: list[Record]) -> list[Judgement]:
    """Verdicts on the row's numbers for the run set's data, or the table's first data set if it has not that.

    IS and FID are judged at both temperatures; numbers with one verdict and one reason share a judgement.
    """
    data = runs.data if runs.data in table.data else next(n.data for n in row.numbers if n.value is not None)
    found: dict[tuple[str, str], list[str]] = {}
    for number in (n for n in row.numbers if n.data == data and n.value is not None):
        verdicts = [compare(number, mine)]
        verdicts += [compare(number, mine, temperature=0.0)] if number.metric != "bpd" else []
        name = number.metric.upper()
        same = len({(verdict.label, verdict.reason) for verdict in verdicts}) == 1
        for at, verdict in zip(AT, verdicts, strict=False):
            text = name if same else f"{name} at {at[0]} = {at[1]}"
            texts = found.setdefault((verdict.label, verdict.reason), [])
            texts += [] if text in texts else [text]
    return [Judgement(", ".join(texts), *key) for key, texts in found.items()]


def floors(runs: RunSet) -> list[Line]:
    """Training images against test images, as many of each as were sampled: what a perfect model gets."""
    lines = []
    for kind, (_, distance, kernel) in FEATURES.items():
        values = {name: run.metrics[f"{name}-floor"].value for run in runs.records
                  for name in (distance, kernel) if f"{name}-floor" in run.metrics}  # fmt: skip
        if values:
            cells = [Cell(decimal(n, values[n]) if n in values else "—", span=2) for n in (distance, kernel)]
            cells = [Cell("—"), Cell("—", span=2), *cells]
            n = max(run.metrics[f"{name}-floor"].n for run in runs.records for name in values
                    if f"{name}-floor" in run.metrics)  # fmt: skip
            lines.append(Line(runs.place, PLACES[runs.place], f"{runs.label}; n = {n:,}", kind, tuple(cells)))
    return lines
