"""Lesson 05, the effect of f on small changes of an image: singular values of its Jacobian, and its gain by frequency.

With df/dx = U diag(s) V^T, a change along the column v_i of V is stretched s_i times, and ln |det| = sum ln s_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from IPython.display import HTML
from scipy.fft import idctn
from torch import Tensor

from cqlib.lessons.coupling_layers.jacobians import jacobian
from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.models.hybrid import HybridModel
from cqlib.report import plots
from cqlib.report.cells import legend, log_scale, mark, picture, stretched, subplots


@dataclass(frozen=True)
class Sensitivity:
    """df/dx at one image (C, S, S): `matrix` (D, D), singular values (D,), the largest first, and the directions of
    image space that they stretch, (D, C, S, S); `log_det` as f returns it. All fp64 but the last."""

    matrix: Tensor
    values: Tensor
    directions: Tensor
    log_det: float


Sensitivities = Mapping[int, Sensitivity]
"""By the index of the test image."""


def sensitivity(model: HybridModel, x: Tensor) -> Sensitivity:
    """Of the model's f at x (C, S, S)."""
    matrix = jacobian(lambda v: model.features(v)[0], x).double()
    _, values, directions = torch.linalg.svd(matrix)
    with torch.no_grad():
        log_det = float(model.features(x[None])[1])
    return Sensitivity(matrix, values, directions.view(-1, *x.shape), log_det)


def waves(channels: int, size: int) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of image space, the cosine waves of each colour, (D, C, S, S) float64, and their spatial
    frequencies sqrt(i^2 + j^2) / 2 in cycles per image side, (D,)."""
    single = idctn(np.eye(size * size).reshape(-1, size, size), axes=(1, 2), norm="ortho")
    basis = np.zeros((channels, size * size, channels, size, size))
    for c in range(channels):
        basis[c, :, c] = single
    i, j = np.mgrid[:size, :size]
    frequency = np.tile(np.hypot(i, j).ravel() / 2, channels)
    return torch.from_numpy(basis.reshape(-1, channels, size, size)), torch.from_numpy(frequency)


def band_means(energy: Tensor, frequency: Tensor) -> list[float]:
    """The root of the mean of `energy` (D,) in each band of frequencies, [0, 1), [1, 2), …, one cycle wide."""
    lows = range(int(frequency.max()))
    return [float(energy[(frequency >= low) & (frequency < low + 1)].mean().sqrt()) for low in lows]


# --- pictures and tables -------------------------------------------------------------------------------------


def spectrum(sensitivities: Sensitivities) -> HTML:
    """The singular values of df/dx at some images, in order."""
    with subplots(4.9, 3.1) as (figure, ax):
        for k, (i, s) in enumerate(sensitivities.items()):
            ax.plot(range(1, len(s.values) + 1), s.values, color=plots.SERIES[5 + k], label=f"image {i}")
        ax.axhline(1, color=plots.FAINT, linewidth=0.8)
        log_scale(ax)
        ax.set(xlabel="direction, in the order of its stretching", ylabel="singular value of ∂f/∂x")
        legend(ax)
    words = "; ".join(f"image {i}: {s.values[0]:.1f} to {s.values[-1]:.2f}" for i, s in sensitivities.items())
    return picture(figure, f"Singular values of the Jacobian of f, the largest first. {words}")


def direction_board(sensitivities: Sensitivities, n: int = 9) -> HTML:
    """The n directions of image space that f stretches most, and the n that it shrinks most."""
    board = {
        "stretched most": {f"image {i}": stretched(s.directions[:n]) for i, s in sensitivities.items()},
        "shrunk most": {f"image {i}": stretched(s.directions[-n:].flip(0)) for i, s in sensitivities.items()},
    }
    alt = "Directions that f stretches are fine checks and colour differences; directions that it shrinks are smooth"
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)


def frequency_gain(sensitivities: Sensitivities, of: Reconstruction) -> HTML:
    """By spatial frequency: how much f enlarges a wave (mean over images), how large that wave is in the residuals of
    test images, and the product, which is flat where f whitens."""
    _, channels, side, _ = of.x.shape
    basis, frequency = waves(channels, side)
    flat = basis.flatten(1)
    gains = torch.stack([(s.matrix @ flat.T).square().sum(0) for s in sensitivities.values()]).sum(0)
    gains = gains / len(sensitivities)
    residual = of.image_residual.flatten(1).double()
    energy = ((residual - residual.mean(0)) @ flat.T).square().mean(0)
    gain, size = band_means(gains, frequency), band_means(energy, frequency)
    product = [a * b for a, b in zip(gain, size, strict=True)]
    lines = (
        (gain, "gain of f", mark("CQ-F")),
        (size, "residual in image space", (plots.INK, "o")),
        (product, "product", plots.mark(6)),
    )
    with subplots(5.4, 3.4) as (figure, ax):
        for values, label, (colour, marker) in lines:
            middle = [low + 0.5 for low in range(len(values))]
            ax.plot(middle, values, color=colour, marker=marker, markersize=4, label=label)
        log_scale(ax)
        ax.set(xlabel="spatial frequency (cycles per image side)", ylabel="gain, or root mean square")
        legend(ax)
    words = f"gain {gain[0]:.2f} to {gain[-1]:.2f}, residual {size[0]:.2f} to {size[-1]:.2f}"
    return picture(figure, f"From low to high frequencies: {words}, product {product[0]:.2f} to {product[-1]:.2f}")
