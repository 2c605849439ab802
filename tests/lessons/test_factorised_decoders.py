"""Lesson 03: the linear decoder is probabilistic PCA, residuals are measured rightly, closed forms equal numbers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from sklearn.decomposition import PCA

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset, Split
from cqlib.lessons import at_hand
from cqlib.lessons.factorised_decoders import linear_decoder, residuals
from cqlib.lessons.factorised_decoders import numbers as decoder_numbers
from cqlib.lessons.factorised_decoders import pictures as factorised_decoders
from cqlib.lessons.factorised_decoders.linear_decoder import Moments
from cqlib.pixels import LN_LEVELS, dequantise
from cqlib.util.errors import UsageError, UserError

SHAPE = (3, 4, 4)
D = 48


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photographs(n=4000, seed=0):
    """Correlated "images" (n, 3, 4, 4) in [-1, 1)."""
    root = torch.randn(D, D, generator=generator(99), dtype=torch.float64) / 12
    x = 0.1 + torch.randn(n, D, generator=generator(seed), dtype=torch.float64) @ root.T
    return x.float().clamp(-1, 0.999).view(n, *SHAPE)


def cells(html):
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows]


def value(text):
    return float(text.replace("−", "-").replace(",", ""))


@pytest.fixture(scope="module")
def v():
    return photographs()


@pytest.fixture(scope="module")
def moments(v):
    return linear_decoder.moments(v)


@pytest.fixture(scope="module")
def colour():
    """photos10, so few that a test is fast."""
    return data_sets.load("photos10", size=16).first(900, 60)


def test_moments(v, moments):
    x = v.flatten(1).double().numpy()
    np.testing.assert_allclose(moments.mean, x.mean(0))
    np.testing.assert_allclose(moments.covariance, np.cov(x.T, bias=True), atol=1e-12)


@pytest.mark.parametrize("codes", [1, 7, 30])
def test_the_linear_decoder_is_probabilistic_pca(v, moments, codes):
    x = v.flatten(1).double()
    unbiased = Moments(moments.mean, moments.covariance * len(x) / (len(x) - 1), SHAPE)
    oracle = PCA(codes, svd_solver="full").fit(x.numpy())
    decoder = linear_decoder.fit(unbiased, codes)
    np.testing.assert_allclose(decoder.log_prob(v[:50]), oracle.score_samples(x[:50].numpy()), rtol=1e-8)


@pytest.mark.parametrize("correlated", [False, True])
def test_bayes_rule_holds_at_every_code(v, moments, correlated):
    """ln p(x|z) + ln p(z) - ln q(z|x) is ln p(x), whichever z was drawn: the posterior is the true one."""
    decoder = linear_decoder.fit(moments, 5)
    decoder = linear_decoder.correlated(decoder) if correlated else decoder
    x = v[:20]
    for seed in (1, 2):
        q = decoder.infer(x, generator(seed))
        residual = x.flatten(1).double() - decoder.images.mean - q.z @ decoder.weights.T
        given = linear_decoder.log_normal(residual, torch.linalg.cholesky(decoder.noise))
        torch.testing.assert_close(given + q.log_ratio, decoder.log_prob(x), rtol=0, atol=1e-8)


def test_posterior_draws_have_the_moments_of_a_conditional_gaussian(v, moments):
    decoder = linear_decoder.fit(moments, 3)
    z = decoder.infer(v[:1].expand(40_000, -1, -1, -1), generator()).z
    total = decoder.weights @ decoder.weights.T + decoder.noise
    gain = decoder.weights.T @ torch.linalg.inv(total)
    mean = gain @ (v[0].flatten().double() - moments.mean)
    covariance = torch.eye(3, dtype=torch.float64) - gain @ decoder.weights
    torch.testing.assert_close(z.mean(0), mean, rtol=0, atol=5 * float(covariance.diagonal().max().sqrt()) / 200)
    torch.testing.assert_close(torch.cov(z.T), covariance, rtol=0.05, atol=0.02 * float(covariance.max()))


def test_the_correlated_decoder_has_the_covariance_that_the_codes_leave(v, moments):
    factorised = linear_decoder.fit(moments, 6)
    correlated = linear_decoder.correlated(factorised)
    assert torch.linalg.eigvalsh(correlated.noise).min() > 0
    # by draws: E[(x - mu(z)) (x - mu(z))^T] over all images and z ~ p(z|x)
    left = torch.cat([v - factorised.decode(factorised.infer(v, generator(s)).z)[0] for s in range(10)])
    left = left.flatten(1).double()
    found = left.T @ left / len(left)
    assert (found - correlated.noise).norm() < 0.03 * correlated.noise.norm()
    # by its definition, exactly: the notebook's table
    line = cells(decoder_numbers.posterior_check(factorised))[0]
    assert line[1] == line[2] and float(line[3]) < 1e-12


def test_with_a_full_covariance_codes_change_nothing(v, moments):
    whole = torch.distributions.MultivariateNormal(moments.mean, moments.covariance)
    exact = whole.log_prob(v[:30].flatten(1).double())
    for codes in (0, 4, 40):
        factorised = linear_decoder.fit(moments, codes)
        torch.testing.assert_close(linear_decoder.correlated(factorised).log_prob(v[:30]), exact, rtol=1e-9, atol=1e-8)
        assert factorised.log_prob(v).mean() < whole.log_prob(v.flatten(1).double()).mean() - 0.1


def test_noise_has_the_decoder_s_covariance(moments):
    decoder = linear_decoder.correlated(linear_decoder.fit(moments, 6))
    noise = decoder.noise_like(torch.zeros(40_000, *SHAPE), generator()).flatten(1).double()
    assert (noise.T @ noise / len(noise) - decoder.noise).norm() < 0.05 * decoder.noise.norm()


# --- residuals -----------------------------------------------------------------------------------------------


def test_correlation_at_an_offset_of_a_moving_average():
    a = torch.randn(4000, 2, 9, 9, generator=generator())
    r = (a[..., :, 1:] + a[..., :, :-1]) / math.sqrt(2)  # neighbours across share one of two terms
    assert residuals.at_offset(r, 0, 1) == pytest.approx(0.5, abs=0.01)
    assert residuals.at_offset(r, 1, 0) == pytest.approx(0, abs=0.01)
    assert residuals.at_offset(r, 0, 2) == pytest.approx(0, abs=0.01)
    assert residuals.by_distance(r, [0, 1]) == pytest.approx([1, 0.25], abs=0.01)
    # scale and mean of a place do not matter
    assert residuals.at_offset(3 * r + torch.arange(8.0), 0, 1) == pytest.approx(0.5, abs=0.01)


def test_correlation_between_colours():
    a = torch.randn(20_000, 4, 2, 2, generator=generator())
    r = a[:, :3] + a[:, 3:]  # each pair shares half of its variance
    assert residuals.between_colours(r) == pytest.approx(0.5, abs=0.01)
    assert residuals.between_colours(a[:, :3]) == pytest.approx(0, abs=0.01)


def test_excess_kurtosis_of_known_laws():
    u = torch.rand(200_000, 2, generator=generator(), dtype=torch.float64)
    assert residuals.excess_kurtosis(u) == pytest.approx(-1.2, abs=0.02)
    laplace = (u - 0.5).sign() * -(1 - 2 * (u - 0.5).abs()).log()
    assert residuals.excess_kurtosis(5 + 2 * laplace) == pytest.approx(3, abs=0.3)
    assert residuals.excess_kurtosis(torch.randn(200_000, 2, generator=generator())) == pytest.approx(0, abs=0.05)


def test_what_a_covariance_gains_is_a_divergence():
    e = photographs(3000)
    found = residuals.covariance(e)
    normal = torch.distributions.MultivariateNormal
    zero, identity = torch.zeros(D, dtype=torch.float64), torch.eye(D, dtype=torch.float64)
    c, unit = normal(zero, found.matrix), normal(zero, identity)
    expected = float(torch.distributions.kl_divergence(c, unit))
    assert found.scales + found.correlations == pytest.approx(expected, rel=1e-9)
    assert float(found.gain(e).mean()) == pytest.approx(expected, rel=1e-9)
    x = e.flatten(1).double()
    torch.testing.assert_close(found.gain(e), c.log_prob(x) - unit.log_prob(x), rtol=1e-9, atol=1e-8)


def test_its_two_parts_are_for_scales_and_for_correlations():
    diagonal = residuals.Covariance(torch.diag(torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)))
    assert diagonal.correlations == pytest.approx(0, abs=1e-12) and diagonal.scales > 0.1
    rho = 0.8
    pair = residuals.Covariance(torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64))
    assert pair.scales == pytest.approx(0, abs=1e-12)
    assert pair.correlations == pytest.approx(-0.5 * math.log(1 - rho**2))


def test_whitened_residuals_have_no_covariance():
    e = photographs(3000)
    white = residuals.covariance(e).white(e)
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(D, dtype=torch.float64), rtol=0, atol=1e-9)


def test_explained_nats_are_the_model_s(colour):
    model = at_hand.untrained("table1/vae-f", colour).system
    photos = colour.test.images[:5]
    of = residuals.explain(model, photos, seed=3)
    with torch.no_grad():
        expected = model.nats(photos, generator=generator(3))
    torch.testing.assert_close(of.nats, expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(of.left, of.y - of.mean)
    assert not torch.equal(of.left, of.left_in_image)


def test_explained_nats_of_the_linear_decoder_are_exact(colour):
    moments = factorised_decoders.moments(colour)
    decoder = linear_decoder.fit(moments, 8)
    photos = colour.test.images[:5]
    of = residuals.explain(decoder, photos)
    expected = 768 * LN_LEVELS - decoder.log_prob(dequantise(photos, generator=generator(0)))
    torch.testing.assert_close(of.nats.double(), expected, rtol=1e-4, atol=0.1)


# --- what the lesson shows -----------------------------------------------------------------------------------


def test_own_noise_is_white_without_f_and_not_with_it(colour):
    decoders = {"with": at_hand.find("table1/cq-f", colour, profile="smoke", seeds=[0], runs_dir="none").system,
                "without": at_hand.untrained("table1/vae", colour).system}  # fmt: skip
    noise = {}
    for name, decoder in decoders.items():
        of = residuals.explain(decoder, colour.test.images[:1].expand(400, -1, -1, -1))
        noise[name] = factorised_decoders.own_noise(decoder, of)
    assert residuals.by_distance(noise["without"], [1])[0] == pytest.approx(0, abs=0.02)
    assert residuals.by_distance(noise["with"], [1])[0] > 0.15


def test_models_at_hand(colour, tmp_path):
    wanted = {"profile": "smoke", "seeds": [0], "runs_dir": tmp_path}
    assert at_hand.find("table1/vae", colour, **wanted) is None
    found = at_hand.find("table1/cq-f", colour, **wanted)
    assert found.where == "quick, photos10 16×16, seed 0" and found.label == "CQ-F"
    other = SimpleNamespace(name="photos10", channels=3, size=32)
    assert at_hand.find("table1/cq-f", other, **wanted) is None  # trained on another size
    lines = cells(at_hand.roll(["table1/vae", "table1/cq-f"], {"table1/cq-f": found}, "study", "photos10", [3, 4]))
    assert "./run_all.sh --profile study --only table1/vae --seeds 3," in lines[0][1] and lines[1][1] == found.where
    (line,) = cells(at_hand.roll(["table1/vae"], {}, "quick", "folder:/cats", []))
    assert line[1] == "not here: ./run_all.sh --only table1/vae --data folder:/cats"
    a, b = (at_hand.untrained("table1/cq-f", colour).system.state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(UsageError, match="not of colour images"):
        at_hand.images("toy2d", None)


def test_too_few_images_for_a_covariance_are_one_clear_line():
    images = torch.zeros(100, 3, 16, 16, dtype=torch.uint8)
    splits = [Split(name, images, torch.zeros(100, dtype=torch.int64)) for name in ("train", "test")]
    with pytest.raises(UserError, match="769 training images"):
        factorised_decoders.moments(Dataset("cats", 16, ("all",), *splits))


def test_the_tables_hold_equal_numbers_where_they_must(colour):
    moments = factorised_decoders.moments(colour)
    decoders = factorised_decoders.of_pixels(16, moments, {})
    seen = factorised_decoders.explained(decoders, colour)
    (line,) = cells(decoder_numbers.densities(decoders, seen))
    assert line[1] == line[2] == line[3] and float(line[4]) < 1e-8
    (line,) = cells(decoder_numbers.costs(seen))
    assert value(line[1]) + value(line[2]) == pytest.approx(value(line[3]), abs=0.2) and float(line[4]) < 1e-9
    lines = cells(decoder_numbers.codes_and_bits(moments, colour, (0, 8)))
    assert lines[0][2] == lines[1][2] and value(lines[0][1]) > value(lines[1][1])
    numbers = cells(decoder_numbers.neighbours(decoders, seen))
    assert value(numbers[0][1]) > 0.2 and abs(value(numbers[0][2])) < 0.05


def test_a_lesson_without_any_flow_says_so():
    assert "./run_all.sh --only table1" in factorised_decoders.through_f({}, {}).data
