"""The paper's tables as lines to show: a line for each row, the paper's numbers beside what run sets measured."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cqlib.experiments import paper
from cqlib.experiments.rows import label_of
from cqlib.metrics.quantities import AT, FEATURES, QUANTITIES, decimal, heading, metric_names, score_of, temperatures
from cqlib.report.numbers import COMPARABLE, NumberVerdict, number_verdict
from cqlib.report.run_sets import ORIGINS, Cell, RunSet
from cqlib.report.verdicts import ClaimResult
from cqlib.util.text import numbered

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
"""Name of data in the published records -> what it is, where its publishers do not describe it so."""
PAPER = tuple((name, "") for name in paper.METRICS.values())
"""The columns of the paper's numbers; the slides name no temperature."""


@dataclass(frozen=True)
class JudgedCell(Cell):
    """A measured number with the verdicts on claims about it and, in `number`, the verdict on the paper's number where
    the two can be compared."""

    claims: tuple[ClaimResult, ...] = ()
    number: NumberVerdict | None = None


@dataclass(frozen=True)
class ColumnGroup:
    """Columns that belong together: `origin` is "paper" or that of a run set, `title` and `detail` stand above them,
    `heads` has the name and temperature of each column."""

    origin: str
    title: str
    detail: str
    heads: tuple[tuple[str, str], ...]


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
    """A whole table, ready for the template. `groups`: (heading, what is said beside it), "" for none -> lines. `notes`
    say how the numbers compare with the paper's and on what data published runs were trained, `commands` how missing
    rows are trained; `judged`: whether claims about its numbers have verdicts."""

    id: str
    title: str
    sources: tuple[ColumnGroup, ...]
    groups: Mapping[tuple[str, str], Sequence[Line]]
    footnotes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    judged: bool = False


def view(
    table: paper.Table, sets: Sequence[RunSet], results: Sequence[ClaimResult] = (),
    commands: tuple[tuple[str, str], ...] = (),
) -> View:  # fmt: skip
    """`table` with the numbers of `sets`, each number with those of `results` that are about it."""
    rows = [row.id for row in table.rows]
    names = [columns([runs], rows) for runs in sets]
    lines = []
    for row in table.rows:
        measured = (judged_cells(row, *pair, results) for pair in zip(sets, names, strict=True))
        cells = (*(paper_cells(row, data) for data in table.data), *measured)
        lines.append(Line(row.label, cells, row.ticks, row.citation, row.footnotes))
    papers = (ColumnGroup("paper", "Paper", paper.DATA_SETS[data].label, PAPER) for data in table.data)
    measured_here = (measured_columns(runs.origin, runs.label, n) for runs, n in zip(sets, names, strict=True))
    notes_ = (*(note for runs in sets for note in notes(table.rows, runs)), *remarks(sets, rows))
    return View(
        table.id, f"{table.name}. {table.title}", (*papers, *measured_here),
        {("", ""): [*lines, *real_images(table.data, sets, names)]}, table.footnotes, notes_, commands, bool(results),
    )  # fmt: skip


def missing(table: paper.Table, sets: Sequence[RunSet], profile: str, alone: bool) -> tuple[tuple[str, str], ...]:
    """The rows not trained here (or published, if `alone`) with the command for each, or with one for all."""
    trained = [runs for runs in sets if (alone or runs.origin == "local") and not runs.changes]
    absent = {row.id: label_of(row.id) for row in table.rows if not any(runs.records_of(row.id) for runs in trained)}
    if len(absent) == len(table.rows):
        absent = {table.id: "all of them"}
    return tuple((label, f"./run_all.sh --profile {profile} --only {name}") for name, label in absent.items())


def remarks(sets: Sequence[RunSet], rows: Collection[str]) -> tuple[str, ...]:
    """Sentences on the data that published runs of any of `rows` were trained on, where its name does not say it."""
    trained_on = {runs.data for runs in sets if runs.origin == "published" and any(map(runs.records_of, rows))}
    return tuple(f"{name} is {text}." for name, text in PUBLISHED_DATA.items() if name in trained_on)


# --- columns


def measured_columns(origin: str, detail: str, names: Sequence[str]) -> ColumnGroup:
    """The group of the columns `names` of measured numbers, with a last column for the number of seeds."""
    heads = (heading(name).partition(", ")[::2] for name in names)
    return ColumnGroup(origin, ORIGINS[origin], detail, (*heads, ("Seeds", "")))


def columns(sets: Sequence[RunSet], rows: Collection[str]) -> list[str]:
    """The measured columns: BPD, and IS, FID and KID under each kind of features that any of `sets` has, at each T."""
    metrics = {name for runs in sets for row in rows for name in runs.metrics_of(row)}
    kinds = [names for names in FEATURES.values() if any(f"{name}@T1" in metrics for name in names)]
    return ["BPD", *(f"{name}@{at}" for names in kinds for name in names for at in AT)]


