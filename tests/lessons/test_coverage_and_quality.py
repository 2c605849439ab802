"""Lesson 02: yardsticks measure what they say where distances are known, and models are trained by their losses."""

import math

import pytest
import torch
from bs4 import BeautifulSoup
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from cqlib.data import toy2d
from cqlib.lessons.coverage_and_quality import mass_elsewhere, plane_checks, plane_models
from cqlib.lessons.coverage_and_quality import training as lesson
from cqlib.lessons.coverage_and_quality.exact_plane import HELD, Ruler


def cells(html):
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows]


def value(text):
    return float(text.split(" ±")[0].replace("−", "-").replace(",", ""))


@pytest.fixture(scope="module")
def ruler():
    return Ruler(toy2d.density("eight-gaussians"))


@pytest.fixture(scope="module")
def compared():
    return lesson.compare("eight-gaussians", (0, 1), 25)


# --- yardsticks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["eight-gaussians", "spiral", "checkerboard"])
def test_the_data_are_at_no_distance_from_themselves(name):
    ruler = Ruler(toy2d.density(name))
    found = ruler.distance(ruler.log_p)
    assert found.coverage == found.quality == found.missed == 0
    assert found.off == pytest.approx(1 - HELD, abs=2e-3) and found.mass == pytest.approx(1, abs=2e-3)
    assert all(share == pytest.approx(1) for share in found.mode_shares)
    assert ruler.jensen_shannon(ruler.log_p) == pytest.approx(0, abs=1e-12)


def test_the_support_is_the_smallest_set_that_holds_its_mass():
    """Of one round Gaussian: the disc of radius sigma sqrt(-2 ln 0.01)."""
    ruler = Ruler(toy2d.GaussianMixture(torch.zeros(1, 2), 0.2))
    inside = ruler.points[ruler.support].norm(dim=1).max()
    assert inside == pytest.approx(0.2 * math.sqrt(-2 * math.log(0.01)), abs=0.01)
    assert ruler.points[~ruler.support].norm(dim=1).min() > inside - 1e-9


def test_divergences_of_two_gaussians_are_the_closed_form():
    shift, s, t = 0.3, 0.15, 0.25
    p, q = (toy2d.GaussianMixture(torch.tensor([[x, 0.0]]), sd) for x, sd in ((0.0, s), (shift, t)))
    ruler = Ruler(p)
    found = ruler.distance(ruler.log_density(q.log_prob))

    def kl(a, b):
        return 2 * math.log(b / a) + (2 * a**2 + shift**2) / (2 * b**2) - 1

    assert found.coverage == pytest.approx(kl(s, t), rel=1e-5)
    assert found.quality == pytest.approx(kl(t, s), rel=1e-4)


@pytest.mark.parametrize("k", [1, 4, 7])
def test_a_model_of_k_modes_of_eight(ruler, k):
    some = toy2d.GaussianMixture(ruler.data.centres[:k], ruler.data.sigma)
    found = ruler.distance(ruler.log_density(some.log_prob))
    assert found.quality == pytest.approx(math.log(8 / k), abs=1e-5) and found.modes == k
    assert found.missed == pytest.approx(1 - k / 8, abs=1e-4) and found.coverage > 1
    assert found.off == pytest.approx(1 - HELD, abs=2e-3)
    assert found.mode_shares[0] == pytest.approx(8 / k, rel=1e-3)
    a = k / 8  # p / m is 2 a / (1 + a) on the modes of q and 2 elsewhere, q / m is 2 / (1 + a)
    js = (a * math.log(2 * a / (1 + a)) + (1 - a) * math.log(2) + math.log(2 / (1 + a))) / 2
    assert ruler.jensen_shannon(ruler.log_density(some.log_prob)) == pytest.approx(js, abs=1e-6)


def test_beyond_an_edge_quality_is_infinite_and_jensen_shannon_is_not():
    ruler = Ruler(toy2d.density("checkerboard"))
    log_q = ruler.log_density(toy2d.GaussianMixture(torch.zeros(1, 2), 0.4).log_prob)
    found = ruler.distance(log_q)
    assert found.quality == math.inf and 0 < found.coverage < 2 and found.off > 0.4
    assert 0.1 < ruler.jensen_shannon(log_q) < math.log(2)


# --- mass elsewhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["in the middle", "in a corner"])
def test_mass_off_the_support_costs_the_same_everywhere(ruler, place):
    start = mass_elsewhere.moved(ruler, place, 0.0)
    moved = mass_elsewhere.moved(ruler, place, 0.2)
    assert start.coverage == start.quality == 0
    assert moved.coverage == pytest.approx(-math.log(0.8), abs=5e-4)
    assert moved.likelihood - start.likelihood == pytest.approx(-math.log(0.8), abs=1e-3)
    assert moved.quality == pytest.approx(moved.formula, rel=1e-4) and moved.quality > 5


def test_with_overlap_it_costs_less(ruler):
    moved = mass_elsewhere.moved(ruler, "all over", 0.2)
    assert 0 < moved.coverage < -math.log(0.8) - 0.02 and moved.quality > moved.formula


