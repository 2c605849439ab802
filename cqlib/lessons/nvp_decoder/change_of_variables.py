"""Lesson 05: models with f, and images beside their features."""

import torch
from IPython.display import HTML

from cqlib.data.dataset import Dataset
from cqlib.experiments.load import ModelAndData
from cqlib.experiments.selection import Selection
from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.lessons.models import trained_models, untrained_model
from cqlib.models.hybrid import HybridModel
from cqlib.pixels import to_uint8
from cqlib.report import plots
from cqlib.report.cells import picture, stretched

ROWS = ("table1/cq-f", "table1/vae-f")
"""The systems with f of Table 1; the lesson is about the first."""


def models_with_f(chosen: Selection, images: Dataset) -> dict[str, ModelAndData]:
    """Row -> model, of those `ROWS` that have one; an untrained CQ-F where there is no trained one."""
    models = trained_models(chosen, images)
    return models if ROWS[0] in models else {ROWS[0]: untrained_model(ROWS[0], images)} | models


@torch.no_grad()
def spaces(model: HybridModel, of: Reconstruction, n: int = 16, seed: int = 0) -> HTML:
    """n test images x and their features f(x); mu(z), y ~ N(mu(z), sigma(z)), and both in image space."""
    generator = torch.Generator().manual_seed(seed)
    mean, sigma = of.mean[:n], of.log_sigma[:n].exp()
    y = mean + sigma * torch.randn(mean.shape, generator=generator)
    board = {
        "image space": {
            "x": to_uint8(of.x[:n]),
            "f⁻¹(μ(z))": to_uint8(of.image_of_mean[:n]),
            "f⁻¹(y), drawn": to_uint8(model.image(y)),
        },
        "feature space": {
            "f(x)": stretched(of.y[:n], 0.8),
            "μ(z)": stretched(mean, 0.8),
            "y ~ N(μ(z), σ²(z))": stretched(y, 0.8),
        },
    }
    alt = (
        "Test images, decoder means and draws, in image space, where they look natural, and in feature space, where "
        "flat parts are grey and edges stand out"
    )
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)


@torch.no_grad()
def samples(model: HybridModel, n: int = 36, seed: int = 0) -> HTML:
    """n draws of the model from z ~ p(z): y and x = f^-1(y), then the mean in image space."""
    generator = torch.Generator().manual_seed(seed)
    mean, log_sigma = model.decode(model.prior(n, generator))
    y = mean + log_sigma.exp() * torch.randn(mean.shape, generator=generator)
    board = {
        "y ~ p(y|z)": stretched(y, 0.8),
        "x = f⁻¹(y)": to_uint8(model.image(y)),
        "f⁻¹(μ(z))": to_uint8(model.image(mean)),
    }
    alt = "Draws in feature space and in image space"
    return picture(plots.sample_board({"": board}, columns=round(n**0.5)), alt)
