"""The model that the notebook on samples asks about, with images that it was trained on and images that it was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from IPython.display import HTML
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.experiments import run
from cqlib.experiments.experiment import experiment
from cqlib.experiments.rows import short_label
from cqlib.metrics import evaluation
from cqlib.models.base import System
from cqlib.report import plots
from cqlib.report.cells import live, picture
from cqlib.util.errors import UserError
from cqlib.util.text import without_paths

PICTURED = ("photos10",)
"""Data sets whose training images may stand in a picture that is passed on; of others none does."""
PUBLISHED = {"row": "table1/cq-f", "profile": "quick", "data": "photos10", "seed": 0}
"""What is shown where the model that is asked for has not been trained."""
REFERENCE = 50_000
"""Training images that others are compared with, at most."""
SIGMA = 8.0
"""Noise of the copier, in grey levels."""


@dataclass(frozen=True)
class Subject:
    """The model in question, with the images that it was trained on and those that it was not."""

    row: str
    profile: str
    data: str
    seed: int
    system: System = field(repr=False)
    images: Dataset = field(repr=False)
    note: str = ""

    @property
    def label(self) -> str:
        """ "CQ-F on photos10 16×16, quick, seed 0"."""
        size = self.images.size
        data = without_paths(self.data)
        return f"{short_label(self.row)} on {data} {size}×{size}, {self.profile}, seed {self.seed}"

    def __str__(self) -> str:
        train, test = len(self.images.train), len(self.images.test)
        lines = [self.note] if self.note else []
        return "\n".join([*lines, f"{self.label}: {train:,} training images, {test:,} held out"])


def subject(
    row: str,
    *,
    profile: str,
    data: Sequence[str],
    seeds: Sequence[int],
    runs_dir: Path | str,
    data_dir: Path | str | None = None,
) -> Subject:
    """The model of `row` on the first of `data` and `seeds`, trained here or published; where there is none, or not its
    data, the published `PUBLISHED`, with a note that says so."""
    wanted = {"row": row, "profile": profile, "data": data[0] if data else None, "seed": seeds[0]}
    note = ""
    for where in (wanted, PUBLISHED):
        try:
            system = run.load(**where, runs_dir=runs_dir)
            e = experiment(**where)
            images = run.load_data(e, data_dir)
            return Subject(e.row, e.profile, e.data, e.seed, system, images, note)
        except UserError as error:
            if where is PUBLISHED:
                raise
            note = f"{error}\nShown instead:"
    raise AssertionError("unreachable")


def beside(it: Subject, n: int = 64) -> HTML:
    """Training images, or held-out ones where those must not be passed on, and samples at T = 1 and T = 0."""
    real = ("training images", it.images.train) if pictured(it) else ("held-out images", it.images.test)
    board = {real[0]: real[1].images[:n]}
    board |= {f"samples, T = {t:g}": draw(it, n, t) for t in evaluation.TEMPERATURES}
    return picture(plots.sample_board({"": board}, columns=8), f"{n} {real[0]}, then {n} samples of {it.label}")


def draw(it: Subject, n: int, temperature: float) -> Tensor:
    """n samples uint8 (n, C, H, W), the same ones whenever this is called."""
    return evaluation.draw(it.system, n, temperature=temperature, seed=20_000 + it.seed)


def pictured(it: Subject) -> bool:
    """May its training images be shown: of `PICTURED` always, of others on a reader's own screen."""
    return it.data in PICTURED or live()
