"""Lesson 02: distances agree with closed forms, and models are trained by their losses."""

import math

import matplotlib
import pytest
import torch
from lesson_cells import run_cell, run_cells
from notebook_cells import cells, value
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from cqlib.lessons import toy2d
from cqlib.lessons.coverage_and_quality import objectives
from cqlib.lessons.coverage_and_quality.distances import SUPPORT_MASS, Lattice


@pytest.fixture(scope="module")
def lattice():
    return Lattice(toy2d.density("eight-gaussians"))


@pytest.fixture(scope="module")
def lesson():
    return run_cells("02", ("class Linears", "class PlaneModels", "def quality_loss(", "def train("))


@pytest.fixture(scope="module")
def train(lesson):
    return lesson["train"]


@pytest.fixture(scope="module")
def comparison(train):
    return objectives.compare("eight-gaussians", train, (0, 1), 25)


def gaussian(x, sigma):
    return toy2d.GaussianMixture(torch.tensor([[x, 0.0]]), sigma)


# --- distances -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["eight-gaussians", "checkerboard"])
def test_data_are_at_no_distance_from_themselves(name):
    lattice = Lattice(toy2d.density(name))
    distance = lattice.distance(lattice.log_p)
    assert distance.coverage == distance.quality == distance.missed == 0
    assert distance.off == pytest.approx(1 - SUPPORT_MASS, abs=2e-3) and distance.mass == pytest.approx(1, abs=2e-3)
    assert all(share == pytest.approx(1) for share in distance.mode_shares)
    assert lattice.jensen_shannon(lattice.log_p) == pytest.approx(0, abs=1e-12)


def test_support_is_the_smallest_set_of_its_mass():
    """Of one round Gaussian: the disc of radius sigma sqrt(-2 ln 0.01)."""
    lattice = Lattice(gaussian(0.0, 0.2))
    inside = lattice.points[lattice.support].norm(dim=1).max()
    assert inside == pytest.approx(0.2 * math.sqrt(-2 * math.log(0.01)), abs=0.01)
    assert lattice.points[~lattice.support].norm(dim=1).min() > inside - 1e-9


def test_divergences_of_two_gaussians_have_their_closed_form():
    shift, s, t = 0.3, 0.15, 0.25
    lattice = Lattice(gaussian(0.0, s))
    distance = lattice.distance(lattice.log_density(gaussian(shift, t).log_prob))

    def kl(a, b):
        return 2 * math.log(b / a) + (2 * a**2 + shift**2) / (2 * b**2) - 1

    assert distance.coverage == pytest.approx(kl(s, t), rel=1e-5)
    assert distance.quality == pytest.approx(kl(t, s), rel=1e-4)


@pytest.mark.parametrize("k", [1, 7])
def test_a_model_of_k_modes_of_eight(lattice, k):
    model = toy2d.GaussianMixture(lattice.data.centres[:k], lattice.data.sigma)
    distance = lattice.distance(lattice.log_density(model.log_prob))
    assert distance.quality == pytest.approx(math.log(8 / k), abs=1e-5) and distance.modes == k
    assert distance.missed == pytest.approx(1 - k / 8, abs=1e-4) and distance.coverage > 1
    assert distance.off == pytest.approx(1 - SUPPORT_MASS, abs=2e-3)
    assert distance.mode_shares[0] == pytest.approx(8 / k, rel=1e-3)
    a = k / 8  # p / m is 2 a / (1 + a) on the modes of q and 2 elsewhere, q / m is 2 / (1 + a)
    js = (a * math.log(2 * a / (1 + a)) + (1 - a) * math.log(2) + math.log(2 / (1 + a))) / 2
    assert lattice.jensen_shannon(lattice.log_density(model.log_prob)) == pytest.approx(js, abs=1e-6)


def test_beyond_an_edge_quality_is_infinite_and_jensen_shannon_is_not():
    lattice = Lattice(toy2d.density("checkerboard"))
    log_q = lattice.log_density(gaussian(0.0, 0.4).log_prob)
    distance = lattice.distance(log_q)
    assert distance.quality == math.inf and 0 < distance.coverage < 2 and distance.off > 0.4
    assert 0.1 < lattice.jensen_shannon(log_q) < math.log(2)


# --- displaced mass ------------------------------------------------------------------------------------------


def test_displaced_mass_costs_its_bound_off_the_support_and_less_with_overlap(lattice):
    lines = cells(run_cell("02", "What it costs", lattice=lattice)["_"])[1:]
    assert len(lines) == 5
    for place, _, _, *numbers in lines:
        rise, bound, coverage, quality, formula = map(value, numbers)
        assert rise <= bound + 1e-3
        if place == "all over":
            assert 0 < coverage < bound - 0.01 and quality > formula
        else:
            assert rise == pytest.approx(bound, abs=1.1e-3) and coverage == bound and quality == formula > 0


