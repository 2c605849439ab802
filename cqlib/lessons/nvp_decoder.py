"""Lesson 05: images beside their features, what f takes away, images of one code, and what f stretches."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from IPython.display import HTML
from scipy.fft import idctn
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.experiments.load import ModelAndData
from cqlib.experiments.rows import label_of
from cqlib.experiments.selection import Selection
from cqlib.lessons.factorised_decoders import residuals
from cqlib.lessons.factorised_decoders.pictures import DASHED, DISTANCES
from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.lessons.models import trained_models, untrained_model
from cqlib.metrics.quantities import QUANTITIES, heading
from cqlib.models.cq import CoverageQuality
from cqlib.pixels import to_uint8
from cqlib.report import plots
from cqlib.report.cells import SIGNED, bare, log_scale, panels, picture, stretched, subplots, system_style, table
from cqlib.report.run_sets import ORIGINS, RunSet

ROWS = ("table1/cq-f", "table1/vae-f")
PAIRS = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f")
"""ROWS: the systems of Table 1 with f, first the one that the lesson is about. PAIRS: each after the one without f."""
OfImages = Mapping[int, Tensor]
"""Index of a test image -> a tensor that belongs to it."""


def models_with_f(selection: Selection, images: Dataset) -> dict[str, ModelAndData]:
    """Row -> model, of those `ROWS` that have one; an untrained CQ-F where there is no trained one."""
    models = trained_models(selection, images)
    return models if ROWS[0] in models else {ROWS[0]: untrained_model(ROWS[0], images)} | models


def reconstructions(models: Mapping[str, ModelAndData], images: Dataset) -> dict[str, Reconstruction]:
    """Label of a model -> its `Reconstruction` of the test images."""
    return {m.name: residuals.reconstruct(m.model, images.test.images) for m in models.values()}


@torch.no_grad()
def spaces(model: CoverageQuality, reconstruction: Reconstruction) -> HTML:
    """Test images x, the means mu(z) of their codes and draws y ~ N(mu(z), sigma(z)), in image and in feature space."""
    reconstruction = reconstruction.first(16)
    y = reconstruction.draw(torch.Generator().manual_seed(0))
    images = {"x": reconstruction.x, "f⁻¹(μ(z))": reconstruction.image_of_mean, "f⁻¹(y), drawn": model.image(y)}
    features = {"f(x)": reconstruction.y, "μ(z)": reconstruction.mean, "y ~ N(μ(z), σ²(z))": y}
    board = {
        "image space": {name: to_uint8(values) for name, values in images.items()},
        "feature space": {name: stretched(values, 0.8) for name, values in features.items()},
    }
    alt = "Test images, means and draws: natural in image space; in feature space edges stand out"
    return picture(plots.sample_board(board, columns=4), alt)


@torch.no_grad()
def samples(model: CoverageQuality) -> HTML:
    """For z ~ p(z), a draw y ~ N(mu(z), sigma(z)), its image x = f^-1(y), and f^-1(mu(z)), the image without noise."""
    generator = torch.Generator().manual_seed(0)
    z = model.prior(36, generator)
    y, mean = model.sample_features(z, 1.0, generator), model.decode(z)[0]
    images = {"x = f⁻¹(y)": to_uint8(model.image(y)), "f⁻¹(μ(z))": to_uint8(model.image(mean))}
    board = plots.sample_board({"": {"y ~ p(y|z)": stretched(y, 0.8), **images}}, columns=6)
    return picture(board, "Draws in feature space, their images, and the images of the means of the same codes")


def residual_correlations(seen: Mapping[str, Reconstruction]) -> HTML:
    """The correlation of residuals over distance, in image space and in feature space."""
    lines, words = {}, []
    for label, reconstruction in seen.items():
        in_spaces = reconstruction.image_residual, reconstruction.standardised
        image, features = (residuals.distance_correlations(residual, DISTANCES) for residual in in_spaces)
        lines[label] = {"in image space": (DISTANCES, image, *DASHED),
                        "in feature space": (DISTANCES, features, *system_style(label), "-")}  # fmt: skip
        words.append(f"{label}: neighbours {image[1]:.2f} in image space, {features[1]:.2f} in feature space")
    figure = panels(lines, xlabel="distance d (pixels)", ylabel="correlation of residuals")
    return picture(figure, f"Residuals over distance. {'; '.join(words)}")


def images_by_contrast(reconstruction: Reconstruction) -> list[int]:
    """Indices of three of the first 100 test images, of low, medium and high contrast within a colour; of the last one
    alone for images of more than 16 pixels a side, where a Jacobian takes minutes."""
    contrast = reconstruction.x[:100].std((2, 3)).mean(1)
    shares = (0.1, 0.6, 0.95) if reconstruction.x.shape[-1] <= 16 else (0.95,)
    return [int(contrast.argsort()[int(share * (len(contrast) - 1))]) for share in shares]


def pixel_correlations(conditionals: Mapping[int, Any], reconstruction: Reconstruction) -> HTML:
    """For each test image by its index: the image, f^-1(mu(z)), a draw, the noise's standard deviation, and the
    correlation of the middle pixel's green with the green of all others, from draws and to first order: a single dot if
    pixels were independent. `conditionals` are the notebook's draws of p(x|z) for the image's code: `x` (n, C, S, S),
    `centre` (C, S, S), `covariance` and `linear_covariance` (D, D)."""
    size, rows, green = reconstruction.x.shape[-1], len(conditionals), 1
    middle = (green * size + size // 2) * size + size // 2
    limit = max(float(c.covariance.diagonal().max().sqrt()) for c in conditionals.values())
    titles = ("image x", "f⁻¹(μ(z))", "a draw", f"noise, sd 0 to {limit:.2f}", "correlation, draws", "J⁻¹ σ² J⁻ᵀ")
    with subplots(8.6, 1.3 * rows + 0.3, rows, len(titles), squeeze=False) as (figure, axes):
        for row, (i, c) in zip(axes, conditionals.items(), strict=True):
            for ax, pixels in zip(row, (reconstruction.x[i], c.centre, c.x[0]), strict=False):
                ax.imshow(to_uint8(pixels).permute(1, 2, 0), interpolation="none")
            deviation = c.covariance.diagonal().sqrt().view(c.centre.shape)
            row[3].imshow(deviation.mean(0), vmin=0, vmax=limit, interpolation="none")
            for ax, matrix in zip(row[4:], (c.covariance, c.linear_covariance), strict=True):
                r = matrix[middle] / (matrix.diagonal() * matrix[middle, middle]).sqrt()
                image = ax.imshow(r.view(c.centre.shape)[green], cmap=SIGNED, vmin=-1, vmax=1, interpolation="none")
            row[0].set_ylabel(f"image {i}")
        for ax in axes.flat:
            bare(ax)
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title, fontsize=8.5)
        figure.colorbar(image, ax=list(axes[:, -1]), label="correlation", shrink=0.9)
    alt = "Images, means, draws, the size of the noise, and the correlation of the middle pixel with all others: a "
    alt += "spot a few pixels wide that differs from image to image, and which the first-order formula gives as well"
    return picture(figure, alt)


def spectrum(stretch: OfImages) -> HTML:
    """The singular values (D,) of df/dx at some images, the largest first."""
    lines = {f"image {i}": (range(1, len(values) + 1), values, plots.SERIES[5 + k], "", "-")
             for k, (i, values) in enumerate(stretch.items())}  # fmt: skip
    x, y = "direction, in the order of its stretching", "singular value of ∂f/∂x"
    figure = panels({"": lines}, xlabel=x, ylabel=y, width=4.5)
    figure.axes[0].axhline(1, color=plots.FAINT, linewidth=0.8)
    log_scale(figure.axes[0])
    words = "; ".join(f"image {i}: {values[0]:.1f} to {values[-1]:.2f}" for i, values in stretch.items())
    return picture(figure, f"Singular values of the Jacobian of f, the largest first. {words}")


def direction_board(directions: OfImages) -> HTML:
    """The first nine of directions (D, C, S, S), which f stretches most, and the last nine, which it shrinks most."""
    board = {
        "stretched most": {f"image {i}": stretched(images[:9]) for i, images in directions.items()},
        "shrunk most": {f"image {i}": stretched(images[-9:].flip(0)) for i, images in directions.items()},
    }
    alt = "Directions that f stretches are fine checks and colour differences; directions that it shrinks are smooth"
    return picture(plots.sample_board(board, columns=3), alt)


def waves(channels: int, size: int) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of image space, the cosine waves of each colour, (D, C, S, S) float64, and their spatial
    frequencies sqrt(i^2 + j^2) / 2 in cycles per image side, (D,)."""
    single = idctn(np.eye(size * size).reshape(-1, size, size), axes=(1, 2), norm="ortho")
    basis = np.einsum("cd,wij->cwdij", np.eye(channels), single)
    frequency = np.tile(np.hypot(*np.mgrid[:size, :size]).ravel() / 2, channels)
    return torch.from_numpy(basis.reshape(-1, channels, size, size)), torch.from_numpy(frequency)


