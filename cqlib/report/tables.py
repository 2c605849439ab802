"""The paper's tables as lines to show: a line for each row, the paper's numbers beside what run sets measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cqlib.experiments import paper
from cqlib.experiments.claims import IS_MISLEADS
from cqlib.experiments.rows import label_of, training_command
from cqlib.metrics.quantities import FEATURES, heading, metric_names
from cqlib.report import mixture
from cqlib.report.numbers import COMPARABLE, NumberVerdict, number_verdict
from cqlib.report.run_sets import ORIGINS, RunSet
from cqlib.report.values import Cell
from cqlib.report.verdicts import ClaimResult

PAPER = tuple(paper.METRICS.values())
"""The columns of the paper's numbers."""
NO_IS = "On {} the IS of real images rises when they are damaged: no claim is tested in it there."


@dataclass(frozen=True)
class JudgedCell(Cell):
    """A measured number with the verdicts on claims about it and, in `number`, the verdict on the paper's number where
    the two can be compared."""

    claims: tuple[ClaimResult, ...] = ()
    number: NumberVerdict | None = None


@dataclass(frozen=True)
class ColumnGroup:
    """Columns that belong together: `origin` is "paper" or that of a run set, `title` and `detail` stand above them,
    `heads` names each column."""

    origin: str
    title: str
    detail: str
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A row: its cells from each source, or a remark in their place."""

    label: str
    cells: tuple[tuple[Cell, ...], ...] = ()
    ticks: tuple[str, ...] = ()
    citation: str = ""
    footnotes: tuple[str, ...] = ()
    remark: str = ""
    command: str = ""


@dataclass(frozen=True)
class View:
    """A whole table, ready for the template. `groups`: (heading, what is said beside it), "" for none -> lines.
    `remarks` explain a line or a column; `notes` say how the numbers compare with the paper's, `commands` how missing
    rows are trained; `judged`: whether claims about its numbers have verdicts."""

    id: str
    title: str
    sources: tuple[ColumnGroup, ...]
    groups: Mapping[tuple[str, str], Sequence[Line]]
    footnotes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    judged: bool = False


def view(
    table: paper.Table, sets: Sequence[RunSet], results: Sequence[ClaimResult] = (),
    commands: tuple[tuple[str, str], ...] = (),
) -> View:  # fmt: skip
    """`table` with the numbers of `sets`, each number with those of `results` that are about it. Without `sets` it has
    the paper's numbers, and each row the command that trains it."""
    rows = [row.id for row in table.rows]
    names = [columns([runs], rows) for runs in sets]
    lines = []
    for row in table.rows:
        measured = (judged_cells(row, *pair, results) for pair in zip(sets, names, strict=True))
        cells = (*(paper_cells(row, data) for data in table.data), *measured)
        lines.append(Line(row.label, cells, row.ticks, row.citation, row.footnotes))
    lines += real_images(table.data, sets, names)
    mixed = list(_mixture(table, sets, names))
    misleads = dict.fromkeys(NO_IS.format(runs.data) for runs in sets if runs.data in IS_MISLEADS)
    papers = (ColumnGroup("paper", "Paper", paper.DATA_SETS[data].label, PAPER) for data in table.data)
    measured_here = (measured_columns(runs.origin, runs.label, n) for runs, n in zip(sets, names, strict=True))
    notes_ = tuple(note for runs in sets for note in notes(table.rows, runs))
    return View(
        table.id, f"{table.name}. {table.title}", (*papers, *measured_here), {("", ""): [*lines, *mixed]},
        table.footnotes, (*[mixture.MEANING] * bool(mixed), *misleads), notes_, commands, bool(results),
    )  # fmt: skip


def missing(table: paper.Table, sets: Sequence[RunSet], profile: str, alone: bool) -> tuple[tuple[str, str], ...]:
    """The rows not trained here (or published, if `alone`) with the command for each, or with one for all."""
    trained = [runs for runs in sets if (alone or runs.origin == "local") and not runs.changes]
    absent = {row.id: label_of(row.id) for row in table.rows if not any(runs.records_of(row.id) for runs in trained)}
    if len(absent) == len(table.rows):
        absent = {table.id: "all of them"}
    return tuple((label, training_command(name, profile)) for name, label in absent.items())


# --- columns


def measured_columns(origin: str, detail: str, names: Sequence[str]) -> ColumnGroup:
    """The group of the columns `names` of measured numbers, with a last column for the number of seeds."""
    return ColumnGroup(origin, ORIGINS[origin], detail, (*map(heading, names), "Seeds"))


def columns(sets: Sequence[RunSet], rows: Sequence[str]) -> list[str]:
    """The measured columns: BPD, and the scores on each kind of features that any of `sets` has."""
    metrics = {name for runs in sets for row in rows for name in runs.metrics_of(row)}
    return ["BPD", *(name for names in FEATURES.values() if metrics.intersection(names) for name in names)]


# --- cells