# --- models --------------------------------------------------------------------------------------------------


def test_likelihood_is_that_of_a_mixture_over_all_z(comparison):
    models = comparison.models["CQ"]
    x = 1.2 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for mean, sigma, log_p in zip(*models.decode(), models.log_prob(x), strict=True):
        weights = Categorical(torch.ones(len(mean), dtype=torch.float64))
        expected = MixtureSameFamily(weights, Independent(Normal(mean, sigma), 1)).log_prob(x)
        torch.testing.assert_close(log_p, expected, rtol=1e-8, atol=1e-8)
    assert models.z[0].var(0, unbiased=False).tolist() == pytest.approx([1, 1], abs=0.02)


def test_draws_have_the_moments_of_the_density(comparison):
    models = comparison.models["VAE"]
    x = models.draw(40_000, [torch.Generator().manual_seed(k) for k in range(2)])
    for points, mu, s in zip(x, *models.decode(), strict=True):
        variance = mu.var(0, unbiased=False) + s.square().mean(0)
        torch.testing.assert_close(points.mean(0), mu.mean(0), rtol=0, atol=0.02)
        torch.testing.assert_close(points.var(0), variance, rtol=0.05, atol=0)


def test_models_side_by_side_are_independent(train):
    data = toy2d.density("eight-gaussians")
    both = train(data, 4, quality=(0.0, 2.0), seeds=[3, 5])
    alone, other = (train(data, 4, quality=weight, seeds=[5]) for weight in (2.0, 20.0))
    for a, b in zip(both.decode(), alone.decode(), strict=True):
        torch.testing.assert_close(a[1], b[0], rtol=1e-3, atol=1e-4)
    assert (other.decode()[0] - alone.decode()[0]).abs().max() > 1e-3


def test_training_is_reproducible_and_reduces_the_distance(lesson, train, comparison):
    lattice, mean = comparison.lattice, comparison.models["VAE"].decode()[0]
    again = train(lattice.data, 25, seeds=(0, 1)).decode()[0]
    assert torch.equal(again, mean) and not torch.equal(mean[0], mean[1])
    start = lesson["PlaneModels"]([torch.Generator().manual_seed(seed) for seed in comparison.seeds]).double()
    for i, log_q in enumerate(lattice.log_density(start.log_prob)):
        before = lattice.distance(log_q)
        assert comparison.distances["VAE"][i].coverage < before.coverage - 0.3
        assert comparison.distances["GAN"][i].quality < before.quality - 3  # 43 -> 32; it rises if the critic is idle


def test_each_loss_is_its_divergence(comparison):
    lines = cells(run_cell("02", "Means over 20,000", comparison=comparison, lattice=comparison.lattice)["_"])
    assert len(lines) == 9
    for name, mean, integral in lines:
        error = float(mean.split("± ")[1]) if "±" in mean else 0.01
        assert value(mean) == pytest.approx(value(integral), abs=5 * error + 1e-3), name


# --- a mixture of two models ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coin():
    matplotlib.use("Agg")
    return run_cells("02", ("eight = toy2d", "def coverage_of"))


def test_a_hundredth_of_the_vae_costs_at_most_its_share_of_bits_and_coverage_sees_it(coin):
    bits, dimensions = coin["bits"], coin["dimensions"]
    excess = bits["coin"] - bits["VAE"]
    assert (excess <= math.log2(100) / dimensions.double() + 1e-9).all() and 0 < excess[-1] < 0.004
    data, gan, vae, both = (value(line[-1]) for line in cells(coin["_"]))
    assert gan < 51 < both + 2 < vae - 20 < data - 30


def test_coverage_of_draws_from_the_same_density_has_its_expectation(coin):
    """1 - (n - 1) … (n - k) / ((2 n - 1) … (2 n - k)) for as many samples as real points, Naeem et al. 2020."""
    n, k, generator = 500, 5, torch.Generator().manual_seed(0)
    draws = [coin["coverage_of"](*torch.randn(2, n, 2, generator=generator), k=k) for _ in range(20)]
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert sum(draws) / len(draws) == pytest.approx(expected, abs=0.006)
    assert coin["coverage_of"](torch.randn(50, 2), torch.full((9, 2), 1e3)) == 0


def test_densities_of_the_lesson(capsys):
    assert objectives.densities([]) == ["eight-gaussians", "spiral"]
    assert objectives.densities(["grid", "photos10"]) == ["grid", "eight-gaussians"]
    assert "photos10: no known density" in capsys.readouterr().out
