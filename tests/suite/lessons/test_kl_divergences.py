"""Lesson 01: divergences have their closed forms, fits are minima, losses at D* and their gradients are divergences."""

import math
from types import SimpleNamespace

import pytest
import torch
from lesson_cells import run_cells
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

CELLS = ("def log_modes(", "def kl(", "def descend(", "def gap(", "def plane_kl(", "def sample_modes(",
         "def discriminator_loss(", "GENERATOR_LOSSES = {", "def train(")  # fmt: skip


@pytest.fixture(scope="module")
def lesson():
    return SimpleNamespace(**run_cells("01", CELLS, profile="smoke", changes={}))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- divergences ---------------------------------------------------------------------------------------------


def test_divergences_of_gaussians_have_their_closed_forms(lesson):
    expected = kl_divergence(Normal(0.3, 0.7), Normal(-1.0, 2.0))
    assert lesson.kl(lesson.log_normal(0.3, 0.7), lesson.log_normal(-1, 2)) == pytest.approx(float(expected), abs=1e-6)
    p, q = (lesson.gaussian(torch.tensor(theta).double()) for theta in ([1, 0, 0.1, -0.2, 0.5], [0, 1, 0.3, 0, -0.4]))
    assert float(lesson.plane_kl(p, q)) == pytest.approx(float(kl_divergence(p, q)), rel=1e-6)


def test_density_and_draws_of_two_modes(lesson):
    weights, means = (torch.tensor(values, dtype=torch.float64) for values in ([0.6, 0.4], [-3, 3]))
    p = MixtureSameFamily(Categorical(weights), Normal(means, 1.0))
    torch.testing.assert_close(lesson.log_p, p.log_prob(lesson.grid), rtol=1e-10, atol=1e-10)
    x = lesson.sample_modes(50_000, generator())
    m, s = lesson.forward(lesson.log_p)
    assert (m, s) == pytest.approx((-0.6, math.sqrt(1 + 0.24 * 36)), abs=1e-6)
    assert float(x.mean()) == pytest.approx(m, abs=0.06) and float(x.std()) == pytest.approx(s, rel=0.02)
    entropy = -torch.trapezoid(lesson.log_p.exp() * lesson.log_p, lesson.grid)  # L_C = h(p) + KL(p || q)
    loss = -lesson.log_normal(1, 2, x).mean()
    assert float(loss - entropy) == pytest.approx(float(lesson.kl(lesson.log_p, lesson.log_normal(1, 2))), abs=0.05)


# --- fits ----------------------------------------------------------------------------------------------------


def test_forward_fit_is_the_minimum_that_descent_finds(lesson):
    m, s = lesson.forward(lesson.log_p)

    def of_log_scale(t):
        return lesson.kl(lesson.log_p, lesson.log_normal(t[0], t[1].exp()))

    found = lesson.descend(of_log_scale, [m + 3, math.log(s / 2)])
    assert (float(found[0]), math.exp(found[1])) == pytest.approx((m, s), abs=1e-5)
    entropy = -torch.trapezoid(lesson.log_p.exp() * lesson.log_p, lesson.grid)
    closed = 0.5 * math.log(2 * math.pi * math.e * s**2) - float(entropy)
    assert float(of_log_scale(found)) == pytest.approx(closed, abs=1e-6)


def test_reverse_fits_are_three_minima_and_the_forward_divergence_is_convex_there(lesson):
    def reverse_kl(theta):
        return lesson.kl(lesson.log_normal(theta[0], theta[1].exp()), lesson.log_p)

    def forward_kl(natural):  # of (m / s^2, -1 / 2 s^2)
        variance = -0.5 / natural[1]
        return lesson.kl(lesson.log_p, lesson.log_normal(variance * natural[0], variance.sqrt()))

    ends = [lesson.reverse(lesson.log_p, *start) for start in ((-3, 1), lesson.forward(lesson.log_p), (3, 1))]
    for m, s in ends:
        theta = torch.tensor([m, math.log(s)], dtype=torch.float64)
        assert torch.autograd.functional.jacobian(reverse_kl, theta).abs().max() < 1e-5
        assert torch.linalg.eigvalsh(torch.autograd.functional.hessian(reverse_kl, theta)).min() > 0
        natural = torch.tensor([m / s**2, -0.5 / s**2], dtype=torch.float64)
        assert torch.linalg.eigvalsh(torch.autograd.functional.hessian(forward_kl, natural)).min() > 0
    costs = [float(lesson.kl(lesson.log_normal(*end), lesson.log_p)) for end in ends]
    assert len({round(m) for m, _ in ends}) == 3 and costs == sorted(costs)
    apart = lesson.log_modes(12)
    for mean, weight in ((-6, 0.6), (6, 0.4)):  # far apart a mode costs -ln of its weight
        at_mode = lesson.log_normal(*lesson.reverse(apart, mean, 1))
        assert float(lesson.kl(at_mode, apart)) == pytest.approx(-math.log(weight), abs=1e-4)