def band_means(energy: Tensor, frequency: Tensor) -> list[float]:
    """The root of the mean `energy` (D,) in bands of `frequency` (D,), each one cycle wide: [0, 1), [1, 2), …"""
    lows = range(int(frequency.max()))
    return [float(energy[(frequency >= low) & (frequency < low + 1)].mean().sqrt()) for low in lows]


def frequency_gain(matrices: OfImages, reconstruction: Reconstruction) -> HTML:
    """Over the spatial frequency of a wave: how much f enlarges it, by the Jacobians `matrices` (D, D) (mean over
    images), how large it is in the residuals of test images, and the product, which is flat where f whitens."""
    basis, frequency = waves(*reconstruction.x.shape[1:3])
    flat, residual = basis.flatten(1), reconstruction.image_residual.flatten(1).double()
    gains = torch.stack([(matrix @ flat.T).square().sum(0) for matrix in matrices.values()]).mean(0)
    energy = ((residual - residual.mean(0)) @ flat.T).square().mean(0)
    gain, size = band_means(gains, frequency), band_means(energy, frequency)
    product, middle = [a * b for a, b in zip(gain, size, strict=True)], [low + 0.5 for low in range(len(gain))]
    lines = {
        "gain of f": (middle, gain, *system_style("CQ-F"), "-"),
        "residual in image space": (middle, size, plots.INK, "o", "-"),
        "product": (middle, product, *plots.colour_and_marker(6), "-"),
    }
    x, y = "spatial frequency (cycles per image side)", "gain, or root mean square"
    figure = panels({"": lines}, xlabel=x, ylabel=y, width=5.0, height=3.4)
    log_scale(figure.axes[0])
    words = f"gain {gain[0]:.2f} to {gain[-1]:.2f}, residual {size[0]:.2f} to {size[-1]:.2f}"
    return picture(figure, f"From low to high frequencies: {words}, product {product[0]:.2f} to {product[-1]:.2f}")


def scores(runs: RunSet) -> HTML:
    """BPD and the scores of samples of the systems with and without f; means over seeds with their spread."""
    stand_in = not any("FID" in runs.metrics_of(row) for row in PAIRS)
    names = ["BPD", *(QUANTITIES[name].names[stand_in] for name in ("is", "fid", "kid", "coverage"))]
    lines = [[label_of(row), *(runs.cell(row, name) for name in names), str(len(runs.done(row)))]
             for row in PAIRS]  # fmt: skip
    caption = f"With and without f ({runs.label}, {ORIGINS[runs.origin].lower()})"
    return table(caption, ["Model", *map(heading, names), "seeds"], lines)
