"""Memorisation: distances to the nearest training image, likelihood gaps, and a model that copies, to test the tests.

The copier is the kernel density estimate over the training images x_1, …, x_N,

    p(x) = (1/N) sum_i N(x; x_i, sigma^2 I),

whose samples (a training image under noise) and likelihood are exact. Pixels are in grey levels, 0 to 255.
"""

import io
import math

import torch
from PIL import Image
from scipy import stats
from torch import Tensor

CHUNK = 2_000  # reference images compared at a time: 100 MB of float32 at 64 x 64
MIN_CLASSES = 5  # at least so many for a standard error over classes


@torch.no_grad()
def nearest(queries: Tensor, reference: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k nearest of `reference` (N, …) for each of `queries` (n, …): root mean square differences (n, k) float64 in
    the units of the values, nearest first, and indices (n, k) into `reference`."""
    a = _flat(queries)
    best = torch.cat([torch.cdist(a, _flat(part)) for part in reference.split(CHUNK)], 1).topk(k, largest=False).indices
    # the search in float32 loses digits in |a|^2 - 2ab + |b|^2; the distances returned do not
    neighbours = reference[best.flatten()].flatten(1).view(len(a), k, -1).double()
    rms, order = (queries.flatten(1).double()[:, None] - neighbours).square().mean(2).sqrt().sort(1)
    return rms, best.gather(1, order)


def copier_samples(train: Tensor, n: int, *, sigma: float, generator: torch.Generator) -> Tensor:
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
    for part in train.split(CHUNK):
        squares = torch.cdist(a, _flat(part)).double().square()
        total = torch.logaddexp(total, (-squares / (2 * sigma**2)).logsumexp(1))
    return math.log(len(train)) + a.shape[1] * math.log(sigma * math.sqrt(2 * math.pi)) - total


def _flat(values: Tensor) -> Tensor:
    """float32 (n, D), shifted so that pixels lie round 0 and squares lose few digits."""
    return values.flatten(1).float() - (128 if values.dtype == torch.uint8 else 0)


def probability_nearer(distances: Tensor, others: Tensor) -> float:
    """P(one of `distances` (n,) < one of `others` (m,)), a tie counting half: Mann and Whitney's statistic over n m."""
    return float(stats.mannwhitneyu(others, distances).statistic) / (len(distances) * len(others))


def gap_errors(train: Tensor, test: Tensor, train_labels: Tensor, test_labels: Tensor) -> tuple[float, float | None]:
    """Two standard errors of mean(test) - mean(train), of values per image (n,) and (m,) with labels (n,) and (m,):
    over images, as if they were independent; and over classes, from the differences class by class, None where fewer
    than `MIN_CLASSES` have images in both splits."""
    shared = sorted(set(train_labels.tolist()) & set(test_labels.tolist()))
    by_class = [float(test[test_labels == k].mean() - train[train_labels == k].mean()) for k in shared]
    of_classes = float(stats.sem(by_class)) if len(by_class) >= MIN_CLASSES else None
    return math.hypot(stats.sem(train), stats.sem(test)), of_classes


def at_equal_difficulty(
    train: Tensor, test: Tensor, train_difficulty: Tensor, test_difficulty: Tensor
) -> tuple[Tensor, Tensor]:
    """`train` (n,) and `test` (m,) as they would be if all images were equally difficult: each value less
    b (difficulty - mean difficulty), with b the slope within the splits (analysis of covariance)."""
    x = torch.cat((train_difficulty - train_difficulty.mean(), test_difficulty - test_difficulty.mean()))
    y = torch.cat((train - train.mean(), test - test.mean()))
    slope, middle = (x @ y) / (x @ x), torch.cat((train_difficulty, test_difficulty)).mean()
    return train - slope * (train_difficulty - middle), test - slope * (test_difficulty - middle)


def png_bits(images: Tensor) -> Tensor:
    """Bits per dimension of each image as a PNG file, a lossless code that has learned nothing from any image, its
    header included: uint8 (n, 3 or 1, H, W) -> (n,) float64."""
    sizes = []
    for image in images.permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(buffer, format="PNG", optimize=True)
        sizes.append(buffer.tell())
    return torch.tensor(sizes, dtype=torch.float64) * 8 / images[0].numel()
