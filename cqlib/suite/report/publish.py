"""Publishes finished runs: their records, samples of first seeds and the weights of `MODELS` go to
reports/published, and README, docs, their pictures and the page are rendered anew."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cqlib import data as data_sets
from cqlib.data.grids import animation, published_grid, tiles, unscaled, webp
from cqlib.metrics.quantities import QUANTITIES
from cqlib.models.registry import RECIPES
from cqlib.suite.experiments import ablations, paper, trade_off
from cqlib.suite.experiments.experiment import image_size
from cqlib.suite.experiments.load import ENCODER, WEIGHTS, published_weights
from cqlib.suite.experiments.record import Record, machine_path, slug, undamaged_records, write_record
from cqlib.suite.experiments.rows import RESULT_PROFILES, default_data
from cqlib.suite.report import page as report
from cqlib.suite.report import plots, readme
from cqlib.suite.report.details import digit_lines
from cqlib.suite.report.groups import Group, groups
from cqlib.suite.report.pictures import sample_file
from cqlib.suite.report.trade_off import draw_fronts
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import IN_REPOSITORY, PUBLISHED

PICTURE = {"data": default_data("table1/cq-f", "quick")[0], "profile": "study"}
"""The group of README's pictures of Table 1, seed 0."""
DEFAULT = "quick"
"""The profile of the published models, and of the picture of the trade-off."""
HISTORY, LOSSY = "training.history.png", 32
"""Samples kept along a training (`training.snapshots.History`); published as images of a side that may
lose detail."""
TUNING = 100
"""Seeds from this one on are for tuning."""
REAL = "Real images"
SHOWN, ALONG = 36, 16
"""Images of each row in the picture, and in a frame of the animation."""
MODELS = (*(row.id for row in paper.TABLE1.rows), "extra/cq-f-conditional", "table2/cqf-residual")
"""Rows whose first seed is published with its weights once it is trained, so that a reader can sample at once, and so
that the notebook of Table 2 can redraw layers of latent variables. Of other rows only samples are published: their nets
take much room."""


def publishable(folder: Path, select: Callable[[Record], bool] = lambda record: True) -> list[Record]:
    """The records in a folder that `select` takes. UserError where any record there is damaged, or one of those taken
    must not be published (`refusal`)."""
    records = [record for record in undamaged_records(folder) if select(record)]
    for record in records:
        if reason := refusal(record):
            raise UserError(f"{folder / record.folder}: {reason}")
    return records


def refusal(record: Record) -> str:
    """Why a record must not be published: it was made from code that is not known to be committed, or has a path of a
    machine in it; empty if it may be published."""
    if path := machine_path(record):
        return f"{path} is a path of this machine: train on a name below --data-dir instead"
    if record.git.dirty is None:
        return "made from code of unknown state, for want of git or of a clone: commit it in a clone, then run it again"
    return "made from uncommitted code: commit, then run it again" if record.git.dirty else ""


def of_tables(record: Record) -> bool:
    """Whether a record is published for the tables: its profile is not that of tests, its seed not one of those that
    are for tuning, and its recipe the row's own, with any number of steps, or one of the trade-off; other trials stay
    with whoever made them."""
    counts = record.profile in RESULT_PROFILES and record.seed < TUNING
    return counts and (record.changes.keys() <= {"training.steps"} or record.variant in trade_off.VARIANTS)


def publish(runs_dir: Path) -> list[Path]:
    """Publish the runs in `runs_dir`: copy records, the weights and samples of first seeds that ended; draw README's
    pictures, render README, docs and page. Returns the files written."""
    if not IN_REPOSITORY:
        raise UserError("runs are published to the repository: start in a clone of it")
    records = publishable(runs_dir, of_tables)
    undamaged_records(PUBLISHED / "records")  # before anything is written
    finished = {record.folder for record in records if record.done}  # others may finish meanwhile
    changed = publishable(runs_dir / ablations.FOLDER)
    written = [write_record(record, PUBLISHED / "records") for record in records]
    # Effects of ablations are not computed from curves, which are half of a record.
    written += [write_record(replace(record, curve={}), ablations.PUBLISHED) for record in changed]
    first: dict[tuple[str, str, str], Record] = {}
    for record in sorted(undamaged_records(PUBLISHED / "records"), key=lambda record: record.seed):
        if record.done:
            first.setdefault((record.variant, record.data.name, record.profile), record)
    names = {record.folder: record for record in first.values()}
    for name, record in names.items():
        if name in finished:
            if file := sample_file(runs_dir / name):
                grid = published_grid(file.read_bytes(), record.data.shape[-1])
                written.append(write_atomic(PUBLISHED / "samples" / name / "samples.webp", grid))
            if (history := runs_dir / name / HISTORY).is_file():
                sheet = unscaled(history.read_bytes(), record.data.shape[-1])
                written.append(write_atomic(PUBLISHED / "samples" / name / "history.webp", webp(sheet, LOSSY)))
            home = (default_data(record.row, DEFAULT)[0], DEFAULT)
            if record.variant in MODELS and (record.data.name, record.profile) == home:
                written += _publish_model(runs_dir / name, name)
    for folder in sorted((PUBLISHED / "samples").glob("*/")):
        if folder.name not in names:
            shutil.rmtree(folder)  # samples of a later seed, published before the first seed was
    written += _pictures(undamaged_records(PUBLISHED / "records"))
    return [*written, *readme.write(), report.render(PUBLISHED, runs_dir=PUBLISHED)]


