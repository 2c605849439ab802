"""What a lesson can show on this machine: trained systems, where there are any, and images of the size it asks for.

A system is looked for as the notebook's parameters say, and then among the published ones (profile quick, photos10).
Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from IPython.display import HTML

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset
from cqlib.experiments.experiment import experiment, image_size
from cqlib.experiments.rows import DEVELOPMENT_DATA, default_data, label_of
from cqlib.experiments.run import load
from cqlib.models.base import System
from cqlib.models.registry import build
from cqlib.report import missing as needs
from cqlib.report import page as report
from cqlib.util.errors import UsageError, UserError

PUBLISHED = ("quick", 0)
"""Profile and seed of the published models."""


@dataclass(frozen=True)
class Found:
    """A system and what it was trained on."""

    label: str
    system: System
    where: str
    """ "quick, photos10 16×16, seed 0"."""


def find(row: str, images: Dataset, *, profile: str, seeds: Sequence[int], runs_dir: Path | str) -> Found | None:
    """The system of a row that was trained on such `images`: with the profile and the first seed that are asked for, or
    the published one. None where there is neither."""
    for chosen, seed in dict.fromkeys([(profile, seeds[0] if seeds else 0), PUBLISHED]):
        with suppress(UserError):
            system = load(row, profile=chosen, data=images.name, seed=seed, runs_dir=runs_dir)
            if system.shape == (images.channels, images.size, images.size):
                where = f"{chosen}, {images.name} {images.size}×{images.size}, seed {seed}"
                return Found(label_of(row), system, where)
    return None


def untrained(row: str, images: Dataset) -> Found:
    """The system of a row for such images as it is before its first step, from a fixed seed: equations hold for it too,
    and nothing else can be learned from it."""
    e = experiment(row, "smoke", images.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        system = build(e.recipe.system).eval()
    return Found(f"{label_of(row)}, untrained", system, f"{images.name} {e.size}×{e.size}, no step")


def data_of(data: Sequence[str], profile: str) -> str:
    """The first data set that is asked for, or the profile's own."""
    return data[0] if data else default_data("table1/cq-f", profile)[0]


def images(name: str, data_dir: Path | str | None) -> Dataset:
    """The data set in colour, at the size that it has nearest to 16 pixels. UserError where it cannot be had."""
    found = data_sets.load(name, size=image_size(name, "smoke"), data_dir=data_dir)
    if found.channels != 3:
        raise UsageError(f"data set '{name}' is not of colour images: try {DEVELOPMENT_DATA}")
    return found


def roll(rows: Sequence[str], found: Mapping[str, Found | None], profile: str, data: str, seeds: Sequence[int]) -> HTML:
    """Which of `rows` are here, of which run; for the others the command that trains what `find` looked for."""
    elsewhere = "" if data in default_data(rows[0], profile) else data
    lines = []
    for row in rows:
        here = found.get(row)
        missing = f"not here: {needs.command(row, profile, elsewhere, seeds[0] if seeds else 0)}"
        lines.append([label_of(row), here.where if here else missing])
    return HTML(report.macro("plain_table", "Trained models", ["Model", "Which"], lines))