def test_the_table_of_prices(ruler):
    for line in cells(mass_elsewhere.prices(ruler))[1:]:
        rise, bound, coverage, quality, formula = map(value, line[3:])
        assert rise <= bound + 1e-3 and coverage <= bound + 1e-3
        if line[0] != "all over":
            assert coverage == bound and quality == formula


# --- models --------------------------------------------------------------------------------------------------


def test_the_likelihood_is_that_of_a_mixture_over_all_z(compared):
    models = compared.trained["CQ"].models
    x = 1.2 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = models.log_prob(x)
    for mean, sigma, one in zip(*models.decode(), found, strict=True):
        weights = Categorical(torch.ones(len(mean), dtype=torch.float64))
        torch.testing.assert_close(
            one, MixtureSameFamily(weights, Independent(Normal(mean, sigma), 1)).log_prob(x), rtol=1e-8, atol=1e-8
        )
    assert models.z[0].var(0, unbiased=False).tolist() == pytest.approx([1, 1], abs=0.01)


def test_draws_follow_the_density(compared):
    models = compared.trained["VAE"].models
    x = models.draw(40_000, [torch.Generator().manual_seed(k) for k in range(2)])
    mean, sigma = models.decode()
    for points, mu, s in zip(x, mean, sigma, strict=True):
        variance = mu.var(0, unbiased=False) + s.square().mean(0)
        torch.testing.assert_close(points.mean(0), mu.mean(0), rtol=0, atol=0.02)
        torch.testing.assert_close(points.var(0), variance, rtol=0.05, atol=0)


def test_models_side_by_side_do_not_feel_each_other():
    data = toy2d.density("eight-gaussians")
    both = plane_models.train(data, 4, quality=[0.0, 2.0], seeds=[3, 5])
    alone = plane_models.train(data, 4, quality=2.0, seeds=[5])
    for a, b in zip(both.models.decode(), alone.models.decode(), strict=True):
        torch.testing.assert_close(a[1], b[0], rtol=1e-3, atol=1e-4)
    other = plane_models.train(data, 4, quality=20.0, seeds=[5])
    assert (other.models.decode()[0] - alone.models.decode()[0]).abs().max() > 1e-3


def test_training_repeats_itself_and_brings_the_data_nearer(compared):
    again = plane_models.train(compared.ruler.data, 25, seeds=(0, 1))
    mean = compared.trained["VAE"].models.decode()[0]
    assert torch.equal(again.models.decode()[0], mean) and not torch.equal(mean[0], mean[1])
    start = plane_models.PlaneModels([torch.Generator().manual_seed(seed) for seed in compared.seeds]).double()
    for i, log_q in enumerate(compared.ruler.log_density(start.log_prob)):
        before = compared.ruler.distance(log_q)
        assert compared.distances["VAE"][i].coverage < before.coverage - 0.3
        assert compared.distances["GAN"][i].quality < before.quality - 3  # 32 from 43, and up with a critic that sleeps


def test_each_loss_is_the_divergence_that_the_slides_say(compared):
    systems = {label: t.models for label, t in compared.trained.items()}
    lines = cells(plane_checks.equations(systems, compared.ruler))
    assert len(lines) == 9
    for name, mean, integral in lines:
        error = float(mean.split("± ")[1]) if "±" in mean else 0.01
        assert value(mean) == pytest.approx(value(integral), abs=5 * error + 1e-3), name
    for line in cells(plane_checks.likelihood(systems["GAN"], compared.ruler)):
        assert float(line[1]) < 1e-3


# --- to see --------------------------------------------------------------------------------------------------


def test_densities_are_asked_for_or_the_default(capsys):
    assert lesson.densities([]) == ["eight-gaussians", "spiral"]
    assert lesson.densities(["toy2d:grid", "photos10"]) == ["grid", "eight-gaussians"]
    assert "photos10: no known density" in capsys.readouterr().out
    assert lesson.densities(["toy2d", "toy2d:two-moons", "toy2d:grid"]) == ["eight-gaussians", "two-moons"]


def test_verdicts_follow_the_numbers(compared):
    lines = cells(lesson.verdicts(compared))
    for line, (label, field, over) in zip(
        lines, [("VAE", "off", 1), ("GAN", "missed", 1), ("CQ", "off", 0), ("CQ", "missed", 0)], strict=True
    ):
        held = [(getattr(d, field) > lesson.LIMIT) == bool(over) for d in compared.distances[label]]
        assert line[-1] == ("holds" if all(held) else "undecided" if any(held) else "does not hold")


def test_weights_run_from_one_loss_to_the_other(compared):
    found = lesson.weights(compared)
    names = list(found)
    assert names[0] == "L_C alone" and names[-1] == "L_Q alone"
    numbers = [float(name.removeprefix("λ = ")) for name in names[1:-1]]
    assert numbers == sorted(numbers) and lesson.LAMBDA in numbers
    assert found["L_C alone"][1] == compared.distances["VAE"][0]
    assert 'role="img"' in lesson.weight_board(compared, found).data


def test_no_widget_without_a_page(ruler):
    assert mass_elsewhere.slider(ruler) is None