# --- cells


def paper_cells(row: paper.Row, data: str) -> tuple[Cell, ...]:
    """The slides' numbers of a row on a data set, as printed; one empty cell where they have none."""
    return tuple(Cell(n.text, mark=n.mark) for n in row.numbers if n.data == data) or (Cell("", span=len(PAPER)),)


def judged_cells(
    row: paper.Row, runs: RunSet | None, names: Sequence[str], results: Sequence[ClaimResult] = ()
) -> tuple[Cell, ...]:
    """The cells of a row in the columns `names`, as `runs` measured it, and its number of seeds; or one cell that says
    how its runs ended, which is empty without a run set. Each number has those of `results` that are claims of the
    row's table about it, and the verdict on the paper's number where the two can be compared."""
    if runs is None:
        return empty(names)
    if not (seeds := len(runs.done(row.id))):
        ends = [f"seed {run.seed} {run.ending}" for run in runs.records_of(row.id)]
        return empty(names, ", ".join(ends) or "not run")
    table, row_a = paper.table_of(row.id).id, paper.canonical(row.id)
    about = [r for r in results if r.runs is runs and (r.claim.table, paper.canonical(r.claim.row_a)) == (table, row_a)]
    numbers = {name: verdict for name, _, verdict in _compared(row, runs) if verdict.label in COMPARABLE}
    entries = []
    for name in names:
        claims = tuple(r for r in about if r.metric_name == name)
        entries.append(JudgedCell(**vars(runs.cell(row.id, name)), claims=claims, number=numbers.get(name)))
    return (*entries, Cell(str(seeds)))


def real_cells(runs: RunSet | None, names: Sequence[str]) -> tuple[Cell, ...]:
    """The cells of real images in the columns `names`: the IS of test images; FID and KID between training images and
    as many test images, which no model can be expected to beat; the number of images. Empty for what no record has."""
    if runs is None:
        return empty(names)
    cells, counts = [Cell("")], []
    for score in dict.fromkeys(map(score_of, names[1:])):
        measured = runs.real_images(score)
        cells.append(Cell(decimal(score, measured.value) if measured else "", span=len(AT)))
        counts += [measured.n] if measured else []
    return (*cells, Cell(f"n = {max(counts):,}" if counts else ""))


def real_images(
    data: Sequence[str], sets: Sequence[RunSet | None], names: Sequence[Sequence[str]]
) -> Iterator[Line]:  # fmt: skip
    """Yield the line of real images, over the paper's columns for `data` and those of `sets`, with the precision and
    recall of real images beside its name; nothing where no set has measured any."""
    measured = list(map(real_cells, sets, names))
    if any(cell.text for cells in measured for cell in cells):
        shares = next(filter(None, (", ".join(_shares(runs)) for runs in sets if runs)), "")
        yield Line("Real images", (*((Cell("", span=len(PAPER)),) for _ in data), *measured), citation=shares)


def _shares(runs: RunSet) -> Iterator[str]:
    """ "precision 0.55", "recall 0.76" of real images, which no model can be expected to beat either."""
    for quantity in (QUANTITIES["precision"], QUANTITIES["recall"]):
        for name in quantity.names:
            if measured := runs.real_images(name):
                yield f"{quantity.id} {decimal(name, measured.value)}"


def empty(names: Sequence[str], text: str = "") -> tuple[Cell, ...]:
    """One cell over the columns `names` and that of the seeds."""
    return (Cell(text, span=len(names) + 1),)


# --- against the paper's numbers


def _compared(row: paper.Row, runs: RunSet) -> Iterator[tuple[str, str, NumberVerdict]]:
    """(column, metric, verdict) at each temperature for the paper's numbers of a row on the run set's data, or, where
    the slides have none for it, on the first data set for which they have any."""
    printed = [number for number in row.numbers if number.value is not None]
    data = runs.data if runs.data in {number.data for number in row.numbers} else printed[0].data if printed else ""
    for number in (number for number in printed if number.data == data):
        for t in temperatures(number.metric):
            verdict = number_verdict(number, runs.records_of(number.row), t)
            yield metric_names(number.metric, t)[0], number.metric.upper(), verdict


def notes(rows: Sequence[paper.Row], runs: RunSet) -> Iterator[str]:
    """Sentences on how a run set's numbers compare with the paper's, with the rows where these have different verdicts,
    and on the seeds that means leave out."""
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
    for row in rows:
        left_out: dict[tuple[int, ...], list[str]] = {}
        for metric in runs.metrics_of(row.id):
            left_out.setdefault(tuple(runs.left_out(row.id, metric)), []).append(metric)
        for seeds, names in left_out.items():
            if seeds:
                without = f"without {numbered('seed', seeds)}, measured otherwise or in another precision"
                yield f"{runs.title}: {', '.join(names)} of {row.label}: {without}."
