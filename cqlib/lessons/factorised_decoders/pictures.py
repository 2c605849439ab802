"""What lesson 03 shows: decoders with independent pixels, what that costs, and a Gaussian without that assumption.

Eq. (5): p(x|z) = N(x; mu(z), diag(sigma(z)^2)). All measurements are of one draw z ~ q(z|x) per image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.lessons.at_hand import Found
from cqlib.lessons.factorised_decoders import linear_decoder, residuals
from cqlib.lessons.factorised_decoders.linear_decoder import LinearDecoder, Moments
from cqlib.lessons.factorised_decoders.residuals import Explained
from cqlib.pixels import dequantise, to_uint8
from cqlib.report import plots
from cqlib.report.cells import legend, mark, number, panels, picture, stretched
from cqlib.util.errors import UserError

PIXELS = ("table1/vae", "table1/cq")
"""Rows of Table 1 whose decoder factorises over pixels."""
FEATURES = ("table1/vae-f", "table1/cq-f")
"""Rows whose decoder factorises over features y = f(x)."""
ROWS = (*PIXELS, *FEATURES)
DISTANCES = range(9)
Seen = Mapping[str, Mapping[str, Explained]]
TRAIN = 6000
"""Training images whose residuals are measured, at most."""


def moments(images: Dataset) -> Moments:
    """Mean and covariance of the training images. UserError where they are too few for a covariance."""
    needed = images.train.images[0].numel() + 1
    if len(images.train) < needed:
        raise UserError(f"{images.name}: a full covariance takes {needed:,} training images or more")
    return linear_decoder.moments(dequantise(images.train.images, generator=torch.Generator().manual_seed(0)))


def of_pixels(codes: int, of: Moments, found: Mapping[str, Found | None]) -> dict[str, Any]:
    """Label -> decoder with independent pixels: the linear one, fitted, and those of `PIXELS` that are here."""
    trained = {here.label: here.system for row in PIXELS if (here := found.get(row))}
    return {f"linear, {codes} codes": linear_decoder.fit(of, codes), **trained}


def of_features(found: Mapping[str, Found | None]) -> dict[str, Any]:
    """Label -> decoder with independent features, those of `FEATURES` that are here."""
    return {here.label: here.system for row in FEATURES if (here := found.get(row))}


def explained(decoders: Mapping[str, Any], images: Dataset) -> dict[str, dict[str, Explained]]:
    """Label -> "train" and "test": images as the decoder explains them."""
    parts = {"train": images.train.images[:TRAIN], "test": images.test.images}
    return {
        label: {name: residuals.explain(decoder, part, seed) for seed, (name, part) in enumerate(parts.items())}
        for label, decoder in decoders.items()
    }


@torch.no_grad()
def own_noise(decoder: Any, of: Explained, seed: int = 0) -> Tensor:
    """Draws x ~ p(x|z) less f^-1(mu(z)), in image space, (N, C, H, W), for the z of `of`."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(decoder, LinearDecoder):
        return decoder.noise_like(of.mean, generator)
    eps = torch.randn(of.mean.shape, generator=generator)
    drawn = [decoder.image(y) for y in (of.mean + of.log_sigma.exp() * eps).split(residuals.BATCH)]
    return torch.cat(drawn) - of.image_of_mean


# --- pictures ------------------------------------------------------------------------------------------------


def anatomy(decoders: Mapping[str, Any], seen: Seen, n: int = 9) -> HTML:
    """n test images, their mu(z) and sigma(z), the noise sigma(z) eps, and the sum of mean and noise."""
    board = {}
    white = max(float(seen[label]["test"].log_sigma[:n].exp().quantile(0.98)) for label in decoders)
    for label, decoder in decoders.items():
        of = seen[label]["test"]
        noise = own_noise(decoder, of)[:n]
        sigma = of.log_sigma[:n].exp()
        board[label] = {
            "image x": to_uint8(of.x[:n]),
            "μ(z)": to_uint8(of.mean[:n]),
            f"σ(z), white: {number(1.5 * white)}": (170 * sigma / white).clamp(max=255).to(torch.uint8),
            "σ(z) ε": stretched(noise, 1.0),
            "μ(z) + σ(z) ε": to_uint8(of.mean[:n] + noise),
        }
    alt = f"Test images, the mean that {', '.join(decoders)} give them, sigma, noise, and their sum, which is grainy"
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)


