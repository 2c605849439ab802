"""What the notebook on NVP samples shows: the paper's models beside NVP, data set by data set, as the slides do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import matplotlib
import numpy as np
import torch
from IPython.display import HTML

from cqlib.data.grids import grid
from cqlib.experiments import paper
from cqlib.experiments import rows as names
from cqlib.experiments.experiment import image_size
from cqlib.experiments.record import Record
from cqlib.experiments.rows import short_label
from cqlib.experiments.run import load
from cqlib.figures.common import finished_on_any_data, stored_samples
from cqlib.metrics import evaluation
from cqlib.nets.coupling import FlowConfig, RealNVP
from cqlib.nets.real_nvp import MultiScaleConfig, MultiScaleRealNVP
from cqlib.report import missing as needs
from cqlib.report import page as report
from cqlib.report import pictures as report_pictures
from cqlib.report import plots
from cqlib.report.cells import picture
from cqlib.report.run_sets import FEATURES, PLACES, Cell, RunSet, commonest, measured, run_sets
from cqlib.util.errors import UserError
from cqlib.util.text import duration, without_paths

NVP = "table3/nvp"
OURS = ("table1/cq-f", "table2/cqf-residual", "table3/cqf-large-d", "table3/cqf-2-scales")
"""The paper's models; of those that few have trained, the picture shows what there is."""
NEEDED = names.NOTEBOOK_ROWS["figure_nvp_comparison"]
FOUR = names.NOTEBOOK_DATA["figure_nvp_comparison"]
STAND_INS = {"photos10": "quick", "tiny-imagenet:64": "study"}
"""What is shown without the four, with the profile: 16×16 and 64×64, both on a CPU."""
SIDE = 6
"""Images along a side of a panel."""


def read(
    *, profile: str, data: Sequence[str], seeds: Sequence[int], runs_dir: Path | str
) -> tuple[list[Record], dict[str, RunSet]]:
    """The finished runs of this notebook's rows, and for each data set to show the run set that fills most of its
    panels: of `data`, else of the slides' four, else of `STAND_INS`."""
    profiles = tuple({profile, "quick", "study", "paper"})
    rows = (*OURS, NVP)
    records = finished_on_any_data(rows, profiles=profiles, data=data, seeds=seeds, runs_dir=runs_dir)
    best: dict[str, RunSet] = {}
    for runs in sorted(run_sets(records, report.published_records()), key=lambda runs: _rank(runs, profile)):
        if any(runs.of(row) for row in rows):
            best[runs.data] = runs
    wanted = data or [name for name in FOUR if name in best] or STAND_INS
    return records, {name: best[name] for name in wanted if name in best}


def _rank(runs: RunSet, profile: str) -> tuple:
    """Better is larger: what is asked for, then NVP beside one of ours, the number of models, this machine."""
    ours = sum(bool(runs.of(row)) for row in OURS)
    return (runs.profile == profile and runs.place == "here" and bool(runs.of(NVP)), bool(ours and runs.of(NVP)), ours,
            runs.place == "here")  # fmt: skip


def stands_for(found: Mapping[str, RunSet]) -> str:
    """In words: what is shown, and of the slides' four what is not."""
    shown = [f"{without_paths(runs.label)} ({PLACES[runs.place].lower()})" for runs in found.values()]
    absent = [paper.DATA_SETS[name].label for name in FOUR if name not in found]
    lines = [f"shown: {'; '.join(shown) or 'nothing'}"]
    if absent:
        lines.append(f"of the slides' data sets, not run here: {', '.join(absent)}")
    return "\n".join(lines)


# --- samples -------------------------------------------------------------------------------------------------


