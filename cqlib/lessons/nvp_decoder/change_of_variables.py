"""Lesson 05: Eqs. (6) to (8) checked against other ways to compute them, and images beside their features.

p_y(y|z) = N(y; mu(z), diag(sigma(z)^2)),   x = f^-1(y),   p_x(x|z) = p_y(f(x)|z) |det df/dx|
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from IPython.display import HTML
from torch import Tensor
from torch.distributions import Normal

from cqlib import losses
from cqlib.data.dataset import Dataset
from cqlib.experiments.load import ModelAndData
from cqlib.lessons.coupling_layers.jacobians import jacobian, log_abs_det
from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.lessons.models import trained_models, untrained_model
from cqlib.models.hybrid import HybridModel
from cqlib.models.variational import Inference
from cqlib.pixels import LN_LEVELS, to_uint8
from cqlib.report import plots
from cqlib.report.cells import difference, picture, stretched, table

ROWS = ("table1/cq-f", "table1/vae-f")
"""The systems with f of Table 1; the lesson is about the first."""
PATCH = 16
"""Side of the patch whose Jacobian is computed: f is convolutional, and takes images of any even size."""


def models_with_f(
    images: Dataset, *, profile: str, seeds: Sequence[int], runs_dir: Path | str
) -> dict[str, ModelAndData]:
    """Row -> model, of those `ROWS` that have one; an untrained CQ-F where there is no trained one."""
    models = trained_models(ROWS, images, profile=profile, seeds=seeds, runs_dir=runs_dir)
    return models if ROWS[0] in models else {ROWS[0]: untrained_model(ROWS[0], images)} | models


def equation_checks(
    model: HybridModel,
    photos: Tensor,
    seed: int,
    *,
    x: Tensor,
    q: Inference,
    p_y: Normal,
    y: Tensor,
    drawn: Tensor,
    log_det: Tensor,
    log_p_x: Tensor,
) -> HTML:
    """The notebook's values for uint8 `photos`, dequantised to `x`, each against another way to compute it.

    `q` is the draw of z, `p_y` Eq. (6), `drawn` = f^-1(y) Eq. (7), `log_p_x` (N,) Eq. (8); `model.nats` draws the same
    x and z from a generator of `seed`.
    """
    exact_flow = copy.deepcopy(model.flow).double()
    with torch.no_grad():
        round_trip = (model.flow(drawn)[0] - y).abs().max()
        f_x = model.flow(x)[0]
        feature = p_y.log_prob(f_x)[0].sum()
        loss = losses.gaussian_log_density(f_x, p_y.mean, p_y.stddev.log())[0]
        own = model.nats(photos, generator=torch.Generator().manual_seed(seed))[0]
        density = model.log_density(x, q.z)[0]
    patch = x[:1, :, :PATCH, :PATCH].double()
    matrix = jacobian(lambda v: exact_flow(v)[0], patch[0])
    exact = log_abs_det(matrix)
    patch_log_det = log_det[0] if x.shape[-1] == PATCH else exact_flow(patch)[1][0]
    nats = x[0].numel() * LN_LEVELS - log_p_x[0] - q.log_ratio[0]
    pairs: list[tuple[str, Tensor, Tensor | float]] = [
        ("(6) ln p(y|z): sum of normals; the training loss", feature, loss),
        (f"ln |det ∂f/∂x|: the sum of ln s; {len(matrix)} × {len(matrix)} by autograd", patch_log_det, exact),
        ("(8) ln p(x|z): as above; model.log_density", log_p_x[0], density),
        ("L_C: from (8), ln p(z) and ln q(z|x); model.nats", nats, own),
    ]
    lines: list[tuple[str, Tensor, Tensor | float | str, Tensor | float]]
    lines = [(name, a, b, float(a) - float(b)) for name, a, b in pairs]
    lines.insert(1, ("(7) largest |y|; error of f(f⁻¹(y))", y.abs().max(), "", round_trip))
    columns = {"Value: one way; another": None, "one": 3, "another": 3, "difference": difference}
    return table("The first test image, nats", columns, lines)


# --- two spaces ----------------------------------------------------------------------------------------------


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