def test_the_best_reverse_fit_jumps_where_the_text_says(lesson):
    assert lesson.gap(4.95, 0.6) > 0 > lesson.gap(5.05, 0.6)
    assert lesson.gap(5.35, 0.5) > 0 > lesson.gap(5.65, 0.5)


def test_descent_in_the_plane_matches_moments(lesson):
    mean, covariance = lesson.crossed.mean, lesson.shapes
    weights, places = torch.tensor([0.6, 0.4]).double(), lesson.places
    off = places - mean
    expected = (weights[:, None, None] * (covariance + off[:, :, None] * off[:, None])).sum(0)
    theta = lesson.descend(lambda t: lesson.plane_kl(lesson.crossed, lesson.gaussian(t)), [0, 0, 1, 1, 0])
    q = lesson.gaussian(theta)
    torch.testing.assert_close(q.mean, mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(q.covariance_matrix, expected, rtol=1e-3, atol=1e-3)
    assert isinstance(q, MultivariateNormal)


def test_faults_of_a_model_cost_at_most_their_bounds(lesson):
    for place in (0, 5, 12):
        log_q = torch.logaddexp(math.log(0.9) + lesson.log_p, math.log(0.1) + lesson.log_normal(place, 1))
        assert 0 < lesson.kl(lesson.log_p, log_q) <= -math.log(0.9)
    assert lesson.kl(log_q, lesson.log_p) > 3
    left = lesson.log_normal(-3, 1)
    assert lesson.kl(left, lesson.log_p) <= -math.log(0.6) and lesson.kl(lesson.log_p, left) > 5


# --- discriminators ------------------------------------------------------------------------------------------


def test_losses_at_the_optimum_are_divergences(lesson):
    log_c = torch.logaddexp(lesson.log_p, lesson.log_q) - math.log(2)
    js = (lesson.kl(lesson.log_p, log_c) + lesson.kl(lesson.log_q, log_c)) / 2
    at_best = lesson.discriminator_loss(lesson.best, lesson.log_q)
    assert float(at_best) == pytest.approx(2 * math.log(2) - 2 * float(js), abs=1e-6)
    for change in (0.1, 0.2 * lesson.best, 0.2 * lesson.grid.sin()):
        assert lesson.discriminator_loss(lesson.best + change, lesson.log_q) > at_best + 1e-4
    l_q = -torch.trapezoid(lesson.log_q.exp() * lesson.best, lesson.grid)
    assert float(l_q) == pytest.approx(float(lesson.kl(lesson.log_q, lesson.log_p)), abs=1e-6)


@pytest.mark.parametrize(("m", "s"), [(1, 1.5), (-4, 0.8)])
def test_gradients_with_the_discriminator_fixed_are_those_of_the_divergences(lesson, m, s):
    theta = torch.tensor([m, math.log(s)], dtype=torch.float64)
    for name, loss in lesson.GENERATOR_LOSSES.items():
        expected = torch.autograd.functional.jacobian(
            lambda t, name=name: lesson.descended(name, lesson.log_normal(t[0], t[1].exp())), theta
        )
        torch.testing.assert_close(lesson.slope(loss, m, s), expected, rtol=1e-5, atol=1e-6)


def test_a_discriminator_learns_the_log_ratio_and_the_divergence(lesson):
    """Of two Gaussians that overlap well: the divergence is 0.5 nats."""
    draws = lesson.normal_draws(0, 1), lesson.normal_draws(1, 1)
    net, curve = lesson.train(*draws, 300)
    assert abs(curve[0][1]) < 0.3 and curve[-1] == (300, pytest.approx(0.5, abs=0.05))
    x = torch.linspace(-1.5, 2.5, 41)[:, None]
    torch.testing.assert_close(net(x).detach(), 0.5 - x, rtol=0, atol=0.3)
    assert lesson.train(*draws, 25)[1][0] == curve[0]


def test_without_a_common_support_the_estimate_grows(lesson):
    def uniform(low):
        return lambda n, generator: low + torch.rand(n, generator=generator).double()

    together, apart = (lesson.train(uniform(0.0), uniform(a), 100, decay=False)[1] for a in (0.0, 1.5))
    assert abs(together[-1][1]) < 0.1 and apart[-1][1] > apart[2][1] > 1
