"""What lessons 03 to 05 are about: images of about 16 pixels a side, and models that were trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from IPython.display import HTML

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset
from cqlib.experiments.experiment import experiment, image_size
from cqlib.experiments.load import ModelAndData, find_models
from cqlib.experiments.rows import DEVELOPMENT_DATA, default_data, label_of, training_command
from cqlib.models.registry import build
from cqlib.report import cells
from cqlib.util.errors import UsageError


def load_images(data: Sequence[str], profile: str, data_dir: Path | str | None) -> Dataset:
    """The first of `data`, or the default data set of the profile, at its size nearest to 16 pixels. UserError where it
    cannot be read or is not in colour."""
    name = data[0] if data else default_data("table1/cq-f", profile)[0]
    images = data_sets.load(name, size=image_size(name, "smoke"), data_dir=data_dir)
    if images.channels != 3:
        raise UsageError(f"data set '{name}' is not of colour images: try {DEVELOPMENT_DATA}")
    return images


def trained_models(
    rows: Sequence[str], images: Dataset, *, profile: str, seeds: Sequence[int], runs_dir: Path | str
) -> dict[str, ModelAndData]:
    """Row -> its model of the requested profile and seed, or the published one; rows without one trained on such
    `images` are left out."""
    shape = (images.channels, images.size, images.size)
    models: dict[str, ModelAndData] = {}
    for row in rows:
        models |= find_models([row], profile=profile, data=[images.name], seeds=seeds, runs_dir=runs_dir)
    return {row: m for row, m in models.items() if m.experiment.data == images.name and m.model.shape == shape}


def untrained_model(row: str, images: Dataset) -> ModelAndData:
    """The model of a row before its first training step, from a fixed seed: the equations hold for it as well."""
    e = experiment(row, "smoke", images.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ModelAndData(e, build(e.recipe.system).eval(), "untrained")


def model_table(
    rows: Sequence[str], models: Mapping[str, ModelAndData], profile: str, data: str, seeds: Sequence[int]
) -> HTML:
    """The origin of each row's model, or the command that trains it."""
    option = "" if data in default_data(rows[0], profile) else data
    lines = []
    for row in rows:
        command = training_command(row, profile, option, seeds[0] if seeds else 0)
        model = models.get(row)
        lines.append([label_of(row), f"{model.source} ({model.origin})" if model else f"not trained yet: {command}"])
    return cells.table("Trained models", ["Model", "Which"], lines)
