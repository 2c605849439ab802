"""Protocols of the literature: unequal numbers, several protocols on one set of samples, names and words."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from pydantic import TypeAdapter
from scores import score
from small_models import images as noise_images
from torch import nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from cqlib.data.dataset import Dataset, Split
from cqlib.metrics import evaluation, features, protocols
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.metric import Protocol
from cqlib.metrics.protocols import PROTOCOLS, Preset
from cqlib.metrics.resumable import PartialResults
from cqlib.models.base import System
from cqlib.recipe import Evaluation
from cqlib.util.errors import StoppedEarly
from cqlib.util.stop import StopRequest

LITE = features.lite0(224)


# --- the presets ---


def test_the_main_protocol_is_the_preset_only_at_its_size():
    assert protocols.default_protocol(1000) == Preset("", "test", 1000, 1000, 1000)
    assert protocols.default_protocol(10_000).name == ""
    assert protocols.default_protocol(10_000, 50_000) is PROTOCOLS["paper"]
    small = protocols.default_protocol(8000, 50_000)
    assert (small.name, small.n_real, small.is_images) == ("paper at 8000 images", 8000, 50_000)


def test_a_record_has_the_fields_of_a_protocol_that_apply():
    given = Protocol(split="test", dequantised=True, seed=0)
    assert TypeAdapter(Protocol).dump_python(given) == {"split": "test", "dequantised": True, "seed": 0}


# --- several protocols on one set of samples ---


class Thumbnail(FeatureExtractorBase):
    """Pooled features: the mean of each colour in the four quarters; logits: the same, shifted."""

    def __init__(self):
        super().__init__("thumbnail", ["1280", "logits"])

    @staticmethod
    def get_provided_features_list():
        return "1280", "logits"

    def forward(self, images):
        pooled = nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)
        return pooled, 30 * pooled


class Drawing(System):
    """A system whose samples are noise of its generator, and that counts them."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.drawn = 0

    def sample(self, n, *, temperature, generator):
        self.drawn += n
        return torch.rand(n, 3, 8, 8, generator=generator) * (1 + temperature) - 1


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """`sample_metrics` with small presets, tiny features and few images, and its notes."""
    monkeypatch.setattr(features, "_extractor", lambda *_: Thumbnail())
    small = {"paper": (40, 40), "50k/50k-train": (100, 100), "sngan": (60, 20)}
    presets = {name: dataclasses.replace(PROTOCOLS[name], n_real=n_real, n_fake=n_fake, is_images=100)
               for name, (n_real, n_fake) in small.items()}  # fmt: skip
    monkeypatch.setattr(protocols, "PROTOCOLS", presets)

    def quality(
        wanted=("50k/50k-train", "sngan"),
        n_train=120,
        n_test=50,
        is_images=100,
        model=None,
        seed=0,
        of="samples",
        **more,
    ):
        splits = (
            Split(name, noise_images(n, 8, seed=seed) // 2, torch.zeros(n, dtype=torch.int64))
            for name, n, seed in (("train", n_train, 1), ("test", n_test, 2))
        )
        data, model = Dataset("d", 8, ("all",), *splits), model or Drawing()
        asked = Evaluation(40, 40, 1, 1, is_images=is_images, protocols=wanted)
        cache = FeatureCache(LITE, tmp_path, **more)
        metrics, grid, notes = evaluation.sample_metrics(model, data, asked, cache, seed=seed, of=of)
        return SimpleNamespace(metrics=metrics, grid=grid, notes=notes, data=data, model=model, presets=presets)

    return quality


def test_a_run_has_samples_of_its_own_and_no_more_images_than_the_smaller_split(measured):
    first, other = (measured(wanted=(), seed=seed).grid for seed in (0, 1))
    assert not torch.equal(first, other)
    assert measured(wanted=(), n_train=30).metrics["FD-lite0"].n == 30


def test_means_are_scored_where_they_are_asked_for_and_the_protocol_says_so(measured):
    samples, means = measured(wanted=()), measured(wanted=(), of="means")
    assert torch.equal(means.grid, evaluation.draw_samples(Drawing(), 64, temperature=0.0, seed=10_000))
    assert means.metrics["FD-lite0"].protocol.of == "decoder's means"
    assert means.metrics["FD-lite0"].value != samples.metrics["FD-lite0"].value
    assert means.metrics["FD-lite0-floor"] == samples.metrics["FD-lite0-floor"]


def test_every_protocol_scores_the_same_samples(measured):
    found = measured()
    assert found.model.drawn == 100 and found.notes == []
    fake = evaluation.draw_samples(Drawing(), 100, seed=10_000)
    assert torch.equal(found.grid, fake[:64])
    for preset in found.presets.values():
        real = getattr(found.data, preset.split).images
        for kind, metric in score(fake, real, preset=preset).items():
            name = kind if preset.name == "paper" else protocols.with_protocol(kind, preset.name)
            if preset.name == "paper" or kind != "Coverage-lite0":
                assert found.metrics.pop(name) == metric, name
    train, test = (split.images[:40] for split in (found.data.train, found.data.test))
    for name, bar in (("FD-lite0-floor", score(train, test, preset=found.presets["paper"])["FD-lite0"]),
                      ("IS-lite0-real", score(test, train, preset=found.presets["paper"])["IS-lite0"])):  # fmt: skip
        assert found.metrics[name].value == pytest.approx(bar.value) and bar.value > 0
    bars = ["Coverage-lite0-real", "FD-lite0-floor", "IS-lite0-real", "KD-lite0-floor"]
    assert sorted(found.metrics) == bars


def test_a_protocol_that_the_data_set_cannot_fill_is_left_out_and_noted(measured):
    found = measured(n_train=99)
    assert found.notes == ["protocol 50k/50k-train left out: it needs 100 training images and there are 99"]
    assert "FD-lite0 [sngan]" in found.metrics
    assert not any("50k" in name for name in found.metrics)


def test_the_main_protocol_says_when_the_test_split_is_too_small_for_it(measured):
    metric = measured(n_test=30).metrics["FD-lite0"]
    assert (metric.n, metric.protocol.n_real, metric.protocol.preset) == (30, 30, "paper at 30 images")


def test_without_protocols_nothing_is_added(measured):
    found = measured(wanted=(), is_images=None)
    assert found.model.drawn == 40
    assert not any("[" in name or metric.protocol.preset for name, metric in found.metrics.items())
    assert {metric.n for metric in found.metrics.values()} == {40}


@pytest.mark.parametrize("last", [1, 15, 30, 60])
def test_measuring_can_be_stopped_after_any_batch_of_features(measured, monkeypatch, last):
    """Of the floor, of the real images, of the samples: 50,000 of them through Inception are an hour on a CPU."""
    seen, forward = [], Thumbnail.forward
    monkeypatch.setattr(Thumbnail, "forward", lambda self, images: seen.append(1) or forward(self, images))

    class Stop(StopRequest):
        def reason(self):
            return "a test" if len(seen) >= last else None

    with pytest.raises(StoppedEarly):
        measured(results=PartialResults(stop=Stop()))
    assert len(seen) == last
