"""Data feeding: flipped batches of 64 images of 8 bits, on the device."""

from __future__ import annotations

from typing import Any

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


def loader_feed(batches: int = BATCHES, **loader: Any) -> Side:
    """A DataLoader over the same images, with these options of `byte_batches`."""

    def side(device: torch.device) -> Work:
        source = byte_batches(random_images(SIZE), BATCH, **loader)
        return repeated(lambda: next(source).to(device), batches, images=BATCH)

    return side


ROWS = (
    Comparison("data-feeding", feed(), (
        Other("DataLoader over the same tensor", loader_feed(), cpu=10.0, cuda=10.0),
        Other("torchvision, PIL images, DataLoader", loader_feed(pil=True), cpu=10.0, cuda=10.0),
        Other("the same with 2 workers", loader_feed(pil=True, workers=2), cpu=10.0, cuda=10.0),
    )),
)  # fmt: skip
