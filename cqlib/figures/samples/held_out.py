"""What training and held-out images cost in bits, under models with a likelihood and under one that copies."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import ModelAndData, load_system
from cqlib.experiments.rows import short_label
from cqlib.figures import common
from cqlib.figures.common import signed
from cqlib.figures.samples import memorisation
from cqlib.figures.samples.neighbours import LINES, MAX_REFERENCE, SIGMA, cumulative
from cqlib.metrics.bpd import bits_per_dimension
from cqlib.models.base import LikelihoodSystem
from cqlib.report.cells import picture, subplots, table
from cqlib.util.errors import UserError

OTHERS = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table2/cqf-residual",
          "table2/cqf-iaf-residual-large-d", "table3/cqf-2-scales")  # fmt: skip
COPIER = "Copier"


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of n training and n held-out images, a pair of (n,): by model and as PNG files; and labels."""

    models: Mapping[str, tuple[Tensor, Tensor]]
    png: tuple[Tensor, Tensor]
    labels: tuple[Tensor, Tensor]


def bits(model: ModelAndData, *, runs_dir: Path | str, n: int = 1000, sigma: float = SIGMA) -> Bits:
    """The `Bits` of the first n images of each split under the model and those of `OTHERS` that are trained, as far as
    they have a likelihood, and under the copier (see `memorisation`) with noise of `sigma` grey levels."""
    e, data = model.experiment, model.data
    n = min(n, len(data.train), len(data.test))
    systems = {model.name: model.model}
    for row in OTHERS:
        if (name := short_label(row)) not in systems:
            with suppress(UserError):
                systems[name] = load_system(experiment(row, e.profile, e.data, e.seed), runs_dir)
    generator, reference = torch.Generator().manual_seed(e.seed), data.train.images[:MAX_REFERENCE]

    def pair(measure: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        return measure(data.train.images[:n]), measure(data.test.images[:n])

    def copier(images: Tensor) -> Tensor:
        nats = memorisation.copier_nats(reference, images, sigma=sigma, generator=generator)
        return bits_per_dimension(nats, images[0].numel())

    models = {name: pair(partial(common.bits, system)) for name, system in systems.items()
              if isinstance(system, LikelihoodSystem)}  # fmt: skip
    labels = data.train.labels[:n], data.test.labels[:n]
    return Bits({**models, COPIER: pair(copier)}, pair(memorisation.png_bits), labels)


def gaps(measured: Bits) -> HTML:
    """Each model's gap, held-out less training bits, with standard errors: as measured, and at equal PNG size."""
    lines = []
    for name, pair in measured.models.items():
        *_, gap, error, by_class = _gap(memorisation.at_equal_difficulty(*pair, *measured.png), measured)
        lines.append([name, *_gap(pair, measured), f"{gap} ± {error}", by_class])
    lines.append(["PNG file", *_gap(measured.png, measured), "—", "—"])
    errors, n = ["s.e., images", "s.e., classes"], f"{len(measured.labels[0]):,}"
    head = ["Model", "Training", "Held out", "Gap", *errors, "Gap at equal PNG", errors[1]]
    return table(f"Bits per dimension of {n} training and {n} held-out images", head, lines)


def _gap(pair: tuple[Tensor, Tensor], measured: Bits) -> list[str]:
    """Training, held out, the gap and its standard errors over images and over classes."""
    train, test = (float(values.mean()) for values in pair)
    error, class_error = memorisation.gap_errors(*pair, *measured.labels)
    return [f"{train:.2f}", f"{test:.2f}", signed(test - train), f"{error:.3f}",
            "—" if class_error is None else f"{class_error:.3f}"]  # fmt: skip


def distributions(model: ModelAndData, measured: Bits) -> HTML:
    """The spread of the bits of both splits under the model, if it has a likelihood, and under the copier."""
    words, names = [], [name for name in (model.name, COPIER) if name in measured.models]
    with subplots(3.8 * len(names), 2.8, 1, len(names), squeeze=False) as (figure, axes):
        for ax, name in zip(axes[0], names, strict=True):
            splits = zip(("training", "held out"), measured.models[name], ("samples", "test"), strict=True)
            for label, values, line in splits:
                median = cumulative(ax, values, label, *LINES[line])
                words.append(f"{name}, {label} {median:.2f}")
            ax.set(title=name, xlabel="bits per dimension of an image")
            ax.legend(loc="lower right", frameon=False)
        figure.axes[0].set_ylabel("share of images")
    return picture(figure, f"Cumulative shares of images over their bits per dimension; medians: {'; '.join(words)}")
