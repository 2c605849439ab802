"""Trained models and their images: runs of this machine first, then the weights that come with the project."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import torch

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset
from cqlib.metrics.fidelity import NEIGHBOURS
from cqlib.models.base import System
from cqlib.suite.experiments.experiment import TRAIN_IMAGES, Experiment, experiment, experiment_of
from cqlib.suite.experiments.hub import HUB, hub_folder
from cqlib.suite.experiments.library import CQ, CQF, GAN, VAE, VAEF, build_model, class_of, load_folder
from cqlib.suite.experiments.model_file import ENCODER, WEIGHTS, stored_training
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import ROWS, short_label
from cqlib.util.checkpoint import CheckpointError, load_checkpoint
from cqlib.util.errors import Notice, UsageError, UserError, unknown_name
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, RUNS
from cqlib.util.text import without_paths

Where = Path | str
Device = torch.device | str


@overload
def load(row: Literal["table1/vae"], *, runs_dir: Where = ..., device: Device = ..., **settings: Any) -> VAE: ...
@overload
def load(row: Literal["table1/vae-f"], *, runs_dir: Where = ..., device: Device = ..., **settings: Any) -> VAEF: ...
@overload
def load(row: Literal["table1/cq"], *, runs_dir: Where = ..., device: Device = ..., **settings: Any) -> CQ: ...
@overload
def load(row: Literal["table1/cq-f"], *, runs_dir: Where = ..., device: Device = ..., **settings: Any) -> CQF: ...
@overload
def load(row: Literal["table1/gan"], *, runs_dir: Where = ..., device: Device = ..., **settings: Any) -> GAN: ...
@overload
def load(row: Path | str, *, runs_dir: Where = ..., device: Device = ..., **settings: Any) -> Any: ...
def load(row: Path | str, *, runs_dir: Where = RUNS, device: Device = "cpu", **settings: Any) -> System:
    """The model of a finished run, or of published weights, in evaluation mode: `load("table1/cq-f")`,
    `load("my-model")`, `load("hf://OWNER/NAME")`. Type checkers know the class of a row of Table 1;
    `CQF.load("my-model")` tells them that of a folder. Rows of Table 1 are classes of
    `cqlib.suite.experiments.library`, with `fit` and `save`.

    `row` is a row of the tables, with the `profile`, `data`, `seed` and `changes` of `experiment` as `settings`; or the
    folder of a run, of a model card, of `fit`, or of `model.save`; or the address of such a folder on a hub. UserError,
    a sentence that says what to do, where there are no such weights; a `Notice`, a warning, where a run here is of
    another recipe and published weights are loaded.
    """
    name = str(row)
    if name in ROWS:
        return load_system(experiment(name, **settings), Path(runs_dir).expanduser()).to(device)
    folder = hub_folder(name) if name.startswith(HUB) else Path(row).expanduser()
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder.absolute()}; {unknown_name('row', name, ROWS)}")
    if settings:
        raise UsageError(f"{row} is a folder: leave out {', '.join(settings)}")
    return load_folder(folder).to(device)


def load_system(e: Experiment, runs_dir: Path | str) -> System:
    """The trained system of an experiment, on the CPU. UserError as for `load`; a `Notice`, where published weights
    stand in for a run here that is of another recipe."""
    local, published = Path(runs_dir) / e.folder / WEIGHTS, published_weights(e.folder)
    of_run, kind = stored_training(local, e), class_of(e.row, e.recipe.system)
    if of_run is not None:
        return build_model(kind, e.recipe.system, of_run["weights"], local)
    outdated = ""
    if local.is_file():  # it is not replaced by published weights without a word
        try:
            load_checkpoint(local)
        except CheckpointError as error:
            raise UserError(f"{error}: {e.command}") from error
        outdated = f"{local.parent} is not of today's recipe of {e.variant}"
    if (stored := stored_training(published, e)) is not None:
        if outdated:
            warnings.warn(Notice(f"{outdated}: loaded the published weights; to train anew: {e.command}"), stacklevel=3)
        return build_model(kind, e.recipe.system, stored["weights"], published)
    if outdated:
        raise UserError(f"{outdated}: {e.command}")
    why = f"{e.variant} has not been trained with profile {e.profile} on {e.data}, seed {e.seed}"
    raise UserError(f"{why} (published weights: {_published_rows() or 'none'}): {e.command}")


def is_trained(e: Experiment, runs_dir: Path | str) -> bool:
    """Whether exactly this experiment has been trained here, whatever has been measured since."""
    return stored_training(Path(runs_dir) / e.folder / WEIGHTS, e) is not None


def fetch_published(e: Experiment, runs_dir: Path | str, data: str | None = None) -> bool:
    """Copy published weights to the folder of the experiment's run, so that they can be measured. Returns False, and
    copies nothing, if any of the published files is absent, damaged or of another experiment (or, if `data` is given,
    of images with another fingerprint)."""
    files = {name: published_weights(e.folder, name) for name in weight_files(e)}
    if any(stored_training(file, e, data) is None for file in files.values()):
        return False
    for name, file in files.items():
        write_atomic(Path(runs_dir) / e.folder / name, file.read_bytes())
    return True


def weight_files(e: Experiment) -> tuple[str, ...]:
    """The files of weights that a finished run has."""
    return (WEIGHTS,) if e.recipe.frozen_decoder is None else (WEIGHTS, ENCODER)


def published_weights(folder: str, file: str = WEIGHTS) -> Path:
    """The path at which the weights of a run's folder are published, if they are."""
    return PUBLISHED / "models" / (f"{folder}.safetensors" if file == WEIGHTS else f"{folder}.{file}")


