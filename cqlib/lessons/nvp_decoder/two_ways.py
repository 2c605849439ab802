"""Lesson 05: Eqs. (6) to (8) held against other ways to compute them, images and their features, and what f takes away.

p_y(y|z) = N(y; mu(z), diag(sigma(z)^2)),   x = f^-1(y),   p_x(x|z) = p_y(f(x)|z) |det df/dx|
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from IPython.display import HTML
from torch import Tensor
from torch.distributions import Normal

from cqlib import losses
from cqlib.data.dataset import Dataset
from cqlib.lessons import at_hand
from cqlib.lessons.at_hand import Found
from cqlib.lessons.coupling_layers.jacobians import jacobian, log_abs_det
from cqlib.lessons.factorised_decoders import residuals
from cqlib.lessons.factorised_decoders.pictures import DISTANCES
from cqlib.lessons.factorised_decoders.residuals import Explained
from cqlib.models.hybrid import HybridModel
from cqlib.models.variational import Inference
from cqlib.pixels import LN_LEVELS, to_uint8
from cqlib.report import plots
from cqlib.report.cells import difference, mark, number, panels, picture, stretched, table

ROWS = ("table1/cq-f", "table1/vae-f")
"""The systems with f of Table 1; the lesson is about the first."""
PATCH = 16
"""Side of the patch whose Jacobian is computed: f is convolutional, and takes images of any even size."""


def systems(images: Dataset, *, profile: str, seeds: list[int], runs_dir: Path | str) -> dict[str, Found]:
    """Row -> what is here of `ROWS`; CQ-F untrained where no trained one is here."""
    found = {row: at_hand.find(row, images, profile=profile, seeds=seeds, runs_dir=runs_dir) for row in ROWS}
    found[ROWS[0]] = found[ROWS[0]] or at_hand.untrained(ROWS[0], images)
    return {row: here for row, here in found.items() if here}


# --- the equations -------------------------------------------------------------------------------------------


def check(
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
    """What the notebook computed of uint8 `photos`, dequantised to `x`, each value against another way to it.

    `q` is the draw of z, `p_y` Eq. (6), `drawn` = f^-1(y) Eq. (7), `log_p_x` (N,) Eq. (8); `model.nats` draws the same
    x and z from a generator of `seed`.
    """
    with torch.no_grad():
        there = model.flow(drawn)[0]
        feature = p_y.log_prob(model.flow(x)[0])[0].sum()
        loss = losses.gaussian_log_density(model.flow(x)[0], p_y.mean, p_y.stddev.log())[0]
        own = model.nats(photos, generator=torch.Generator().manual_seed(seed))[0]
        density = model.log_density(x, q.z)[0]
    matrix = jacobian(lambda v: exact(model)(v)[0], x[0, :, :PATCH, :PATCH].double())
    patch = log_det[0] if x.shape[-1] == PATCH else exact(model)(x[:1, :, :PATCH, :PATCH].double())[1][0]
    nats = x[0].numel() * LN_LEVELS - log_p_x[0] - q.log_ratio[0]
    lines = [
        ["(6) ln p(y|z): sum of normals; the training loss", feature, loss],
        ["(7) largest |y|; error of f(f⁻¹(y))", y.abs().max(), None],
        [f"ln |det ∂f/∂x|: the sum of ln s; {len(matrix)} × {len(matrix)} by autograd", patch, log_abs_det(matrix)],
        ["(8) ln p(x|z): as above; model.log_density", log_p_x[0], density],
        ["L_C: from (8), ln p(z) and ln q(z|x); model.nats", nats, own],
    ]
    shown = []
    for name, a, b in lines:
        other = "" if b is None else number(float(b), 3)
        error = float((there - y).abs().max()) if b is None else float(a) - float(b)
        shown.append([name, number(float(a), 3), other, difference(error)])
    return table("The first test image, nats", ["Value: one way; another", "one", "another", "difference"], shown)


def exact(model: HybridModel) -> torch.nn.Module:
    """f in fp64, a copy."""
    return copy.deepcopy(model.flow).double()


# --- two spaces ----------------------------------------------------------------------------------------------


@torch.no_grad()
def spaces(model: HybridModel, of: Explained, n: int = 16, seed: int = 0) -> HTML:
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
    """n draws of the model from z ~ p(z): the mean in image space, then y and x = f^-1(y)."""
    generator = torch.Generator().manual_seed(seed)
    mean, log_sigma = model.decode(model.prior(n, generator))
    y = mean + log_sigma.exp() * torch.randn(mean.shape, generator=generator)
    board = {
        "": {
            "y ~ p(y|z)": stretched(y, 0.8),
            "x = f⁻¹(y)": to_uint8(model.image(y)),
            "f⁻¹(μ(z))": to_uint8(model.image(mean)),
        }
    }
    return picture(plots.sample_board(board, columns=round(n**0.5)), "Draws in feature space and in image space")


# --- what f takes away ---------------------------------------------------------------------------------------


def explained(found: Mapping[str, Found], images: Dataset) -> dict[str, Explained]:
    """Label -> the test images as that system explains them."""
    return {here.label: residuals.explain(here.system, images.test.images) for here in found.values()}


def removed(seen: Mapping[str, Explained]) -> HTML:
    """The correlation of residuals over distance, in image space and in feature space."""
    plotted, words = {}, []
    for label, of in seen.items():
        colour, marker = mark(label)
        inside, outside = (
            residuals.by_distance(of.standard, DISTANCES),
            residuals.by_distance(of.left_in_image, DISTANCES),
        )
        plotted[label] = {
            "in image space": (DISTANCES, outside, plots.INK, "o", "--"),
            "in feature space": (DISTANCES, inside, colour, marker, "-"),
        }
        words.append(f"{label}: neighbours {outside[1]:.2f} in image space, {inside[1]:.2f} in feature space")
    figure = panels(plotted, xlabel="distance d (pixels)", ylabel="correlation of residuals")
    return picture(figure, f"Residuals over distance. {'; '.join(words)}")


def statistics(seen: Mapping[str, Explained]) -> HTML:
    """Correlation of neighbours and of colours, and excess kurtosis: of images, features, and residuals in either."""
    lines = []
    for label, of in seen.items():
        for name, values in (
            ("image x", of.x),
            ("features f(x)", of.y),
            ("x − f⁻¹(μ(z))", of.left_in_image),
            ("(f(x) − μ(z)) / σ(z)", of.standard),
        ):
            found = (
                residuals.by_distance(values, [1])[0],
                residuals.between_colours(values),
                residuals.excess_kurtosis(values),
            )
            lines.append([f"{label}: {name}", *(number(v) for v in found)])
    head = ["Test images", "correlation of neighbours", "of colours", "excess kurtosis"]
    return table("What f takes away; independent Gaussian values would have 0, 0, 0", head, lines)
