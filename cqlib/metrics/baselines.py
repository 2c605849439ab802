"""Scores during training, and baselines that a score has to beat."""

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import fidelity
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.evaluation import TEST_SEED, NonFiniteSamples, draw_samples
from cqlib.metrics.metric import Metric, Subject
from cqlib.models.base import LikelihoodSystem, System

BPD_IMAGES = 250
"""How many test images BPD is measured on during training."""
CHUNK = 10_000
"""Images that `gaussian_pixels` takes at once."""
CURVE_SCORES = ("fid", "kid", "coverage")
"""Ids of the scores along training."""

Curves = dict[str, list[tuple[int, float]]]
"""Name -> (step, value), in the order of steps."""


@dataclass
class SampleScorer:
    """Scores of sets of images against the first `n` of the test split; `n` is lowered to the size of the smaller
    split."""

    data: Dataset
    n: int
    cache: FeatureCache

    def __post_init__(self) -> None:
        self.n = min(self.n, len(self.data.test), len(self.data.train))

    def scores(self, images: Tensor, ids: Sequence[str], *, cached: bool = False) -> dict[str, Metric]:
        """The scores with these `ids` (see `fidelity.pooled_scores`), by name, of uint8 `images` (n, 3, S, S) against
        the first n of the test split; `cached` keeps them for other runs."""
        cache = self.cache if cached else replace(self.cache, folder=None)
        fake, real = cache.pooled(images), self.cache.pooled(self.data.test.images[: self.n])
        compute = partial(fidelity.pooled_scores, fake, real, ids, features=self.cache.features)
        return cache.metrics(" ".join(ids), fake, real, compute=compute)

    def of_system(self, system: System, ids: Sequence[str], seed: int) -> dict[str, Metric]:
        """The scores with these `ids` of n samples; `seed` is the run's."""
        return self.scores(draw_samples(system, self.n, seed=TEST_SEED + seed, results=self.cache.results), ids)


def metrics_during_training(
    model: System, steps: int, snapshots: Mapping[int, Mapping[str, Tensor]], scorer: SampleScorer, seed: int
) -> Curves:
    """BPD (if there is a likelihood) and `CURVE_SCORES` for each of `snapshots` (step -> weights), and for
    `model` at the last of `steps`, on the same held-out images and with the same random numbers. What is not
    finite has no point."""
    x, cache = scorer.data.test.images[:BPD_IMAGES], scorer.cache
    curves: Curves = {}
    system = copy.deepcopy(model)
    for step, weights in sorted({**snapshots, steps: model.state_dict()}.items()):
        system.load_state_dict(weights)
        values: dict[str, float] = {}
        if isinstance(system, LikelihoodSystem):
            nll = held_out_nll(system, x, results=cache.results)
            values[f"BPD on {len(x)} test images (bits/dim)"] = float(bits_per_dimension(nll.mean(), x[0].numel()))
        with suppress(NonFiniteSamples):
            scores = scorer.of_system(system, CURVE_SCORES, seed)
            values |= {f"{name} (n = {scorer.n:,})": metric.number for name, metric in scores.items()}
        for name, value in values.items():
            if math.isfinite(value):
                curves.setdefault(name, []).append((step, round(value, 4)))
    return curves


def baselines(untrained: System, scorer: SampleScorer, seed: int) -> dict[str, Metric]:
    """What any training has to beat: an untrained copy of the system, and independent Gaussian pixels."""
    pixels = gaussian_pixels(scorer.data.train.images, scorer.n)
    measured: tuple[tuple[str, Subject, dict[str, Metric]], ...] = (
        ("-untrained", "untrained copy", scorer.of_system(untrained, ("fid",), seed)),
        ("-gaussian", "Gaussian pixels", scorer.scores(pixels, ("fid",), cached=True)),
    )
    return {
        name + end: replace(metric, protocol=replace(metric.protocol, of=of))
        for end, of, scores in measured
        for name, metric in scores.items()
    }


def gaussian_pixels(train: Tensor, n: int) -> Tensor:
    """n images, uint8 (n, C, S, S), of independent Gaussian pixels, each with the mean and variance that it has over
    `train`, uint8 (N, C, S, S)."""
    total, squares = (torch.zeros(train.shape[1:], dtype=torch.float64) for _ in range(2))
    for part in train.split(CHUNK):
        total += part.double().sum(0)
        squares += part.double().square().sum(0)
    mean = total / len(train)
    std = (squares / len(train) - mean.square()).clamp(min=0).sqrt()
    noise = torch.randn(n, *mean.shape, generator=torch.Generator().manual_seed(0))
    return (mean + std * noise).round().clamp(0, 255).to(torch.uint8)
