"""Lesson 05, images of one code: p(x|z) does not factorise over pixels, and f gives it a covariance of its own.

To first order about x0 = f^-1(mu(z)), with J = df/dx at x0, a draw is x0 + J^-1 (sigma(z) eps), so that

    Cov(x|z) ~ J^-1 diag(sigma(z)^2) J^-T

Jacobians are of whole images here: D backward passes, for images of 16 pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.lessons.coupling_layers.jacobians import jacobian
from cqlib.lessons.factorised_decoders import residuals
from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.models.hybrid import HybridModel
from cqlib.pixels import to_uint8
from cqlib.report.cells import SIGNED, bare, picture, subplots

DRAWS = 3000


@dataclass(frozen=True)
class Conditional:
    """Draws of p(x|z) for one z: `x` (n, C, S, S), the mean's image `centre` (C, S, S), J there (D, D) in fp64, and
    ln p_x(x|z) (n,) of the draws by Eq. (8)."""

    x: Tensor
    centre: Tensor
    sigma: Tensor
    jacobian: Tensor
    log_p: Tensor

    @cached_property
    def covariance(self) -> Tensor:
        """Of the draws, (D, D)."""
        e = (self.x - self.x.mean(0)).flatten(1).double()
        return e.T @ e / len(e)

    @cached_property
    def linear_covariance(self) -> Tensor:
        """J^-1 diag(sigma^2) J^-T, (D, D)."""
        root = torch.linalg.solve(self.jacobian, torch.diag(self.sigma))
        return root @ root.T

    @property
    def linear_log_p(self) -> Tensor:
        """ln N(x; x0, J^-1 diag(sigma^2) J^-T) of the draws, (n,)."""
        e = (self.x - self.centre).flatten(1).double() @ self.jacobian.T / self.sigma
        log_det = torch.linalg.slogdet(self.jacobian)[1] - self.sigma.log().sum()
        return -0.5 * e.square().sum(1) + log_det - 0.5 * len(self.sigma) * math.log(2 * math.pi)


Conditionals = Mapping[int, Conditional]
"""By the index of the test image."""


def conditional(model: HybridModel, of: Reconstruction, i: int, n: int = DRAWS, seed: int = 0) -> Conditional:
    """n draws for the code of the i-th image of `of`."""
    generator = torch.Generator().manual_seed(seed)
    mean, log_sigma, centre = of.mean[i : i + 1], of.log_sigma[i : i + 1], of.image_of_mean[i]
    parts = []
    with torch.no_grad():
        for _ in range(math.ceil(n / residuals.BATCH)):
            y = mean + log_sigma.exp() * torch.randn(residuals.BATCH, *centre.shape, generator=generator)
            x = model.image(y)
            log_det = model.features(x)[1]
            parts.append((x, losses.decoder_log_density(y, log_det, mean, log_sigma)))
    x, log_p = (torch.cat(column)[:n] for column in zip(*parts, strict=True))
    matrix = jacobian(lambda v: model.features(v)[0], centre).double()
    return Conditional(x, centre, log_sigma.exp().flatten().double(), matrix, log_p.double())


def pixel_correlations(conditionals: Conditionals, of: Reconstruction, channel: int = 1) -> HTML:
    """For each image: it, a draw, the noise's standard deviation, and the correlation of the middle pixel's green with
    the green of all others: by draws, and to first order. Under independent pixels the last two would be a single
    dot."""
    size = of.x.shape[-1]
    middle = (channel * size + size // 2) * size + size // 2
    titles = ("image x", "f⁻¹(μ(z))", "a draw", "noise of x|z, sd", "correlation, draws", "J⁻¹ σ² J⁻ᵀ")
    deviations = {i: c.covariance.diagonal().sqrt() for i, c in conditionals.items()}
    limit = max(float(deviation.max()) for deviation in deviations.values())
    rows = len(conditionals)
    with subplots(8.6, 1.3 * rows + 0.3, rows, len(titles), squeeze=False) as (figure, axes):
        for row, (i, c) in zip(axes, conditionals.items(), strict=True):
            for ax, pixels in zip(row, (of.x[i], c.centre, c.x[0]), strict=False):
                ax.imshow(to_uint8(pixels).permute(1, 2, 0), interpolation="none")
            row[3].imshow(deviations[i].view(c.centre.shape).mean(0), vmin=0, vmax=limit, interpolation="none")
            for ax, matrix in ((row[4], c.covariance), (row[5], c.linear_covariance)):
                r = matrix[middle] / (matrix.diagonal() * matrix[middle, middle]).sqrt()
                image = ax.imshow(r.view(c.centre.shape)[channel], cmap=SIGNED, vmin=-1, vmax=1, interpolation="none")
            row[0].set_ylabel(f"image {i}")
        for ax in axes.flat:
            bare(ax)
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title, fontsize=8.5)
        figure.colorbar(image, ax=list(axes[:, -1]), label="correlation", shrink=0.9)
    alt = (
        "Images, means, draws, the size of the noise, and the correlation of the middle pixel with all others: a spot "
        "a few pixels wide whose shape differs from image to image, and which the first-order formula gives as well"
    )
    return picture(figure, alt)


def images_by_contrast(of: Reconstruction) -> list[int]:
    """Three test images of low, medium and high contrast within a colour, among the first 100; the last of them alone
    where images are so large that a Jacobian takes minutes."""
    contrast = of.x[:100].std((2, 3)).mean(1)
    ranks = np.array([0.1, 0.6, 0.95])[0 if of.x.shape[-1] <= 16 else 2 :] * (len(contrast) - 1)
    return contrast.argsort()[torch.as_tensor(ranks.astype(int))].tolist()
