"""Lesson 03, tables: the cost of independent pixels and the gain of a covariance, closed forms beside measurements."""

from __future__ import annotations

import torch
from IPython.display import HTML

from cqlib import losses
from cqlib.data.dataset import Dataset
from cqlib.lessons.factorised_decoders import linear_decoder, residuals
from cqlib.lessons.factorised_decoders.linear_decoder import LinearDecoder, Moments
from cqlib.lessons.factorised_decoders.pictures import TRAIN, Decoders, Reconstructions, model_noise
from cqlib.metrics.bpd import bits_per_dimension
from cqlib.pixels import LN_LEVELS, dequantise
from cqlib.report.cells import difference, table


def density_checks(decoders: Decoders, seen: Reconstructions) -> HTML:
    """Eq. (5) for the first test image: the package's value, a product of independent normal densities, and one
    D-dimensional normal of diagonal covariance, in nats."""
    lines = []
    for label in decoders:
        of = seen[label]["test"]
        x, mean, log_sigma = of.y[:1].double(), of.mean[:1].double(), of.log_sigma[:1].double()
        code = losses.gaussian_log_density(x, mean, log_sigma)
        product = torch.distributions.Normal(mean, log_sigma.exp()).log_prob(x).sum()
        root = torch.diag(log_sigma.exp().flatten())
        joint = linear_decoder.log_normal((x - mean).flatten(1), root)
        lines.append((label, code, product, joint, max(abs(float(code - product)), abs(float(code - joint)))))
    columns = {"ln p(x|z), nats": None, "losses.gaussian_log_density": 3, "sum of 1-D normals": 3,
               "one D-D normal": 3, "difference": difference}  # fmt: skip
    return table("Eq. (5) on the first test image", columns, lines)


def covariance_gains(seen: Reconstructions) -> HTML:
    """The gain of N(0, C) over N(0, I): in closed form, measured on the same residuals, and on test images."""
    lines = []
    for label, parts in seen.items():
        c, d = residuals.covariance(parts["train"].standardised), parts["train"].x[0].numel()
        closed, measured = c.scales + c.correlations, float(c.gain(parts["train"].standardised).mean())
        test = float(c.gain(parts["test"].standardised).mean())
        relative = (closed - measured) / closed
        lines.append((label, c.scales, c.correlations, measured, relative, test, bits_per_dimension(test, d)))
    columns = {"Decoder": None, "scales": 1, "−½ ln det R": 1, "measured, training": 1,
               "relative difference from the sum": difference, "measured, test": 1, "bits/dim, test": 2}  # fmt: skip
    return table("Gain of a Gaussian with the residuals' covariance, nats per image", columns, lines)


def linear_bits(of: Moments, images: Dataset, codes: tuple[int, ...] = (0, 16, 64, 256)) -> HTML:
    """Held-out bits per dimension of linear decoders with more and more codes, factorised and correlated."""
    v = dequantise(images.test.images, generator=torch.Generator().manual_seed(1))
    d, lines = v[0].numel(), []
    for k in codes:
        factorised = linear_decoder.fit(of, k)
        a, b = (
            bits_per_dimension(d * LN_LEVELS - float(decoder.log_prob(v).mean()), d)
            for decoder in (factorised, linear_decoder.correlated(factorised))
        )
        lines.append((f"{k} codes", a, b, a - b, d + d * k + 1, d + d * k + d * (d + 1) / 2))
    columns = {"Linear decoder": None, "factorised": 3, "correlated": 3, "gain": 3, "factorised: numbers to learn": 0,
               "correlated: numbers to learn": 0}  # fmt: skip
    return table(f"Bits per dimension of test images of {images.name}, exact up to dequantisation", columns, lines)


def posterior_check(decoder: LinearDecoder) -> HTML:
    """The covariance of x - mu(z) over images and z ~ p(z|x) by its definition, against S - W W^T."""
    s, w = decoder.images.covariance, decoder.weights
    gain = w.T @ torch.linalg.inv(w @ w.T + decoder.noise)  # E[z|x] = gain (x - m)
    cut = torch.eye(len(s), dtype=s.dtype) - w @ gain
    left = cut @ s @ cut.T + w @ (torch.eye(w.shape[1], dtype=s.dtype) - gain @ w) @ w.T
    expected = linear_decoder.correlated(decoder).noise
    columns = {"trace": None, "definition": 4, "S − W Wᵀ": 4, "largest difference of an entry": difference}
    lines = [("Σ", left.trace(), expected.trace(), (left - expected).abs().max())]
    return table("The covariance that the codes leave", columns, lines)


def held_out_bits(seen: Reconstructions) -> HTML:
    """L_C of test images in bits per dimension, and with correlated residuals instead (the same z)."""
    lines = []
    for label, parts in seen.items():
        of, d = parts["test"], parts["test"].x[0].numel()
        gain = float(residuals.covariance(parts["train"].standardised).gain(of.standardised).mean())
        nats = float(of.nats.mean())
        lines.append((label, bits_per_dimension(nats, d), bits_per_dimension(nats - gain, d)))
    columns = {"Decoder": None, "independent": 3, "with one covariance for all z": 3}
    return table(f"Bits per dimension of test images; covariances from {TRAIN:,} training images", columns, lines)


def correlations(decoders: Decoders, seen: Reconstructions) -> HTML:
    """Correlations of neighbouring pixels and of the colours of a pixel: of test residuals, of the decoder's noise, and
    of e = (y - mu(z)) / sigma(z), which the decoder's model takes for independent."""
    measures = {"neighbours": residuals.neighbour_correlation, "colours": residuals.colour_correlation}
    lines = []
    for label, decoder in decoders.items():
        of = seen[label]["test"]
        values = (of.image_residual, model_noise(decoder, of), of.standardised)
        lines += [(f"{label}: {name}", *map(measure, values)) for name, measure in measures.items()]
    columns = {"Correlation of": None, "real residuals x − f⁻¹(μ(z))": 2, "the decoder's noise in x": 2,
               "real residuals in y / σ": 2}  # fmt: skip
    return table("What is correlated where", columns, lines)
