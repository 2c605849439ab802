"""Lesson 01: quadrature agrees with closed forms and sampling, fits are minima, losses at D* are the divergences."""

import math

import pytest
import torch
from lesson_cells import run_cell, run_cells
from notebook_cells import cells, value
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from cqlib.lessons import toy2d
from cqlib.lessons.kl_divergences import discriminators, fits, gaussians, pictures
from cqlib.lessons.kl_divergences.gaussians import entropy, gaussian, inside, jensen_shannon, kl, mixed, on_line

P = fits.two_modes(6)
Q = on_line([1], [1.5], [1])
RING = gaussians.in_plane("eight-gaussians")
FIT = fits.forward(P)
EYE = torch.eye(2, dtype=torch.float64)
OWN_FITS = ("def kl(", "Two ways to the same divergence", "def descend(", "least curvature")
"""The cells of the lesson with divergences and fits of its own."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- densities and quadrature --------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [P, pictures.correlated_modes(), RING], ids=["line", "plane", "ring"])
def test_mixture_agrees_with_torch_and_quadrature_with_its_moments(p):
    x = p.sample(500, generator())
    expected = MixtureSameFamily(Categorical(p.weights), MultivariateNormal(p.means, scale_tril=p.roots))
    torch.testing.assert_close(p.log_prob(x), expected.log_prob(x), rtol=1e-10, atol=1e-10)
    mean, covariance = p.moments()
    many = p.sample(50_000, generator(1))
    torch.testing.assert_close(many.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(many.T.cov().view_as(covariance), covariance, rtol=0.03, atol=0.03)
    points, weights = p.nodes()
    torch.testing.assert_close(weights @ points, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close((weights[:, None] * (points - mean)).T @ (points - mean), covariance)


def test_ring_is_that_of_toy2d():
    expected = toy2d.density("eight-gaussians")
    x = expected.sample(100, generator())
    torch.testing.assert_close(RING.log_prob(x), expected.log_prob(x))


def test_divergences_of_gaussians_have_their_closed_forms():
    a, b = on_line([0.3], [0.7], [1]), on_line([-1], [2], [1])
    expected = kl_divergence(Normal(0.3, 0.7), Normal(-1.0, 2.0))
    assert float(kl(a, b)) == pytest.approx(float(expected), abs=1e-6)
    c = pictures.correlated_modes()
    first, second = (gaussian(m, root) for m, root in zip(c.means, c.roots, strict=True))
    expected = kl_divergence(*(MultivariateNormal(q.means[0], scale_tril=q.roots[0]) for q in (first, second)))
    assert float(kl(first, second)) == pytest.approx(float(expected), rel=1e-10)
    assert float(entropy(b)) == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 4), abs=1e-10)


@pytest.mark.parametrize("pair", [(P, FIT), (FIT, P)])
def test_quadrature_has_converged_and_agrees_with_draws(pair):
    p, q = pair
    exact = float(kl(p, q))
    assert exact == pytest.approx(float(kl(p, q, 5001)), abs=1e-10)
    x = p.sample(50_000, generator())
    gaps = p.log_prob(x) - q.log_prob(x)
    assert exact == pytest.approx(float(gaps.mean()), abs=4 * float(gaps.std()) / math.sqrt(len(x)))


def test_jensen_shannon_is_symmetric_and_at_most_ln_2():
    assert float(jensen_shannon(P, Q)) == pytest.approx(float(jensen_shannon(Q, P)), abs=1e-10)
    assert float(jensen_shannon(P, P)) == pytest.approx(0, abs=1e-12)
    assert float(jensen_shannon(P, on_line([60], [1], [1]))) == pytest.approx(math.log(2), abs=1e-10)
    x = P.sample(50, generator())
    torch.testing.assert_close(
        mixed(P, Q, 0.25).log_prob(x).exp(), 0.75 * P.log_prob(x).exp() + 0.25 * Q.log_prob(x).exp()
    )


def test_regions_of_gaussians():
    standard, wide = on_line([0], [1], [1]), on_line([0], [2], [1])
    edge = 2.5758293  # P(|z| < edge) = 0.99
    assert gaussians.region_level(standard) == pytest.approx(-0.5 * edge**2 - 0.5 * math.log(2 * math.pi), abs=5e-3)
    assert inside(standard, standard) == pytest.approx(0.99, abs=1e-3)
    assert inside(wide, standard) == pytest.approx(math.erf(edge / 2 / math.sqrt(2)), abs=1e-3)


def test_even_points_have_the_moments_of_the_density():
    points = P.even(10_000)
    assert len(points) == 10_000 and float((points < 0).double().mean()) == pytest.approx(0.6, abs=1e-3)
    assert float(points.mean()) == pytest.approx(float(P.moments()[0]), abs=1e-10)
    assert float(points.var()) == pytest.approx(float(P.moments()[1]), rel=1e-3)


# --- fits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [P, pictures.correlated_modes()], ids=["line", "plane"])
def test_forward_fit_matches_moments_and_is_the_minimum(p):
    q = fits.forward(p)
    for moment, expected in zip(q.moments(), p.moments(), strict=True):
        torch.testing.assert_close(moment, expected)
    assert fits.gradient(lambda q: kl(p, q), q).abs().max() < 1e-9
    far = gaussian(q.means[0] + 2, 0.5 * q.roots[0])
    assert fits.distance(fits.descend(lambda q: kl(p, q, fits.COARSE[p.dimensions]), far), q) < 1e-5


def test_pack_and_unpack_are_inverse():
    q = fits.forward(pictures.correlated_modes())
    again = fits.unpack(fits.pack(q))
    torch.testing.assert_close(again.roots, q.roots)
    torch.testing.assert_close(again.means, q.means)
    assert fits.unpack(fits.pack(q), factorised=True).roots[0, 1, 0] == 0 != q.roots[0, 1, 0]


def test_factorised_fits_of_a_ridge_have_marginal_and_conditional_variances():
    rho = 0.9
    ridge = gaussian(torch.zeros(2, dtype=torch.float64), torch.linalg.cholesky((1 - rho) * EYE + rho))
    start = gaussian(torch.ones(2, dtype=torch.float64), EYE)
    covers = fits.descend(lambda q: kl(ridge, q), start, factorised=True)
    selects = fits.reverse(ridge, start, factorised=True)
    torch.testing.assert_close(covers.roots[0], EYE, rtol=0, atol=1e-5)
    torch.testing.assert_close(selects.roots[0], math.sqrt(1 - rho**2) * EYE, rtol=0, atol=1e-5)


def test_reverse_divergence_has_three_minima():
    minima = fits.minima(P)
    starts = [on_line([m], [s], [1]) for m in (-6, 0, 6) for s in (1, 2, 4)]
    assert len(minima) == len(fits.minima(P, starts)) == 3
    costs = [float(kl(q, P)) for q in minima]
    assert costs == sorted(costs) and costs[0] < -math.log(0.6) < costs[1] < costs[2] < -math.log(0.4)
    lines = cells(run_cells("01", OWN_FITS, profile="smoke", changes={})["_"])
    assert all(value(row[4]) < 1e-7 and value(row[5]) > 0.05 for row in lines) and len(lines) == 3


def test_steepest_descent_ends_in_a_minimum():
    path = fits.descent_path(P, on_line([2], [1], [1]))
    heights = [float(kl(fits.unpack(theta), P)) for theta in path]
    assert all(a >= b - 1e-6 for a, b in zip(heights, heights[1:], strict=False)) and heights[0] > heights[-1] + 0.1
    assert float((path[-1] - fits.pack(fits.minima(P)[2])).abs().max()) < 1e-3


def test_distant_modes_cost_minus_the_log_of_their_weight():
    for weight in (0.6, 0.9):
        p = fits.two_modes(12, weight)
        assert float(kl(fits.minima(p)[0], p)) == pytest.approx(-math.log(weight), abs=1e-4)
        mixing = float(Categorical(torch.tensor([weight, 1 - weight])).entropy())
        expected = 0.5 * math.log(1 + weight * (1 - weight) * 144) - mixing
        assert float(kl(p, fits.forward(p))) == pytest.approx(expected, abs=1e-5)


def test_the_forward_divergence_is_convex_in_natural_parameters():
    divergence = run_cells("01", OWN_FITS, profile="smoke", changes={})["of_natural"]
    for m, log_s in torch.randn(50, 2, generator=generator(), dtype=torch.float64) * torch.tensor([4, 0.7]):
        precision = (-2 * log_s).exp()
        natural = torch.stack([m * precision, -0.5 * precision])
        assert torch.linalg.eigvalsh(torch.autograd.functional.hessian(divergence, natural))[0] > 0


@pytest.mark.slow
def test_branches_begin_and_end_where_the_minima_do():
    both, left, right = fits.branches([0.4 * i for i in range(21)]).values()
    assert len(both) == 21 and min(left) == pytest.approx(4.8) and min(right) == pytest.approx(5.2)
    for branch, side in ((left, -1), (right, 1)):
        q = branch[max(branch)]
        assert float(q.means) == pytest.approx(4 * side, abs=0.01) and float(q.roots) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_at_the_crossover_both_minima_cost_the_same():
    d = fits.crossover(0.6)
    p = fits.two_modes(d)
    first, second = fits.minima(p)[:2]
    assert float(kl(first, p)) == pytest.approx(float(kl(second, p)), abs=1e-4) and fits.distance(first, second) > 0.5
    before, after = (fits.minima(fits.two_modes(d + step))[0] for step in (-0.1, 0.1))
    assert float(before.roots) > 2 and float(after.roots) < 1.2
    assert fits.crossover(0.5) > d
    with pytest.raises(ValueError, match="weight 0.7 is not from 0.5 to 0.6"):
        fits.crossover(0.7)


@pytest.mark.slow
def test_fits_to_the_ring():
    shown = run_cell("01", "eight-gaussians")
    ring, (covers, one, wide) = shown["ring"], shown["ring_fits"].values()
    assert float(kl(one, ring)) == pytest.approx(math.log(8), abs=1e-3)
    torch.testing.assert_close(covers.means, torch.zeros_like(covers.means), rtol=0, atol=1e-12)
    assert inside(ring, one) == pytest.approx(0.99 / 8, abs=2e-3) and inside(ring, covers) > 0.99
    assert float(kl(wide, ring)) > 8 * float(kl(one, ring))


# --- what the lesson's cells compute ---------------------------------------------------------------------------


def test_coverage_loss_is_the_forward_divergence_plus_the_entropy():
    cell = run_cell("01", "Maximum likelihood", p=P)
    _, loss = cell["mean_loss"](FIT, P.even(100_000))
    assert float(loss) - float(entropy(P)) == pytest.approx(float(kl(P, FIT)), abs=1e-3)
    *lines, limit = cells(cell["_"])
    for row in lines:
        assert value(row[1]) == pytest.approx(float(kl(P, FIT)), abs=4 * float(row[1].split(" ± ")[1]))
        assert value(row[2]) >= round(float(kl(P, FIT)), 4)
    assert limit[1] == limit[2]


def test_faults_of_a_model_cost_at_most_their_bounds():
    lines = {
        row[0]: [value(cell) for cell in row[1:]]
        for row in cells(run_cell("01", "What each divergence forgives", p=P)["_"])
    }
    displaced = [costs for name, costs in lines.items() if name.startswith("0.9 p")]
    assert all(0 < forward <= 0.1055 for forward, _ in displaced) and displaced[-1][1] > 10
    assert lines["the left mode of p alone"][1] <= 0.511 and lines["the left mode of p alone"][0] > 5
    assert lines["the right mode of p alone"][1] <= 0.917


# --- losses at the optimal discriminator -----------------------------------------------------------------------


def test_losses_at_the_optimum_are_divergences():
    names = {"p": P, "q": Q, "best": discriminators.optimal_logit(P, Q)}
    lines = cells(run_cell("01", "The losses at the optimal discriminator", **names)["_"])
    assert len(lines) == 4 and all(value(row[3]) < 1e-4 for row in lines)
    assert value(lines[1][1]) == pytest.approx(float(kl(Q, P)), abs=1e-4)


@pytest.mark.parametrize("q", [Q, on_line([-4], [0.8], [1])], ids=["off", "narrow"])
def test_gradients_with_the_discriminator_fixed_are_those_of_the_divergences(q):
    pairs = zip(discriminators.GENERATORS.values(), discriminators.divergences(P).values(), strict=True)
    for (_, loss), divergence in pairs:
        gradient = discriminators.generator_gradient(P, q, loss)
        torch.testing.assert_close(gradient, fits.gradient(divergence, q), rtol=1e-3, atol=2e-3)
    assert discriminators.score_mean(q).abs().max() < 1e-12


# --- a discriminator that learns ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train():
    return run_cell("01", "def train(")["train"]


@pytest.fixture(scope="module")
def net(train):
    """Of two Gaussians that overlap well: the divergence is 0.5 nats."""
    p, q = on_line([0], [1], [1]), on_line([1], [1], [1])
    return p, q, train(p, q, 300)


def test_discriminator_learns_the_log_ratio_and_the_divergence(train, net):
    p, q, discriminator = net
    assert abs(discriminator.curve[0][1]) < 0.3 and discriminator.curve[-1][0] == 300
    assert discriminator.curve[-1][1] == pytest.approx(float(kl(q, p)), abs=0.05)
    x = pictures.grid(2, 41) + 0.5
    torch.testing.assert_close(discriminator.logit(x), discriminators.optimal_logit(p, q)(x), rtol=0, atol=0.3)
    assert train(p, q, 25).curve[0] == discriminator.curve[0]


def test_without_a_common_support_the_estimate_grows(train):
    u = discriminators.Uniform(1.5)
    for x in (u.sample(1000, generator()), u.even(1000)):
        assert x.min() >= 1.5 and x.max() < 2.5 and x.mean().item() == pytest.approx(2, abs=0.05)
    nets = {a: train(discriminators.Uniform(0.0), discriminators.Uniform(a), 100, decay=False) for a in (0.0, 1.5)}
    assert abs(nets[0.0].curve[-1][1]) < 0.1
    assert nets[1.5].curve[-1][1] > nets[1.5].curve[2][1] > 1
    lines = cells(run_cell("01", "halfway", uniforms=nets)["_"])
    assert [row[1] for row in lines] == ["0", "∞"] and value(lines[1][2]) == pytest.approx(math.log(2), abs=1e-3)
