"""Data feeding: flipped batches of 64 images of 8 bits, on the device."""

from __future__ import annotations

import torch

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Side, Work, repeated
from benchmarks.steps import random_images
from benchmarks.textbook import byte_batches
from cqlib.training.batches import ImageBatches

BATCH, SIZE, BATCHES = 64, 32, 30


def feed(batches: int = 100 * BATCHES) -> Side:
    """Gathers from one tensor."""

    def side(device: torch.device) -> Work:
        source = ImageBatches(random_images(SIZE), None, seed=0, flips=True, device=device)
        return repeated(lambda: source.next(BATCH), batches, images=BATCH)

    return side


def plain_feed(batches: int = BATCHES) -> Side:
    """A DataLoader over the same tensor."""

    def side(device: torch.device) -> Work:
        source = byte_batches(random_images(SIZE), BATCH)
        return repeated(lambda: next(source).to(device), batches, images=BATCH)

    return side


def torchvision_feed(workers: int, batches: int = BATCHES) -> Side:
    """A DataLoader over PIL images with torchvision's transforms; `workers` processes beside this one."""

    def side(device: torch.device) -> Work:
        source = byte_batches(random_images(SIZE), BATCH, pil=True, workers=workers)
        return repeated(lambda: next(source).to(device), batches, images=BATCH)

    return side


ROWS = (
    Comparison("data-feeding", feed(), (
        Other("DataLoader over the same tensor", plain_feed(), cpu=10.0, cuda=10.0),
        Other("torchvision, PIL images, DataLoader", torchvision_feed(0), cpu=10.0, cuda=10.0),
        Other("the same with 2 workers", torchvision_feed(2), cpu=10.0, cuda=10.0),
    )),
)  # fmt: skip
