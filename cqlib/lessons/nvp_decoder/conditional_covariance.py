"""Lesson 05, images of one code: p(x|z) does not factorise over pixels, and f gives it a covariance of its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from IPython.display import HTML

from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.pixels import to_uint8
from cqlib.report.cells import SIGNED, bare, picture, subplots

Conditionals = Mapping[int, Any]
"""The notebook's draws of p(x|z) by the index of the test image: `x` (n, C, S, S), `centre` (C, S, S), and the
covariances (D, D) `covariance` and `linear_covariance`."""


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
