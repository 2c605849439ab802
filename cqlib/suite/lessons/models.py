"""What lessons 03 to 06 are about: images of about 16 pixels a side, and models that were trained on them."""

from collections.abc import Mapping

from IPython.display import HTML
from torch import Tensor

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset
from cqlib.data.grids import tiles, unscaled
from cqlib.models.registry import build_seeded
from cqlib.suite import cells
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.experiment import experiment, image_size
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.experiments.rows import default_data, label_of, training_command
from cqlib.suite.experiments.selection import Selection
from cqlib.training.snapshots import SHOWN
from cqlib.util.errors import UsageError
from cqlib.util.paths import PUBLISHED


def load_images(selection: Selection) -> Dataset:
    """The first of the chosen data, at its size nearest to 16 pixels. UserError if unreadable."""
    name = [*selection.data, *default_data(selection.rows[0], selection.profile)][0]
    return data_sets.load(name, size=image_size(name, "smoke"), data_dir=selection.data_dir)


def trained_models(selection: Selection, images: Dataset) -> dict[str, ModelAndData]:
    """Row -> its model as chosen, or the published one; rows without one for this data set and size are left out."""
    shape = (images.channels, images.size, images.size)
    models: dict[str, ModelAndData] = {}
    for row in selection.rows:
        models |= selection.find(rows=[row])
    return {row: m for row, m in models.items() if m.experiment.data == images.name and m.model.shape == shape}


def untrained_model(row: str, images: Dataset) -> ModelAndData:
    """The model of a row before its first training step, from a fixed seed: the equations hold for it as well."""
    e = experiment(row, "smoke", images.name)
    return ModelAndData(e, build_seeded(e.recipe.system), "untrained")


def along_training(profile: str = "study") -> dict[int, dict[str, Tensor]]:
    """Training step -> name of each model of Table 1 -> its samples, uint8 (16, 3, H, W), at evenly spaced steps of the
    published run under a profile, the last step included. Codes and noise are the same at all steps."""
    found: dict[int, dict[str, Tensor]] = {}
    for row in paper.TABLE1.rows:
        e = experiment(row.id, profile, default_data(row.id, "quick")[0])
        sheet = unscaled((PUBLISHED / "samples" / e.folder / "history.webp").read_bytes(), e.size)
        lines = tiles(sheet, e.size).split(SHOWN)
        for k, images in enumerate(lines, 1):
            found.setdefault(k * e.recipe.training.steps // len(lines), {})[row.label] = images
    return found


def model_table(selection: Selection, models: Mapping[str, ModelAndData]) -> HTML:
    """The origin of each row's model, or the command that trains it, or why the row does not take the changes."""
    lines = []
    for row in selection.rows:
        model = models.get(row)
        lines.append([label_of(row), f"{model.source} ({model.origin})" if model else _why_missing(selection, row)])
    return cells.table("Trained models", ["Model", "Which"], lines)


def _why_missing(selection: Selection, row: str) -> str:
    try:
        e = selection.first(row)
    except UsageError as error:
        return str(error)
    return f"not trained yet: {training_command(row, e.profile, e.data, e.seed, e.changes)}"
