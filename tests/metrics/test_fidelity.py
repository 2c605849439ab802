"""IS, FID, KID and coverage against closed forms and torch-fidelity; names; protocols; errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_fidelity
from scores import Projection, expected_kid, frechet, gaussian, images_of, score
from small_models import images as noise_images
from torch_fidelity import metric_kid

from cqlib.metrics import features, fidelity, kernel
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.features import LITE0_NAME
from cqlib.metrics.metric import sentence
from cqlib.metrics.protocols import Preset, default_protocol

UNEQUAL = Preset("unequal", "train", 500, 300, 200)


@pytest.fixture
def scores_of(monkeypatch):
    """The scores of features given by hand: fake (n, d), real (m, d), logits of the fake (n, C)."""

    def scores(fake, real, logits=None, **options):
        logits = torch.zeros(len(fake), 10) if logits is None else logits
        return score(*images_of(monkeypatch, fake, real, logits), **options)

    return scores


# --- the scores ---


def test_frechet_distance_of_unequal_sets_is_that_of_the_first_images_of_each(scores_of):
    rng = np.random.default_rng(0)
    covariances = [root @ root.T / 6 for root in rng.standard_normal((2, 6, 12))]
    means = rng.standard_normal((2, 6))
    fake, real = gaussian(300, means[0], covariances[0], 1), gaussian(500, means[1], covariances[1], 2)
    far = torch.full((40, 6), 1e3)
    scores = scores_of(torch.cat([fake, far]), torch.cat([real, far]), torch.zeros(340, 10), preset=UNEQUAL)
    expected = frechet(means[0], covariances[0], means[1], covariances[1])
    assert scores["FD-lite0"].value == pytest.approx(expected, rel=1e-4)
    assert [scores[f"{name}-lite0"].n for name in ("FD", "KD", "Coverage", "IS")] == [300, 300, 300, 200]
    assert scores["KD-lite0"].protocol.subset_size == 150  # half of the smaller set


def test_inception_score_counts_its_own_samples_and_splits(scores_of, monkeypatch):
    logits = torch.zeros(340, 4)
    logits[:200] = 60.0 * torch.eye(4)[torch.arange(200) % 4]  # the 200 that count; the others are uniform
    sets = (gaussian(340, np.zeros(3), np.eye(3), 4), gaussian(500, np.zeros(3), np.eye(3), 5), logits)
    split = scores_of(*sets, preset=UNEQUAL)["IS-lite0"]
    assert split.std > 0 and (split.n, split.protocol.splits) == (200, 10)
    monkeypatch.setattr(fidelity, "IS_SPLITS", 1)
    metric = scores_of(*sets, preset=UNEQUAL)["IS-lite0"]
    assert metric.value == pytest.approx(4) and metric.std is None


def test_kid_against_its_closed_form_and_unbiased_about_zero():
    def kid(one, other):
        sets = fidelity.ScoreInputs(features.lite0(224), one.float(), other.float(), "test")
        return fidelity.kernel_distance(sets).value

    d, n = 6, 400
    mean = np.full(d, 0.6)
    rng = np.random.default_rng(6)
    same, shifted, biased = [], [], []
    for _ in range(8):
        fake, real = (torch.from_numpy(rng.standard_normal((n, d))) for _ in range(2))
        same.append(kid(fake, real))
        shifted.append(kid(fake, real + torch.from_numpy(mean)))
        biased.append(((fake @ fake.T / d + 1) ** 3).diagonal().mean().item() / (n // 2))
    error = np.std(same, ddof=1) / np.sqrt(len(same))
    assert abs(np.mean(same)) < 3 * error
    assert abs(np.mean(same)) < np.mean(biased) / 2  # the biased estimator would stand this far above 0
    assert min(same) < 0 < max(same)
    assert np.mean(shifted) == pytest.approx(expected_kid(d, np.sum(mean**2)), rel=0.05)


def test_kernel_distances_of_subsets_from_one_kernel_are_those_of_each_subset_by_itself(monkeypatch):
    """Mean and spread of torch-fidelity, which computes the kernel of every subset anew; matrices in several parts."""
    monkeypatch.setattr(kernel, "CHUNK", 16)
    rng = np.random.default_rng(10)
    fake, real = (torch.from_numpy(rng.standard_normal((n, 5)) + shift) for n, shift in ((50, 0.2), (43, 0.0)))
    for one in (real, real + 3):
        found = kernel.subset_distances(fake, one, subsets=7, size=20, seed=fidelity.SEED)
        theirs = metric_kid.kid_features_to_metric(fake, one, kid_subsets=7, kid_subset_size=20, verbose=False,
                                                   rng_seed=fidelity.SEED)  # fmt: skip
        assert float(found.mean()) == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_MEAN], rel=1e-9)
        assert float(found.std(correction=0)) == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_STD], rel=1e-9)
    sets = fidelity.ScoreInputs(features.lite0(224), fake.float(), real.float(), "test")
    by_one = fidelity.kernel_distance(sets)
    assert (by_one.protocol.subsets, by_one.protocol.subset_size) == (100, 21)  # half of the smaller set at most
    with monkeypatch.context() as patch:
        patch.setattr(fidelity, "KID_SUBSET_SIZE", 9)
        assert fidelity.kernel_distance(sets).protocol.subset_size == 9
    monkeypatch.setattr(fidelity, "KID_SUBSETS", 5)  # now there are more pairs than in all subsets
    assert fidelity.kernel_distance(sets).value == pytest.approx(by_one.value, abs=3 * by_one.std)


def test_inception_score_of_handmade_logits(scores_of, monkeypatch):
    n, classes = 200, 10
    points = gaussian(n, np.zeros(3), np.eye(3), 7)
    uniform = scores_of(points, points, torch.full((n, classes), 2.5))["IS-lite0"]
    assert uniform.value == pytest.approx(1) and uniform.std == pytest.approx(0)
    one_hot = 60.0 * torch.eye(classes)[torch.arange(n) % classes]
    collapsed = scores_of(points, points, 60.0 * torch.eye(classes)[torch.zeros(n, dtype=torch.long)])["IS-lite0"]
    assert collapsed.value == pytest.approx(1)
    monkeypatch.setattr(fidelity, "IS_SPLITS", 1)
    balanced = scores_of(points, points, one_hot)["IS-lite0"]
    assert balanced.value == pytest.approx(classes) and balanced.std is None
    two_of_three = torch.log(torch.tensor([[0.5, 0.5 - 1e-9, 1e-9], [1e-9, 0.5, 0.5 - 1e-9]]))
    mixed = scores_of(points, points, two_of_three.repeat(n // 2, 1))["IS-lite0"]
    # p(y|x) uniform on two classes, p(y) = (1/4, 1/2, 1/4): KL = (ln 2) / 2
    assert mixed.value == pytest.approx(2**0.5, rel=1e-4)


def coverage_by_definition(fake, real, k):
    """Naeem et al. 2020, Eq. (8): the share of real points X_i with a sample in the ball around X_i that reaches to its
    k-th nearest real neighbour; in float64, one distance at a time."""
    covered = 0
    for i, x in enumerate(real.double()):
        to_real = sorted(float((x - other).norm()) for j, other in enumerate(real.double()) if j != i)
        covered += any(float((x - y).norm()) < to_real[k - 1] for y in fake.double())
    return covered / len(real)


@pytest.mark.parametrize("n_fake, n_real, shift", [(8, 41, 0.0), (41, 30, 3.0), (10, 60, 2.0)])
def test_coverage_is_that_of_its_definition_and_of_its_authors_formula(scores_of, monkeypatch, n_fake, n_real, shift):
    monkeypatch.setattr(fidelity, "CHUNK", 16)
    rng = np.random.default_rng(n_fake)
    fake, real = (torch.from_numpy(rng.standard_normal((n, 7))).float() for n in (n_fake, n_real))
    fake += shift * torch.eye(7)[0]
    found = scores_of(fake, real)["Coverage-lite0"]
    assert found.value == coverage_by_definition(fake, real, 5) and found.n == n_fake
    assert 0 < found.value < 1
    # as in their package prdc, with k + 1 because a point is its own nearest neighbour there
    radius = torch.cdist(real, real).kthvalue(6, dim=1).values
    assert found.value == pytest.approx(float((torch.cdist(real, fake).amin(1) < radius).float().mean()))


def test_coverage_is_the_share_of_the_modes_that_are_reached(scores_of):
    modes = torch.arange(8)[:, None] * torch.full((1, 4), 50.0)
    noise = torch.from_numpy(np.random.default_rng(8).standard_normal((2, 30, 4)))
    real = (modes[:, None] + noise[0]).flatten(0, 1)
    values = [scores_of((modes[:k, None] + noise[1]).flatten(0, 1), real)["Coverage-lite0"].value for k in range(1, 9)]
    assert np.diff(values).min() > 0.05 and values[-1] > 0.9
    assert values == pytest.approx([k * values[-1] / 8 for k in range(1, 9)], abs=0.02)
    same_image = scores_of(modes[:1].repeat(240, 1) + 0.1, real)["Coverage-lite0"].value
    assert same_image < values[0]  # precision would be 1


@pytest.mark.slow
def test_equal_to_torch_fidelity_as_a_whole():
    """The same numbers as torch-fidelity's own front door with this extractor."""
    fake, real = noise_images(20, seed=1), noise_images(20, seed=2) // 2
    scores = score(fake, real)
    whole = torch_fidelity.calculate_metrics(
        input1=Images(fake), input2=Images(real), isc=True, fid=True, kid=True,
        feature_extractor=LITE0_NAME, feature_extractor_weights_path=features.lite0(224).weights,
        feature_layer_isc="logits", feature_layer_fid="1280", feature_layer_kid="1280",
        isc_splits=2, kid_subset_size=10, rng_seed=fidelity.SEED, batch_size=5,
        cuda=False, cache=False, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    for kind, key in {
        "IS-lite0": "inception_score_mean",
        "FD-lite0": "frechet_inception_distance",
        "KD-lite0": "kernel_inception_distance_mean",
    }.items():
        assert scores[kind].value == pytest.approx(whole[key], rel=1e-3), kind
    assert scores["KD-lite0"].std == pytest.approx(whole["kernel_inception_distance_std"], rel=1e-3)
    assert 1 <= scores["IS-lite0"].value <= 1000
    assert scores["FD-lite0"].value > 1


class Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


# --- names, protocols, manners, errors ---


def test_scores_take_more_images_than_coverage_has_neighbours():
    with pytest.raises(ValueError, match="at least 6 samples and as many real images, not 9 samples and 5 real images"):
        fidelity.pooled_scores(torch.rand(9, 2), torch.rand(5, 2), ["fid"], features=features.lite0(224))


def test_a_sentence_says_how_a_score_was_measured_and_randomness_outside_is_left_alone(tmp_path, capfd, monkeypatch):
    lite, extractor = features.lite0(224), Projection()
    monkeypatch.setattr(features, "_extractor", lambda *_: extractor)
    fake, real = noise_images(20, seed=1), noise_images(20, seed=2) // 2
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    scores = score(fake, real, lite, cache_dir=tmp_path, split="train")
    assert torch.equal(torch.get_rng_state(), states[0]) and (np.random.get_state()[1] == states[1]).all()
    assert capfd.readouterr() == ("", "")
    assert sentence("KD-lite0", scores["KD-lite0"]) == (
        "KD-lite0: n_real = n_fake = 20, training split, mean over 100 subsets of 10 drawn with seed 0, "
        "cubic polynomial kernel, EfficientNet-lite0 pooled features (16), bilinear resize to 224, torch-fidelity 0.4.0"
    )
    assert scores["IS-lite0"].std > 0 and scores["KD-lite0"].std > 0
    assert scores["FD-lite0"].std is scores["Coverage-lite0"].std is None
    assert score(fake, real, lite, cache_dir=tmp_path, split="train") == scores  # bit for bit, from the cache


def test_scores_of_real_images_compare_training_with_test_images(tmp_path, monkeypatch):
    lite, extractor = features.lite0(224), Projection()
    monkeypatch.setattr(features, "_extractor", lambda *_: extractor)
    train, test = noise_images(20, seed=1), noise_images(20, seed=2) // 2
    of_train, of_test = (FeatureCache(lite, tmp_path).layers(images, "1280", "logits") for images in (train, test))
    bars = fidelity.real_images(of_train["1280"], of_test, default_protocol(20), features=lite)
    assert sentence("FD-lite0", bars["FD-lite0"]).startswith("FD-lite0 of real images: n_train = n_test = 20, training")
    of_many = fidelity.real_images(of_train["1280"], of_test, default_protocol(20, 200), features=lite)
    assert of_many["IS-lite0"].protocol.splits == 1  # samples have 20 a split
    # IS is of the first set alone, and of real images it is of those held out
    assert bars["IS-lite0"].value == score(test, train, lite)["IS-lite0"].value
    of_samples = score(train, test, lite)
    for name in ("FD-lite0", "KD-lite0", "Coverage-lite0"):
        assert bars[name].value == of_samples[name].value
