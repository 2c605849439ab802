"""The notebook on NVP samples: the paper's models beside NVP, data set by data set, as on the slides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from IPython.display import HTML
from torch import Tensor

from cqlib.data import WITH_PIP
from cqlib.experiments import paper
from cqlib.experiments.record import Record
from cqlib.experiments.rows import NOTEBOOK_DATA, NOTEBOOK_ROWS, RESULT_PROFILES, short_label, training_command
from cqlib.experiments.selection import Selection
from cqlib.figures.common import batch_times, needs, sets_of, sized, stored_samples
from cqlib.metrics.evaluation import TIMED
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report import plots
from cqlib.report.cells import picture, table
from cqlib.report.run_sets import ORIGINS, Cell, RunSet, most_common
from cqlib.util.text import duration

NVP = "table3/nvp"
ROWS = ("table1/cq-f", "table2/cqf-residual", "table3/cqf-large-d", "table3/cqf-2-scales", NVP)
"""The paper's models, then NVP. Those not in `REQUIRED` are shown only where they have been run."""
REQUIRED = NOTEBOOK_ROWS["figure_nvp_comparison"]
FOUR = NOTEBOOK_DATA["figure_nvp_comparison"]
STAND_INS = {WITH_PIP[0]: "quick", "tiny-imagenet:64": "study"}
"""Data sets shown where none of the four has runs, with their profiles: 16×16 and 64×64, both on a CPU."""
SIDE = 6  # images along a side of a panel


def read(selection: Selection) -> tuple[list[Record], dict[str, RunSet]]:
    """The finished runs of this notebook's rows, and for each data set to show the run set that fills most of its
    panels: of the chosen data, else of the slides' four, else of `STAND_INS`."""
    records = replace(selection, rows=ROWS).finished({selection.profile, *RESULT_PROFILES})

    def rank(runs: RunSet) -> tuple[bool, bool, int, bool, bool]:
        """The larger, the better: this machine's under the profile asked for, with NVP; one that has both NVP and one
        of our models; that with most of our models; under that profile; this machine's."""
        local, nvp = runs.origin == "local", bool(runs.done(NVP))
        ours, asked = sum(bool(runs.done(row)) for row in ROWS[:-1]), runs.profile == selection.profile
        return asked and local and nvp, bool(ours and nvp), ours, asked, local

    sets = [runs for runs in sets_of(records) if any(map(runs.records_of, ROWS))]
    best = {runs.data: runs for runs in sorted(sets, key=rank)}
    names = selection.data or [name for name in FOUR if name in best] or STAND_INS
    return records, {name: best[name] for name in names if name in best}


def overview(best: Mapping[str, RunSet]) -> str:
    """In words: the run sets that are shown, and the slides' data sets that have not been run."""
    labels = [f"{runs.label} ({ORIGINS[runs.origin].lower()})" for runs in best.values()]
    absent = [paper.DATA_SETS[name].label for name in FOUR if name not in best]
    note = f"\nof the slides' data sets, not run here: {', '.join(absent)}" if absent else ""
    return f"shown: {'; '.join(labels) or 'nothing'}{note}"


def samples(best: Mapping[str, RunSet], runs_dir: Path | str) -> HTML:
    """Samples, a line per data set: our models, then NVP, as far as they have samples."""
    if not best:
        return HTML(f"<p>No samples yet: <code>{training_command('figure_nvp_comparison', 'quick')}</code></p>")
    board: dict[str, dict[str, Tensor]] = {}
    for runs in best.values():
        images = {short_label(row): stored_samples(runs, row, runs_dir, SIDE**2) for row in ROWS}
        board[runs.label] = {label: x for label, x in images.items() if x is not None}
    panels = (f"{model} on {label}" for label, images in board.items() for model in images)
    return picture(plots.sample_board(board, columns=SIDE), f"Samples: {', '.join(panels)}")


def compared(best: Mapping[str, RunSet]) -> HTML:
    """BPD, distances, size, the time that a sample takes and that a run took, model by model on every data set."""
    rows = {data: [row for row in ROWS if row in REQUIRED or runs.records_of(row)] for data, runs in best.items()}
    metrics = {name for data, runs in best.items() for row in rows[data] for name in runs.metrics_of(row)}
    printed = {data: _printed(data) for data in best}
    # one column each: a distance on other features never stands under FID
    distances = [distance for distance in QUANTITIES["fid"].names
                 if distance in metrics or distance == "FID" and any(printed.values())]  # fmt: skip
    lines: list[list[Cell | str]] = []
    for data, runs in best.items():
        for row in rows[data]:
            scores = [runs.cell(row, name) for name in ("BPD", *distances)]
            lines.append([short_label(row), runs.label, *scores, *_cost(row, runs)])
        for row, bpd, fid in printed[data]:
            scores = [Cell(fid if d == "FID" else "—") for d in distances]
            label = paper.DATA_SETS[data].label
            lines.append([f"{short_label(row)}, the paper", label, Cell(bpd), *scores, "—", "—", "—"])
    head = ["Model", "Data", "BPD ↓", *(f"{d} ↓" for d in distances), "Parameters", "Time per sample", "Time of a run"]
    caption = "Our models and NVP (means over seeds; times: medians, on the device of most seeds of a model)"
    return table(caption, head, lines)


def _cost(row: str, runs: RunSet) -> tuple[str, str, str]:
    """Parameters; time per sample; time of a run, the median of those on the device of most seeds."""
    done, times = runs.done(row), batch_times([row], runs)
    if not done:
        return "—", "—", "—"
    device = most_common(run.device for run in done)
    seconds = median(run.seconds for run in done if run.device == device)
    per_sample = f"{1000 * times[row][0] / TIMED:,.2f} ms" if row in times else "—"
    return f"{done[0].parameters['total']:,}", per_sample, duration(seconds)


def _printed(data: str) -> list[tuple[str, str, str]]:
    """(row, BPD, FID) as the slides print them on one of their four data sets, for those of `ROWS` that have a BPD."""
    numbers = [(row, paper.number(row, data, "bpd"), paper.number(row, data, "fid")) for row in ROWS if data in FOUR]
    return [(row, bpd.text, fid and fid.text or "—") for row, bpd, fid in numbers if bpd and bpd.text]


def missing(
    best: Mapping[str, RunSet], runs_dir: Path | str, data: Sequence[str] = (), data_dir: Path | str | None = None
) -> HTML:
    """For every empty panel of a `REQUIRED` model: the model, the data set's files, and the command that trains it."""
    lines = []
    for name in data or (*FOUR, *STAND_INS):
        runs = best.get(name)
        absent = [row for row in REQUIRED if runs is None or stored_samples(runs, row, runs_dir, 1) is None]
        if absent:
            profile = runs.profile if runs else STAND_INS.get(name, "paper")
            only = "figure_nvp_comparison" if len(absent) == len(REQUIRED) else ",".join(absent)
            required = " ".join(needs(name, profile, only, data_dir))
            lines.append([sized(name, profile), "; ".join(map(short_label, absent)), required])
    head = ["Data set", "Missing", "What it needs"]
    return table("What the empty panels need", head, lines) if lines else HTML("<p>Every panel is filled.</p>")
