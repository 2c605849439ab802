"""Finished runs -> reports/published and README: `python -m cqlib publish RUNS_DIR`.

Copies each finished, clean record, those of ablations whatever came out, the sample grids of each row's first seed as
small pictures, and the weights of `MODELS` without their critics; draws README's picture where RUNS_DIR has all of its
models; renders README and reports/published/.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cqlib import data as data_sets
from cqlib.data.grids import unscaled, webp
from cqlib.experiments import ablations, paper, run
from cqlib.experiments.record import STATUSES, Record, load_records, slug, write_record
from cqlib.metrics import evaluation
from cqlib.report import page as report
from cqlib.report import plots, readme
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import without_paths

PICTURE = {"row": "table1", "profile": "quick", "data": "photos10", "seed": 0}
"""README's picture: which table, of which run set."""
MODELS = ("table1/cq-f", "table2/cqf-residual", "extra/cq-f-conditional")
"""Rows whose first seed is published with its weights, so that a reader can sample at once; 6 MB in all."""
GRID_ROWS = 6
"""Grids are published as WebP without repeated pixels, the first rows of them; of images above 32 pixels fewer."""


def publishable(folder: Path, statuses: Sequence[str] = ("done",)) -> list[Record]:
    """The records in a folder of runs that ended so; UserError for one that is damaged, was made from code that was
    not committed, or names a path of this machine."""
    records, problems = load_records(folder)
    if problems:
        raise UserError(f"{folder}: {problems[0]}")
    found = [record for record in records if record.status in statuses]
    for record in found:
        if record.data.name != without_paths(record.data.name):
            raise UserError(f"{record.data.name} is a path of this machine: train on a name below --data-dir instead")
        if record.git.dirty is not False:
            name = slug(record.row, record.data.name, record.profile, record.seed)
            raise UserError(f"{folder / name} was made from uncommitted code: commit, then run it again")
    return found


def publish(runs_dir: Path) -> list[Path]:
    """Copy records and first grids, draw the picture, render README and page; the files written."""
    records = publishable(runs_dir)
    places = {name: runs_dir / ablations.FOLDER / name for name in (ablations.BASELINE, *ablations.BY_NAME)}
    tries = {name: publishable(folder, STATUSES) for name, folder in places.items()}  # whatever came out
    where = (PICTURE["data"], PICTURE["profile"], PICTURE["seed"])
    drawn = {record.row for record in records if (record.data.name, record.profile, record.seed) == where}
    picture = _picture(runs_dir) if drawn >= {row.id for row in paper.TABLE1.rows} else None
    written = []
    written += [write_record(record, PUBLISHED / "records") for record in records]
    written += [write_record(record, ablations.PUBLISHED / name) for name, found in tries.items() for record in found]
    first: dict[tuple, int] = {}
    sizes: dict[tuple, int] = {}
    for record in load_records(PUBLISHED / "records")[0]:
        run_set = (record.row, record.data.name, record.profile)
        first[run_set] = min(record.seed, first.get(run_set, record.seed))
        sizes[run_set] = record.data.shape[-1]
    finished = {slug(r.row, r.data.name, r.profile, r.seed) for r in records}  # others may finish meanwhile
    for run_set, seed in first.items():
        name = slug(*run_set, seed)
        if name in finished:
            written += _publish_samples(runs_dir / name, name, sizes[run_set])
            if run_set[0] in MODELS and run_set[1:] == (PICTURE["data"], PICTURE["profile"]):
                written.append(_publish_model(runs_dir / name, name))
    for folder in sorted((PUBLISHED / "samples").iterdir()):
        if folder.name not in {slug(*run_set, seed) for run_set, seed in first.items()}:
            shutil.rmtree(folder)  # of a later seed, published before the first
    if picture is not None:
        written.append(write_atomic(PUBLISHED / f"{PICTURE['row']}.webp", picture))
    readme.write()
    return [*written, readme.README, report.render(PUBLISHED, runs_dir=PUBLISHED)]


def _publish_samples(folder: Path, name: str, size: int) -> list[Path]:
    """The grids of a run's images of `size` pixels; where the decoder adds no noise, one is enough."""
    grids = {path.name: path.read_bytes() for path in sorted(folder.glob("samples_*.png"))}
    if grids.get("samples_T0.png") == grids.get("samples_T1.png"):
        grids.pop("samples_T0.png", None)
    grids = {Path(file).with_suffix(".webp").name: _small(content, size) for file, content in grids.items()}
    for old in (PUBLISHED / "samples" / name).glob("samples_*"):
        if old.name not in grids:
            old.unlink()
    return [write_atomic(PUBLISHED / "samples" / name / file, content) for file, content in grids.items()]


def _small(png: bytes, size: int) -> bytes:
    """The upper rows of a grid, a pixel per pixel, as WebP."""
    rows = GRID_ROWS * 32 // max(size, 32)
    return webp(unscaled(png, size)[: rows * (size + 1) + 1], size)


def _publish_model(folder: Path, name: str) -> Path:
    """The weights of a run in half precision, without its critic."""
    state = load_checkpoint(folder / "model.safetensors")
    state["weights"] = {
        key: value.half() if value.is_floating_point() else value
        for key, value in state["weights"].items()
        if not key.startswith("critic.")
    }
    state["notes"] = [*state["notes"], "weights as published, in half precision"]
    target = PUBLISHED / "models" / f"{name}.safetensors"
    if not (target.is_file() and _equal(load_checkpoint(target), state)):  # equal states give files that differ
        save_checkpoint(target, state, keep_previous=False)
    return target


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    one, other = a["weights"], b["weights"]
    return (
        {**a, "weights": None} == {**b, "weights": None}
        and one.keys() == other.keys()
        and all(torch.equal(one[key], other[key]) for key in one)
    )


def _picture(runs_dir: Path, n: int = 36) -> bytes:
    """Real test images and samples of every row of the table, at temperatures 1 and 0, as a WebP."""
    rows = paper.TABLE1.rows
    where = {key: PICTURE[key] for key in ("profile", "data", "seed")}
    models = {row.label: run.load(row.id, **where, runs_dir=runs_dir) for row in rows}
    size = next(iter(models.values())).shape[-1]
    real = data_sets.load(PICTURE["data"], size=size).test.images
    board = {
        f"T = {t:g}": {"real": real[n * i : n * (i + 1)]}
        | {label: evaluation.draw(model, n, temperature=t, seed=1) for label, model in models.items()}
        for i, t in enumerate(evaluation.TEMPERATURES)
    }
    with Image.open(io.BytesIO(plots.to_png(plots.sample_board(board, columns=6)))) as drawn:
        return webp(np.asarray(drawn))
