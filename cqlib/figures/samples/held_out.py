"""What training and held-out images cost in bits, under models with a likelihood and under one that copies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.experiments import run
from cqlib.experiments.rows import short_label
from cqlib.figures.samples import generalisation, neighbours
from cqlib.figures.samples import memorisation as copies
from cqlib.figures.samples.generalisation import Subject
from cqlib.figures.samples.neighbours import Evidence
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.models.base import LikelihoodSystem
from cqlib.report import page as report
from cqlib.report import plots
from cqlib.report.cells import picture
from cqlib.util.errors import UserError

BESIDE = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table2/cqf-residual",
          "table2/cqf-iaf-residual-large-d", "table3/cqf-2-scales")  # fmt: skip
"""Models whose likelihoods are compared, those that are there."""
COPIER = "Copier"


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of n training and of n held-out images under each model, by label, what their PNG files take,
    and their classes; the training images' first."""

    train: Mapping[str, Tensor] = field(repr=False)
    test: Mapping[str, Tensor] = field(repr=False)
    png: tuple[Tensor, Tensor] = field(repr=False)
    labels: tuple[Tensor, Tensor] = field(repr=False)
    n: int


def bits(it: Subject, *, runs_dir: Path | str, n: int = 1000) -> Bits:
    """Bits of the first n training and n held-out images under the subject, under the other models of `BESIDE` whose
    weights are there, and under the copier."""
    n = min(n, len(it.images.train), len(it.images.test))
    splits = [split.images[:n] for split in (it.images.train, it.images.test)]
    systems = {it.row: it.system}
    for row in BESIDE:
        if row not in systems:
            with suppress(UserError):
                where = {"profile": it.profile, "data": it.data, "seed": it.seed}
                systems[row] = run.load(row, **where, runs_dir=runs_dir)
    dimensions = splits[0][0].numel()
    found: dict[str, list[Tensor]] = {}
    for row, system in systems.items():
        if isinstance(system, LikelihoodSystem):
            nats = [held_out_nats(system, images) for images in splits]
            found[short_label(row)] = [bits_per_dimension(values, dimensions) for values in nats]
    generator = torch.Generator().manual_seed(it.seed)
    reference = it.images.train.images[: generalisation.REFERENCE]
    nats = [copies.copier_nats(reference, images, sigma=generalisation.SIGMA, generator=generator) for images in splits]
    found[COPIER] = [bits_per_dimension(values, dimensions) for values in nats]
    train, test = ({name: pair[i] for name, pair in found.items()} for i in (0, 1))
    labels = it.images.train.labels[:n], it.images.test.labels[:n]
    return Bits(train, test, (copies.png_bits(splits[0]), copies.png_bits(splits[1])), labels, n)


def held_out(found: Bits) -> HTML:
    """Training against held-out bits per dimension of each model, on equally many images: the gap with its standard
    errors, as measured and at equal size of the PNG file."""
    lines = [_gap_line(name, found, found.train[name], found.test[name]) for name in found.train]
    png = copies.gap(*found.png, *found.labels)
    lines.append(["PNG file", *_gap_cells(png), "—", "—"])
    errors = ["s.e., images", "s.e., classes"]
    head = ["Model", "Training", "Held out", "Gap", *errors, "Gap at equal PNG", errors[1]]
    caption = f"Bits per dimension of {found.n:,} training and {found.n:,} held-out images"
    return HTML(report.macro("plain_table", caption, head, lines))


def _gap_line(name: str, found: Bits, train: Tensor, test: Tensor) -> list[str]:
    equal = copies.gap(*copies.at_equal(train, test, *found.png), *found.labels)
    cells = _gap_cells(equal)
    return [name, *_gap_cells(copies.gap(train, test, *found.labels)), f"{cells[2]} ± {cells[3]}", cells[4]]


def _gap_cells(it: copies.Gap) -> list[str]:
    """Training, held out, the gap and its two errors."""
    by_class = "—" if it.class_error is None else f"{it.class_error:.3f}"
    return [f"{it.train:.2f}", f"{it.test:.2f}", f"{it.gap:+.3f}".replace("-", "−"), f"{it.error:.3f}", by_class]


def checks(it: Subject, near: Evidence, found: Bits) -> HTML:
    """The copier by its equations and as measured: a copy's distance is the noise, with the rounding to whole levels;
    and a training image costs what its own kernel gives, as long as all others are far."""
    n = min(len(it.images.train), generalisation.REFERENCE)
    dimensions = it.images.train.images[0].numel()
    sigma = generalisation.SIGMA
    own = math.log2(sigma * math.sqrt(2 * math.pi)) + 1 / (24 * sigma**2 * math.log(2)) + math.log2(n) / dimensions
    rows = [
        ("Distance of a copy under noise, median", math.sqrt(sigma**2 + 1 / 12), near.pixels["noise"].nearest.median()),
        ("Copier's bits on training images", own, found.train[COPIER].mean()),
        ("A held-out image nearer than a held-out image", 0.5,
         copies.nearer(near.pixels["test"].nearest, near.pixels["test"].nearest)),
    ]  # fmt: skip
    lines = [[name, f"{closed:.3f}", f"{float(value):.3f}", f"{float(value) - closed:+.3f}".replace("-", "−")]
             for name, closed, value in rows]  # fmt: skip
    return HTML(
        report.macro("plain_table", "The equations in numbers", ["", "closed form", "here", "difference"], lines)
    )


def bits_of(it: Subject, found: Bits) -> HTML:
    """How the bits of training and of held-out images are spread, under the model, if it has a likelihood, and under
    the copier."""
    words, names = [], [name for name in (short_label(it.row), COPIER) if name in found.train]
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(3.8 * len(names), 2.8)
        for ax, name in zip(figure.subplots(1, len(names), squeeze=False).flat, names, strict=True):
            for label, values, line in (("training", found.train, "samples"), ("held out", found.test, "test")):
                median = neighbours.cumulative(ax, values[name], label, *neighbours.LINES[line])
                words.append(f"{name}, {label} {median:.2f}")
            ax.set_title(name)
            ax.set_xlabel("bits per dimension of an image")
            ax.legend(loc="lower right", frameon=False)
        figure.axes[0].set_ylabel("share of images")
    return picture(figure, f"Cumulative shares of images over their bits per dimension; medians: {'; '.join(words)}")
