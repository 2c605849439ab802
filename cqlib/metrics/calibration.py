"""What a score of samples can see, from real images alone: how far known damage moves it, in standard deviations.

The score of n training images against n test images is taken on many draws, of undamaged and of damaged ones. Their
distance is d = |mean difference| / sqrt((s0^2 + s1^2) / 2), the detectability of signal detection theory; s0 and s1
are the standard deviations over the draws. What the side s of the extractor's images and n should be follows by a rule
that was written before any model was scored with the result:

- For each side n is the largest multiple of `STEP`, at most the test split, that costs at most `COST` of 1,000 images
  at side 224, which `quick` was measured with at first. The cost is the number of pixels that the extractor looks at,
  to which its multiply-adds are proportional: times are measured beside it, but n must not depend on a machine.
- Of these (s, n) that one is chosen whose smallest distance, over all damages and scores, is the largest.
- For `study`, whose first records stand on side 224, another side is chosen only where at equal n its smallest distance
  is more than `WORTH` times as large: so much as four times the images would bring.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics.features import FULL_SIDE, Features, extract, lite0
from cqlib.util.provenance import device_name
from cqlib.util.schema import STRICT, Count, NonNegative, Number, Text

SIDES = (224, 160, 128, 96, 64)
COST, WORTH = 0.6, 2.0
REFERENCE_N, STEP = 1000, 250
RESAMPLES = 20
POOL = 1.5
"""Images that draws of n are taken from, in n; drawn without replacement."""
SEED = 0
UNDAMAGED = "undamaged"


def noise(images: Tensor, share: float) -> Tensor:
    """uint8 `images` (N, C, S, S) with Gaussian noise whose standard deviation is this share of the range."""
    added = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED))
    return (images + 255 * share * added).round().clamp(0, 255).to(torch.uint8)


def blur(images: Tensor) -> Tensor:
    """Each pixel of uint8 `images` (N, C, S, S) is the mean of 3x3; the border's go on beyond it."""
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(padded, 3, stride=1).round().to(torch.uint8)


def swap_quarters(images: Tensor) -> Tensor:
    """The quarters of `images` (N, C, S, S) exchanged along the diagonals."""
    half = images.shape[-1] // 2
    return images.roll((half, half), (2, 3))


DAMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "noise 0.01": lambda images: noise(images, 0.01),
    "noise 0.04": lambda images: noise(images, 0.04),
    "blur 3x3": blur,
    "quarters swapped": swap_quarters,
}
FEWER_CLASSES = "half the classes"