def _publish_model(folder: Path, name: str) -> list[Path]:
    """Publish a run's weights in half precision; of a GAN also those of the encoder that gives it a BPD, without the
    copy of the GAN that is in them. Returns the files."""
    targets = {file: published_weights(name, file) for file in (WEIGHTS, ENCODER) if (folder / file).is_file()}
    for file, target in targets.items():
        state = load_checkpoint(folder / file)
        state["weights"] = {
            key: value.half() if value.is_floating_point() else value
            for key, value in state["weights"].items()
            if not (file == ENCODER and key.startswith("generator."))
        }
        state["notes"] = [*state["notes"], "weights as published, in half precision"]
        if not (target.is_file() and _equal(load_checkpoint(target), state)):  # equal states give files that differ
            save_checkpoint(target, state)
    return list(targets.values())


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def _pictures(records: Sequence[Record]) -> list[Path]:
    """Draw README's pictures from what is published: of seed 0 of Table 1, real test images and samples of every row
    with its bits and how many of its digits can be read by eye, and samples of every row along its training, an
    animation; and the trade-off. Nothing where a row is missing. Returns the files."""
    size = image_size(PICTURE["data"], PICTURE["profile"])
    folders = {row: PUBLISHED / "samples" / slug(row.id, PICTURE["data"], PICTURE["profile"], 0)
               for row in paper.TABLE1.rows}  # fmt: skip
    files = [folder / name for folder in folders.values() for name in ("samples.webp", "history.webp")]
    if not all(file.is_file() for file in files):
        return []
    drawn, along = ({row.label: tiles(unscaled((folder / name).read_bytes(), size), size)
                     for row, folder in folders.items()} for name in ("samples.webp", "history.webp"))  # fmt: skip
    real = data_sets.load(PICTURE["data"], size=size).test.images
    board = {REAL: real} | drawn
    runs = next(runs for runs in groups([], records)
                if (runs.data, runs.profile, runs.size, runs.changes) == (*PICTURE.values(), size, {}))  # fmt: skip
    picture = _board("", {label: images[:SHOWN] for label, images in board.items()}, 6, captions(runs))
    steps = RECIPES[paper.TABLE1.rows[0].id](paper.TABLE1.rows[0].id, PICTURE["profile"], size).training.steps
    lines = {label: images.split(ALONG) for label, images in along.items()}
    count = min(map(len, lines.values()))
    frames = [_board(f"step {(k + 1) * steps // count:,}", {label: line[k] for label, line in lines.items()}, 4)
              for k in range(count)]  # fmt: skip
    default = next(runs for runs in groups([], records)
                   if (runs.data, runs.profile, runs.changes) == (PICTURE["data"], DEFAULT, {}))  # fmt: skip
    fronts, _ = draw_fronts(default, fid := QUANTITIES["fid"], fid.lite0)
    return [write_atomic(PUBLISHED / "table1.webp", webp(picture)),
            write_atomic(PUBLISHED / "table1_training.webp", animation(frames)),
            write_atomic(PUBLISHED / "trade_off.webp", webp(_pixels(fronts)))]  # fmt: skip


def captions(runs: Group) -> dict[str, str]:
    """Label -> what stands below its samples: "5.04 bits, 42 of 64 legible"."""
    legible = {line.row: line.by_eye for line in digit_lines([runs], [row.id for row in paper.TABLE1.rows])}
    found = {REAL: legible.get("", "")}
    for row in paper.TABLE1.rows:
        bits = runs.cell(row.id, "BPD")
        found[row.label] = f"{bits.text}{bits.mark} bits\n{legible.get(row.id, '')}"
    return {label: f"{text} legible" for label, text in found.items()}


def _board(title: str, grids: dict[str, torch.Tensor], columns: int, captions: Mapping[str, str] = {}) -> np.ndarray:
    """Images (N, C, H, W) uint8 in grids side by side, as one picture, uint8 (H', W', 4)."""
    return _pixels(plots.sample_board({title: grids}, columns=columns, captions=captions))


def _pixels(figure: Figure) -> np.ndarray:
    figure.set_dpi(plots.STYLE["savefig.dpi"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())
