"""Lesson 01: quadrature agrees with closed forms and with sampling, fits are minima, losses at D* are what is said."""

import math

import pytest
import torch
from bs4 import BeautifulSoup
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from cqlib import losses
from cqlib.data import toy2d
from cqlib.figures import common as show
from cqlib.lessons.kl_divergences import fits as two_kls
from cqlib.lessons.kl_divergences import learned_discriminator as learned
from cqlib.lessons.kl_divergences import optimal_discriminator as optimal
from cqlib.lessons.kl_divergences import pictures as two_kls_pictures
from cqlib.lessons.kl_divergences import plane as two_kls_plane
from cqlib.lessons.kl_divergences import separation as two_kls_separation
from cqlib.lessons.kl_divergences.gaussians import (
    Gaussians,
    entropy,
    gaussian,
    in_plane,
    inside,
    jensen_shannon,
    kl,
    mixed,
    on_line,
    region_level,
)

P = two_kls.two_modes(6)
Q = on_line([1], [1.5], [1])
FIT = two_kls.forward(P)


def cells(html):
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows]


def value(text):
    return float(text.replace("−", "-").replace(",", "").replace("%", ""))


def numbers(text):
    return [value(part) for part in text.split(", ")]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def as_torch(p):
    """The same density by torch.distributions."""
    parts = MultivariateNormal(p.means, scale_tril=p.roots)
    return MixtureSameFamily(Categorical(p.weights), parts)


# --- densities and quadrature --------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [P, two_kls_plane.crossed(), in_plane("eight-gaussians")], ids=["line", "plane", "ring"])
def test_a_mixture_is_torch_s_mixture(p):
    x = p.sample(500, seeded())
    torch.testing.assert_close(p.log_prob(x), as_torch(p).log_prob(x), rtol=1e-10, atol=1e-10)
    mean, covariance = p.moments()
    many = p.sample(100_000, seeded(1))
    torch.testing.assert_close(many.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(many.T.cov().view_as(covariance), covariance, rtol=0.02, atol=0.02)
    points, weights = p.nodes()
    torch.testing.assert_close(weights @ points, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close((weights[:, None] * (points - mean)).T @ (points - mean), covariance)


def test_the_ring_is_toy2d_s_and_others_are_refused():
    p, expected = in_plane("eight-gaussians"), toy2d.density("eight-gaussians")
    x = expected.sample(100, seeded())
    torch.testing.assert_close(p.log_prob(x), expected.log_prob(x))
    with pytest.raises(TypeError, match="two-moons is no mixture"):
        in_plane("two-moons")


def test_divergences_of_gaussians_have_their_closed_forms():
    a, b = on_line([0.3], [0.7], [1]), on_line([-1], [2], [1])
    expected = kl_divergence(Normal(0.3, 0.7), Normal(-1.0, 2.0))
    assert float(kl(a, b)) == pytest.approx(float(expected), abs=1e-6)
    c = two_kls_plane.crossed()
    first, second = (gaussian(m, root) for m, root in zip(c.means, c.roots, strict=True))
    expected = kl_divergence(*(MultivariateNormal(q.means[0], scale_tril=q.roots[0]) for q in (first, second)))
    assert float(kl(first, second)) == pytest.approx(float(expected), rel=1e-10)
    assert float(entropy(b)) == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 4), abs=1e-10)


@pytest.mark.parametrize("pair", [(P, FIT), (FIT, P), (P, Q)])
def test_quadrature_has_converged_and_agrees_with_draws(pair):
    p, q = pair
    exact = float(kl(p, q))
    assert exact == pytest.approx(float(kl(p, q, 5001)), abs=1e-10)
    x = p.sample(200_000, seeded())
    gaps = p.log_prob(x) - q.log_prob(x)
    assert exact == pytest.approx(float(gaps.mean()), abs=4 * float(gaps.std()) / math.sqrt(len(x)))


def test_jensen_shannon_is_symmetric_and_ends_at_ln_2():
    assert float(jensen_shannon(P, Q)) == pytest.approx(float(jensen_shannon(Q, P)), abs=1e-10)
    assert float(jensen_shannon(P, P)) == pytest.approx(0, abs=1e-12)
    assert float(jensen_shannon(P, on_line([60], [1], [1]))) == pytest.approx(math.log(2), abs=1e-10)


