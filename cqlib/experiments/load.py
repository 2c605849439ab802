"""Trained models and the images that they were trained on: runs of this machine first, then published weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cqlib.data.dataset import Dataset
from cqlib.experiments import run
from cqlib.experiments.experiment import Experiment, experiment
from cqlib.experiments.record import Record
from cqlib.experiments.rows import DEVELOPMENT_DATA, short_label
from cqlib.models.base import System
from cqlib.util.errors import UserError
from cqlib.util.text import without_paths


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
        return run.load_data(self.experiment, self.data_dir)

    @property
    def name(self) -> str:
        """ "CQ-F"."""
        return short_label(self.experiment.row)

    @property
    def source(self) -> str:
        """ "photos10 16×16, quick, seed 0"; of a folder of images only the last part of its path."""
        e = self.experiment
        return f"{without_paths(e.data)} {e.size}×{e.size}, {e.profile}, seed {e.seed}"

    @property
    def label(self) -> str:
        """ "CQ-F on photos10 16×16, quick, seed 0"."""
        return f"{self.name} on {self.source}"


def find_model(
    row: str,
    *,
    profile: str = "quick",
    data: str | None = None,
    seed: int = 0,
    runs_dir: Path | str = run.RUNS,
    data_dir: Path | str | None = None,
) -> ModelAndData:
    """The model of one experiment. UserError, a sentence with the command that trains it, where there is none."""
    e = experiment(row, profile, data, seed)
    model = run.load(row, profile=profile, data=data, seed=seed, runs_dir=runs_dir)
    return ModelAndData(e, model, "local" if run.trained(e, runs_dir) else "published", data_dir)


def find_models(
    rows: Sequence[str],
    *,
    profile: str,
    data: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    runs_dir: Path | str = run.RUNS,
    data_dir: Path | str | None = None,
    required: Collection[str] = (),
) -> dict[str, ModelAndData]:
    """Row -> model, of those rows that have been trained on the first of `data` with the first of `seeds`.

    Without any (or without any of `required`) those of the default run (quick, photos10, seed 0), which are published;
    empty without these, too.
    """
    requested = (profile, data[0] if data else None, seeds[0] if seeds else 0)
    for profile, name, seed in (requested, ("quick", DEVELOPMENT_DATA, 0)):
        models: dict[str, ModelAndData] = {}
        for row in rows:
            with suppress(UserError):
                models[row] = find_model(
                    row, profile=profile, data=name, seed=seed, runs_dir=runs_dir, data_dir=data_dir
                )
        if models.keys() & (required or rows):
            return models
    return {}


def model_of(record: Record, runs_dir: Path | str = run.RUNS) -> System:
    """The model whose run left this record. UserError where its weights are not there."""
    return run.load(record.row, profile=record.profile, data=record.data.name, seed=record.seed, runs_dir=runs_dir)
