"""Lesson 05, the effect of f on small changes of an image: singular values of its Jacobian, gain by frequency."""

from collections.abc import Mapping

import numpy as np
import torch
from IPython.display import HTML
from scipy.fft import idctn
from torch import Tensor

from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.report import plots
from cqlib.report.cells import legend, log_scale, mark, picture, stretched, subplots

OfImages = Mapping[int, Tensor]
"""By the index of the test image: df/dx (D, D); its singular values (D,), the largest first; or the directions of image
space that these stretch, (D, C, S, S)."""


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


def spectrum(stretch: OfImages) -> HTML:
    """The singular values of df/dx at some images, in order."""
    with subplots(4.9, 3.1) as (figure, ax):
        for k, (i, values) in enumerate(stretch.items()):
            ax.plot(range(1, len(values) + 1), values, color=plots.SERIES[5 + k], label=f"image {i}")
        ax.axhline(1, color=plots.FAINT, linewidth=0.8)
        log_scale(ax)
        ax.set(xlabel="direction, in the order of its stretching", ylabel="singular value of ∂f/∂x")
        legend(ax)
    words = "; ".join(f"image {i}: {values[0]:.1f} to {values[-1]:.2f}" for i, values in stretch.items())
    return picture(figure, f"Singular values of the Jacobian of f, the largest first. {words}")


def direction_board(directions: OfImages, n: int = 9) -> HTML:
    """The n directions of image space that f stretches most, and the n that it shrinks most."""
    board = {
        "stretched most": {f"image {i}": stretched(each[:n]) for i, each in directions.items()},
        "shrunk most": {f"image {i}": stretched(each[-n:].flip(0)) for i, each in directions.items()},
    }
    alt = "Directions that f stretches are fine checks and colour differences; directions that it shrinks are smooth"
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)


def frequency_gain(matrices: OfImages, of: Reconstruction) -> HTML:
    """By spatial frequency: how much f enlarges a wave (mean over images), how large that wave is in the residuals of
    test images, and the product, which is flat where f whitens."""
    _, channels, side, _ = of.x.shape
    basis, frequency = waves(channels, side)
    flat = basis.flatten(1)
    gains = torch.stack([(matrix @ flat.T).square().sum(0) for matrix in matrices.values()]).sum(0)
    gains = gains / len(matrices)
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