def test_regions_of_gaussians():
    standard, wide = on_line([0], [1], [1]), on_line([0], [2], [1])
    edge = 2.5758293  # P(|z| < edge) = 0.99
    assert region_level(standard) == pytest.approx(-0.5 * edge**2 - 0.5 * math.log(2 * math.pi), abs=5e-3)
    assert inside(standard, standard) == pytest.approx(0.99, abs=1e-3)
    assert inside(wide, standard) == pytest.approx(math.erf(edge / 2 / math.sqrt(2)), abs=1e-3)


def test_even_points_stand_for_the_density():
    points = P.even(10_000)
    assert len(points) == 10_000 and float((points < 0).double().mean()) == pytest.approx(0.6, abs=1e-3)
    assert float(points.mean()) == pytest.approx(float(P.moments()[0]), abs=1e-10)
    assert float(points.var()) == pytest.approx(float(P.moments()[1]), rel=1e-3)


# --- the fits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [P, two_kls_plane.crossed()], ids=["line", "plane"])
def test_the_forward_fit_has_the_moments_and_is_where_descent_ends(p):
    q = two_kls.forward(p)
    for mine, wanted in zip(q.moments(), p.moments(), strict=True):
        torch.testing.assert_close(mine, wanted)
    assert two_kls.slope(lambda q: kl(p, q), q).abs().max() < 1e-9
    far = gaussian(q.means[0] + 2, 0.5 * q.roots[0])
    found = two_kls.descend(lambda q: kl(p, q), far)
    assert two_kls.apart(found, q) < 1e-5 and float(kl(p, far)) > float(kl(p, q)) + 1


def test_pack_and_unpack_are_inverse_and_factorised_has_no_corner():
    q = two_kls.forward(two_kls_plane.crossed())
    again = two_kls.unpack(two_kls.pack(q))
    torch.testing.assert_close(again.roots, q.roots)
    torch.testing.assert_close(again.means, q.means)
    assert two_kls.unpack(two_kls.pack(q), factorised=True).roots[0, 1, 0] == 0 != q.roots[0, 1, 0]


def test_a_ridge_with_independent_coordinates_gives_marginals_and_conditionals():
    rho, eye = 0.9, torch.eye(2, dtype=torch.float64)
    ridge = gaussian(torch.zeros(2, dtype=torch.float64), torch.linalg.cholesky((1 - rho) * eye + rho))
    start = gaussian(torch.ones(2, dtype=torch.float64), eye)
    covers = two_kls.descend(lambda q: kl(ridge, q), start, factorised=True)
    selects = two_kls.reverse(ridge, start, factorised=True)
    torch.testing.assert_close(covers.roots[0], eye, rtol=0, atol=1e-5)
    torch.testing.assert_close(selects.roots[0], math.sqrt(1 - rho**2) * eye, rtol=0, atol=1e-5)
    torch.testing.assert_close(selects.means, ridge.means, rtol=0, atol=1e-5)


def test_three_minima_of_the_reverse_divergence_and_no_fourth():
    found = two_kls.minima(P)
    grid = [on_line([m], [s], [1]) for m in (-6, -4, -1.5, 0, 1.5, 4, 6) for s in (0.5, 1, 2, 4)]
    assert len(found) == len(two_kls.minima(P, grid)) == 3
    costs = [float(kl(q, P)) for q in found]
    assert costs == sorted(costs) and costs[0] < -math.log(0.6) < costs[1] < costs[2] < -math.log(0.4)
    for q in found:
        hessian = torch.autograd.functional.hessian(lambda theta: kl(two_kls.unpack(theta), P), two_kls.pack(q))
        assert torch.linalg.eigvalsh(hessian)[0] > 0.05
        assert two_kls.slope(lambda q: kl(q, P), q).abs().max() < 1e-7


def test_steepest_descent_goes_down_to_a_minimum():
    path = two_kls.flow_down(P, on_line([2], [1], [1]))
    heights = [float(kl(two_kls.unpack(theta), P)) for theta in path]
    assert all(a >= b - 1e-6 for a, b in zip(heights, heights[1:], strict=False)) and heights[0] > heights[-1] + 0.1
    right = two_kls.minima(P)[2]
    assert float((path[-1] - two_kls.pack(right)).abs().max()) < 1e-3


