"""Best step and last step, and what a score has to beat: the Fréchet distance of kept snapshots, of an untrained
copy, and of a per-pixel Gaussian fit.

A GAN's samples can get worse again, so that papers report the best step. The step is chosen on training images,
with samples of a seed of its own, and only then measured on the test split: choosing on the test split would be
choosing by luck.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import fidelity
from cqlib.metrics.cache import pooled_features
from cqlib.metrics.evaluation import draw
from cqlib.metrics.features import Features
from cqlib.metrics.metric import Metric
from cqlib.models.base import System
from cqlib.recipe import Evaluation


class Distances:
    """The Fréchet distance of sets of images from `n` real ones, at the size that a profile measures with."""

    def __init__(self, data: Dataset, evaluation: Evaluation, features: Features, *, cache_dir: Path,
                 device: torch.device, on_batch: Callable[[], None] = lambda: None):  # fmt: skip
        self.data, self.features, self.device, self.on_batch = data, features, device, on_batch
        self.n = min(evaluation.fidelity_images, len(data.test), len(data.train))
        self.cache_dir = cache_dir

    def of(self, images: Tensor, split: str) -> Metric:
        """FID of uint8 `images` (n, 3, S, S) against the first n of `split`."""
        real = getattr(self.data, split).images[: self.n]
        made, real = (
            pooled_features(x, features=self.features, cache_dir=cache, device=self.device, on_batch=self.on_batch)
            for x, cache in ((images, None), (real, self.cache_dir))
        )
        return fidelity.frechet(made, real, features=self.features, split=split)

    def of_system(self, system: System, split: str, seed: int) -> Metric:
        """That of n samples at temperature 1."""
        return self.of(draw(system, self.n, temperature=1.0, seed=seed, on_batch=self.on_batch), split)

    def name(self, what: str) -> str:
        """ "FD-lite0-best@T1" or "FID-best@T1"."""
        return f"{fidelity.label('FID', self.features)}-{what}@T1"


def best_step(
    model: System, steps: int, kept: Mapping[int, dict[str, Tensor]], distances: Distances, seed: int
) -> tuple[int, dict[str, Metric]]:
    """The best of the kept steps and the last one, and its distance from the test split: {"FD-lite0-best@T1": …}."""
    candidate = copy.deepcopy(model)
    scores = {steps: distances.of_system(model, "train", 20_000 + seed).value}
    for step, weights in kept.items():
        candidate.load_state_dict(weights)
        scores[step] = distances.of_system(candidate, "train", 20_000 + seed).value
    best = min(scores, key=lambda step: (scores[step], -step))
    if best == steps:
        candidate = model
    else:
        candidate.load_state_dict(kept[best])
    found = distances.of_system(candidate, "test", 10_000 + seed)
    tried = ", ".join(f"{step}: {scores[step]:.1f}" for step in sorted(scores))
    protocol = f"step {best} of {steps}, chosen on training images ({tried}); {found.protocol}"
    return best, {distances.name("best"): Metric(found.value, None, found.n, protocol)}


def baselines(untrained: System, distances: Distances, seed: int) -> dict[str, Metric]:
    """What any training has to beat: an untrained copy of the system, and independent Gaussian pixels with the mean
    and the variance of each pixel over the training images."""
    made: dict[str, Any] = {
        "untrained": distances.of_system(untrained, "test", 10_000 + seed),
        "gaussian": distances.of(gaussian_pixels(distances.data.train.images, distances.n), "test"),
    }
    words = {"untrained": "samples of an untrained copy", "gaussian": "independent Gaussian pixels"}
    return {
        distances.name(key): Metric(metric.value, None, metric.n, f"{words[key]}; {metric.protocol}")
        for key, metric in made.items()
    }


def gaussian_pixels(train: Tensor, n: int, seed: int = 0) -> Tensor:
    """n draws, uint8 (n, C, S, S), of pixels that are independent and Gaussian, with the moments of uint8 `train`."""
    total, squares = (
        torch.zeros(train.shape[1:], dtype=torch.float64),
        torch.zeros(train.shape[1:], dtype=torch.float64),
    )
    for part in train.split(10_000):
        total += part.double().sum(0)
        squares += part.double().square().sum(0)
    mean = total / len(train)
    std = (squares / len(train) - mean.square()).clamp(min=0).sqrt()
    noise = torch.randn(n, *mean.shape, generator=torch.Generator().manual_seed(seed))
    return (mean + std * noise).round().clamp(0, 255).to(torch.uint8)
