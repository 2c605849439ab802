"""Bits per dimension on held-out images: an exact number stands alone, a bound is also measured with more samples."""

import math
import statistics
from dataclasses import replace

import pytest
import torch
from small_models import dataset, images, system
from torch import nn

from cqlib.data.dataset import Split
from cqlib.metrics import bpd, evaluation
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll, histogram_nll
from cqlib.metrics.evaluation import draw_samples, likelihood_metrics
from cqlib.metrics.metric import sentence
from cqlib.metrics.resumable import PartialResults
from cqlib.models.base import LikelihoodSystem
from cqlib.recipe import Evaluation

DATA = dataset(images(4), images(4, seed=1))


class Uniform(LikelihoodSystem):
    """P(x) = 256^-768 for every image; 8 bits per dimension, whatever is said of the number."""

    def __init__(self, bound):
        super().__init__()
        self.bound, self.weight = bound, nn.Parameter(torch.zeros(()))

    def log_weight(self, x, generator=None):
        return torch.full((len(x),), -768 * torch.tensor(256.0).log())


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("exact", {"BPD": "exact, held-out"}),
        (
            "ELBO",
            {
                "BPD": "ELBO, 1 sample, uniform",
                "BPD-IW": "importance-weighted bound, k = 2, uniform",
                "BPD-IW-gain": "BPD minus BPD-IW, held-out test split, n = 3 for both",
            },
        ),
    ],
)
def test_an_exact_number_is_measured_once_and_a_bound_twice(bound, words):
    metrics = likelihood_metrics(Uniform(bound), DATA, Evaluation(4, 4, 2, 3))
    assert metrics.keys() == words.keys()
    assert [metrics[name].n for name in words] == [4, 3, 3][: len(words)]
    for name, start in words.items():
        assert sentence(name, metrics[name]).startswith(start)
        assert metrics[name].value == pytest.approx(0 if "gain" in name else 8)


class Noisy(Uniform):
    """Weights that are drawn, in nats some way round those of `Uniform`."""

    def log_weight(self, x, generator=None):
        return super().log_weight(x) + 50 * torch.randn(len(x), generator=generator)


def test_the_spread_is_the_standard_error_and_results_that_are_kept_are_those_of_their_own_measurement(tmp_path):
    asked = Evaluation(4, 4, 2, 3)
    metrics = likelihood_metrics(Noisy("ELBO"), DATA, asked)
    bits = bits_per_dimension(held_out_nll(Noisy("ELBO"), DATA.test.images), 768)
    assert metrics["BPD"].std == pytest.approx(float(bits.std()) / 2)
    better = held_out_nll(Noisy("ELBO"), DATA.test.images[:3], importance_samples=2)
    gain = bits[:3] - bits_per_dimension(better, 768)  # of the same images
    assert metrics["BPD-IW-gain"].value == pytest.approx(float(gain.mean()))
    assert metrics["BPD-IW-gain"].std == pytest.approx(float(gain.std()) / 3**0.5)
    again = [likelihood_metrics(Noisy("ELBO"), DATA, asked, results=PartialResults(tmp_path, "k")) for _ in range(2)]
    assert metrics["BPD"].value != metrics["BPD-IW"].value and again == [metrics] * 2


def test_bits_and_samples_are_fp32_whatever_surrounds_them():
    model, x = system("table1/cq-f", shake=0.05), images()

    def measured():
        return held_out_nll(model, x), draw_samples(model, 4, temperature=1.0, seed=0)

    alone = measured()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, alone, measured()))


def test_sampling_time_is_the_median_after_a_first_batch(monkeypatch):
    clock = iter([100.0, 1.0, 2.0, 3.0, 4.0, 10.0])
    monkeypatch.setattr(evaluation, "wall_clock", lambda action, device: next(clock))
    monkeypatch.setattr(evaluation, "REPEATS", 5)
    found = evaluation.sampling_time(Uniform("exact"))
    assert (found.value, found.std) == (3.0, pytest.approx(statistics.stdev([1, 2, 3, 4, 10]), abs=1e-6))
    assert next(clock, None) is None


@pytest.mark.parametrize("row", ["table1/vae", "table2/cqf-residual"])
def test_the_kl_of_each_layer_is_measured_where_there_are_layers(tmp_path, row):
    model = system(row)
    found = likelihood_metrics(model, DATA, Evaluation(4, 4, 2, 3), results=PartialResults(tmp_path, "k"))
    layers = {name for name in found if name.startswith("KL-")}
    assert layers == ({"KL-4x4-1", "KL-8x8-1"} if row == "table2/cqf-residual" else set())
    assert (tmp_path / "measured-kl.checkpoint").exists() == bool(layers)


class Impossible(Uniform):
    """The last image has probability 0, or one that cannot be computed."""

    def __init__(self, bound, nats):
        super().__init__(bound)
        self.nats_of_last = nats

    def log_weight(self, x, generator=None):
        return super().log_weight(x).index_fill(0, torch.tensor([len(x) - 1]), -self.nats_of_last)


@pytest.mark.parametrize("nats", [math.inf, math.nan])
def test_a_likelihood_that_is_not_finite_is_a_number_infinitely_bad(nats):
    found = likelihood_metrics(Impossible("ELBO", nats), DATA, Evaluation(4, 4, 2, 3))
    for name in ("BPD", "BPD-IW"):
        assert (found[name].value, found[name].std, found[name].status) == (None, None, "infinite")
        assert found[name].number == math.inf and found[name].n
    assert "BPD-IW-gain" not in found  # of two infinite numbers there is no difference


class Brightness(Uniform):
    """Bits that tell which image it was."""

    def log_weight(self, x, generator=None):
        return super().log_weight(x) + x.float().mean((1, 2, 3))


def test_bits_and_the_histogram_beside_them_are_of_test_images():
    test = torch.randint(200, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    data = replace(DATA, test=Split("test", test, torch.zeros(4).long()))
    metrics = likelihood_metrics(Brightness("exact"), data, Evaluation(4, 4, 2, 3, histogram=True))
    bits = bits_per_dimension(768 * math.log(256) - test.float().mean((1, 2, 3)), 768)
    assert metrics["BPD"].value == pytest.approx(float(bits.mean()))
    expected = bits_per_dimension(histogram_nll(data.train.images, test).mean(), 768)
    assert metrics["BPD-histogram"].value == pytest.approx(float(expected))


def test_histogram_is_a_distribution_fitted_to_each_pixel(monkeypatch):
    train = torch.tensor([[[[0, 9]]], [[[0, 8]]], [[[1, 9]]]], dtype=torch.uint8)
    first, second = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    every = torch.stack([first.flatten(), second.flatten()], 1).to(torch.uint8).view(-1, 1, 1, 2)
    nll = histogram_nll(train, every)
    p = (-nll).exp().view(256, 256)
    assert p.sum().item() == pytest.approx(1, abs=1e-9)
    assert p[0, 9].item() == pytest.approx(3 / 259 * 3 / 259) and p[5, 8].item() == pytest.approx(1 / 259 * 2 / 259)
    assert histogram_nll(train[:1], train[:1]).item() == pytest.approx(-2 * math.log(2 / 257))
    monkeypatch.setattr(bpd, "CHUNK", 2)
    assert torch.equal(histogram_nll(train, every[:11]), nll[:11])
