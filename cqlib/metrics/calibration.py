"""What a score of samples can see, from real images alone: how far known damage moves it, in standard deviations.

The score of n training images against n test images is taken on many draws, of undamaged and of damaged ones. Their
distance is d = |mean difference| / sqrt((s0^2 + s1^2) / 2), the detectability of signal detection theory; s0 and s1
are the standard deviations over the draws. The side s to which images are resized for the extractor, and n, follow from
a rule:

- For each side n is the largest multiple of `STEP`, at most the test split, that costs at most the share `COST` of what
  1,000 images cost at side 224, the reference, which itself takes those 1,000. The cost is the number of pixels that
  the extractor looks at, to which its multiply-adds are proportional: times are measured beside it, but n must not
  depend on a machine.
- `quick` has n = `QUICK_N`, for which a distance follows from that at another n, as it grows with the root of n. Of the
  sides at which n images cost at most `COST`, that one is chosen whose smallest distance of the Fréchet distance, which
  decides claims, over all damages, is the largest.
- For `study` another side than 224 is chosen only where at equal n its smallest distance is more than `MIN_GAIN` times
  as large: so much as four times the images would bring.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import kernel
from cqlib.metrics.features import FULL_SIDE, Features, extract, lite0
from cqlib.metrics.quantities import QUANTITIES
from cqlib.util.errors import UserError
from cqlib.util.provenance import device_name
from cqlib.util.schema import STRICT, Count, NonNegative, Number, Text

SIDES = (224, 160, 128, 96, 64)
COST, MIN_GAIN = 0.6, 2.0
REFERENCE_N, STEP, QUICK_N = 1000, 250, 2000
RESAMPLES = 20
POOL = 1.5
"""Draws of n images are taken, without replacement, from a pool of `POOL` * n."""
ROUNDS, TIMED = 10, 48
"""The extraction of `TIMED` images is timed `ROUNDS` times; the least counts, for other work can only lengthen it."""
SEED = 0
UNDAMAGED = "undamaged"


def noise(images: Tensor, share: float) -> Tensor:
    """uint8 `images` (N, C, S, S) with Gaussian noise whose standard deviation is this share of the range."""
    added = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED))
    return (images + 255 * share * added).round().clamp(0, 255).to(torch.uint8)


def blur(images: Tensor) -> Tensor:
    """uint8 `images` (N, C, S, S) with each pixel the mean of its 3x3 neighbourhood; the border is replicated."""
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(padded, 3, stride=1).round().to(torch.uint8)


def swap_quarters(images: Tensor) -> Tensor:
    """The quarters of `images` (N, C, S, S) exchanged along the diagonals."""
    half = images.shape[-1] // 2
    return images.roll((half, half), (2, 3))


def scramble(images: Tensor) -> Tensor:
    """The middle half of each of `images` (N, C, S, S), where a digit's strokes are, with its four quarters turned
    upside down: the same colours and edges, but no digit."""
    quarter, half = images.shape[-1] // 4, images.shape[-1] // 2
    damaged = images.clone()
    for y in (quarter, half):
        for x in (quarter, half):
            block = images[:, :, y : y + quarter, x : x + quarter]
            damaged[:, :, y : y + quarter, x : x + quarter] = block.flip(2, 3)
    return damaged


Damages = Mapping[str, Callable[[Tensor], Tensor]]
"""Name -> a function from uint8 images (N, C, S, S) to damaged ones of the same shape."""
DAMAGES: Damages = {
    "noise 0.01": lambda images: noise(images, 0.01),
    "noise 0.04": lambda images: noise(images, 0.04),
    "blur 3x3": blur,
    "quarters swapped": swap_quarters,
    "strokes scrambled": scramble,
}
FEWER_CLASSES, A_CLASS_LESS = "half the classes", "a class missing"


def image_sets(data: Dataset, size: int, damages: Damages = DAMAGES) -> dict[str, Tensor]:
    """The first `size` training images, uint8 (size, C, S, S), undamaged and with each damage; as many of the first
    half of the classes, and as many of all but the last."""
    images, labels = data.train.images, data.train.labels
    undamaged = images[:size]
    damaged = {name: damage(undamaged) for name, damage in damages.items()}
    fewer = {FEWER_CLASSES: len(data.classes) // 2, A_CLASS_LESS: max(1, len(data.classes) - 1)}
    return {UNDAMAGED: undamaged, **damaged, **{name: images[labels < k][:size] for name, k in fewer.items()}}


def frechet_distances(pool: Tensor, real: Tensor, draws: Sequence[np.ndarray]) -> list[float]:
    """The Fréchet distance of each draw of `pool` (N, d) from `real` (n, d), with covariances C' and C. tr (C C')^(1/2)
    is the sum of the roots of the eigenvalues of R C' R with R = C^(1/2), and R C' R the covariance of the draw's
    features times R: R is the only root of a matrix that all draws need."""
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


def kernel_distances(pool: Tensor, real: Tensor, draws: Sequence[np.ndarray]) -> list[float]:
    """KID's estimate for each draw of `pool` (N, d) against `real` (n, d): of all n at once, without subsets."""
    members = torch.zeros(len(pool), len(draws), dtype=torch.float64)
    for column, draw in enumerate(draws):
        members[draw, column] = 1
    return kernel.mmd_of_subsets(pool, members, real, torch.ones(len(real), len(draws), dtype=torch.float64)).tolist()


