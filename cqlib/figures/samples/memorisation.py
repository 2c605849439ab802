"""Are samples copies? Distances to the nearest training image, and a model that does copy, to test the test.

The copier is the kernel density estimate over the training images x_1, …, x_N,

    p(x) = (1/N) sum_i N(x; x_i, sigma^2 I),

which has samples (a training image under noise) and a likelihood, both exact. Pixels are in grey levels, 0 to 255.
"""

from __future__ import annotations

import io
import math
import statistics
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

CHUNK = 2_000
"""Reference images compared at a time: 100 MB of float32 at 64 x 64."""


@torch.no_grad()
def nearest(queries: Tensor, reference: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k nearest of `reference` (N, …) for each of `queries` (n, …): root mean square differences (n, k) float64 in
    the units of the values, nearest first, and indices (n, k) into `reference`."""
    a = _flat(queries)
    best = torch.full((len(a), k), math.inf)
    index = torch.zeros(len(a), k, dtype=torch.int64)
    for start in range(0, len(reference), CHUNK):
        squares = _squares(a, _flat(reference[start : start + CHUNK]))
        both = torch.cat((best, squares), 1)
        places = torch.arange(start, start + squares.shape[1]).expand_as(squares)
        best, chosen = both.topk(k, dim=1, largest=False)
        index = torch.cat((index, places), 1).gather(1, chosen)
    # float32 found them, through |a|^2 - 2ab + |b|^2; what is reported is free of its cancellation
    found = reference[index.flatten()].flatten(1).view(len(a), k, -1).double()
    rms = (queries.flatten(1).double()[:, None] - found).square().mean(2).sqrt()
    rms, order = rms.sort(1)
    return rms, index.gather(1, order)


def copies(train: Tensor, n: int, *, sigma: float, generator: torch.Generator) -> Tensor:
    """n samples of the copier: uint8 (n, C, H, W), each a training image under noise of `sigma` grey levels."""
    images = train[torch.randint(len(train), (n,), generator=generator)].float()
    noise = sigma * torch.randn(images.shape, generator=generator)
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def copier_nats(train: Tensor, images: Tensor, *, sigma: float, generator: torch.Generator) -> Tensor:
    """The copier's dequantisation bound: E_u[-ln p(x + u)] >= -ln P(x), u ~ U[0, 1)^D in grey levels, kernels round
    the centres of the pixels' cells. uint8 (n, C, H, W) -> nats per image (n,) float64, from one u for each."""
    a = _flat(images) + torch.rand(len(images), images[0].numel(), generator=generator) - 0.5
    total = torch.full((len(a),), -math.inf, dtype=torch.float64)
    for start in range(0, len(train), CHUNK):
        squares = _squares(a, _flat(train[start : start + CHUNK])).double()
        total = torch.logaddexp(total, (-squares / (2 * sigma**2)).logsumexp(1))
    return math.log(len(train)) + a.shape[1] * math.log(sigma * math.sqrt(2 * math.pi)) - total


def _flat(values: Tensor) -> Tensor:
    """float32 (n, D), shifted so that pixels lie round 0 and squares lose few digits."""
    return values.flatten(1).float() - (128 if values.dtype == torch.uint8 else 0)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances, (n, D) and (m, D) -> (n, m)."""
    products = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return products.clamp_(min=0)


# --- shares and gaps -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """How many of n distances lie below a threshold: `share`, and its exact 95 % interval from `low` to `high`."""

    share: float
    low: float
    high: float
    n: int


def share_below(distances: Tensor, threshold: float) -> Share:
    """The share of `distances` (n,) below `threshold`, with the interval of Clopper and Pearson."""
    from scipy.stats import binomtest

    n, count = len(distances), int((distances < threshold).sum())
    interval = binomtest(count, n).proportion_ci(0.95, method="exact")
    return Share(count / n, float(interval.low), float(interval.high), n)


def nearer(distances: Tensor, others: Tensor) -> float:
    """How often one of `distances` (n,) lies below one of `others` (m,), a tie counting half: 0.5 where both come from
    one distribution, 1 where all lie nearer (the statistic of Mann and Whitney over n m)."""
    difference = others[None] - distances[:, None]
    return float(((difference > 0).double() + 0.5 * (difference == 0)).mean())


@dataclass(frozen=True)
class Gap:
    """Means over training and over held-out images, and their difference with two standard errors: over images, as if
    they were independent; and over classes, from the differences class by class, None where there are fewer than
    `MIN_CLASSES` with images in both splits."""

    train: float
    test: float
    error: float
    class_error: float | None

    @property
    def gap(self) -> float:
        """Held-out minus training: positive where held-out images cost more."""
        return self.test - self.train


MIN_CLASSES = 5


def gap(train: Tensor, test: Tensor, train_labels: Tensor, test_labels: Tensor) -> Gap:
    """The gap of values per image, (n,) and (m,), in two splits with labels (n,) and (m,)."""
    error = math.sqrt(float(train.var() / len(train) + test.var() / len(test)))
    shared = sorted(set(train_labels.tolist()) & set(test_labels.tolist()))
    by_class = [float(test[test_labels == k].mean() - train[train_labels == k].mean()) for k in shared]
    spread = statistics.stdev(by_class) / math.sqrt(len(by_class)) if len(by_class) >= MIN_CLASSES else None
    return Gap(float(train.mean()), float(test.mean()), error, spread)


def at_equal(train: Tensor, test: Tensor, train_hard: Tensor, test_hard: Tensor) -> tuple[Tensor, Tensor]:
    """`train` (n,) and `test` (m,) as they would be at one difficulty: less b times what each image's own measure of it
    exceeds the mean by, with b the slope within the splits (analysis of covariance)."""
    x = torch.cat((train_hard - train_hard.mean(), test_hard - test_hard.mean()))
    y = torch.cat((train - train.mean(), test - test.mean()))
    slope, middle = (x @ y) / (x @ x), torch.cat((train_hard, test_hard)).mean()
    return train - slope * (train_hard - middle), test - slope * (test_hard - middle)


def png_bits(images: Tensor) -> Tensor:
    """Bits per dimension of each image as a PNG file, its header included: uint8 (n, 3 or 1, H, W) -> (n,) float64.

    A lossless code that has learned nothing from any image: what it says of two splits is how hard they are."""
    sizes = []
    for image in images.permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(buffer, format="PNG", optimize=True)
        sizes.append(buffer.tell())
    return torch.tensor(sizes, dtype=torch.float64) * 8 / images[0].numel()
