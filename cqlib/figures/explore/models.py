"""The models that the notebook `explore` uses: Table 1's, which have one vector of latent variables and an encoder."""

from collections.abc import Mapping

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.experiments.load import ModelAndData
from cqlib.experiments.selection import Selection
from cqlib.figures.common import bits
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.pixels import to_uint8
from cqlib.report.cells import table
from cqlib.util.errors import UserError

ROWS = ("table1/cq-f", "table1/cq", "table1/vae-f", "table1/vae")  # the first is shown where the notebook names none


def find(chosen: Selection) -> dict[str, ModelAndData]:
    """Name -> model, as chosen, else the published ones of the default run. UserError without any."""
    if not (found := chosen.find()):
        raise UserError(f"there is no trained model yet: python -m cqlib train {ROWS[0]}")
    for one in found.values():
        one.model.requires_grad_(False)
    return {one.name: one for one in found.values()}


def overview(found: Mapping[str, ModelAndData], n: int = 250) -> HTML:
    """Each model's latent variables, parameters and bits per dimension on the first n test images."""
    first = next(iter(found.values()))
    images, lines = first.data.test.images[:n], []
    for name, model in ((name, one.model) for name, one in found.items()):
        counts = model.parameter_counts()
        lines.append([name, model.config.latent, counts["total"], counts.get("flow", 0), bits(model, images).mean()])
    head = {"Model": None, "Latent variables": 0, "Parameters": 0, "of them in f": 0,
            f"BPD, {len(images)} test images": 2}  # fmt: skip
    return table(f"Trained models ({first.source})", head, lines)


@torch.no_grad()
def decoded(model: CoverageQuality, z: Tensor) -> Tensor:
    """f^-1(mu(z)), the image without the decoder's noise: (N, latent) -> uint8 (N, C, S, S)."""
    return to_uint8(model.image(model.decode(z)[0]))


@torch.no_grad()
def codes(model: CoverageQuality, x: Tensor) -> Tensor:
    """The mean of q(z|x) for uint8 (N, C, S, S): (N, latent)."""
    return model.encoder(model.continuous(x, torch.Generator().manual_seed(0)))[0]