def samples(found: Mapping[str, RunSet], runs_dir: Path | str) -> HTML:
    """A line per data set, at temperature 1: our models, then NVP; a panel without samples says so."""
    if not found:
        return HTML(f"<p>No samples yet: <code>{needs.command('figure_nvp_comparison', 'quick')}</code></p>")
    sheets = {
        (data, row): sheet for data, runs in found.items() for row in (*OURS, NVP)
        if (sheet := _sheet(runs, row, Path(runs_dir))) is not None
    }  # fmt: skip
    columns = [row for row in (*OURS, NVP) if row in NEEDED or any((data, row) in sheets for data in found)]
    with matplotlib.rc_context(plots.PLAIN):
        figure = plots.blank(1.75 * len(columns), 0.25 + 1.8 * len(found))
        for line, (data, runs) in zip(
            figure.subplots(len(found), len(columns), squeeze=False), found.items(), strict=True
        ):
            for ax, row in zip(line, columns, strict=True):
                ax.set_title(short_label(row))
                ax.set_xticks([])
                ax.set_yticks([])
                ax.grid(False)
                if (data, row) in sheets:
                    ax.imshow(sheets[data, row], interpolation="none")
                else:
                    ax.set_aspect("equal")
                    text = "not trained yet:\nthe command\nis below" if row in NEEDED else "not trained"
                    ax.text(0.5, 0.5, text, ha="center", va="center", color=plots.INK, transform=ax.transAxes)
                ax.spines[:].set_visible((data, row) not in sheets)
            line[0].set_ylabel(without_paths(runs.label))
    there = [f"{short_label(row)} on {without_paths(found[data].label)}" for data, row in sheets]
    absent = [f"{short_label(row)} on {without_paths(data)}" for data in found for row in columns
              if (data, row) not in sheets]  # fmt: skip
    alt = f"Samples at temperature 1: {', '.join(there)}" + (f"; no samples: {', '.join(absent)}" if absent else "")
    return picture(figure, alt)


def _sheet(runs: RunSet, row: str, runs_dir: Path) -> np.ndarray | None:
    """The first samples of a row's first seed as one picture: cut from the grid that its run left behind, else drawn
    from its weights; None where there is neither."""
    kept = stored_samples(runs, row, "T1", runs_dir)
    if kept is not None:
        return grid(kept[: SIDE**2], columns=SIDE)
    for run in runs.of(row)[:1]:
        with suppress(UserError):
            system = load(row, profile=run.profile, data=run.data.name, seed=run.seed, runs_dir=runs_dir)
            return grid(evaluation.draw(system, SIDE**2, temperature=1.0, seed=10_000 + run.seed), columns=SIDE)
    return None


# --- the change of variables ---------------------------------------------------------------------------------


def change_of_variables(side: int = 8) -> HTML:
    """ln |det df/dx| as the couplings add it up and from the whole Jacobian by autograd, and how well f^-1 undoes f:
    for the f of both models with random weights, on one image of `side` x `side` pixels in float64."""
    generator = torch.Generator().manual_seed(0)
    lines = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flows = {
            "NVP": MultiScaleRealNVP(3, MultiScaleConfig(2, 4, 1)), "f of CQ-F": RealNVP(3, FlowConfig(3, 8, 1))
        }  # fmt: skip
    for name, flow in flows.items():
        flow = flow.double().eval()
        with torch.no_grad():
            for parameter in flow.parameters():  # away from the start, where s = 1
                parameter += 0.1 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        x = torch.randn(1, 3, side, side, dtype=torch.float64, generator=generator)
        y, added = flow(x)
        jacobian = torch.autograd.functional.jacobian(lambda x, flow=flow: flow(x)[0], x, vectorize=True)
        whole = jacobian.view(x.numel(), x.numel()).slogdet().logabsdet
        with torch.no_grad():
            back = (flow.inverse(y) - x).abs().max()
        determinants = [f"{value.item():.6f}" for value in (added, whole)]
        errors = [f"{value.item():.0e}" for value in ((added - whole).abs(), back)]
        lines.append([name, *(number.replace("-", "−") for number in (*determinants, *errors))])
    head = ["f", "ln |det|: sum of ln s", "from the Jacobian", "difference", "largest error of f⁻¹(f(x))"]
    caption = f"The change of variables on {3 * side**2} numbers, random weights"
    return HTML(report.macro("plain_table", caption, head, lines))


# --- numbers -------------------------------------------------------------------------------------------------


