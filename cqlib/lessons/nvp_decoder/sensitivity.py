"""Lesson 05, what f does to small changes of an image: singular values of its Jacobian, and its gain by frequency.

With df/dx = U diag(s) V^T, a change along the column v_i of V comes out s_i times as large, and ln |det| = sum ln s_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from IPython.display import HTML
from scipy.fft import idctn
from torch import Tensor

from cqlib.lessons.coupling_layers.jacobians import jacobian
from cqlib.lessons.factorised_decoders.residuals import Explained
from cqlib.models.hybrid import HybridModel
from cqlib.report import plots
from cqlib.report.cells import difference, legend, log_scale, mark, number, picture, stretched, table


@dataclass(frozen=True)
class Sensitivity:
    """df/dx at one image (C, S, S): `matrix` (D, D), singular values (D,), the largest first, and the directions of
    image space that they stretch, (D, C, S, S); `log_det` as f itself says. All fp64 but the last."""

    matrix: Tensor
    values: Tensor
    directions: Tensor
    log_det: float


def at(model: HybridModel, x: Tensor) -> Sensitivity:
    """Of the model's f at x (C, S, S)."""
    matrix = jacobian(lambda v: model.features(v)[0], x).double()
    _, values, directions = torch.linalg.svd(matrix)
    with torch.no_grad():
        log_det = float(model.features(x[None])[1])
    return Sensitivity(matrix, values, directions.view(-1, *x.shape), log_det)


def waves(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of image space, the cosine waves of each colour, (D, C, S, S) float64, and their spatial
    frequencies sqrt(i^2 + j^2) / 2 in cycles per image side, (D,)."""
    channels, size = shape[0], shape[1]
    single = idctn(np.eye(size * size).reshape(-1, size, size), axes=(1, 2), norm="ortho")
    basis = np.zeros((channels, size * size, channels, size, size))
    for c in range(channels):
        basis[c, :, c] = single
    i, j = np.mgrid[:size, :size]
    frequency = np.tile(np.hypot(i, j).ravel() / 2, channels)
    return torch.from_numpy(basis.reshape(-1, channels, size, size)), torch.from_numpy(frequency)


def by_frequency(energy: Tensor, frequency: Tensor) -> tuple[list[float], list[float]]:
    """Mid-frequencies of bands one cycle wide, and the root of the mean of `energy` (D,) in each."""
    top = int(frequency.max())
    middle, values = [], []
    for low in range(top):
        inside = (frequency >= low) & (frequency < low + 1)
        middle.append(low + 0.5)
        values.append(float(energy[inside].mean().sqrt()))
    return middle, values


# --- to see --------------------------------------------------------------------------------------------------


def spectrum(found: dict[int, Sensitivity]) -> HTML:
    """The singular values of df/dx at some images, in order."""
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(4.9, 3.1)
        ax = figure.subplots()
        for k, (i, s) in enumerate(found.items()):
            ax.plot(range(1, len(s.values) + 1), s.values, color=plots.SERIES[5 + k], label=f"image {i}")
        ax.axhline(1, color=plots.FAINT, linewidth=0.8)
        log_scale(ax)
        ax.set_xlabel("direction, in the order of its stretching")
        ax.set_ylabel("singular value of ∂f/∂x")
        legend(ax)
    words = "; ".join(f"image {i}: {s.values[0]:.1f} to {s.values[-1]:.2f}" for i, s in found.items())
    return picture(figure, f"Singular values of the Jacobian of f, the largest first. {words}")


def determinants(found: dict[int, Sensitivity]) -> HTML:
    """sum ln s_i against the log-determinant that f returns."""
    lines = []
    for i, s in found.items():
        total = float(s.values.log().sum())
        lines.append([f"image {i}", number(float(s.values[0])), number(float(s.values[-1])), number(total, 3),
                      number(s.log_det, 3), difference(total - s.log_det)])  # fmt: skip
    head = ["At", "largest", "smallest", "Σ ln of singular values", "Σ ln s of the couplings", "difference"]
    return table("Singular values of ∂f/∂x, and its determinant", head, lines)


def directions(found: dict[int, Sensitivity], n: int = 9) -> HTML:
    """The n directions of image space that f stretches most, and the n that it shrinks most."""
    board = {
        "stretched most": {f"image {i}": stretched(s.directions[:n]) for i, s in found.items()},
        "shrunk most": {f"image {i}": stretched(s.directions[-n:].flip(0)) for i, s in found.items()},
    }
    alt = "Directions that f stretches are fine checks and colour differences; directions that it shrinks are smooth"
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)


def gain(found: dict[int, Sensitivity], of: Explained) -> HTML:
    """By spatial frequency: how much f enlarges a wave (mean over images), how large that wave is in the residuals of
    test images, and the product, which is flat where f whitens."""
    basis, frequency = waves(of.x.shape[1:])
    flat = basis.flatten(1)
    gains = sum((s.matrix @ flat.T).square().sum(0) for s in found.values()) / len(found)
    residual = of.left_in_image.flatten(1).double()
    energy = ((residual - residual.mean(0)) @ flat.T).square().mean(0)
    middle, of_f = by_frequency(gains, frequency)
    _, of_residual = by_frequency(energy, frequency)
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(5.4, 3.4)
        ax = figure.subplots()
        product = [a * b for a, b in zip(of_f, of_residual, strict=True)]
        for values, label, (colour, marker) in (
            (of_f, "gain of f", mark("CQ-F")),
            (of_residual, "residual in image space", (plots.INK, "o")),
            (product, "product", plots.mark(6)),
        ):
            ax.plot(middle, values, color=colour, marker=marker, markersize=4, label=label)
        log_scale(ax)
        ax.set_xlabel("spatial frequency (cycles per image side)")
        ax.set_ylabel("gain, or root mean square")
        legend(ax)
    words = f"gain {of_f[0]:.2f} to {of_f[-1]:.2f}, residual {of_residual[0]:.2f} to {of_residual[-1]:.2f}"
    return picture(figure, f"From low to high frequencies: {words}, product {product[0]:.2f} to {product[-1]:.2f}")
