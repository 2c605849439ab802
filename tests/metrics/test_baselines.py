"""Metrics along training, and what must be beaten."""

import copy
import math

import pytest
import torch
from scores import Projection
from torch import nn

from cqlib import data as data_sets
from cqlib.metrics import baselines as module
from cqlib.metrics import features, fidelity
from cqlib.metrics.baselines import SampleScorer, baselines, gaussian_pixels, metrics_during_training
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.evaluation import draw_samples
from cqlib.metrics.features import extract
from cqlib.metrics.metric import Metric, Protocol
from cqlib.metrics.protocols import default_protocol
from cqlib.models.base import System
from cqlib.models.registry import RECIPES, build

DATA = data_sets.load("photos10").first(24, 24)
FEATURES = features.lite0(224)


class Copies(System):
    """Draws training images, spoilt by noise of the given size."""

    def __init__(self, noise: float):
        super().__init__()
        self.shape = (3, 16, 16)
        self.noise = nn.Parameter(torch.tensor(noise))

    def sample(self, n, *, temperature=1.0, generator=None):
        x = (DATA.train.images[:n].float() + 0.5) / 128 - 1
        return (x + self.noise.detach() * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


@pytest.fixture
def scorer(tmp_path, monkeypatch):
    extractor = Projection()
    monkeypatch.setattr(features, "_extractor", lambda *_: extractor)
    return SampleScorer(DATA, 16, FeatureCache(features.lite0(224), tmp_path))


def fd(scorer, system, seed=0):
    return scorer.of_system(system, ("fid",), seed)["FD-lite0"].value


@pytest.mark.parametrize(("row", "kinds"), [("table1/cq-f", 2), ("table1/gan", 1)])
def test_along_training_each_step_is_measured_with_its_own_weights(scorer, row, kinds):
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(build(RECIPES[row](row, "smoke", 16).system).eval())
    before, last = (copy.deepcopy(model) for model in models)
    curves = metrics_during_training(last, 20, {10: before.state_dict()}, scorer, seed=2)
    assert len(curves) == kinds - 1 + 3 and all([step for step, _ in of] == [10, 20] for of in curves.values())
    for k, model in enumerate((before, last)):
        images = draw_samples(model, 16, seed=10_002)  # as for a record
        layers = extract(images, FEATURES, FEATURES.pooled, FEATURES.logits)
        real = scorer.cache.pooled(DATA.test.images[:16])
        found = fidelity.score(layers, real, default_protocol(16, None), features=FEATURES)
        for name in ("FD-lite0", "KD-lite0", "Coverage-lite0"):
            assert curves[f"{name} (n = 16)"][k][1] == round(found[name].value, 4)
        if kinds == 2:
            nll = held_out_nll(model, DATA.test.images)
            bpd = float(bits_per_dimension(nll.mean(), 3 * 16 * 16))
            assert curves["BPD on 24 test images (bits/dim)"][k][1] == round(bpd, 4)
    assert curves["FD-lite0 (n = 16)"][0][1] != curves["FD-lite0 (n = 16)"][1][1]


def test_a_likelihood_that_is_not_finite_has_no_point_on_a_curve(scorer, monkeypatch):
    model = build(RECIPES["table1/vae"]("table1/vae", "smoke", 16).system).eval()
    nats = iter([torch.full((24,), torch.nan), torch.full((24,), 3 * 16 * 16 * math.log(2))])
    monkeypatch.setattr(module, "held_out_nll", lambda *_, **__: next(nats))
    curves = metrics_during_training(model, 20, {10: model.state_dict()}, scorer, seed=2)
    assert curves["BPD on 24 test images (bits/dim)"] == [(20, 1.0)] and len(curves["FD-lite0 (n = 16)"]) == 2


def test_samples_that_are_not_finite_have_no_point_on_a_curve(scorer, monkeypatch):
    model, values = Copies(0.0), iter([torch.nan, 0.0])
    monkeypatch.setattr(Copies, "sample", lambda self, n, **_: torch.full((n, 3, 16, 16), next(values)))
    curves = metrics_during_training(Copies(0.0), 20, {10: model.state_dict()}, scorer, seed=2)
    assert [step for step, _ in curves["FD-lite0 (n = 16)"]] == [20]


def test_no_more_images_than_the_smaller_split_has(tmp_path):
    for train, test in ((10, 24), (24, 10)):
        assert SampleScorer(DATA.first(train, test), 16, FeatureCache(FEATURES, tmp_path)).n == 10


def test_baselines_are_an_untrained_copy_and_gaussian_pixels(scorer, monkeypatch):
    found = baselines(Copies(3.0), scorer, seed=0)
    assert list(found) == ["FD-lite0-untrained", "FD-lite0-gaussian"]
    assert all(m.value > fd(scorer, Copies(0.0)) for m in found.values())
    assert found["FD-lite0-untrained"].protocol.of == "untrained copy"
    one = {"FD-lite0": Metric(1.0, None, 16, Protocol())}
    monkeypatch.setattr(module.fidelity, "pooled_scores", lambda *_, **__: one)
    again = baselines(Copies(3.0), scorer, seed=1)  # the pixels do not depend on the run
    assert list(found.values())[1] == list(again.values())[1] != list(again.values())[0]


def test_gaussian_pixels_have_the_moments_of_each_pixel_and_no_correlation(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 150)
    generator = torch.Generator().manual_seed(1)
    base = torch.randint(60, 190, (400, 1, 1, 1), generator=generator)
    offset = torch.tensor([-40.0, 0.0, 40.0, 20.0]).view(1, 1, 2, 2)
    scale = torch.tensor([1.0, 0.5, 0.25, 1.0]).view(1, 1, 2, 2)
    train = (125 + scale * (base - 125) + offset).to(torch.uint8).expand(400, 3, 2, 2)  # pixels that move together
    made = gaussian_pixels(train, 20_000).float()
    real = train.float()
    assert (made.mean(0) - real.mean(0)).abs().max() < 1.5
    assert (made.std(0) / real.std(0) - 1).abs().max() < 0.03
    flat = made.flatten(1)[:, :4]
    correlation = torch.corrcoef(flat.T) - torch.eye(4)
    assert correlation.abs().max() < 0.05
    assert torch.equal(gaussian_pixels(train, 5), gaussian_pixels(train, 5))