def test_far_apart_the_prices_are_those_of_the_weights():
    for share in (0.6, 0.9):
        p = two_kls.two_modes(12, share)
        assert float(kl(two_kls.minima(p)[0], p)) == pytest.approx(-math.log(share), abs=1e-4)
        expected = 0.5 * math.log(1 + share * (1 - share) * 144) - float(
            Categorical(torch.tensor([share, 1 - share])).entropy()
        )
        assert float(kl(p, two_kls.forward(p))) == pytest.approx(expected, abs=1e-5)


def test_natural_parameters_make_the_forward_divergence_convex_and_not_the_reverse(monkeypatch):
    assert two_kls.natural_curvature(P) > 0
    monkeypatch.setattr(two_kls, "kl", lambda p, q, n: kl(q, p, n))
    assert two_kls.natural_curvature(P) < 0


def test_branches_begin_and_end_where_the_minima_do():
    separations = [0.4 * i for i in range(21)]
    both, left, right = two_kls.branches(separations)
    assert len(both.fits) == 21 and both.at(0.4) is not None and left.at(0.4) is None
    assert min(left.separations) == pytest.approx(4.8) and min(right.separations) == pytest.approx(5.2)
    for branch, side in ((left, -1), (right, 1)):
        q = branch.at(8.0)
        assert float(q.means) == pytest.approx(4 * side, abs=0.01) and float(q.roots) == pytest.approx(1, abs=0.01)


def test_where_the_best_fit_changes_both_minima_cost_the_same():
    d = two_kls.switches_at(0.6)
    first, second = two_kls.minima(two_kls.two_modes(d))[:2]
    costs = [float(kl(q, two_kls.two_modes(d))) for q in (first, second)]
    assert costs[0] == pytest.approx(costs[1], abs=1e-4) and two_kls.apart(first, second) > 0.5
    before, after = (two_kls.minima(two_kls.two_modes(d + step))[0] for step in (-0.1, 0.1))
    assert float(before.roots) > 2 and float(after.roots) < 1.2
    assert two_kls.switches_at(0.5) > d


# --- tables and pictures of the fits ---------------------------------------------------------------------------


def test_tables_of_the_fits_hold_what_was_computed():
    fits = two_kls_pictures.named(P)
    lines = cells(two_kls_pictures.both_ways(P, fits))
    assert [line[0] for line in lines] == ["forward fit", "reverse fit", "reverse, minimum 2", "reverse, minimum 3"]
    for line, q in zip(lines, fits.values(), strict=True):
        assert [value(line[1]), value(line[2])] == pytest.approx([float(kl(P, q)), float(kl(q, P))], abs=6e-4)
    forward, reverse = lines[:2]
    assert value(forward[3]) == 100 > 90 > value(forward[4]) and value(reverse[4]) == 99 > 65 > value(reverse[3])
    checks = cells(two_kls_pictures.forward_checks(P))
    assert all(line[1] == line[2] for line in checks[:3]) and value(checks[3][2]) < 1e-12 < value(checks[4][2])
    assert all(value(line[3]) < 1e-7 and value(line[4]) > 0 for line in cells(two_kls_pictures.reverse_checks(P)))


def test_the_area_under_a_picture_is_the_divergence():
    """What `where_it_costs` fills, p ln(p / q), summed over its frame."""
    x = two_kls_pictures.line(12, 2401)
    filled = P.log_prob(x).exp() * (P.log_prob(x) - FIT.log_prob(x))
    assert float(filled.sum()) * 0.01 == pytest.approx(float(kl(P, FIT)), abs=1e-6)
    html = two_kls_pictures.where_it_costs(P).data
    assert f"KL(p ‖ q) = {float(kl(P, FIT)):.3f} nats" in html and "<svg" in html


def test_the_slider_moves_the_picture_and_stands_only_where_it_can(monkeypatch):
    monkeypatch.setattr(show, "live", lambda: False)
    assert two_kls_separation.separation_slider() is None
    monkeypatch.setattr(show, "live", lambda: True)
    box = two_kls_separation.separation_slider()
    (separation, weight), view = box.children[0].children, box.children[1]
    assert "separation 6: forward 0.46" in view.value
    separation.value = 2.0
    assert "separation 2: forward 0.01" in view.value
    before = view.value
    weight.value = 0.9
    assert view.value != before


