"""The tables of lesson 03: what independent pixels cost, and what a covariance buys, closed forms beside measurements.

`seen` is what `factorised_decoders.explained` returns: label -> "train" and "test" -> `Explained`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from IPython.display import HTML

from cqlib import losses
from cqlib.data.dataset import Dataset
from cqlib.lessons.factorised_decoders import linear_decoder, residuals
from cqlib.lessons.factorised_decoders.linear_decoder import LinearDecoder, Moments
from cqlib.lessons.factorised_decoders.pictures import TRAIN, own_noise
from cqlib.lessons.factorised_decoders.residuals import Explained
from cqlib.metrics.bpd import bits_per_dimension
from cqlib.pixels import LN_LEVELS, dequantise
from cqlib.report.cells import difference, number, table

Seen = Mapping[str, Mapping[str, Explained]]


def densities(decoders: Mapping[str, Any], seen: Seen) -> HTML:
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
        error = max(abs(float(code - product)), abs(float(code - joint)))
        lines.append([label, *(number(float(v), 3) for v in (code, product, joint)), difference(error)])
    head = ["ln p(x|z), nats", "losses.gaussian_log_density", "sum of 1-D normals", "one D-D normal", "difference"]
    return table("Eq. (5) on the first test image", head, lines)


def costs(seen: Seen) -> HTML:
    """What N(0, C) gains over N(0, I): in closed form, measured on the same residuals, and on test images."""
    lines = []
    for label, parts in seen.items():
        c, d = residuals.covariance(parts["train"].standard), len(parts["train"].x[0].flatten())
        closed, same = c.scales + c.correlations, float(c.gain(parts["train"].standard).mean())
        held_out = float(c.gain(parts["test"].standard).mean())
        values = [number(v, 1) for v in (c.scales, c.correlations, same)]
        bits = number(bits_per_dimension(held_out, d))
        lines.append([label, *values, difference((closed - same) / closed), number(held_out, 1), bits])
    head = ["Decoder", "scales", "−½ ln det R", "measured, training", "relative difference from the sum",
            "measured, test", "bits/dim, test"]  # fmt: skip
    return table("Gain of a Gaussian with the residuals' covariance, nats per image", head, lines)


def codes_and_bits(of: Moments, images: Dataset, codes: tuple[int, ...] = (0, 16, 64, 256)) -> HTML:
    """Held-out bits per dimension of linear decoders with more and more codes, factorised and correlated."""
    v = dequantise(images.test.images, generator=torch.Generator().manual_seed(1))
    d = v[0].numel()
    lines = []
    for k in codes:
        factorised = linear_decoder.fit(of, k)
        both = [factorised, linear_decoder.correlated(factorised)]
        bits = [bits_per_dimension(d * LN_LEVELS - float(one.log_prob(v).mean()), d) for one in both]
        sizes = [number(d + d * k + 1, 0), number(d + d * k + d * (d + 1) / 2, 0)]
        lines.append([f"{k} codes", *(number(b, 3) for b in bits), number(bits[0] - bits[1], 3), *sizes])
    head = ["Linear decoder", "factorised", "correlated", "gain", "factorised: numbers to learn", "correlated"]
    return table(f"Bits per dimension of test images of {images.name}, exact up to dequantisation", head, lines)


def posterior_check(decoder: LinearDecoder) -> HTML:
    """The covariance of x - mu(z) over images and z ~ p(z|x) by its definition, against S - W W^T; and ln p(v) by
    Bayes' rule at a drawn z against N(m, W W^T + Sigma)."""
    s, w = decoder.images.covariance, decoder.weights
    gain = w.T @ torch.linalg.inv(w @ w.T + decoder.noise)  # E[z|x] = gain (x - m)
    cut = torch.eye(len(s), dtype=s.dtype) - w @ gain
    left = cut @ s @ cut.T + w @ (torch.eye(w.shape[1], dtype=s.dtype) - gain @ w) @ w.T
    expected = linear_decoder.correlated(decoder).noise
    size = (left - expected).abs().max()
    return table(
        "The covariance that the codes leave",
        ["trace", "definition", "S − W Wᵀ", "largest difference of an entry"],
        [["Σ", number(float(left.trace()), 4), number(float(expected.trace()), 4), difference(float(size))]],
    )


def trained_bits(seen: Seen) -> HTML:
    """L_C of test images in bits per dimension, and with correlated residuals instead (the same z)."""
    lines = []
    for label, parts in seen.items():
        of, d = parts["test"], parts["test"].x[0].numel()
        gain = float(residuals.covariance(parts["train"].standard).gain(of.standard).mean())
        nats = float(of.nats.mean())
        values = (bits_per_dimension(nats, d), bits_per_dimension(nats - gain, d))
        lines.append([label, *(number(v, 3) for v in values)])
    head = ["Decoder", "independent", "with one covariance for all z"]
    return table(f"Bits per dimension of test images; covariances from {TRAIN:,} training images", head, lines)


def neighbours(decoders: Mapping[str, Any], seen: Seen) -> HTML:
    """Correlations of neighbouring pixels and of the colours of a pixel: of test residuals, of the decoder's noise, and
    of e = (y - mu(z)) / sigma(z), which the decoder takes for independent."""
    lines = []
    for label, decoder in decoders.items():
        of = seen[label]["test"]
        for name, measure in (("neighbours", lambda r: residuals.by_distance(r, [1])[0]),
                              ("colours", residuals.between_colours)):  # fmt: skip
            found = [measure(r) for r in (of.left_in_image, own_noise(decoder, of), of.standard)]
            lines.append([f"{label}: {name}", *(number(v) for v in found)])
    head = ["Correlation of", "real residuals x − f⁻¹(μ(z))", "the decoder's noise in x", "real residuals in y / σ"]
    return table("What is correlated where", head, lines)
