"""Bits for colours given the grey image: against the unconditional model, and true colours against wrong ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.figures.colourisation import NONE, Found, draw
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.models.base import LikelihoodSystem
from cqlib.models.cqf_conditional import ConditionalCQF
from cqlib.nets import colour
from cqlib.report import page as report
from cqlib.report.cells import picture
from cqlib.report.strips import cost_board


def bits(system: LikelihoodSystem, x: Tensor) -> Tensor:
    """Bits per dimension of the colour image x (N, 3, S, S), by one draw of the bound: (N,) float64."""
    return bits_per_dimension(held_out_nats(system, x), x[0].numel())


def histogram_bits(train: Tensor, x: Tensor) -> Tensor:
    """Bits per dimension of the colour image for its chroma alone, under independent pixels: a histogram of U and one
    of V over training images, every count raised by 1; (N,) float64."""
    counts = torch.stack([torch.bincount((c + 255).flatten().long(), minlength=511)
                          for c in colour.split(train)[1].unbind(1)]).double() + 1  # fmt: skip
    log_p = (counts / counts.sum(1, keepdim=True)).log2()
    chroma = colour.split(x)[1].long() + 255
    total = sum(log_p[k][chroma[:, k]].flatten(1).sum(1) for k in range(2))
    return -total / x[0].numel()


def costs(found: Found, n: int = 1000) -> HTML:
    """-log2 P(x | g) beside -log2 P(x), per dimension of the colour image, per chroma value, and per image."""
    if found.conditional is None:
        return NONE
    x = found.data.test.images[:n]
    measured = {"P(x | g), CQ-F given grey": bits(found.conditional, x),
                "P(x | g), independent histograms of U and V": histogram_bits(found.data.train.images, x)}  # fmt: skip
    if found.unconditional is not None:
        measured["P(x), CQ-F"] = whole = bits(found.unconditional, x)
        measured["difference: what the grey image costs"] = whole - measured["P(x | g), CQ-F given grey"]
    lines = []
    for name, values in measured.items():
        error = float(values.std()) / len(values) ** 0.5
        chroma = f"{1.5 * float(values.mean()):.2f}" if "| g" in name else "—"
        lines.append([name, f"{float(values.mean()):.3f} ± {error:.3f}", chroma,
                      f"{float(values.mean()) * x[0].numel():,.0f}"])  # fmt: skip
    head = ["Bound on −log₂ of", "bits per dimension of x", "per value of U, V", "bits per image"]
    return HTML(report.macro("plain_table", f"{found.label}, {len(x)} test images", head, lines))


def recoloured(x: Tensor, model: ConditionalCQF | None = None) -> dict[str, Tensor]:
    """The images x and others with exactly their grey images: wrong colours, none, and with `model` its own."""
    grey, c = colour.split(x)
    others: dict[str, Callable[[], Tensor]] = {
        "colours of the next image": lambda: c.roll(1, dims=0),
        "colours mirrored": lambda: c.flip(3),
        "colours moved by a quarter": lambda: c.roll(x.shape[-1] // 4, dims=3),
        "complementary colours": lambda: -c,
        "red and blue exchanged": lambda: c.flip(1),
        "no colour": lambda: torch.zeros_like(c),
    }
    found = {"true colours": x} | {name: colour.into_gamut(grey, made()) for name, made in others.items()}
    for temperature in (1.0, 0.0) if model is not None else ():
        found[f"the model’s, T = {temperature:g}"] = draw(model, x, 1, temperature)[:, 0]
    return found


def true_or_wrong(found: Found, x: Tensor) -> HTML:
    """Bits per dimension given the grey image for `recoloured` x."""
    if found.conditional is None:
        return NONE
    images = recoloured(x, found.conditional)
    values = {name: bits(found.conditional, made) for name, made in images.items()}
    what = "Bits per dimension given the grey image, of true and of other colours"
    return picture(*cost_board(images, values, "true colours", "bits per dimension of x, given g", what))


def won(found: Found, x: Tensor) -> HTML:
    """For how many images the true colours cost fewer bits than others of the same grey, and by how much."""
    if found.conditional is None:
        return NONE
    images = recoloured(x, found.conditional)
    truth = bits(found.conditional, images.pop("true colours"))
    lines = []
    for name, made in images.items():
        more = bits(found.conditional, made) - truth
        error = float(more.std()) / len(more) ** 0.5
        lines.append([name, f"{float((more > 0).double().mean()):.0%}",
                      f"{float(more.mean()) * x[0].numel():+,.0f} ± {error * x[0].numel():,.0f}"])  # fmt: skip
    head = ["Instead of the true colours", "true ones cost less", "the others cost more by, bits per image"]
    return HTML(report.macro("plain_table", f"{len(x)} test images, {found.label}", head, lines))
