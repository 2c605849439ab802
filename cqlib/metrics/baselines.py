"""Scores during training; the best step, chosen on training images and then measured on the test split, for a GAN's
samples can get worse again; and baselines that a score has to beat."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import fidelity
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.evaluation import SELECTION_SEED, TEMPERATURES_AS_DRAWN, TEST_SEED, draw_samples
from cqlib.metrics.metric import Metric
from cqlib.models.base import LikelihoodSystem, System

BPD_IMAGES = 250
"""How many test images BPD is measured on during training."""
CHUNK = 10_000
"""Images that `gaussian_pixels` takes at once."""
CURVE_SCORES = ("fid", "kid", "recall")
"""Ids of the scores along training."""

Curves = dict[str, list[tuple[int, float]]]
"""Name -> (step, value), in the order of steps."""


@dataclass
class SampleScorer:
    """Scores of sets of images against the first `n` real ones of a split; `n` is lowered to the size of the smaller
    split."""

    data: Dataset
    n: int
    cache: FeatureCache

    def __post_init__(self) -> None:
        self.n = min(self.n, len(self.data.test), len(self.data.train))

    def scores(self, images: Tensor, split: str, ids: Sequence[str], *, cached: bool = False) -> dict[str, Metric]:
        """The scores with these `ids` (see `fidelity.pooled_scores`), by name, of uint8 `images` (n, 3, S, S) against
        the first n of `split`; `cached` keeps them for other runs."""
        cache = self.cache if cached else replace(self.cache, folder=None)
        fake, real = cache.pooled(images), self.cache.pooled(getattr(self.data, split).images[: self.n])
        compute = partial(fidelity.pooled_scores, fake, real, ids, features=self.cache.features, split=split)
        return cache.metrics(" ".join([split, *ids]), fake, real, compute=compute)

    def fid_of_system(self, system: System, split: str, seed: int) -> Metric:
        """The FID of n samples at temperature 1 against `split`; `seed` is the run's."""
        seed += SELECTION_SEED if split == "train" else TEST_SEED
        images = draw_samples(system, self.n, temperature=1.0, seed=seed, results=self.cache.results)
        return self.scores(images, split, ("fid",))[self.fid]

    @property
    def fid(self) -> str:
        """What the FID is called on the features: "FD-lite0"."""
        return self.cache.features.label("FID")

    def name(self, suffix: str) -> str:
        """The name of an FID in records: "FD-lite0-best@T1" or "FID-best@T1" for the `suffix` "-best"."""
        return f"{self.fid}{suffix}@T1"


def models_along_training(
    model: System, steps: int, snapshots: Mapping[int, Mapping[str, Tensor]]
) -> Iterator[tuple[int, System]]:
    """Yield (step, the system as it was then) for each of `snapshots` (step -> weights), and for `model` at `steps`.
    All are one copy of `model`, whose weights are replaced."""
    candidate = copy.deepcopy(model)
    for step, weights in sorted({**snapshots, steps: model.state_dict()}.items()):
        candidate.load_state_dict(weights)
        yield step, candidate


def best_step(
    model: System, steps: int, snapshots: Mapping[int, dict[str, Tensor]], scorer: SampleScorer, seed: int
) -> tuple[int, dict[str, Metric]]:
    """The step whose samples have the lowest FID against training images, and their FID against the test split:
    {"FD-lite0-best@T1": …}."""
    models = models_along_training(model, steps, snapshots)
    scores = {step: scorer.fid_of_system(candidate, "train", seed).value for step, candidate in models}
    best = min(scores, key=lambda step: (scores[step], -step))
    best_model = next(candidate for step, candidate in models_along_training(model, steps, snapshots) if step == best)
    metric = scorer.fid_of_system(best_model, "test", seed)
    values = ", ".join(f"{step}: {score:.1f}" for step, score in scores.items())
    protocol = f"step {best} of {steps}, chosen on training images ({values}); {metric.protocol}"
    return best, {scorer.name("-best"): replace(metric, protocol=protocol)}


def metrics_during_training(
    model: System, steps: int, snapshots: Mapping[int, Mapping[str, Tensor]], scorer: SampleScorer, seed: int
) -> Curves:
    """BPD (if there is a likelihood) and `CURVE_SCORES` at both temperatures, for each snapshot and the last step, on
    the same held-out images and with the same random numbers. A system without decoder noise is measured once for both
    temperatures."""
    x, cache = scorer.data.test.images[:BPD_IMAGES], scorer.cache
    curves: Curves = {}
    for step, system in models_along_training(model, steps, snapshots):
        values: dict[str, float] = {}
        if isinstance(system, LikelihoodSystem):
            nll = held_out_nll(system, x, results=cache.results)
            values[f"BPD on {len(x)} test images (bits/dim)"] = float(bits_per_dimension(nll.mean(), x[0].numel()))
        scores: dict[str, Metric] = {}
        for temperature in TEMPERATURES_AS_DRAWN:
            if system.decoder_noise or not scores:
                images = draw_samples(
                    system, scorer.n, temperature=temperature, seed=TEST_SEED + seed, results=cache.results
                )
                scores = scorer.scores(images, "test", CURVE_SCORES)
            at = f"@T{temperature:g} (n = {scorer.n:,})"
            values |= {f"{name}{at}": metric.value for name, metric in scores.items()}
        for name, value in values.items():
            curves.setdefault(name, []).append((step, round(value, 4)))
    return curves


def baselines(untrained: System, scorer: SampleScorer, seed: int) -> dict[str, Metric]:
    """What any training has to beat: an untrained copy of the system, and independent Gaussian pixels."""
    pixels = gaussian_pixels(scorer.data.train.images, scorer.n)
    measured = (
        ("-untrained", "samples of an untrained copy", scorer.fid_of_system(untrained, "test", seed)),
        ("-gaussian", "independent Gaussian pixels", scorer.scores(pixels, "test", ("fid",), cached=True)[scorer.fid]),
    )
    return {scorer.name(end): replace(m, protocol=f"{what}; {m.protocol}") for end, what, m in measured}


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
