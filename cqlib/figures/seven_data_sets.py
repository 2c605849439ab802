"""The notebook on seven data sets: likelihood and quality of the paper's full model on each, as far as they have been
measured, and what the empty cells need."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from IPython.display import HTML
from matplotlib.patches import Rectangle

from cqlib.data.catalogue import entry_of
from cqlib.data.published import missing_files
from cqlib.experiments import paper
from cqlib.experiments.experiment import image_size
from cqlib.experiments.record import Record
from cqlib.experiments.rows import DEVELOPMENT_DATA, NOTEBOOK_DATA, NOTEBOOK_ROWS, short_label, training_command
from cqlib.experiments.selection import Selection
from cqlib.figures.common import PROFILES, samples_folder
from cqlib.report import page, pictures, plots, tables
from cqlib.report.cells import picture, subplots
from cqlib.report.run_sets import ORIGINS, Cell, RunSet, places, run_sets
from cqlib.report.tables import Group, Line, Source, View
from cqlib.util.text import without_paths

ROWS = NOTEBOOK_ROWS["table4"]
SEVEN = NOTEBOOK_DATA["table4"]
OFFLINE = {"photos10": "quick", "tiny-imagenet": "study"}
"""Data sets that stand in where the seven cannot be had, with the profile that is made for them."""


def read(chosen: Selection) -> tuple[list[Record], list[RunSet], tuple[str, ...]]:
    """The finished runs of `ROWS` here, on any data, of any profile but an unrequested `smoke`; their run sets and the
    published ones; and the data sets to show, in the paper's order."""
    records, data = chosen.finished({chosen.profile, *PROFILES}), chosen.data
    sets = [runs for runs in run_sets(records, page.published_records())
            if any(map(runs.records_of, ROWS)) and (not data or runs.data in data)]  # fmt: skip
    return records, sets, tuple(dict.fromkeys(data or (*SEVEN, *OFFLINE, *(runs.data for runs in sets))))


def label(data: str) -> str:
    """A data set's name on the slides, with a star where it is inferred; others by the name one types."""
    if data not in paper.DATA_SETS:
        return without_paths(data)
    return paper.DATA_SETS[data].label + ("" if paper.DATA_SETS[data].named else " *")


def _of(sets: Sequence[RunSet], data: str, row: str) -> list[RunSet]:
    """The run sets that have `row` on `data`, with profile `paper` first, then this machine's."""
    found = [s for s in sets if s.data == data and s.records_of(row)]
    return sorted(found, key=lambda s: (s.profile != "paper", s.origin != "local"))


def glance(sets: Sequence[RunSet], shown: Sequence[str], data_dir: Path | str | None = None) -> HTML:
    """A square for every data set and model, filled where it was run; whether the slides print numbers; the files."""
    words = []
    with matplotlib.rc_context({"text.parse_math": False}), subplots(8.2, 0.6 + 0.36 * len(shown)) as (figure, ax):
        ax.grid(False)
        for y, data in enumerate(shown):
            for x, row in enumerate(ROWS):
                runs = next(iter(_of(sets, data, row)), None)
                text = _status(runs, row) if runs else "not run"
                words.append(f"{short_label(row)} on {label(data)}: {text}")
                colour = plots.SERIES[2 if runs.profile == "paper" else 0] if runs else plots.FAINT
                ax.add_patch(Rectangle((x + 0.03, y + 0.08), 0.94, 0.84, fill=bool(runs), color=colour, linewidth=0.8))
                ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=plots.PAPER if runs else plots.INK)
            ax.text(3.1, y + 0.5, "BPD, IS, FID" if _printed(data) else "—", va="center")
            ax.text(3.95, y + 0.5, _files(data, data_dir), va="center")
        heads = [(x + 0.5, short_label(row), "center") for x, row in enumerate(ROWS)]
        for at, head, align in (*heads, (3.1, "On the slides", "left"), (3.95, "Files", "left")):
            ax.text(at, -0.3, head, ha=align, va="center", weight="bold")
        ax.set(xlim=(0, 5), ylim=(len(shown), -0.6), xticks=[])
        ax.set_yticks([y + 0.5 for y in range(len(shown))], map(label, shown))
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return picture(figure, f"Which models were run on which data sets. {'; '.join(words)}")


def _files(data: str, data_dir: Path | str | None) -> str:
    """Whether a data set's files are here, or how they come, in a few words."""
    if entry := missing_files(data, data_dir):
        return entry.how.partition(":")[0]
    return "here" if entry_of(data) else "comes with pip" if data == DEVELOPMENT_DATA else "your own files"


def _status(runs: RunSet, row: str) -> str:
    """ "quick, 3 seeds", or how the first run ended."""
    n = len(runs.done(row))
    return f"{runs.profile}, " + (f"{n} seed{'s' * (n > 1)}" if n else runs.records_of(row)[0].status)