def inception_scores(logits: Tensor, draws: Sequence[np.ndarray]) -> list[float]:
    """exp E KL(p(class | image) || p(class)) of each draw of images with these logits (N, classes)."""
    p, log_p = logits.double().softmax(1), logits.double().log_softmax(1)
    minus_entropy = (p * log_p).sum(1)
    means = [(p[draw].mean(0), minus_entropy[draw].mean()) for draw in draws]
    return [math.exp(own - (mean * mean.log()).sum()) for mean, own in means]


def scores(images: Tensor, features: Features, real: Tensor, draws: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Name of a score -> its values, one for each draw of uint8 `images` (N, C, S, S), against `real` pooled features
    (n, d)."""
    extracted = extract(images, features, features.pooled, features.logits)
    pool, logits = extracted[features.pooled], extracted[features.logits]
    values = {
        "FID": frechet_distances(pool, real, draws),
        "KID": kernel_distances(pool, real, draws),
        "IS": inception_scores(logits, draws),
    }
    return {features.label(kind): np.array(per_draw) for kind, per_draw in values.items()}


@dataclass(frozen=True, config=STRICT)
class SideResult:
    """What the scores see at one side and n. `undamaged`: score -> its mean and standard deviation over draws of
    undamaged images; `distances`: damage -> score -> distance in standard deviations; `milliseconds`: time to extract
    the features of one image, on one thread."""

    side: Count
    n: Count
    milliseconds: NonNegative
    undamaged: dict[Text, tuple[Number, NonNegative]]
    distances: dict[Text, dict[Text, NonNegative]]

    @property
    def cost(self) -> float:
        """The number of pixels in n images of this side, relative to `REFERENCE_N` images of `FULL_SIDE`."""
        return self.n * self.side**2 / (REFERENCE_N * FULL_SIDE**2)

    def at(self, n: int) -> "SideResult":
        """The same for n images, without their times."""
        root = math.sqrt(n / self.n)
        distances = {damage: {score: root * d for score, d in of.items()} for damage, of in self.distances.items()}
        return replace(self, n=n, distances=distances)

    @property
    def smallest(self) -> float:
        """The smallest distance of the Fréchet distance over damages."""
        names = QUANTITIES["fid"].names
        return min(value for by_score in self.distances.values() for name, value in by_score.items() if name in names)


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """What the scores see on a data set at each side."""

    data: Text
    size: Count
    fingerprint: Text
    """The fingerprint of the test split."""
    resamples: Count
    device: Text
    sides: tuple[SideResult, ...]

    @property
    def choice(self) -> SideResult:
        """The result that the rule for `quick` chooses."""
        every = (result.at(QUICK_N) for result in self.sides)
        return max((result for result in every if result.cost <= COST), key=lambda result: result.smallest)

    @property
    def choice_at_equal_n(self) -> SideResult:
        """The result that the rule for `study` chooses, of `sides` that all have the same n."""
        best = max(self.sides, key=lambda result: result.smallest)
        return best if best.smallest > MIN_GAIN * self.full.smallest else self.full

    @property
    def full(self) -> SideResult:
        """The result at `FULL_SIDE`."""
        return next(result for result in self.sides if result.side == FULL_SIDE)


def calibrate(
    data: Dataset, *, n: int | None = None, sides: Sequence[int] = SIDES, resamples: int = RESAMPLES,
    damages: Damages = DAMAGES,
) -> Calibration:  # fmt: skip
    """What the scores see of `damages` on `data` at each side; of `n` images everywhere, or of as many as the rule
    allows. UserError where there are too few images."""
    first_half = int((data.train.labels < len(data.classes) // 2).sum())  # no more than all
    most = min(len(data.test), int(first_half / POOL))
    if most < (n or STEP):
        few = f"{data.name} has too few images to calibrate on: {n or STEP} are needed for testing"
        raise UserError(f"{few}, and {round(POOL * (n or STEP))} for training in the first half of its classes")
    milliseconds = extraction_times(data.test.images[:TIMED], sides)
    results = []
    for side in sides:
        affordable = REFERENCE_N if side == FULL_SIDE else int(COST * REFERENCE_N * (FULL_SIDE / side) ** 2)
        count = n or min(affordable, most) // STEP * STEP
        undamaged, distances = _measure_side(data, lite0(side), count, resamples, damages)
        results.append(SideResult(side, count, milliseconds[side], undamaged, distances))
    device = device_name(torch.device("cpu"), bf16=False, threads=1)
    return Calibration(data.name, data.size, data.test.fingerprint, resamples, device, tuple(results))


def extraction_times(images: Tensor, sides: Sequence[int]) -> dict[int, float]:
    """Side -> milliseconds of CPU time in which one thread extracts the features of one of `images`: the least of
    `ROUNDS` rounds, in which the sides take turns."""
    least = dict.fromkeys(sides, math.inf)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(ROUNDS):
            for side in sides:
                features, started = lite0(side), time.process_time()
                extract(images, features, features.pooled, features.logits)
                least[side] = min(least[side], time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    return {side: round(1000 * seconds / len(images), 2) for side, seconds in least.items()}


def _measure_side(
    data: Dataset, features: Features, n: int, resamples: int, damages: Damages
) -> tuple[dict[str, tuple[float, float]], dict[str, dict[str, float]]]:
    """`SideResult.undamaged` and `SideResult.distances`."""
    pool_size = round(POOL * n)
    rng = np.random.default_rng(SEED)
    draws = [rng.permutation(pool_size)[:n] for _ in range(resamples)]
    real = extract(data.test.images[:n], features, features.pooled)[features.pooled]
    # A draw of n out of N without replacement varies less than n new images, by the factor sqrt(1 - n / N).
    correction = (1 - n / pool_size) ** -0.5
    moments: dict[str, dict[str, tuple[float, float]]] = {}  # damage -> score -> mean and standard deviation
    for damage, images in image_sets(data, pool_size, damages).items():
        by_score = scores(images, features, real, draws)
        moments[damage] = {score: (float(values.mean()), correction * float(values.std(ddof=1)))
                           for score, values in by_score.items()}  # fmt: skip
    plain = moments.pop(UNDAMAGED)
    distances = {
        damage: {score: _detectability(by_score[score], plain[score]) for score in plain}
        for damage, by_score in moments.items()
    }
    return {score: (round(mean, 4), round(std, 5)) for score, (mean, std) in plain.items()}, distances


def _detectability(damaged: tuple[float, float], undamaged: tuple[float, float]) -> float:
    """d of the module's docstring, of two (mean, standard deviation)."""
    (mean, std), (plain_mean, plain_std) = damaged, undamaged
    return round(abs(mean - plain_mean) / math.sqrt((std**2 + plain_std**2) / 2), 2)
