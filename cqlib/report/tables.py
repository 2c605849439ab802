"""The paper's tables as lines to show: for every row the paper's numbers, then what each run set measured."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cqlib.experiments import paper
from cqlib.metrics.quantities import COLUMNS, FEATURES, SCORES, TEMPERATURES, decimal, temperatures
from cqlib.report.numbers import NUMBER_LABELS, NumberVerdict, compare
from cqlib.report.run_sets import ORIGINS, Cell, RunSet

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

    @property
    def text(self) -> str:
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
    """A whole table, ready for the template; `remarks` say what data the published lines are of."""

    id: str
    name: str
    title: str
    data: str
    groups: tuple[Group, ...]
    real_images: tuple[Line, ...]
    footnotes: tuple[str, ...]
    remarks: tuple[str, ...]
    columns: tuple[str, str] = ("Model", "Source")
    temperature_names: tuple[str, ...] = tuple(f"T = {at[1]}" for at in TEMPERATURES)

    @property
    def scores(self) -> tuple[str, ...]:
        """The column names of IS, FID and KID, under each kind of features that stands in the table."""
        used = {"inception", *(line.features for group in self.groups for line in group.lines)}
        kinds = [scores for kind, scores in FEATURES.items() if kind in used]
        columns = zip(*kinds, (quantity.arrow for quantity in COLUMNS), strict=True)
        return tuple(f"{' / '.join(dict.fromkeys(names))} {arrow}" for *names, arrow in columns)

    @cached_property
    def letters(self) -> dict[str, str]:
        """Why numbers are not comparable -> its letter: a reason that stands often is printed once, below the table."""
        judged = (item for group in self.groups for line in group.lines for item in line.judgements)
        texts = dict.fromkeys(item.text for item in judged if item.label == "not comparable")
        return {text: chr(ord("a") + i % 26) * (1 + i // 26) for i, text in enumerate(texts)}


def view(table: paper.Table, sets: Sequence[RunSet], profile: str, alone: bool = False) -> View:
    """`table` with every run set's numbers; rows not trained here (or published, if `alone`) get the command for it."""
    rows = [row.id for row in table.rows]
    return View(
        table.id,
        f"Table {table.id.removeprefix('table')}",
        table.title,
        ", ".join(paper.DATA_SETS[name].label for name in table.data),
        tuple(_group(row, table, sets, profile, alone) for row in table.rows),
        tuple(line for runs in sets if any(map(runs.records_of, rows)) for line in real_images(runs)),
        table.footnotes,
        remarks(sets, rows),
    )


def remarks(sets: Sequence[RunSet], rows: Collection[str]) -> tuple[str, ...]:
    """What the published data is that any of `rows` were trained on, where its name does not say it."""
    trained_on = {runs.data for runs in sets if runs.origin == "published" and any(map(runs.records_of, rows))}
    return tuple(f"{name} is {text}." for name, text in PUBLISHED_DATA.items() if name in trained_on)


def count_numbers(sets: Sequence[RunSet]) -> dict[str, int]:
    """How many of the paper's numbers have each verdict, the best of all run sets; one printed twice counts once."""
    printed = {(paper.canonical(row.id), number.data, number.metric): number
               for row in paper.ROWS.values() for number in row.numbers if number.value is not None}  # fmt: skip
    counts = dict.fromkeys(NUMBER_LABELS, 0)
    for number in printed.values():
        temperature = temperatures(number.metric)[0]
        labels = [compare(number, runs.records_of(number.row), temperature).label for runs in sets] or ["not run"]
        counts[min(labels, key=NUMBER_LABELS.index)] += 1
    return counts


def _group(row: paper.Row, table: paper.Table, sets: Sequence[RunSet], profile: str, alone: bool) -> Group:
    lines = [line for data in table.data if (line := paper_line(row, data)) is not None]
    for runs in sets:
        lines += measured_lines(row, table, runs)
    if not any(line.source == "local" or alone and line.source == "published" for line in lines):
        command = f"./run_all.sh --profile {profile} --only {row.id}"
        lines.append(Line("none", ORIGINS["local"], remark="not trained here:", command=command))
    return Group(row.id, row.label, row.ticks, row.citation, row.footnotes, tuple(lines))


def paper_line(row: paper.Row, data: str) -> Line | None:
    """The printed numbers on `data`, if any, IS and FID over both temperatures: the slides name none."""
    numbers = [number for number in row.numbers if number.data == data]
    if not any(number.text for number in numbers):
        return None
    cells = [Cell(n.text or "—", mark=n.mark, span=1 if n.metric == "bpd" else 2) for n in numbers]
    return Line("paper", "Paper", paper.DATA_SETS[data].label, cells=(*cells, Cell("—", span=2)))


def measured_lines(row: paper.Row, table: paper.Table, runs: RunSet) -> list[Line]:
    """What `runs` has of a row: one line per kind of features, so that no cell has to say which kind it is."""
    records, seeds = runs.records_of(row.id), len(runs.done(row.id))
    if not seeds:
        ends = ", ".join(f"seed {run.seed} {run.status} at step {run.steps:,}" for run in records)
        return [Line(runs.origin, ORIGINS[runs.origin], runs.label, remark=ends)] if records else []
    known, lines = runs.metrics_of(row.id), list[Line]()
    for kind in [kind for kind, scores in FEATURES.items() if any(f"{s}@T1" in known for s in scores)] or [""]:
        scores = [f"{name}@{at}" for name in FEATURES[kind or "inception"] for at in TEMPERATURES]
        cells = tuple(runs.cell(row.id, name) for name in ("BPD", *scores))
        judged = () if lines else tuple(_judgements(row, table, runs))
        lines.append(Line(runs.origin, ORIGINS[runs.origin], runs.label, kind, cells, str(seeds), judged))
    return lines


def _judgements(row: paper.Row, table: paper.Table, runs: RunSet) -> Iterator[Judgement]:
    """Verdicts on the row's numbers for the run set's data, or the table's first; equal ones share a judgement."""
    data = runs.data if runs.data in table.data else next((n.data for n in row.numbers if n.value is not None), "")
    shared: dict[NumberVerdict, dict[str, None]] = {}
    for number in (n for n in row.numbers if n.data == data and n.value is not None):
        verdicts = {t: compare(number, runs.records_of(row.id), t) for t in temperatures(number.metric)}
        same = len({*verdicts.values()}) == 1
        for t, verdict in verdicts.items():
            text = number.metric.upper() if same else f"{number.metric.upper()} at T = {t:g}"
            shared.setdefault(verdict, {})[text] = None
    for verdict, texts in shared.items():
        yield Judgement(", ".join(texts), *verdict)


def real_images(runs: RunSet) -> Iterator[Line]:
    """What real images get: IS of test images, the distances of training images from as many test images, which no
    model can be expected to beat, and in the remark the scores without a column. A dash for what no record has."""
    for kind in FEATURES:
        names = {q: (q.lite0 if kind == "lite0" else q.name) + q.real for q in SCORES}
        measured = {q: metric for q, name in names.items() if (metric := runs.real_images(name))}
        if measured:
            texts = {q: decimal(names[q], metric.value) for q, metric in measured.items()}
            cells = (Cell("—"), *(Cell(texts.get(q, "—"), span=2) for q in COLUMNS))
            detail = f"{runs.label}; n = {max(metric.n for metric in measured.values()):,}"
            remark = ", ".join(f"{q.name} {text}" for q, text in texts.items() if not q.column)
            yield Line(runs.origin, ORIGINS[runs.origin], detail, kind, cells, remark=remark)
