"""What scores see of damage to real images: scores of many draws against the plain ones, distances, the rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import images as noise_images
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
from torch_fidelity.metric_kid import kernel_mmd

from cqlib.data.dataset import Dataset, Split
from cqlib.metrics import calibration, fidelity
from cqlib.metrics.calibration import Calibration, SideResult
from cqlib.metrics.features import lite0
from cqlib.recipe import EVALUATION
from cqlib.suite.figures import metric_calibration
from tools import calibrate

KERNEL = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
DRAWS = [np.random.default_rng(seed).permutation(60)[:40] for seed in range(3)]


def test_scores_of_draws_are_those_of_each_draw():
    """torch-fidelity's of one draw after the other."""
    generator = torch.Generator().manual_seed(0)
    pool, real, logits = (torch.randn(n, d, generator=generator) for n, d in ((60, 20), (40, 20), (60, 30)))
    real = real * torch.linspace(0.5, 2, 20) + 0.3
    distances = calibrate.frechet_distances(pool, real, DRAWS)
    kernels = calibrate.kernel_distances(pool, real, DRAWS)
    scores = calibrate.inception_scores(logits, DRAWS)
    for draw, distance, kernel, score in zip(DRAWS, distances, kernels, scores, strict=True):
        sets = fidelity.ScoreInputs(lite0(224), pool[draw], real, "test")
        assert distance == pytest.approx(fidelity.frechet_distance(sets).value, rel=1e-6)
        assert kernel == pytest.approx(kernel_mmd(pool[draw].numpy(), real.numpy(), **KERNEL), rel=1e-4)
        theirs = isc_features_to_metric(logits[draw], splits=1)[KEY_METRIC_ISC_MEAN]
        assert score == pytest.approx(theirs, rel=1e-9)


def test_damage():
    images = noise_images(200, 8) // 2 + 64  # 64 to 191: noise of 4 % reaches neither end
    noisy = calibration.noise(images, 0.04).double() - images
    assert noisy.std().item() == pytest.approx(0.04 * 255, rel=0.02) and abs(noisy.mean().item()) < 0.2
    assert torch.equal(calibration.noise(images, 0.04).double() - images, noisy)  # the same again
    swapped = calibration.swap_quarters(images)
    assert torch.equal(swapped[..., :4, :4], images[..., 4:, 4:])
    assert torch.equal(swapped[..., 4:, :4], images[..., :4, 4:])
    spot = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    spot[..., 2, 3] = 90
    blurred = calibration.blur(spot)[0, 0]
    assert (blurred[1:4, 2:5] == 10).all() and blurred.sum() == 90
    assert (calibration.blur(torch.full((1, 3, 4, 4), 7, dtype=torch.uint8)) == 7).all()  # the border, too


def made(n_train: int = 240, n_test: int = 40) -> Dataset:
    """Smooth images of four classes that differ in brightness."""
    splits = []
    for name, n in (("train", n_train), ("test", n_test)):
        labels = torch.arange(n) % 4
        images = noise_images(n, 8, seed=n) // 8 + (60 * labels).to(torch.uint8)[:, None, None, None]
        splits.append(Split(name, images, labels))
    return Dataset("made", 8, tuple("abcd"), *splits)


def test_spread_is_that_of_new_images_and_not_of_draws_from_a_pool(monkeypatch):
    """The mean of n independent features has standard deviation 1 / sqrt(n), whatever share of the pool is drawn."""
    monkeypatch.setattr(calibrate, "extract", lambda images, *_: {"1280": images, "logits": images})
    monkeypatch.setattr(calibrate, "scores", lambda images, _, __, draws: {"mean": np.array(
        [float(images[draw].mean()) for draw in draws])})  # fmt: skip
    values = torch.randn(300, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(calibrate, "image_sets", lambda *_: {"undamaged": values, "shifted": values + 1})
    undamaged, distances = calibrate._measure_side(made(), lite0(224), 200, 400)
    assert undamaged["mean"][1] == pytest.approx(200**-0.5, rel=0.15)
    assert distances["shifted"]["mean"] == pytest.approx(200**0.5, rel=0.15)


def seen(side: int, n: int, *distances: float) -> SideResult:
    by_damage = {str(i): {"FD-lite0": value} for i, value in enumerate(distances)}
    return SideResult(side, n, 1.0, {"FD-lite0": (1.0, 0.1)}, by_damage)


def test_the_rule_takes_the_largest_smallest_distance_that_is_cheap_enough():
    """At n = 2,000 sides of 96 and less are; a distance grows with the root of n."""
    sides = (seen(224, 1000, 9, 9), seen(128, 1750, 8, 8), seen(96, 2000, 8, 1.5), seen(64, 8000, 9, 3.2))
    found = Calibration("made", 8, "0" * 16, 20, "a CPU", sides)
    assert (found.choice.side, found.choice.n, found.choice.smallest) == (64, 2000, 1.6)
    assert sides[0].cost == 1 and sides[1].cost == pytest.approx(1.75 * (128 / 224) ** 2)
    equal = (seen(224, 500, 9, 1.1), seen(160, 500, 4, 2), seen(96, 500, 1, 1))
    assert Calibration("made", 8, "0" * 16, 20, "a CPU", equal).choice_at_equal_n == equal[0]  # less than twice as far
    worth = (equal[0], seen(160, 500, 4, 2.3), equal[2])
    assert Calibration("made", 8, "0" * 16, 20, "a CPU", worth).choice_at_equal_n == worth[1]


def test_profiles_are_scored_as_the_published_calibrations_choose():
    found = metric_calibration.read(16)
    assert (found.choice.side, found.choice.n) == (EVALUATION["quick"].side, EVALUATION["quick"].fidelity_images)
    assert EVALUATION["smoke"].side == EVALUATION["quick"].side
    assert EVALUATION["study"].side == metric_calibration.read(32).choice_at_equal_n.side