def joint(sets: Sequence[RunSet], shown: Sequence[str], profile: str, data_dir: Path | str | None = None) -> HTML:
    """BPD and scores of every model on every data set: the paper's numbers beside the published runs of one profile and
    this machine's; for what was not run, what it needs."""
    sides = {data: _sides(sets, data, profile) for data in shown}
    names = [tables.columns(list(filter(None, of_origin)), ROWS) for of_origin in zip(*sides.values(), strict=True)]
    groups = [_group(side, names, data, profile, data_dir) for data, side in sides.items()]
    measured = (tables.source(origin, "", columns) for origin, columns in zip(ORIGINS, names, strict=True))
    inferred = any(data in SEVEN and not paper.DATA_SETS[data].named for data in shown)
    of_paper = [paper.ROWS[row] for row in ROWS]
    judged = [runs for data, side in sides.items() if _printed(data) for runs in side if runs]
    notes = [note for runs in judged for note in tables.notes(of_paper, runs)]
    view = View(
        "table4", "Seven data sets", "Likelihood and quality together", "Model",
        (Source("paper", "Paper", "", tables.PAPER), *measured), tuple(groups),
        ("seven-data-sets",) if inferred else (), tuple(notes), tables.remarks(sets, ROWS),
    )  # fmt: skip
    return HTML(page.macro("paper_table", view))


def _sides(sets: Sequence[RunSet], data: str, profile: str) -> list[RunSet | None]:
    """The published run set and this machine's on a data set, of one profile, each None where there is none."""
    of_profile = profile if profile == "paper" else OFFLINE.get(data, profile)
    place = next(iter(places([runs for runs in sets if runs.data == data], ROWS, of_profile)), [])
    return [next((runs for runs in place if runs.origin == origin), None) for origin in ORIGINS]


def _printed(data: str) -> bool:
    """Do the slides print any number of `ROWS` on a data set?"""
    return any(n.data == data and n.value is not None for row in ROWS for n in paper.ROWS[row].numbers)


def _group(
    side: Sequence[RunSet | None], names: Sequence[Sequence[str]], data: str, profile: str, data_dir: Path | str | None
) -> Group:
    """The lines of a data set: the paper's numbers, what was measured, real images, and what the rest needs."""
    ran = [runs for runs in side if runs]
    absent = [row for row in ROWS if not any(runs.records_of(row) for runs in ran)]
    lines = []
    for row in ROWS:
        of_paper = paper.ROWS[row]
        printed = tables.paper_cells(of_paper, data) or (Cell("", span=len(tables.PAPER)),)
        if row not in absent or any(cell.text for cell in printed):
            measured = (tables.judged_cells(of_paper, runs, n) if runs else tables.empty(n)
                        for runs, n in zip(side, names, strict=True))  # fmt: skip
            lines.append(Line(short_label(row), (printed, *measured)))
    lines += tables.real_images([data], side, names)
    if data in SEVEN:
        profile = "paper"
    elif profile != "paper":  # beside runs, theirs
        profile = OFFLINE.get(data) or next((runs.profile for runs in ran), profile)
    entry = missing_files(data, data_dir)
    remark = f"not run. Needs {entry.sources}; {entry.how}." if entry else "not run."
    for row in ["table4"] if len(absent) == len(ROWS) else absent:
        command = training_command(row, profile, "" if data == DEVELOPMENT_DATA else data)
        name = "All three" if row == "table4" else short_label(row)
        lines.append(Line(name, remark=remark, command=command))
    detail = ", ".join(dict.fromkeys(map(_where, ran))) or f"{image_size(data, profile)}×{image_size(data, profile)}"
    return Group(tuple(lines), label(data), detail)


def _where(runs: RunSet) -> str:
    images = f", images {runs.images}" if runs.images else ""
    return f"{runs.size}×{runs.size}{images}, {runs.profile}"


def grids(sets: Sequence[RunSet], runs_dir: Path | str, data_dir: Path | str | None = None) -> HTML:
    """Real test images and the stored samples of each run, of every data set its fullest run set."""
    ranked = sorted(sets, key=lambda s: (sum(bool(s.records_of(row)) for row in ROWS), s.origin == "local"))
    figures = []
    for runs in {runs.data: runs for runs in ranked}.values():
        of_runs = pictures.grids([runs], ROWS, {runs.origin: samples_folder(runs, runs_dir)}, data_dir)
        figures += [{**figure, "text": f"{without_paths(runs.label)}; {figure['text']}"} for figure in of_runs]
    return HTML(page.macro("grids", figures) if figures else "<p>No samples yet.</p>")