def test_fits_on_the_ring():
    ring, fits = two_kls_plane.eight()
    covers, one, wide = fits.values()
    assert float(kl(one, ring)) == pytest.approx(math.log(8), abs=1e-3)
    torch.testing.assert_close(covers.means, torch.zeros_like(covers.means), rtol=0, atol=1e-12)
    assert inside(ring, one) == pytest.approx(0.99 / 8, abs=2e-3) and inside(ring, covers) > 0.99
    assert float(kl(wide, ring)) > 8 * float(kl(one, ring))
    assert float(kl(wide, ring)) == pytest.approx(float(kl(wide, ring, 401)), abs=0.02)


# --- maximum likelihood ----------------------------------------------------------------------------------------


def test_the_coverage_loss_is_the_forward_divergence_and_the_entropy():
    x = P.even(100_000)
    assert float(two_kls_plane.coverage_of(FIT, x)) - float(entropy(P)) == pytest.approx(float(kl(P, FIT)), abs=1e-3)
    lines = cells(two_kls_plane.likelihood(P, (100, 10_000)))
    for line in lines[:2]:
        found, error = (value(part) for part in line[1].split(" ± "))
        assert found == pytest.approx(float(kl(P, FIT)), abs=4 * error)
        assert value(line[2]) >= round(float(kl(P, FIT)), 4)
    assert lines[-1][1] == lines[-1][2]


def test_what_is_forgiven_stays_within_its_bounds():
    lines = {line[0]: [value(cell) for cell in line[1:]] for line in cells(two_kls_plane.forgiven(P))}
    tenth = [found for name, found in lines.items() if name.startswith("0.9 p")]
    assert all(0 < forward <= 0.1055 for forward, _ in tenth) and tenth[-1][1] > 10
    assert lines["the left mode of p alone"][1] <= 0.511 and lines["the left mode of p alone"][0] > 5
    assert lines["the right mode of p alone"][1] <= 0.917


# --- losses at the optimal discriminator -------------------------------------------------------------------------


def test_the_losses_at_the_optimum_are_the_divergences():
    found = optimal.values(P, Q)
    assert len(found) == 4
    for name, _, code, exact in found:
        assert code == pytest.approx(exact, abs=1e-4), name
    by_name = {name.split(",")[0].split(" =")[0]: code for name, _, code, _ in found}
    assert by_name["L_Q"] == pytest.approx(float(kl(Q, P)), abs=1e-4)
    assert by_name["saturating"] + by_name["non-saturating"] == pytest.approx(by_name["L_Q"], abs=1e-9)


def test_the_saturating_loss_is_the_generator_s_side_of_equation_1():
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)
    expected = torch.log1p(-torch.sigmoid(logits)).mean()
    torch.testing.assert_close(optimal.saturating(logits), expected)


def test_no_other_discriminator_is_better():
    lines = cells(optimal.none_better(P, Q))
    assert lines[0][2] == "0.0000" and all(value(line[2]) > 1e-3 for line in lines[1:])
    assert value(lines[-1][1]) == pytest.approx(math.log(4), abs=1e-4)


@pytest.mark.parametrize("q", [Q, FIT, on_line([-4], [0.8], [1])], ids=["off", "forward", "narrow"])
def test_gradients_with_the_discriminator_fixed_are_those_of_the_divergences(q):
    for loss, divergence in zip(optimal.GENERATORS.values(), optimal.divergences(P).values(), strict=True):
        torch.testing.assert_close(optimal.pulled(P, q, loss), two_kls.slope(divergence, q), rtol=1e-3, atol=2e-3)
    assert optimal.neglected(P, q).abs().max() < 1e-12