def paper_cells(row: paper.Row, data: str) -> tuple[Cell, ...]:
    """The slides' numbers of a row on a data set, as printed; one empty cell where they have none."""
    return tuple(Cell(n.text, mark=n.mark) for n in row.numbers if n.data == data) or (Cell("", span=len(PAPER)),)


def judged_cells(
    row: paper.Row, runs: RunSet | None, names: Sequence[str], results: Sequence[ClaimResult] = ()
) -> tuple[Cell, ...]:
    """The cells of a row in the columns `names`, as `runs` measured it, and its number of seeds, with those that
    diverged; one cell where no run ended, which is empty without a run set. Each number has those of `results` that are
    claims of the row's table about it, and the verdict on the paper's number where the two can be compared."""
    if runs is None:
        return empty(names)
    seeds, diverged = len(runs.done(row.id)), runs.diverged(row.id)
    if not seeds:
        return empty(names, diverged or "not trained yet")
    table, row_a = paper.table_of(row.id).id, paper.canonical(row.id)
    about = [r for r in results if r.runs is runs and (r.claim.table, paper.canonical(r.claim.row_a)) == (table, row_a)]
    numbers = {name: verdict for name, _, verdict in _compared(row, runs) if verdict.label in COMPARABLE}
    entries = []
    for name in names:
        claims = tuple(r for r in about if r.metric_name == name)
        entries.append(JudgedCell(**vars(runs.cell(row.id, name)), claims=claims, number=numbers.get(name)))
    return (*entries, Cell(diverged or str(seeds)))


def real_cells(runs: RunSet | None, names: Sequence[str]) -> tuple[Cell, ...]:
    """The cells of real images in the columns `names`: the IS of test images; other scores are those of training images
    against as many test images, which no model can be expected to beat; the number of images. Empty for what no record
    has."""
    if runs is None:
        return empty(names)
    measured = [runs.real_images(name) for name in names]
    counts = [metric.n for metric in measured if metric]
    return (*map(runs.real_cell, names), Cell(f"n\u00a0=\u00a0{max(counts):,}" if counts else ""))


def real_images(
    data: Sequence[str], sets: Sequence[RunSet | None], names: Sequence[Sequence[str]]
) -> Iterator[Line]:  # fmt: skip
    """Yield the line of real images, over the paper's columns for `data` and those of `sets`; nothing where no set has
    measured any."""
    measured = list(map(real_cells, sets, names))
    if any(cell.text for cells in measured for cell in cells):
        yield Line("Real images", (*_no_paper(data), *measured))


def _mixture(table: paper.Table, sets: Sequence[RunSet], names: Sequence[Sequence[str]]) -> Iterator[Line]:
    """Yield the line of the mixture under Table 1; nothing where no set has both of its models."""
    measured = list(map(mixture.cells, sets, names))
    if table is paper.TABLE1 and any(measured):
        cells = (found or empty(of_set) for found, of_set in zip(measured, names, strict=True))
        yield Line(mixture.LABEL, (*_no_paper(table.data), *cells), citation="computed, not trained")


def _no_paper(data: Sequence[str]) -> tuple[tuple[Cell, ...], ...]:
    return tuple((Cell("", span=len(PAPER)),) for _ in data)


def empty(names: Sequence[str], text: str = "") -> tuple[Cell, ...]:
    """One cell over the columns `names` and that of the seeds."""
    return (Cell(text, span=len(names) + 1),)


# --- against the paper's numbers


def _compared(row: paper.Row, runs: RunSet) -> Iterator[tuple[str, str, NumberVerdict]]:
    """(column, metric, verdict) for the paper's numbers of a row on the run set's data, or, where the slides have none
    for it, on the first data set for which they have any."""
    printed = [number for number in row.numbers if number.value is not None]
    data = runs.data if runs.data in {number.data for number in row.numbers} else printed[0].data if printed else ""
    for number in (number for number in printed if number.data == data):
        verdict = number_verdict(number, runs.records_of(number.row))
        yield metric_names(number.metric)[0], number.metric.upper(), verdict


def notes(rows: Sequence[paper.Row], runs: RunSet) -> Iterator[str]:
    """Sentences on how a run set's numbers compare with the paper's, with the rows where these have different
    verdicts."""
    by_verdict: dict[NumberVerdict, dict[str, dict[str, None]]] = {}
    for row in (row for row in rows if runs.done(row.id)):
        for name, metric, verdict in _compared(row, runs):
            text = name if verdict.label in COMPARABLE else metric
            by_verdict.setdefault(verdict, {}).setdefault(text, {})[row.label] = None
    for verdict, metrics in by_verdict.items():
        alone = not any(metrics.keys() & other.keys() for other in by_verdict.values() if other is not metrics)
        labels = dict.fromkeys(label for of_metric in metrics.values() for label in of_metric)
        where = "" if alone and verdict.label not in COMPARABLE else f" ({', '.join(labels)})"
        yield f"{runs.title}: {', '.join(metrics)}{where} {verdict.label}: {verdict.reason}."
