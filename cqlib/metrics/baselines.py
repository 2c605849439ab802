"""Scores along training, the best step (chosen on training images, then measured on the test split: a GAN's samples can
get worse again), and what a score has to beat."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import fidelity
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.metrics.cache import metrics_once, pooled_features
from cqlib.metrics.evaluation import draw
from cqlib.metrics.features import Features
from cqlib.metrics.metric import Metric
from cqlib.metrics.resumable import PartialResults
from cqlib.models.base import LikelihoodSystem, System
from cqlib.util.stop import StopRequest

SELECTION_SEED, TEST_SEED = 20_000, 10_000
"""Added to a run's seed: for the samples that choose a step, and for those that are reported."""
BPD_IMAGES = 250
"""Test images of the BPD along training."""

Curves = dict[str, list[tuple[int, float]]]
"""Name -> [[step, value], …]."""


@dataclass
class Distances:
    """The Fréchet distance of sets of images from `n` real ones (fewer where a split has fewer)."""

    data: Dataset
    n: int
    features: Features
    cache_dir: Path
    device: torch.device
    stop: StopRequest = field(default_factory=StopRequest)

    def __post_init__(self) -> None:
        self.n = min(self.n, len(self.data.test), len(self.data.train))
        self.results = PartialResults(stop=self.stop)

    def of(self, images: Tensor, split: str, *, once: bool = False) -> Metric:
        """FID of uint8 `images` (n, 3, S, S) against the first n of `split`; `once` keeps it for other runs."""
        real_images = getattr(self.data, split).images[: self.n]
        fake, real = (
            pooled_features(x, features=self.features, cache_dir=cache, device=self.device, results=self.results)
            for x, cache in ((images, self.cache_dir if once else None), (real_images, self.cache_dir))
        )

        def compute() -> dict[str, Metric]:
            return {"FID": fidelity.frechet(fake, real, features=self.features, split=split)}

        where: dict[str, Any] = {"features": self.features, "cache_dir": self.cache_dir}
        return (metrics_once(split, fake, real, **where, compute=compute) if once else compute())["FID"]

    def of_system(self, system: System, split: str, seed: int) -> Metric:
        """That of n samples at temperature 1."""
        return self.of(draw(system, self.n, temperature=1.0, seed=seed, results=self.results), split)

    def name(self, suffix: str) -> str:
        """ "FD-lite0-best@T1" or "FID-best@T1" for "-best"."""
        return f"{self.features.label('FID')}{suffix}@T1"


def best_step(
    model: System, steps: int, snapshots: Mapping[int, dict[str, Tensor]], distances: Distances, seed: int
) -> tuple[int, dict[str, Metric]]:
    """The best of the steps of `snapshots` (step -> weights) and `steps`, that of `model`; its distance from the test
    split: {"FD-lite0-best@T1": …}."""
    candidate = copy.deepcopy(model)
    scores = {steps: distances.of_system(model, "train", SELECTION_SEED + seed).value}
    for step, weights in snapshots.items():
        candidate.load_state_dict(weights)
        scores[step] = distances.of_system(candidate, "train", SELECTION_SEED + seed).value
    best = min(scores, key=lambda step: (scores[step], -step))
    if best == steps:
        candidate = model
    else:
        candidate.load_state_dict(snapshots[best])
    metric = distances.of_system(candidate, "test", TEST_SEED + seed)
    values = ", ".join(f"{step}: {scores[step]:.1f}" for step in sorted(scores))
    protocol = f"step {best} of {steps}, chosen on training images ({values}); {metric.protocol}"
    return best, {distances.name("-best"): replace(metric, protocol=protocol)}


def metrics_during_training(
    model: System, steps: int, snapshots: Mapping[int, Mapping[str, Tensor]], distances: Distances, seed: int
) -> Curves:
    """BPD (where there is a likelihood) and Fréchet distance at temperature 1 at each snapshot (step -> weights) and at
    step `steps`, the state of `model`: of the same held-out images, with the same random numbers."""
    candidate = copy.deepcopy(model)
    x = distances.data.test.images[:BPD_IMAGES]
    bpd: list[tuple[int, float]] = []
    distance: list[tuple[int, float]] = []
    for step in sorted({*snapshots, steps}):
        candidate.load_state_dict(snapshots[step] if step in snapshots else model.state_dict())
        if isinstance(candidate, LikelihoodSystem):
            nll = held_out_nll(candidate, x, results=distances.results)
            bpd.append((step, round(float(bits_per_dimension(nll.mean(), x[0].numel())), 4)))
        distance.append((step, round(distances.of_system(candidate, "test", TEST_SEED + seed).value, 2)))
    curves = {f"BPD on {len(x)} test images (bits/dim)": bpd} if bpd else {}
    return curves | {f"{distances.name('')} (n = {distances.n:,})": distance}


def baselines(untrained: System, distances: Distances, seed: int) -> dict[str, Metric]:
    """What any training has to beat: an untrained copy of the system, and independent Gaussian pixels."""
    pixels = gaussian_pixels(distances.data.train.images, distances.n)
    measured = (
        ("-untrained", "samples of an untrained copy", distances.of_system(untrained, "test", TEST_SEED + seed)),
        ("-gaussian", "independent Gaussian pixels", distances.of(pixels, "test", once=True)),
    )
    return {distances.name(end): replace(m, protocol=f"{what}; {m.protocol}") for end, what, m in measured}


def gaussian_pixels(train: Tensor, n: int, seed: int = 0) -> Tensor:
    """n draws, uint8 (n, C, S, S), of independent Gaussian pixels with the moments of those of `train` (N, C, S, S)."""
    total, squares = (torch.zeros(train.shape[1:], dtype=torch.float64) for _ in range(2))
    for part in train.split(10_000):
        total += part.double().sum(0)
        squares += part.double().square().sum(0)
    mean = total / len(train)
    std = (squares / len(train) - mean.square()).clamp(min=0).sqrt()
    noise = torch.randn(n, *mean.shape, generator=torch.Generator().manual_seed(seed))
    return (mean + std * noise).round().clamp(0, 255).to(torch.uint8)
