"""The notebook on colourisation: what a grey image leaves open, colourings of it, and what colours cost in bits."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.models.base import LikelihoodSystem
from cqlib.models.cqf_conditional import ConditionalCQF
from cqlib.nets import colour
from cqlib.pixels import to_uint8
from cqlib.suite.cells import mean_and_error, picture, table
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.experiments.rows import NOTEBOOK_ROWS
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures.common import bits
from cqlib.suite.figures.strips import cost_board
from cqlib.util.errors import UserError
from cqlib.util.text import signed

ROWS = NOTEBOOK_ROWS["colourisation"]  # the conditional model, and the unconditional one beside it


def find(selection: Selection) -> tuple[ModelAndData, LikelihoodSystem | None]:
    """The conditional model, as chosen or that of the default run, and the unconditional one that was trained on the
    same images, if any. UserError if there is no conditional model."""
    models = selection.find(required=ROWS[:1])
    if not models:
        raise UserError("there is no trained model of colours yet: ./run_all.sh --only colourisation")
    conditional, other = models[ROWS[0]], models.get(ROWS[1])
    same_images = other is not None and other.source == conditional.source
    return conditional, other.model if other and same_images else None


def grey_images(x: Tensor) -> Tensor:
    """The grey images of uint8 x (N, 3, S, S), as colour images of that shape."""
    return colour.split(x)[0].expand(-1, 3, -1, -1)


def draw(model: ConditionalCQF, x: Tensor, n: int, seed: int = 0) -> Tensor:
    """n colourings of the grey image of each uint8 x (N, 3, S, S): (N, n, 3, S, S) uint8."""
    return to_uint8(model.colourise(colour.split(x)[0], n, generator=torch.Generator().manual_seed(seed)))


def diversity(model: ModelAndData, x: Tensor, n: int = 16) -> HTML:
    """How much n colourings of each grey image of x differ from each other and from the truth, beside images without
    colour and in the mean training colour: root mean squares of chroma, in levels."""
    truth = colour.split(x)[1]
    chroma = colour.split(draw(model.model, x, n).flatten(0, 1))[1].float().unflatten(0, (-1, n))
    train = colour.split(model.data.train.images[:2000])[1].float().mean((0, 2, 3)).view(2, 1, 1)
    errors = chroma.std(1), chroma - truth[:, None], chroma.mean(1) - truth
    lines: list[list[Any]] = [
        ["colourings", *map(_rms, errors)],
        ["no colour", 0.0, *[_rms(truth)] * 2],
        ["the mean training colour", 0.0, *[_rms(truth - train)] * 2],
    ]
    head = {f"{n} colourings of {len(x)} test images": None, "differ by": 1, "one is off the truth by": 1,
            "their mean is off by": 1}  # fmt: skip
    return table("Chroma, root mean squares in levels", head, lines)


def _rms(values: Tensor) -> Tensor:
    return values.float().square().mean().sqrt()


def histogram_bits(train: Tensor, x: Tensor) -> Tensor:
    """Bits per dimension of the colour image for its chroma alone, under independent pixels: a histogram of U and one
    of V over training images, every count raised by 1; (N,) float64."""
    counts = torch.stack([torch.bincount((c + 255).flatten().long(), minlength=511)
                          for c in colour.split(train)[1].unbind(1)]).double() + 1  # fmt: skip
    log_p = (counts / counts.sum(1, keepdim=True)).log2()
    chroma = colour.split(x)[1].long() + 255
    u, v = (log_p[k][chroma[:, k]].flatten(1).sum(1) for k in range(2))
    return -(u + v) / x[0].numel()


def costs(model: ModelAndData, unconditional: LikelihoodSystem | None) -> HTML:
    """-log2 P(x | g) beside -log2 P(x), per dimension of the colour image, per chroma value, and per image."""
    x = model.data.test.images[:1000]
    conditional = bits(model.model, x)
    measured = {"P(x | g), CQ-F given grey": conditional,
                "P(x | g), independent histograms of U and V": histogram_bits(model.data.train.images, x)}  # fmt: skip
    if unconditional is not None:
        measured["P(x), CQ-F"] = whole = bits(unconditional, x)
        measured["difference: what the grey image costs"] = whole - conditional
    lines = [[name, mean_and_error(values), 1.5 * values.mean() if "| g" in name else "—", values.mean() * x[0].numel()]
             for name, values in measured.items()]  # fmt: skip
    head = {"Bound on −log₂ of": None, "bits per dimension of x": None, "per value of U, V": 2, "bits per image": 0}
    return table(f"{model.source}, {len(x)} test images", head, lines)


def recoloured(x: Tensor, model: ConditionalCQF) -> dict[str, Tensor]:
    """The images x and others with exactly their grey images: wrong colours, none, and those of the model."""
    grey, c = colour.split(x)
    chromas = {
        "colours of the next image": c.roll(1, dims=0),
        "colours mirrored": c.flip(3),
        "colours moved by a quarter": c.roll(x.shape[-1] // 4, dims=3),
        "complementary colours": -c,
        "red and blue exchanged": c.flip(1),
        "no colour": torch.zeros_like(c),
    }
    images = {"true colours": x} | {name: colour.into_gamut(grey, chroma) for name, chroma in chromas.items()}
    return images | {"the model’s": draw(model, x, 1)[:, 0]}


def true_or_wrong(images: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> HTML:
    """The images that `recoloured` returns, with `values`, their bits per dimension given the grey image (N,)."""
    alt = "Bits per dimension given the grey image, of true and of other colours"
    return picture(*cost_board(images, values, "true colours", "bits per dimension of x, given g", alt))


def pairwise_costs(values: Mapping[str, Tensor], model: ModelAndData) -> HTML:
    """For how many images the true colours cost fewer bits than others of the same grey, and by how much."""
    lines, truth = [], values["true colours"]
    for name, others in values.items():
        if name != "true colours":
            more = (others - truth) * math.prod(model.model.shape)
            error = float(more.std()) / len(more) ** 0.5
            lines.append(
                [name, f"{float((more > 0).double().mean()):.0%}", f"{signed(float(more.mean()), 0)} ± {error:,.0f}"]
            )
    head = ["Instead of the true colours", "true ones cost less", "the others cost more by, bits per image"]
    return table(f"{len(truth)} test images, {model.source}", head, lines)
