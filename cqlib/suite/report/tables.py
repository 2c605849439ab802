"""The paper's tables as lines to show: a line for each row, the paper's numbers beside what groups measured.

Below Table 1 stands a model that nobody trained: with probability 99 % a sample of the GAN, else one of VAE-F. Its
likelihood is nearly that of VAE-F, its samples are nearly the GAN's (Theis et al. 2016, arXiv 1511.01844, section 3.2):
few bits do not show that a model's samples cover the data. What it scores follows from the records of the two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cqlib.metrics.quantities import FEATURES, QUANTITIES, heading
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.claims import IS_MISLEADS
from cqlib.suite.experiments.rows import label_of, training_command
from cqlib.suite.experiments.trade_off import CQ_F, GAN, WITHOUT_L_Q
from cqlib.suite.report.groups import Cell, Group, data_title, trained_otherwise
from cqlib.suite.report.table import ORIGINS
from cqlib.suite.report.verdicts import COMPARABLE, NumberVerdict, number_verdict

PAPER = tuple(paper.METRICS.values())
"""The columns of the paper's numbers."""
NO_IS = "On {}, IS misleads: it rises when real images are damaged. No claim about IS is tested there."

OTHERWISE = "{}: this machine and the published runs used different recipes, so compare the two with care."


@dataclass(frozen=True)
class JudgedCell(Cell):
    """A measured number and, where it can be compared with the paper's, the verdict on that."""

    number: NumberVerdict | None = None


@dataclass(frozen=True)
class ColumnGroup:
    """Columns that belong together: `origin` is "paper" or that of a group, `title` and `detail` stand above them,
    `heads` names each column."""

    origin: str
    title: str
    detail: str
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A row: its cells from each source."""

    label: str
    cells: tuple[tuple[Cell, ...], ...]
    ticks: tuple[str, ...] = ()
    citation: str = ""
    footnotes: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """A whole table, ready for the template. `remarks` explain a column, `commands` say how missing rows are trained:
    (label, command) each."""

    id: str
    title: str
    sources: tuple[ColumnGroup, ...]
    lines: tuple[Line, ...]
    footnotes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    mixtures: tuple[tuple[ColumnGroup, tuple[Cell, ...]], ...] = ()
    """The scores of the mixture, of Table 1, in each group."""
    commands: tuple[tuple[str, str], ...] = ()
    model_count: int = 0
    trained: int = 0
    """How many models the table has, and how many of them have a finished run in the groups shown."""


def view(table: paper.Table, sets: Sequence[Group], commands: tuple[tuple[str, str], ...] = ()) -> View:
    """`table` with the numbers of `sets` beside the paper's."""
    names = [columns([runs], [row.id for row in table.rows]) for runs in sets]
    lines = []
    for row in table.rows:
        measured = (judged_cells(row, *pair) for pair in zip(sets, names, strict=True))
        cells = (*(paper_cells(row, data) for data in table.data), *measured)
        lines.append(Line(row.label, cells, row.ticks, row.citation, row.footnotes))
    real = list(map(real_cells, sets, names))
    if any(cell.text for cells in real for cell in cells):
        lines.append(Line("Real images", (*((Cell("", span=len(PAPER)),) for _ in table.data), *real)))
    papers = (ColumnGroup("paper", "Paper", paper.DATA_SETS[data].label, PAPER) for data in table.data)
    groups = [ColumnGroup(runs.origin, ORIGINS[runs.origin], runs.label, (*map(heading, of_set), "Seeds"))
              for runs, of_set in zip(sets, names, strict=True)]  # fmt: skip
    mixed = [mixture_cells(runs, of) if table is paper.TABLE1 else None for runs, of in zip(sets, names, strict=True)]
    mixtures = tuple((group, cells) for group, cells in zip(groups, mixed, strict=True) if cells)
    misleads = dict.fromkeys(NO_IS.format(data_title(runs.data)) for runs in sets if runs.data in IS_MISLEADS)
    otherwise = map(label_of, trained_otherwise(sets, [row.id for row in table.rows]))
    remarks = (*misleads, *map(OTHERWISE.format, otherwise))
    title = f"{table.name}. {table.title}"
    trained = sum(any(runs.done(row.id) for runs in sets) for row in table.rows)
    return View(table.id, title, (*papers, *groups), tuple(lines), table.footnotes, remarks, mixtures, commands,
                len(table.rows), trained)  # fmt: skip