def compared(found: Mapping[str, RunSet]) -> HTML:
    """BPD, distances, size, the time that a sample takes and that a run took, model by model on every data set."""
    rows = {data: [row for row in (*OURS, NVP) if row in NEEDED or runs.of(row)] for data, runs in found.items()}
    known = {name for data, runs in found.items() for row in rows[data] for run in runs.of(row) for name in run.metrics}
    printed = {data: _printed(data) for data in found}
    # one column each: a distance on other features never stands under FID
    distances = [scores[1] for kind, scores in FEATURES.items()
                 if f"{scores[1]}@T1" in known or kind == "inception" and any(printed.values())]  # fmt: skip
    lines: list[list[Cell | str]] = []
    for data, runs in found.items():
        for row in rows[data]:
            done = [run for run in runs.of(row) if run.status == "done"]
            scores = [measured(name, done) for name in ("BPD", *(f"{d}@T{t}" for d in distances for t in (1, 0)))]
            lines.append([short_label(row), without_paths(runs.label), *scores, *_cost(done)])
        for row, bpd, fid in printed[data]:
            where = f"{paper.DATA_SETS[data].label}; no temperature is named"
            scores = [Cell(text) for d in distances for text in (fid if d == "FID" else "—", "—")]
            lines.append([f"{short_label(row)}, the paper", where, Cell(bpd), *scores, "—", "—", "—"])
    columns = [column for d in distances for column in (f"{d} ↓, T = 1", "T = 0")]
    head = ["Model", "Data", "BPD ↓", *columns, "Parameters", "Time per sample", "Time of a run"]
    caption = "Our models and NVP (means over seeds; times: of the device that most seeds of a model have them from)"
    return HTML(report.macro("plain_table", caption, head, lines))


def _cost(done: Sequence[Record]) -> tuple[str, str, str]:
    """Parameters; the median of the time that a batch of samples took, per sample; the mean of the time that a run
    took, training and measuring. Both of the device that most seeds have it from."""
    if not done:
        return "—", "—", "—"
    timed = [run.metrics["seconds"] for run in done if "seconds" in run.metrics]
    alike = [time for time in timed if time.protocol == commonest(other.protocol for other in timed)]
    per_sample = f"{1000 * float(np.median([time.value / time.n for time in alike])):,.2f} ms" if alike else "—"
    device = commonest(run.device for run in done)
    took = float(np.mean([run.seconds for run in done if run.device == device]))
    return f"{done[0].parameters['total']:,}", per_sample, duration(took)


def _printed(data: str) -> list[tuple[str, str, str]]:
    """(row, BPD, FID) of the paper on a data set, where the slides print any for these rows."""
    found = []
    for row in (*OURS, NVP):
        bpd, fid = (paper.number(row, data, metric) for metric in ("bpd", "fid")) if data in FOUR else (None, None)
        if bpd and bpd.text:
            found.append((row, bpd.text, fid.text or "—"))
    return found


def quality(found: Mapping[str, RunSet]) -> HTML:
    """Quality against likelihood of our models and NVP, of every data set."""
    plots_of = [plot for runs in found.values() for plot in
                report_pictures.quality(runs, (*OURS, NVP), without_paths(runs.data))]  # fmt: skip
    return HTML(report.macro("figures", plots_of) if plots_of else "<p>No run has measured both yet.</p>")


def missing(
    found: Mapping[str, RunSet], runs_dir: Path | str, data: Sequence[str] = (), data_dir: Path | str | None = None
) -> HTML:
    """For every panel of a `NEEDED` model that could not be filled: the model, the data set's files, and the command
    that trains it."""
    lines = []
    for name in data or (*FOUR, *STAND_INS):
        runs = found.get(name)
        absent = [row for row in NEEDED if runs is None or _sheet(runs, row, Path(runs_dir)) is None]
        if not absent:
            continue
        profile = runs.profile if runs else STAND_INS.get(name, "paper")
        its = needs.files(name, data_dir)
        only = "figure_nvp_comparison" if len(absent) == len(NEEDED) else ",".join(absent)
        command = needs.command(only, profile, "" if name == names.DEVELOPMENT_DATA else name)
        size = image_size(name, profile)
        about = f"{without_paths(name)}, {size}×{size}"
        what = "Its files are here." if its.here else f"{its}."
        lines.append([about, "; ".join(map(short_label, absent)), what, command])
    if not lines:
        return HTML("<p>Every panel is filled.</p>")
    return HTML(report.macro("needs_table", "What the empty panels need", lines))
