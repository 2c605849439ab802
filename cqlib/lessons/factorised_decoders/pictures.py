"""Lesson 03, pictures: decoders with independent pixels, Eq. (5), and the cost of that. One z ~ q(z|x) per image."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from cqlib.lessons.factorised_decoders import residuals
from cqlib.lessons.factorised_decoders.residuals import Decoders, Reconstruction, Reconstructions, model_noise
from cqlib.pixels import to_uint8
from cqlib.report import plots
from cqlib.report.cells import number, panels, picture, stretched, system_style

PIXELS = ("table1/vae", "table1/cq")
FEATURES = ("table1/vae-f", "table1/cq-f")
"""Rows of Table 1 whose decoder factorises over pixels (`PIXELS`), and over features y = f(x) (`FEATURES`)."""
ROWS = (*PIXELS, *FEATURES)
DISTANCES = range(9)
DASHED = (plots.INK, "o", "--")


def _board(
    decoders: Decoders, seen: Reconstructions, side: int, show: Callable[[Reconstruction, Tensor], dict[str, Tensor]]
) -> Figure:
    """A row per decoder: the pictures that `show` makes from the first side^2 test images and draws of its noise."""
    firsts = {label: seen[label]["test"].first(side**2) for label in decoders}
    board = {label: show(first, model_noise(decoders[label], first)) for label, first in firsts.items()}
    return plots.sample_board(board, columns=side)


def decoder_board(decoders: Decoders, seen: Reconstructions) -> HTML:
    """Test images, their mu(z) and sigma(z), the noise sigma(z) eps, and the sum of mean and noise."""
    white = max(float(seen[label]["test"].log_sigma[:9].exp().quantile(0.98)) for label in decoders)

    def show(first: Reconstruction, noise: Tensor) -> dict[str, Tensor]:
        return {
            "image x": to_uint8(first.x),
            "μ(z)": to_uint8(first.mean),
            f"σ(z), white: {number(1.5 * white)}": (170 * first.log_sigma.exp() / white).clamp(max=255).to(torch.uint8),
            "σ(z) ε": stretched(noise, 1.0),
            "μ(z) + σ(z) ε": to_uint8(first.mean + noise),
        }

    alt = f"Test images, the mean that {', '.join(decoders)} give them, sigma, noise, and their sum, which is grainy"
    return picture(_board(decoders, seen, 3, show), alt)


def residual_board(decoders: Decoders, seen: Reconstructions) -> HTML:
    """Residuals of test images beside the noise of the decoder's model, each in units of sigma."""

    def show(first: Reconstruction, noise: Tensor) -> dict[str, Tensor]:
        real, believed = first.standardised, noise * (-first.log_sigma).exp()
        return {"real: (x − μ(z)) / σ(z)": stretched(real, 3.0), "believed: ε": stretched(believed, 3.0)}

    alt = "Residuals of real images, which show edges and patches of one colour, beside noise without structure"
    return picture(_board(decoders, seen, 4, show), alt)


def feature_board(decoders: Decoders, seen: Reconstructions) -> HTML:
    """With y = f(x): the image of the mean, a draw of p(x|z), its noise, and the residual of the real image."""
    if not decoders:
        return HTML("<p>No decoder with f is here: <code>./run_all.sh --only table1</code> trains two.</p>")

    def show(first: Reconstruction, noise: Tensor) -> dict[str, Tensor]:
        return {
            "image x": to_uint8(first.x),
            "f⁻¹(μ(z))": to_uint8(first.image_of_mean),
            "a draw f⁻¹(y)": to_uint8(first.image_of_mean + noise),
            "its noise, × 2": stretched(noise, 0.5),
            "real: x − f⁻¹(μ(z)), × 2": stretched(first.image_residual, 0.5),
        }

    alt = "Test images, means, draws, and the noise of the draws, which is smooth, beside what the means leave"
    return picture(_board(decoders, seen, 4, show), alt)


def linear_samples(draws: Mapping[str, Tensor], shape: Sequence[int]) -> HTML:
    """The linear decoder's means, and draws with either kind of noise: title -> flat images (N, D) of `shape`."""
    board = {title: to_uint8(x.view(-1, *shape)) for title, x in draws.items()}
    alt = "Samples from one set of codes: blurred means, the same under grainy noise, the same under smooth noise"
    return picture(plots.sample_board({"": board}, columns=4), alt)


def correlation_curves(decoders: Decoders, seen: Reconstructions) -> HTML:
    """The correlation of two values d pixels apart: of real residuals, and of the decoder's own noise."""
    lines, words = {}, []
    for label, decoder in decoders.items():
        reconstruction = seen[label]["test"]
        values = (reconstruction.image_residual, model_noise(decoder, reconstruction))
        real, noise = (residuals.distance_correlations(r, DISTANCES) for r in values)
        lines[label] = {"real images": (DISTANCES, real, *system_style(label), "-"),
                        "the decoder's noise": (DISTANCES, noise, *DASHED)}  # fmt: skip
        words.append(f"{label}: neighbours {real[1]:.2f} against {noise[1]:.2f}")
    figure = panels(lines, xlabel="distance d (pixels)", ylabel="correlation at distance d")
    return picture(figure, f"Correlation over distance of residuals and of noise. {'; '.join(words)}")


def tails(whitened: Mapping[str, Tensor]) -> HTML:
    """Densities of whitened residuals (N, D) by label, beside the standard normal."""
    edges = np.linspace(-8, 8, 65)
    middle, lines = (edges[1:] + edges[:-1]) / 2, {}
    for label, white in whitened.items():
        density = np.histogram(white.numpy(), edges, density=True)[0]
        name = f"{label}: {number(residuals.excess_kurtosis(white), 1)}"
        lines[name] = (middle[density > 0], density[density > 0], *system_style(label), "-")
    words, near = "; ".join(lines), middle[np.abs(middle) < 5]
    lines["standard normal: 0"] = (near, np.exp(-(near**2) / 2) / np.sqrt(2 * np.pi), plots.INK, "", "--")
    x, y = "whitened residual (standard deviations)", "density"
    figure = panels({"": lines}, xlabel=x, ylabel=y, width=4.5, height=3.2)
    figure.axes[0].set(yscale="log", ylim=(1e-6, 3))
    box = figure.axes[0].get_legend()
    assert box is not None
    box.set_title("excess kurtosis")
    box.set_loc("lower center")  # between the tails of the normal, where no line is
    return picture(figure, f"Whitened residuals have far more large values than a Gaussian. Excess kurtosis: {words}")