def test_the_gradient_of_a_divergence_is_its_finite_difference():
    theta, step = two_kls.pack(Q), 1e-5
    for divergence in optimal.divergences(P).values():
        gradient = two_kls.slope(divergence, Q)
        for i in range(2):
            move = step * torch.eye(2, dtype=torch.float64)[i]
            ends = [float(divergence(two_kls.unpack(theta + sign * move))) for sign in (1, -1)]
            assert float(gradient[i]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_the_table_of_gradients_agrees_with_itself():
    lines = cells(optimal.gradients(P, Q))
    for line in lines:
        assert numbers(line[1]) == pytest.approx(numbers(line[2]), abs=3e-4)
    assert max(map(abs, numbers(lines[0][1]))) > 0.1


def test_the_other_divergence_from_the_same_discriminator():
    pulled = optimal.pulled(P, Q, lambda logits: -logits.exp().mean())
    torch.testing.assert_close(pulled, two_kls.slope(lambda q: kl(P, q), Q), rtol=2e-3, atol=0)
    assert float(optimal.optimal(P, Q)(P.even(100_000)).mean()) == pytest.approx(float(kl(P, Q)), abs=1e-4)


def test_more_real_images_shift_the_logit_and_leave_the_gradient_of_the_quality_loss():
    for name, loss in optimal.GENERATORS.items():
        change = optimal.pulled(P, Q, lambda logits, loss=loss: loss(logits + math.log(2))) - optimal.pulled(P, Q, loss)
        assert (change.abs().max() < 1e-12) == name.startswith("L_Q")


def test_narrow_gaussians_at_a_distance():
    for line in cells(optimal.separated()):
        assert line[1] == line[2]
    assert value(cells(optimal.separated())[-1][3]) == pytest.approx(math.log(2), abs=1e-4)


# --- a discriminator that learns ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net():
    """Two Gaussians that overlap well: the divergence is 0.5 (1 / 1) = 0.5 nats."""
    p, q = on_line([0], [1], [1]), on_line([1], [1], [1])
    return p, q, learned.learn(p, q, 400)


def test_a_discriminator_learns_the_log_ratio_and_the_divergence(net):
    p, q, found = net
    assert found.curve[0][0] == 0 and abs(found.curve[0][1]) < 0.3 and found.curve[-1][0] == 400
    assert found.curve[-1][1] == pytest.approx(float(kl(q, p)), abs=0.05)
    x = two_kls_pictures.line(2, 41) + 0.5
    torch.testing.assert_close(found.logit(x), optimal.optimal(p, q)(x), rtol=0, atol=0.3)
    again = learned.learn(p, q, 25)
    assert again.curve[0] == found.curve[0]


def test_parts_of_the_estimate_add_up(net):
    p, q, found = net
    lines = cells(learned.where_it_falls_short(p, {"q": q}, {"q": found}))
    assert sum(value(line[1]) for line in lines) == pytest.approx(100, abs=0.11)
    assert sum(value(line[2]) for line in lines) == pytest.approx(found.curve[-1][1], abs=2e-3)
    assert sum(value(line[3]) for line in lines) == pytest.approx(float(kl(q, p)), abs=2e-3)
    (line,) = cells(learned.results(p, {"q": q}, {"q": found}))
    assert value(line[3]) >= value(line[4]) - 1e-4  # no discriminator beats the optimal one


def test_without_a_common_support_the_estimate_grows():
    found = {a: learned.learn(learned.Uniform(0.0), learned.Uniform(a), 100, decay=False) for a in (0.0, 1.5)}
    assert abs(found[0.0].curve[-1][1]) < 0.1
    middle, end = (found[1.5].curve[i][1] for i in (2, -1))
    assert end > middle > 1
    lines = cells(learned.supports_table(found))
    assert [line[1] for line in lines] == ["0", "∞"] and value(lines[1][2]) == pytest.approx(math.log(2), abs=1e-3)


def test_uniform_sources_and_mixtures_are_what_they_say():
    u = learned.Uniform(1.5)
    for x in (u.sample(1000, seeded()), u.even(1000)):
        assert (
            x.shape == (1000, 1) and 1.5 <= x.min() and x.max() < 2.5 and x.mean().item() == pytest.approx(2, abs=0.05)
        )
    half = mixed(P, Q, 0.25)
    x = P.sample(50, seeded())
    torch.testing.assert_close(half.log_prob(x).exp(), 0.75 * P.log_prob(x).exp() + 0.25 * Q.log_prob(x).exp())
    assert isinstance(half, Gaussians)


def test_the_quality_loss_of_a_learned_net_is_minus_its_mean_logit(net):
    _, q, found = net
    assert float(losses.quality_loss(found.logit(q.even(20_000)))) == pytest.approx(found.curve[-1][1], abs=1e-6)
