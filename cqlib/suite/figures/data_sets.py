"""What notebooks show of several data sets: a section of Table 3, on seven of them, and samples beside those of NVP, on
four.

Both take a few rows on one data set after the other, and of each data set one group: the one with most of the rows.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from IPython.display import HTML

from cqlib.metrics.quantities import QUANTITIES, heading
from cqlib.suite.cells import picture, table
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import (
    NOTEBOOK_DATA,
    NOTEBOOK_ROWS,
    RESULT_PROFILES,
    TWO_SCALES,
    short_label,
    training_command,
)
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures.common import real_images, sets_of, stored_samples
from cqlib.suite.report import plots, tables
from cqlib.suite.report.groups import Group, most_complete_by

SEVEN, BESIDE_NVP = "table3", "figure_nvp_comparison"
"""The notebooks, by short name."""
ROWS = {SEVEN: ("table1/cq-f", "table3/cqf-large-d", TWO_SCALES), BESIDE_NVP: NOTEBOOK_ROWS[BESIDE_NVP]}
DATA = {SEVEN: tuple(paper.DATA_SETS), BESIDE_NVP: NOTEBOOK_DATA[BESIDE_NVP]}
"""The data sets of the slides, which stand first."""
SIDE = 6  # images along a side of a panel


def read(notebook: str, selection: Selection) -> tuple[list[Record], dict[str, Group]]:
    """The finished runs of the notebook's rows here, otherwise as chosen but of any profile except an unrequested
    `smoke`; and, for each data set that has any, here or published, the group with most of the rows."""
    rows = ROWS[notebook]
    records = replace(selection, rows=rows).finished({selection.profile, *RESULT_PROFILES})
    sets: dict[str, list[Group]] = {}
    for runs in sets_of(records):
        if any(map(runs.records_of, rows)) and runs.data in (selection.data or [runs.data]):
            sets.setdefault(runs.data, []).append(runs)

    def ran(runs: Group) -> int:
        return sum(bool(runs.done(row)) for row in rows)

    order = [*DATA[notebook], *sets]
    names = sorted(sets, key=order.index)
    return records, {name: most_complete_by(sets[name], ran, selection.profile) for name in names}


def scores(notebook: str, best: Mapping[str, Group]) -> HTML:
    """The paper's numbers of each row on each data set beside the measured means over seeds, and real images: the
    distance of training images from as many test images. A row with neither has no line. IS, which misleads on data
    without ImageNet's classes, has no column of measured numbers."""
    names = [name for name in tables.columns(list(best.values()), ROWS[notebook]) if name not in QUANTITIES["is"].names]
    lines = []
    for data in dict.fromkeys([*DATA[notebook], *best]):
        runs = best.get(data)
        label = runs.label if runs else paper.DATA_SETS[data].label
        for row in ROWS[notebook]:
            numbers = [paper.number(row, data, metric) for metric in paper.METRICS]
            printed = [number.text if number else "" for number in numbers]
            measured: list = [""] * (len(names) + 1)
            if runs and runs.records_of(row):
                seeds = runs.diverged(row) or str(len(runs.done(row)))
                measured = [*(runs.cell(row, name) for name in names), seeds]
            if any(printed) or any(measured):
                lines.append([short_label(row), label, *printed, *measured])
        if runs:
            lines.append(["Real images", label, *[""] * len(paper.METRICS), *tables.real_cells(runs, names)])
    heads = [*(f"{metric}, paper" for metric in paper.METRICS.values()), *map(heading, names), "Seeds"]
    return table("Likelihood and quality together", ["Model", "Data", *heads], lines)


def samples(notebook: str, best: Mapping[str, Group], runs_dir: Path | str, data_dir: Path | str | None = None) -> HTML:
    """A line per data set: real test images where they can be had, then the stored samples of each row."""
    board = {}
    for runs in best.values():
        board[runs.label] = real_images(runs, SIDE**2, data_dir)
        for row in ROWS[notebook]:
            if (images := stored_samples(runs, row, runs_dir, SIDE**2)) is not None:
                board[runs.label][short_label(row)] = images
    if not any(board.values()):
        return HTML(f"<p>No samples yet: <code>{training_command(notebook, 'quick')}</code></p>")
    panels = (f"{model} on {label}" for label, images in board.items() for model in images)
    return picture(plots.sample_board(board, columns=SIDE), f"Samples: {', '.join(panels)}")