def missing(
    table: paper.Table, sets: Sequence[Group], profile: str, published_only: bool
) -> tuple[tuple[str, str], ...]:
    """The rows not trained here (or published, if `published_only`) with the command for each, or with one for all."""
    trained = [runs for runs in sets if (published_only or runs.origin == "local") and not runs.changes]
    absent = {row.id: label_of(row.id) for row in table.rows if not any(runs.records_of(row.id) for runs in trained)}
    if len(absent) == len(table.rows):
        absent = {table.id: "all of them"}
    return tuple((label, training_command(name, profile)) for name, label in absent.items())


def columns(sets: Sequence[Group], rows: Sequence[str]) -> list[str]:
    """The measured columns: BPD, and the scores on each kind of features that any of `sets` has."""
    metrics = {name for runs in sets for row in rows for name in runs.metrics_of(row)}
    return ["BPD", *(name for names in FEATURES.values() if metrics.intersection(names) for name in names)]


def paper_cells(row: paper.Row, data: str) -> tuple[Cell, ...]:
    """The slides' numbers of a row on a data set, as printed; one empty cell where they have none."""
    return tuple(Cell(n.text, mark=n.mark) for n in row.numbers if n.data == data) or (Cell("", span=len(PAPER)),)


def judged_cells(row: paper.Row, runs: Group, names: Sequence[str]) -> tuple[Cell, ...]:
    """The cells of a row in the columns `names`, as `runs` measured it, and its number of seeds, with those that
    diverged; one cell where no run ended. A number has the verdict on the paper's where the two can be compared."""
    seeds, diverged = len(runs.done(row.id)), runs.diverged(row.id)
    if not seeds:
        return (Cell(diverged or "not trained yet", span=len(names) + 1),)
    verdicts = {}
    for number in row.numbers:
        verdict = number_verdict(number, runs.records_of(row.id))
        if verdict.label in COMPARABLE:
            verdicts[QUANTITIES[number.metric].name] = verdict
    measured = (JudgedCell(**vars(runs.cell(row.id, name)), number=verdicts.get(name)) for name in names)
    return (*measured, Cell(diverged or str(seeds)))


def real_cells(runs: Group, names: Sequence[str]) -> tuple[Cell, ...]:
    """The cells of real images in the columns `names`: the IS of test images; other scores are those of training images
    against as many test images, which no model can be expected to beat. Empty for what no record has."""
    return (*map(runs.real_cell, names), Cell(""))


# --- the mixture

COVERS, SHARE = WITHOUT_L_Q[CQ_F], 0.01
"""The row with few bits, and its share of the samples; the others are the GAN's."""
MIXTURE = "99\u00a0% GAN + 1\u00a0%\u00a0VAE-F"
MIXTURE_MEANS = (
    "“99 % GAN + 1 % VAE-F” is computed, not trained: a mixture that draws from the GAN with probability 99 %, "
    "else from VAE-F. Since p ≥ 0.01 p(VAE-F), it needs at most log2(100) bits per image more than VAE-F, yet nearly "
    "all its samples are the GAN’s. A low BPD alone therefore does not show that samples cover the data (Theis et al. "
    "2016, arXiv 1511.01844, section 3.2); coverage does show it, since the mixture’s is about the GAN’s."
)


def most_bits(bpd: float, dimensions: int, share: float = SHARE) -> float:
    """An upper bound on the bits per dimension of a mixture in which a model that needs `bpd` of them, or fewer, has
    this share: bpd + log2(1 / share) / dimensions."""
    return bpd - math.log2(share) / dimensions


def mixture_cells(runs: Group, names: Sequence[str]) -> tuple[Cell, ...] | None:
    """The mixture's cells in the columns `names`, BPD first, and for the number of seeds; None without both models, or
    where no bound is known."""
    bpd = runs.mean(COVERS, "BPD")
    if bpd is None or not math.isfinite(bpd.value) or not runs.done(GAN):
        return None
    most = most_bits(bpd.value, math.prod(runs.done(COVERS)[0].data.shape[-3:]))
    scores = (runs.cell(GAN, name) for name in names[1:])
    about = (Cell(cell.text if cell.text == "—" else f"≈\u00a0{cell.text}", source=cell.source) for cell in scores)
    return (Cell(f"≤\u00a0{math.ceil(100 * most) / 100:.2f}", source=bpd.source), *about, Cell(""))
