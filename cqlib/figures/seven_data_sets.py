"""The notebook on seven data sets: likelihood and quality of the paper's models on each, and what is missing."""

from collections.abc import Sequence
from pathlib import Path

from IPython.display import HTML

from cqlib.data import WITH_PIP
from cqlib.data.published import missing_files
from cqlib.data.sets import entry_of
from cqlib.experiments import paper
from cqlib.experiments.experiment import image_size
from cqlib.experiments.record import Record
from cqlib.experiments.rows import NOTEBOOK_DATA, NOTEBOOK_ROWS, RESULT_PROFILES, short_label
from cqlib.experiments.selection import Selection
from cqlib.figures.common import needs, sets_of
from cqlib.report import page, pictures, tables
from cqlib.report.cells import table
from cqlib.report.run_sets import RunSet, display_groups
from cqlib.report.tables import ColumnGroup, Line, View
from cqlib.util.text import count_of, without_paths

SIDES = ("published", "local")
ROWS = NOTEBOOK_ROWS["table4"]
SEVEN = NOTEBOOK_DATA["table4"]
OFFLINE = {WITH_PIP[0]: "quick", "tiny-imagenet": "study"}
"""Data sets that stand in where the seven cannot be had, with the profile that is made for them."""


def read(selection: Selection) -> tuple[list[Record], list[RunSet], tuple[str, ...]]:
    """The finished runs of `ROWS` here, on any data, of any profile but an unrequested `smoke`; their run sets and the
    published ones; and the data sets to show, in the paper's order."""
    records, data = selection.finished({selection.profile, *RESULT_PROFILES}), selection.data
    sets = [runs for runs in sets_of(records)
            if any(map(runs.records_of, ROWS)) and (not data or runs.data in data)]  # fmt: skip
    return records, sets, tuple(dict.fromkeys(data or (*SEVEN, *OFFLINE, *(runs.data for runs in sets))))


def label(data: str) -> str:
    """A data set's name on the slides, with a star where it is inferred; for other data sets the name used here."""
    if data not in paper.DATA_SETS:
        return without_paths(data)
    return paper.DATA_SETS[data].label + ("" if paper.DATA_SETS[data].named else " *")


def glance(sets: Sequence[RunSet], names: Sequence[str], data_dir: Path | str | None = None) -> HTML:
    """For every data set how each model was run on it; whether the slides print numbers; the files."""
    lines = [[label(data), *(_status(sets, data, row) for row in ROWS), "BPD, IS, FID" if _printed(data) else "none",
              _files(data, data_dir)] for data in names]  # fmt: skip
    head = ["Data set", *map(short_label, ROWS), "Numbers on the slides", "Files"]
    return table("Which models were run on which data sets", head, lines)


def _files(data: str, data_dir: Path | str | None) -> str:
    """Whether a data set's files are here, or how they come, in a few words."""
    if entry := missing_files(data, data_dir):
        return entry.how.partition(":")[0]
    return "here" if entry_of(data) else "comes with pip" if data in WITH_PIP else "your own files"


def _status(sets: Sequence[RunSet], data: str, row: str) -> str:
    """How a row was run on a data set: "quick, 3 seeds", or how its first run ended. Of several run sets one of
    profile `paper` goes first, then this machine's."""
    of_row = [runs for runs in sets if runs.data == data and runs.records_of(row)]
    if not of_row:
        return "not run"
    runs = min(of_row, key=lambda runs: (runs.profile != "paper", runs.origin != "local"))
    done = runs.done(row)
    return f"{runs.profile}, {count_of(len(done), 'seed') if done else runs.records_of(row)[0].ending}"