def mistakes(decoders: Mapping[str, Any], seen: Seen, n: int = 16) -> HTML:
    """What the decoders leave of test images beside the noise they believe in, each in units of sigma."""
    board = {}
    for label, decoder in decoders.items():
        of = seen[label]["test"]
        inverse = (-of.log_sigma[:n]).exp()
        board[label] = {
            "real: (x − μ(z)) / σ(z)": stretched(of.standard[:n], 3.0),
            "believed: ε": stretched(own_noise(decoder, of)[:n] * inverse, 3.0),
        }
    alt = "Residuals of real images, which show edges and patches of one colour, beside noise without structure"
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)


def correlation_curves(decoders: Mapping[str, Any], seen: Seen) -> HTML:
    """The correlation of two values d pixels apart: of real residuals, and of the decoder's own noise."""
    plotted, words = {}, []
    for label, decoder in decoders.items():
        of, (colour, marker) = seen[label]["test"], mark(label)
        real = residuals.by_distance(of.left_in_image, DISTANCES)
        own = residuals.by_distance(own_noise(decoder, of), DISTANCES)
        plotted[label] = {
            "real images": (DISTANCES, real, colour, marker, "-"),
            "the decoder's noise": (DISTANCES, own, plots.INK, "o", "--"),
        }
        words.append(f"{label}: neighbours {real[1]:.2f} against {own[1]:.2f}")
    figure = panels(plotted, xlabel="distance d (pixels)", ylabel="correlation at distance d")
    return picture(figure, f"Correlation over distance of residuals and of noise. {'; '.join(words)}")


def drawn(codes: int, of: Moments, n: int = 16) -> HTML:
    """The linear decoder's mean for n codes z ~ p(z), with independent noise, and with correlated noise."""
    factorised = linear_decoder.fit(of, codes)
    generator = torch.Generator().manual_seed(0)
    mean, _ = factorised.decode(factorised.prior(n, generator))
    board = {"": {"μ(z)": to_uint8(mean)}}
    for title, decoder in (("factorised", factorised), ("correlated", linear_decoder.correlated(factorised))):
        board[""][title] = to_uint8(mean + decoder.noise_like(mean, torch.Generator().manual_seed(1)))
    alt = "Samples from one set of codes: blurred means, the same under grainy noise, the same under smooth noise"
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)


def tails(seen: Seen) -> HTML:
    """Densities of test residuals whitened by the covariance of training residuals, beside the standard normal."""
    edges = np.linspace(-8, 8, 65)
    middle = (edges[1:] + edges[:-1]) / 2
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(4.9, 3.2)
        ax = figure.subplots()
        words = []
        for label, parts in seen.items():
            white = residuals.covariance(parts["train"].standard).white(parts["test"].standard)
            counts = np.histogram(white.numpy(), edges)[0] / white.numel() / np.diff(edges)
            colour, marker = mark(label)
            name = f"{label}, excess kurtosis {number(residuals.excess_kurtosis(white), 1)}"
            shown = counts > 0
            ax.plot(middle[shown], counts[shown], color=colour, marker=marker, markersize=3, label=name)
            words.append(name)
        normal = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
        near = np.abs(middle) < 5
        ax.plot(middle[near], normal[near], "--", color=plots.INK, label="standard normal, 0")
        ax.set_yscale("log")
        ax.set_ylim(1e-6, 3)
        ax.set_xlabel("whitened residual (standard deviations)")
        ax.set_ylabel("density")
        legend(ax, loc="upper left")
    return picture(figure, f"Whitened residuals have far more large values than a Gaussian. {'; '.join(words)}")


def through_f(decoders: Mapping[str, Any], seen: Seen, n: int = 16) -> HTML:
    """With y = f(x): the image of the mean, a draw of p(x|z), and the difference; features y and their residuals."""
    if not decoders:
        return HTML("<p>No decoder with f is here: <code>./run_all.sh --only table1</code> trains two.</p>")
    board = {}
    for label, decoder in decoders.items():
        of = seen[label]["test"]
        noise = own_noise(decoder, of)[:n]
        board[label] = {
            "image x": to_uint8(of.x[:n]),
            "f⁻¹(μ(z))": to_uint8(of.image_of_mean[:n]),
            "a draw f⁻¹(y)": to_uint8(of.image_of_mean[:n] + noise),
            "its noise, × 2": stretched(noise, 0.5),
            "real: x − f⁻¹(μ(z)), × 2": stretched(of.left_in_image[:n], 0.5),
        }
    alt = "Test images, means, draws, and the noise of the draws, which is smooth, beside what the means leave"
    return picture(plots.sample_board(board, columns=round(n**0.5)), alt)