def pools(data: Dataset, size: int) -> dict[str, Tensor]:
    """The first `size` training images, uint8 (size, C, S, S), undamaged and with each damage; and as many of the first
    half of the classes."""
    images, labels = data.train.images, data.train.labels
    undamaged = images[:size]
    damaged = {name: damage(undamaged) for name, damage in DAMAGES.items()}
    return {UNDAMAGED: undamaged} | damaged | {FEWER_CLASSES: images[labels < len(data.classes) // 2][:size]}


def frechet_distances(pool: Tensor, real: Tensor, draws: Sequence[np.ndarray]) -> list[float]:
    """The Fréchet distance of each draw of `pool` (N, d) from `real` (n, d). tr (C C')^(1/2) is the sum of the roots of
    the eigenvalues of R C' R with R = C^(1/2), the covariance of features times R: one root of a matrix for all draws.
    """
    reference, values = (features.double().numpy() for features in (real, pool))
    covariance = np.cov(reference, rowvar=False)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    turned = values @ (vectors * np.sqrt(eigenvalues.clip(min=0))) @ vectors.T
    distances = []
    for draw in draws:
        between = np.square(values[draw].mean(0) - reference.mean(0)).sum()
        shared = np.sqrt(np.linalg.eigvalsh(np.cov(turned[draw], rowvar=False)).clip(min=0)).sum()
        distances.append(float(between + np.trace(covariance) + values[draw].var(0, ddof=1).sum() - 2 * shared))
    return distances


def scores(images: Tensor, features: Features, real: Tensor, draws: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Name of a score -> its values, one for each draw of uint8 `images` (N, C, S, S), against `real` pooled features
    (n, d); KID of all n at once, without subsets."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
    from torch_fidelity.metric_kid import kernel_mmd

    extracted = extract(images, features, (features.pooled, features.logits))
    pool, logits = extracted[features.pooled], extracted[features.logits]
    values = {
        "FID": frechet_distances(pool, real, draws),
        "KID": [kernel_mmd(pool[draw].double().numpy(), real.double().numpy()) for draw in draws],
        "IS": [isc_features_to_metric(logits[draw], splits=1)[KEY_METRIC_ISC_MEAN] for draw in draws],
    }
    return {features.label(kind): np.array(drawn) for kind, drawn in values.items()}


@dataclass(frozen=True, config=STRICT)
class Seen:
    """What the scores see at one side and n. By score: of undamaged images the mean over draws and the standard
    deviation, by damage the distance in standard deviations; milliseconds of the processor to extract the features of
    an image."""

    side: Count
    n: Count
    milliseconds: NonNegative
    undamaged: dict[Text, tuple[Number, NonNegative]]
    distances: dict[Text, dict[Text, NonNegative]]

    @property
    def cost(self) -> float:
        """Of its pixels, in those of `REFERENCE_N` images at `FULL_SIDE`."""
        return self.n * self.side**2 / (REFERENCE_N * FULL_SIDE**2)

    @property
    def smallest(self) -> float:
        """The smallest distance over damages and scores."""
        return min(value for by_score in self.distances.values() for value in by_score.values())


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """What the scores see on a data set, whose test split has this fingerprint, at each side."""

    data: Text
    size: Count
    fingerprint: Text
    resamples: Count
    device: Text
    sides: tuple[Seen, ...]

    @property
    def chosen(self) -> Seen:
        """By the rule for `quick`."""
        return max((seen for seen in self.sides if seen.cost <= COST), key=lambda seen: seen.smallest)

    @property
    def chosen_at_equal_n(self) -> Seen:
        """By the rule for `study`."""
        best = max(self.sides, key=lambda seen: seen.smallest)
        return best if best.smallest > WORTH * self.full.smallest else self.full

    @property
    def full(self) -> Seen:
        """What is seen at `FULL_SIDE`."""
        return next(seen for seen in self.sides if seen.side == FULL_SIDE)


def calibrate(data: Dataset, *, n: int | None = None) -> Calibration:
    """What the scores see on `data` at each side; of `n` images everywhere, or of as many as the rule allows."""
    seen = []
    for side in SIDES:
        affordable = REFERENCE_N if side == FULL_SIDE else int(COST * REFERENCE_N * (FULL_SIDE / side) ** 2)
        count = n or min(affordable // STEP * STEP, len(data.test))
        seen.append(_seen(data, side, count))
    device = device_name(torch.device("cpu"), bf16=False)
    return Calibration(data.name, data.size, data.test.fingerprint, RESAMPLES, device, tuple(seen))


def _seen(data: Dataset, side: int, n: int) -> Seen:
    features = lite0(side)
    features.extractor()  # which takes a while to load
    size = round(POOL * n)
    rng = np.random.default_rng(SEED)
    draws = [rng.permutation(size)[:n] for _ in range(RESAMPLES)]
    started = time.process_time()
    real = extract(data.test.images[:n], features, (features.pooled,))[features.pooled]
    milliseconds = round(1000 * (time.process_time() - started) / n, 2)
    drawn = {name: scores(images, features, real, draws) for name, images in pools(data, size).items()}
    # A draw of n out of N without replacement varies less than one of n new images, by the factor sqrt(1 - n / N).
    growth = (1 - n / size) ** -0.5
    means = {name: {s: float(values.mean()) for s, values in of.items()} for name, of in drawn.items()}
    spread = {name: {s: growth * float(values.std(ddof=1)) for s, values in of.items()} for name, of in drawn.items()}

    def distance(name: str, score: str) -> float:
        pooled = math.sqrt((spread[name][score] ** 2 + spread[UNDAMAGED][score] ** 2) / 2)
        return round(abs(means[name][score] - means[UNDAMAGED][score]) / pooled, 2)

    undamaged = {s: (round(mean, 4), round(spread[UNDAMAGED][s], 5)) for s, mean in means[UNDAMAGED].items()}
    distances = {name: {s: distance(name, s) for s in undamaged} for name in drawn if name != UNDAMAGED}
    return Seen(side, n, milliseconds, undamaged, distances)
