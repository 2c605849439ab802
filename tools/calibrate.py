"""Measure what scores see of damage to real images (`cqlib.metrics.calibration`), in half an hour on one core.

`python tools/calibrate.py photodigits 16` writes reports/published/calibration/photodigits-16.json. With a number of
images behind, every side has that many (photodigits-32: 500). Without, n is for each side the largest multiple of
`STEP`, at most the test split, that costs at most the share `COST` of what 1,000 images cost at side 224, the
reference, which itself takes those 1,000.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset
from cqlib.metrics import kernel
from cqlib.metrics.calibration import COST, REFERENCE_N, SEED, UNDAMAGED, Calibration, SideResult, image_sets
from cqlib.metrics.features import FULL_SIDE, Features, extract, lite0
from cqlib.util.errors import UserError, one_line_errors
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.provenance import device_name

SIDES = (224, 160, 128, 96, 64)
STEP = 250
RESAMPLES = 20
POOL = 1.5
"""Draws of n images are taken, without replacement, from a pool of `POOL` * n."""
ROUNDS, TIMED = 10, 48
"""The extraction of `TIMED` images is timed `ROUNDS` times; the least counts, for other work can only lengthen it."""


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


def calibrate(data: Dataset, *, n: int | None = None) -> Calibration:
    """What the scores see of the damages on `data` at each of `SIDES`; of `n` images everywhere, or of as many as the
    rule allows. UserError where there are too few images."""
    first_half = int((data.train.labels < len(data.classes) // 2).sum())  # no more than all
    most = min(len(data.test), int(first_half / POOL))
    if most < (n or STEP):
        few = f"{data.name} has too few images to calibrate on: {n or STEP} are needed for testing"
        raise UserError(f"{few}, and {round(POOL * (n or STEP))} for training in the first half of its classes")
    milliseconds = extraction_times(data.test.images[:TIMED], SIDES)
    results = []
    for side in SIDES:
        affordable = REFERENCE_N if side == FULL_SIDE else int(COST * REFERENCE_N * (FULL_SIDE / side) ** 2)
        count = n or min(affordable, most) // STEP * STEP
        undamaged, distances = _measure_side(data, lite0(side), count, RESAMPLES)
        results.append(SideResult(side, count, milliseconds[side], undamaged, distances))
    device = device_name(torch.device("cpu"), threads=1)
    return Calibration(data.name, data.size, data.test.fingerprint, RESAMPLES, device, tuple(results))


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
    data: Dataset, features: Features, n: int, resamples: int
) -> tuple[dict[str, tuple[float, float]], dict[str, dict[str, float]]]:
    """`SideResult.undamaged` and `SideResult.distances`."""
    pool_size = round(POOL * n)
    rng = np.random.default_rng(SEED)
    draws = [rng.permutation(pool_size)[:n] for _ in range(resamples)]
    real = extract(data.test.images[:n], features, features.pooled)[features.pooled]
    # A draw of n out of N without replacement varies less than n new images, by the factor sqrt(1 - n / N).
    correction = (1 - n / pool_size) ** -0.5
    moments: dict[str, dict[str, tuple[float, float]]] = {}  # damage -> score -> mean and standard deviation
    for damage, images in image_sets(data, pool_size).items():
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


def main(data: str, size: str, n: str | None = None) -> None:
    found = calibrate(data_sets.load(data, size=int(size)), n=n and int(n))
    file = write_atomic(PUBLISHED / "calibration" / f"{data}-{size}.json", json.dumps(asdict(found), indent=1) + "\n")
    print(file)


if __name__ == "__main__":
    with one_line_errors("calibrate"):
        main(*sys.argv[1:])
