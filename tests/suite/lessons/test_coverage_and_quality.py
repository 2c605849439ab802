"""Lesson 02: distances agree with closed forms, the model and its losses are what they say, training follows them."""

import math
from types import SimpleNamespace

import pytest
import torch
from lesson_cells import run_cells
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from cqlib import losses
from cqlib.suite.lessons import toy2d
from cqlib.suite.lessons.lattice import SUPPORT_MASS, Lattice


@pytest.fixture(scope="module")
def lattice():
    return Lattice(toy2d.density("eight-gaussians"))


@pytest.fixture(scope="module")
def lesson():
    cells = (
        "def draw(",
        "stored = json",
        "def displaced(",
        "def descend(",
        "class PlaneModel",
        "def critic_loss(",
        "def train(",
    )
    return SimpleNamespace(**run_cells("02", cells, profile="smoke", changes={}, data=[]))


def gaussian(x, sigma):
    return toy2d.GaussianMixture(torch.tensor([[x, 0.0]]), sigma)


# --- distances -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["eight-gaussians", "checkerboard"])
def test_data_are_at_no_distance_from_themselves(name):
    lattice = Lattice(toy2d.density(name))
    distance = lattice.distance(lattice.log_p)
    assert distance.coverage == distance.quality == distance.missed == 0
    assert distance.off == pytest.approx(1 - SUPPORT_MASS, abs=2e-3)
    assert lattice.integral(lattice.p) == pytest.approx(1, abs=2e-3)


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
    assert distance.quality == pytest.approx(math.log(8 / k), abs=1e-5)
    assert distance.missed == pytest.approx(1 - k / 8, abs=1e-4) and distance.coverage > 1
    assert distance.off == pytest.approx(1 - SUPPORT_MASS, abs=2e-3)


def test_beyond_an_edge_quality_is_infinite():
    lattice = Lattice(toy2d.density("checkerboard"))
    distance = lattice.distance(lattice.log_density(gaussian(0.0, 0.4).log_prob))
    assert distance.quality == math.inf and 0 < distance.coverage < 2 and distance.off > 0.4


# --- displaced mass ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5])
def test_displaced_mass_costs_its_bound_off_the_data_and_less_with_overlap(lattice, lesson, epsilon):
    bound, off = -math.log1p(-epsilon), {}
    for place, u in lesson.places.items():
        distance = lattice.distance(lesson.displaced(place, epsilon))
        of_u = lattice.distance(lattice.log_density(u.log_prob)).quality
        formula = (1 - epsilon) * math.log1p(-epsilon) + epsilon * (math.log(epsilon) + of_u)
        if place == "all over":
            assert 0 < distance.coverage < 0.9 * bound and distance.quality > formula
        else:
            assert distance.coverage == pytest.approx(bound, abs=1e-3)
            assert distance.quality == pytest.approx(formula, abs=1e-3)
        off[place] = distance.quality
    assert max(off, key=off.get) == "in a corner" and off["in a corner"] > 9 * off["all over"]


# --- the frontier --------------------------------------------------------------------------------------------


def value(lesson, weight, gaussians):
    """J of the lesson at this lambda."""
    forward, reverse = lesson.divergences(gaussians)
    return float(forward + weight * reverse)


def test_divergences_of_the_coarse_lattice_are_those_of_the_fine_one(lattice, lesson):
    gaussians = torch.tensor([[0.3, 0.1, 0.031, 0.2], [-0.4, 0.3, 0.1, 0.4], [0.5, -0.5, 0.05, 0.05]]).double()
    distance = lattice.distance(lattice.log_density(lambda x: lesson.log_mixture(gaussians, x)))
    expected = pytest.approx((distance.coverage, distance.quality), rel=1e-4)
    assert tuple(map(float, lesson.divergences(gaussians))) == expected


def test_one_gaussian_has_the_moments_of_the_data_forward_and_a_mode_in_reverse(lattice, lesson):
    forward = lesson.descend(1.0, 0.0, torch.tensor([[0.3, -0.2, 0.3, 0.2]]))[0]
    spread = math.sqrt(0.65**2 / 2 + 0.05**2)
    torch.testing.assert_close(forward, torch.tensor([0, 0, spread, spread]).double(), rtol=0, atol=1e-4)
    reverse = lesson.descend(0.0, 1.0, torch.tensor([[0.6, 0.05, 0.1, 0.1]]))
    torch.testing.assert_close(reverse[0], torch.tensor([0.65, 0, 0.05, 0.05]).double(), rtol=0, atol=1e-4)
    assert float(lesson.divergences(reverse)[1]) == pytest.approx(math.log(8), abs=1e-4)


def test_no_step_from_the_frontier_and_no_trained_model_is_better(lesson):
    """The gradient is zero and every small step costs; J of each of the stored ends is higher for every lambda."""
    generator = torch.Generator().manual_seed(0)
    ends = [torch.tensor(q).double() for many in lesson.stored["trained"].values() for q in many]
    ends = [torch.stack(lesson.divergences(q)) for q in ends]
    for weight, q in lesson.frontier.items():
        least = value(lesson, weight, q)
        assert min(float(forward + weight * reverse) for forward, reverse in ends) > least
        steps = 0.003 * torch.randn(10, *q.shape, generator=generator, dtype=torch.float64)
        assert all(value(lesson, weight, q + step) > least for step in steps)
        q = q.clone().requires_grad_()
        forward, reverse = lesson.divergences(q)
        (gradient,) = torch.autograd.grad(forward + weight * reverse, q)
        assert gradient.abs().max() < 0.05 * (1 + weight)


