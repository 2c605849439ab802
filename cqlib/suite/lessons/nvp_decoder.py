"""Lesson 05: which models, which test images, and the scores of Table 1 with and without f."""

from IPython.display import HTML

from cqlib.data.dataset import Dataset
from cqlib.metrics.quantities import QUANTITIES, heading
from cqlib.suite.cells import table
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.experiments.rows import label_of
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.lessons.models import trained_models, untrained_model
from cqlib.suite.lessons.residuals import Reconstruction
from cqlib.suite.report.groups import Group
from cqlib.suite.report.table import ORIGINS

ROWS = ("table1/cq-f", "table1/vae-f")
PAIRS = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f")
"""ROWS: the systems of Table 1 with f, first the one that the lesson is about. PAIRS: each after the one without f."""


def models_with_f(selection: Selection, images: Dataset) -> dict[str, ModelAndData]:
    """Row -> model, of those `ROWS` that have one; an untrained CQ-F where there is no trained one."""
    models = trained_models(selection, images)
    return models if ROWS[0] in models else {ROWS[0]: untrained_model(ROWS[0], images)} | models


def images_by_contrast(reconstruction: Reconstruction) -> list[int]:
    """Indices of three of the first 100 test images, of low, medium and high contrast within a colour; of the last one
    alone for images of more than 16 pixels a side, where a Jacobian takes minutes."""
    contrast = reconstruction.x[:100].std((2, 3)).mean(1)
    shares = (0.1, 0.6, 0.95) if reconstruction.x.shape[-1] <= 16 else (0.95,)
    return [int(contrast.argsort()[int(share * (len(contrast) - 1))]) for share in shares]


def scores(runs: Group) -> HTML:
    """BPD and the scores of samples of the systems with and without f; means over seeds with their spread."""
    stand_in = not any("FID" in runs.metrics_of(row) for row in PAIRS)
    names = ["BPD", *(QUANTITIES[name].names[stand_in] for name in ("fid", "kid", "coverage"))]
    lines = [[label_of(row), *(runs.cell(row, name) for name in names), str(len(runs.done(row)))]
             for row in PAIRS]  # fmt: skip
    caption = f"With and without f ({runs.label}, {ORIGINS[runs.origin].lower()})"
    return table(caption, ["Model", *map(heading, names), "seeds"], lines)