def joint(sets: Sequence[RunSet], data_names: Sequence[str], profile: str, data_dir: Path | str | None = None) -> HTML:
    """BPD and scores of every model on every data set: the paper's numbers beside the published runs and this
    machine's, with a heading for each image size and profile; for models that were not run, what they need."""
    sides = [(data, side) for data in data_names for side in _sides(sets, data, profile)]
    of_origins = zip(*(side for _, side in sides), strict=True)
    names = [tables.columns(list(filter(None, of_origin)), ROWS) for of_origin in of_origins]
    groups = dict(_group(side, names, data, profile) for data, side in sides)
    for data in data_names:
        heading = next(heading for heading in reversed(groups) if heading[0] == label(data))
        ran = [runs for name, side in sides if name == data for runs in side if runs]
        groups[heading] += _not_run(ran, data, profile, data_dir)
    measured = (tables.measured_columns(origin, "", columns) for origin, columns in zip(SIDES, names, strict=True))
    inferred = any(data in SEVEN and not paper.DATA_SETS[data].named for data in data_names)
    of_paper = [paper.ROWS[row] for row in ROWS]
    judged = [runs for data, side in sides if _printed(data) for runs in side if runs]
    notes = [note for runs in judged for note in tables.notes(of_paper, runs)]
    view = View(
        "table4", "Seven data sets. Likelihood and quality together",
        (ColumnGroup("paper", "Paper", "", tables.PAPER), *measured), groups,
        ("seven-data-sets",) if inferred else (), notes=tuple(notes),
    )  # fmt: skip
    return HTML(page.macro("paper_table", view))


def _sides(sets: Sequence[RunSet], data: str, profile: str) -> list[list[RunSet | None]]:
    """For each image size and profile of a data set: the published run set and this machine's, None where missing."""
    of_profile = profile if profile == "paper" else OFFLINE.get(data, profile)
    groups = display_groups([runs for runs in sets if runs.data == data], ROWS, of_profile) or [[]]
    return [[next((runs for runs in place if runs.origin == origin), None) for origin in SIDES] for place in groups]


def _printed(data: str) -> bool:
    """Do the slides print any number of `ROWS` on a data set?"""
    return any(n.data == data and n.value is not None for row in ROWS for n in paper.ROWS[row].numbers)


def _group(
    side: Sequence[RunSet | None], names: Sequence[Sequence[str]], data: str, profile: str
) -> tuple[tuple[str, str], list[Line]]:
    """Heading and lines of run sets on a data set: the paper's numbers, what was measured, real images."""
    ran = [runs for runs in side if runs]
    lines = []
    for row in ROWS:
        of_paper = paper.ROWS[row]
        printed = tables.paper_cells(of_paper, data)
        if any(runs.records_of(row) for runs in ran) or any(cell.text for cell in printed):
            measured = (tables.judged_cells(of_paper, runs, n) for runs, n in zip(side, names, strict=True))
            lines.append(Line(short_label(row), (printed, *measured)))
    lines += tables.real_images([data], side, names)
    labels = dict.fromkeys(runs.label.removeprefix(f"{without_paths(data)} ") for runs in ran)
    detail = ", ".join(labels) or "{0}×{0}".format(image_size(data, profile))
    return (label(data), detail), lines


def _not_run(ran: Sequence[RunSet], data: str, profile: str, data_dir: Path | str | None) -> list[Line]:
    """Lines that say what those of `ROWS` need that have no run in any of the run sets `ran`."""
    absent = [row for row in ROWS if not any(runs.records_of(row) for runs in ran)]
    lines = []
    if data in SEVEN:
        profile = "paper"
    elif profile != "paper":  # the profile of the runs that there are
        profile = OFFLINE.get(data) or next((runs.profile for runs in ran), profile)
    for row in ["table4"] if len(absent) == len(ROWS) else absent:
        files, command = needs(data, profile, row, data_dir)
        name = "All three" if row == "table4" else short_label(row)
        lines.append(Line(name, remark=f"not run. {files}", command=command))
    return lines


def grids(sets: Sequence[RunSet], runs_dir: Path | str, data_dir: Path | str | None = None) -> HTML:
    """Real test images and the stored samples of each run, the sets with most models first."""
    figures = []
    for runs in sorted(sets, key=lambda runs: -sum(bool(runs.records_of(row)) for row in ROWS)):
        of_runs = pictures.grids([runs], ROWS, runs_dir, data_dir)
        figures += [{**figure, "text": f"{runs.label}; {figure['text']}"} for figure in of_runs]
    return HTML(page.macro("grids", figures) if figures else "<p>No samples yet.</p>")