def test_along_the_frontier_one_divergence_rises_and_the_other_falls(lesson):
    forward, reverse = zip(*(map(float, lesson.divergences(q)) for q in lesson.frontier.values()), strict=True)
    assert list(lesson.frontier) == sorted(lesson.frontier)
    assert list(forward) == sorted(forward) and list(reverse) == sorted(reverse, reverse=True)


def test_descent_from_the_best_likelihood_leads_to_the_frontier(lesson):
    """From the stored density of one lambda to that of another one."""
    found = lesson.descend(1.0, 1.0, lesson.frontier[0.0])
    assert value(lesson, 1.0, found) == pytest.approx(value(lesson, 1.0, lesson.frontier[1.0]), abs=1e-4)


# --- model, losses, training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(lesson):
    return {name: lesson.train(*weights, 0, 60) for name, weights in {"VAE": (1.0, 0.0), "GAN": (0.0, 1.0)}.items()}


def test_likelihood_and_draws_are_those_of_a_mixture_over_all_codes(trained):
    model, _ = trained["VAE"]
    mean, sigma = (values.detach() for values in model.decode(model.z))
    weights = Categorical(torch.ones(len(mean), dtype=torch.float64))
    p = MixtureSameFamily(weights, Independent(Normal(mean, sigma), 1))
    x = 1.2 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(model.log_prob(x).detach(), p.log_prob(x), rtol=1e-8, atol=1e-8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = model.sample(40_000).detach()
    torch.testing.assert_close(drawn.mean(0), p.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.var(0), p.variance, rtol=0.05, atol=0)


def test_the_losses_are_the_package_s(lesson):
    real, fake = 3 * torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lesson.critic_loss(real, fake), losses.discriminator_loss(real, fake))
    torch.testing.assert_close(lesson.quality_loss(fake), losses.quality_loss(fake))
    torch.testing.assert_close(lesson.coverage_loss(real), losses.coverage_loss(real, torch.zeros(())))


def test_each_loss_is_its_divergence(lattice, lesson, trained):
    """Means over draws, with the logit ln p - ln p_theta of the best discriminator, against integrals."""
    model, _ = trained["VAE"]
    real = lattice.data.sample(20_000, torch.Generator().manual_seed(1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fake = model.sample(20_000).detach()
    with torch.no_grad():
        of_real, of_fake = (lattice.data.log_prob(x) - model.log_prob(x) for x in (real, fake))
        log_q = lattice.log_density(model.log_prob)
    distance, log_c = lattice.distance(log_q), torch.logaddexp(lattice.log_p, log_q) - math.log(2)
    twice_js = lattice.integral(lattice.p * (lattice.log_p - log_c) + log_q.exp() * (log_q - log_c))
    entropy = -lattice.integral(lattice.p * lattice.log_p)
    for mean, values, expected in (
        (lesson.coverage_loss(model.log_prob(real)) - entropy, of_real, distance.coverage),
        (lesson.quality_loss(of_fake), of_fake, distance.quality),
        (lesson.critic_loss(of_real, of_fake), of_real, 2 * math.log(2) - twice_js),
    ):
        assert float(mean.detach()) == pytest.approx(expected, abs=5 * float(values.std()) / 20_000**0.5 + 1e-3)


def test_training_is_reproducible_and_reduces_the_distance(lattice, lesson, trained):
    again, seen = lesson.train(1.0, 0.0, 0, 60)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), trained["VAE"][0].parameters(), strict=True))
    assert [step for step, _ in seen] == [0, 15, 30, 45, 60] and torch.equal(seen[0][1], trained["GAN"][1][0][1])
    torch.manual_seed(0)
    start = lattice.distance(lattice.log_density(lesson.PlaneModel().double().log_prob))
    vae, gan = (lattice.distance(lattice.log_density(model.log_prob)) for model, _ in trained.values())
    assert vae.coverage < start.coverage - 0.3 and gan.quality < start.quality - 1


# --- a mixture of two models ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coin():
    return SimpleNamespace(**run_cells("02", ("eight = toy2d", "def coverage_of")))


def test_a_hundredth_of_the_vae_costs_at_most_its_share_of_bits_and_coverage_sees_it(coin):
    bits = {name: -getattr(coin, f"log_{name}").mean(0) / coin.dimensions / math.log(2) for name in ("vae", "coin")}
    excess = bits["coin"] - bits["vae"]
    assert (excess <= math.log2(100) / coin.dimensions.double() + 1e-9).all() and 0 < excess[-1] < 0.004
    covered = coin.covered
    assert covered["GAN"] < 0.51 < covered["coin"] + 0.02 < covered["VAE"] - 0.2 < covered["data"] - 0.3


def test_coverage_of_draws_from_the_same_density_has_its_expectation(coin):
    """1 - (n - 1) … (n - k) / ((2 n - 1) … (2 n - k)) for as many samples as real points, Naeem et al. 2020."""
    n, k, generator = 500, 5, torch.Generator().manual_seed(0)
    draws = [coin.coverage_of(*torch.randn(2, n, 2, generator=generator), k=k) for _ in range(20)]
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert sum(draws) / len(draws) == pytest.approx(expected, abs=0.006)
    assert coin.coverage_of(torch.randn(50, 2), torch.full((9, 2), 1e3)) == 0
