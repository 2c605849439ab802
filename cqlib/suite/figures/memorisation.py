"""Memorisation by likelihood: what training and held-out images cost in bits, under trained models and one that copies.

The copier is the kernel density estimate over the training images x_1, …, x_N,

    p(x) = (1/N) sum_i N(x; x_i, sigma^2 I),

whose samples (a training image under noise) and likelihood are exact. Pixels are in grey levels, 0 to 255.
"""

import io
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from IPython.display import HTML
from PIL import Image
from scipy import stats
from torch import Tensor

from cqlib.metrics.bpd import bits_per_dimension
from cqlib.models.base import LikelihoodSystem
from cqlib.suite.cells import table
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import ModelAndData, load_system
from cqlib.suite.experiments.rows import short_label
from cqlib.suite.figures import common
from cqlib.suite.figures.common import signed
from cqlib.util.errors import UserError

SIGMA = 8.0  # noise of the copier, in grey levels, where none is given
MAX_REFERENCE = 50_000  # training images that others are compared with, at most
CHUNK = 2_000  # of them at a time: 100 MB of float32 at 64 x 64
OTHERS = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table2/cqf-residual",
          "table2/cqf-iaf-residual-large-d", "table3/cqf-2-scales")  # fmt: skip
"""The models beside the one in question, as far as they are trained."""


def copier_samples(train: Tensor, n: int, *, sigma: float, generator: torch.Generator) -> Tensor:
    """n samples of the copier: uint8 (n, C, H, W), each a training image under noise of `sigma` grey levels."""
    images = train[torch.randint(len(train), (n,), generator=generator)].float()
    noise = sigma * torch.randn(images.shape, generator=generator)
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


def copier_nats(train: Tensor, images: Tensor, *, sigma: float, generator: torch.Generator) -> Tensor:
    """-ln p(x + u) under the copier of uint8 `images` (n, C, H, W), with u uniform in the cell of each pixel: an upper
    bound of -ln P(x), (n,) float64."""
    a = images.flatten(1).float()
    a = a + torch.rand(a.shape, generator=generator) - 0.5
    total = torch.full((len(a),), -math.inf, dtype=torch.float64)
    for part in train.split(CHUNK):
        squares = torch.cdist(a, part.flatten(1).float()).double().square()
        total = torch.logaddexp(total, (-squares / (2 * sigma**2)).logsumexp(1))
    return math.log(len(train)) + a.shape[1] * math.log(sigma * math.sqrt(2 * math.pi)) - total


def png_bits(images: Tensor) -> Tensor:
    """Bits per dimension of each image as a PNG file, a lossless code that has learned nothing from any image, its
    header included: uint8 (n, 3 or 1, H, W) -> (n,) float64."""
    sizes = []
    for image in images.permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(buffer, format="PNG", optimize=True)
        sizes.append(buffer.tell())
    return torch.tensor(sizes, dtype=torch.float64) * 8 / images[0].numel()


def held_out_bits(
    model: ModelAndData, *, runs_dir: Path | str, n: int = 1000, sigma: float = SIGMA
) -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> bits per dimension of the first n training and held-out images, (n,) each: under the model and those of
    `OTHERS` that are trained, as far as they have a likelihood, under the copier, and as PNG files."""
    e, train, test = model.experiment, model.data.train.images, model.data.test.images
    n, generator = min(n, len(train), len(test)), torch.Generator().manual_seed(e.seed)

    def copier(images: Tensor) -> Tensor:
        nats = copier_nats(train[:MAX_REFERENCE], images, sigma=sigma, generator=generator)
        return bits_per_dimension(nats, images[0].numel())

    systems = {model.name: model.model}
    for row in OTHERS:
        if (name := short_label(row)) not in systems:
            with suppress(UserError):
                systems[name] = load_system(experiment(row, e.profile, e.data, e.seed), runs_dir)
    measures: dict[str, Callable[[Tensor], Tensor]] = {
        name: partial(common.bits, system) for name, system in systems.items() if isinstance(system, LikelihoodSystem)
    }
    measures |= {"Copier": copier, "PNG file": png_bits}
    return {name: (measure(train[:n]), measure(test[:n])) for name, measure in measures.items()}


def gaps(bits: dict[str, tuple[Tensor, Tensor]]) -> HTML:
    """The mean bits of training and of held-out images, and their gap with its standard error over images."""
    lines, n = [], 0
    for name, (train, test) in bits.items():
        error, n = math.hypot(stats.sem(train), stats.sem(test)), len(test)
        lines.append([name, train.mean(), test.mean(), f"{signed(float(test.mean() - train.mean()))} ± {error:.3f}"])
    head = {"Model": None, "Training": 2, "Held out": 2, "Gap": None}
    return table(f"Bits per dimension of {n:,} training and {n:,} held-out images", head, lines)