def _published_rows() -> str:
    """The rows of which weights are published, by profile: "table1/cq, table1/vae under quick"."""
    rows: dict[str, dict[str, None]] = {}
    for file in sorted((PUBLISHED / "models").glob("*.safetensors")):
        parts = file.name.split("--")
        if len(parts) > 3 and not file.name.endswith(ENCODER):
            rows.setdefault(parts[2], {})[parts[0].replace("_", "/", 1)] = None
    return "; ".join(f"{', '.join(names)} under {profile}" for profile, names in rows.items())


def load_data(e: Experiment, data_dir: Path | str | None) -> Dataset:
    """The images of an experiment. UserError, one line, when they cannot be had."""
    images = data_sets.load(e.data, size=e.size, data_dir=data_dir)
    train, test, least = len(images.train), len(images.test), NEIGHBOURS + 1
    if min(train, test) < least:
        why = f"it has {train} for training and {test} for testing, and at least {least} of each are needed"
        raise UserError(f"{e.data}: {why}; where a set has no test split, one image in ten is for testing")
    limit = TRAIN_IMAGES.get(e.profile)
    return images if limit is None else replace(images, train=images.train.first(limit))


@dataclass(frozen=True)
class ModelAndData:
    """A trained model in evaluation mode, the experiment that it comes from, and its images.

    `origin` is "local" for a run in the runs folder, "published" for weights that come with the project.
    """

    experiment: Experiment
    model: Any  # a System; some notebooks need what only their kind of system has
    origin: str
    data_dir: Path | str | None = None

    @cached_property
    def data(self) -> Dataset:
        """The images, read when they are first needed. UserError where they cannot be had."""
        return load_data(self.experiment, self.data_dir)

    @property
    def name(self) -> str:
        """The short label of its row: "CQ-F"."""
        return short_label(self.experiment.variant)

    @property
    def source(self) -> str:
        """How it was trained: "photos10 16×16, quick, seed 0"; of a folder of images only the last part of its path."""
        e = self.experiment
        return f"{without_paths(e.data)} {e.size}×{e.size}, {e.profile}, seed {e.seed}"

    @property
    def label(self) -> str:
        """Name and source: "CQ-F on photos10 16×16, quick, seed 0"."""
        return f"{self.name} on {self.source}"


def find_model(e: Experiment, runs_dir: Path | str, data_dir: Path | str | None = None) -> ModelAndData:
    """The model of an experiment. UserError, a sentence with the command that trains it, where there is none."""
    return ModelAndData(e, load_system(e, runs_dir), "local" if is_trained(e, runs_dir) else "published", data_dir)


def model_of(record: Record, runs_dir: Path | str = RUNS) -> System:
    """The model whose run left this record. UserError where its weights are not there."""
    return load_system(experiment_of(record), runs_dir)
