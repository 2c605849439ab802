"""Lesson 03: the linear decoder is probabilistic PCA, residuals have known statistics, both ways to a number agree."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from functions import Functions
from lesson_cells import run_cells
from notebook_cells import cells
from sklearn.decomposition import PCA
from small_models import dataset

from cqlib import data as data_sets
from cqlib import losses
from cqlib.pixels import LN_LEVELS, dequantise
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.lessons import linear_decoder, models, residuals
from cqlib.suite.lessons.linear_decoder import Moments
from cqlib.util.errors import UserError

SHAPE = (3, 4, 4)
D = 48


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def v():
    """Correlated "images" (3000, 3, 4, 4) in [-1, 1)."""
    root = torch.randn(D, D, generator=generator(99), dtype=torch.float64) / 12
    x = 0.1 + torch.randn(3000, D, generator=generator(), dtype=torch.float64) @ root.T
    return x.float().clamp(-1, 0.999).view(-1, *SHAPE)


@pytest.fixture(scope="module")
def moments(v):
    return linear_decoder.moments(v)


@pytest.fixture(scope="module")
def photos():
    return data_sets.load("photos10", size=16).first(900, 60)


# --- the linear decoder --------------------------------------------------------------------------------------


def test_moments(v, moments):
    x = v.flatten(1).double().numpy()
    np.testing.assert_allclose(moments.mean, x.mean(0))
    np.testing.assert_allclose(moments.covariance, np.cov(x.T, bias=True), atol=1e-12)


@pytest.mark.parametrize("codes", [1, 30])
def test_linear_decoder_is_probabilistic_pca(v, moments, codes):
    x = v.flatten(1).double()
    unbiased = Moments(moments.mean, moments.covariance * len(x) / (len(x) - 1), SHAPE)
    oracle = PCA(codes, svd_solver="full").fit(x.numpy())
    decoder = linear_decoder.fit(unbiased, codes)
    np.testing.assert_allclose(decoder.log_prob(v[:50]), oracle.score_samples(x[:50].numpy()), rtol=1e-8)


@pytest.mark.parametrize("correlated", [False, True])
def test_bayes_rule_holds_at_every_code(v, moments, correlated):
    """ln p(x|z) + ln p(z) - ln q(z|x) is ln p(x) for every z: the posterior is the true one."""
    decoder = linear_decoder.fit(moments, 5)
    decoder = linear_decoder.correlated(decoder) if correlated else decoder
    x = v[:20]
    for seed in (1, 2):
        q = decoder.infer(x, generator(seed))
        residual = x.flatten(1).double() - decoder.images.mean - q.z @ decoder.weights.T
        conditional = torch.distributions.MultivariateNormal(torch.zeros(D).double(), decoder.noise).log_prob(residual)
        torch.testing.assert_close(conditional + q.log_ratio, decoder.log_prob(x), rtol=0, atol=1e-8)


def test_posterior_draws_have_the_moments_of_a_conditional_gaussian(v, moments):
    decoder = linear_decoder.fit(moments, 3)
    z = decoder.infer(v[:1].expand(40_000, -1, -1, -1), generator()).z
    total = decoder.weights @ decoder.weights.T + decoder.noise
    gain = decoder.weights.T @ torch.linalg.inv(total)
    mean = gain @ (v[0].flatten().double() - moments.mean)
    covariance = torch.eye(3, dtype=torch.float64) - gain @ decoder.weights
    torch.testing.assert_close(z.mean(0), mean, rtol=0, atol=5 * float(covariance.diagonal().max().sqrt()) / 200)
    torch.testing.assert_close(torch.cov(z.T), covariance, rtol=0.05, atol=0.02 * float(covariance.max()))


def test_correlated_noise_is_the_covariance_of_the_residuals(v, moments):
    factorised = linear_decoder.fit(moments, 6)
    correlated = linear_decoder.correlated(factorised)
    assert torch.linalg.eigvalsh(correlated.noise).min() > 0
    draws = torch.cat([v - factorised.decode(factorised.infer(v, generator(s)).z)[0] for s in range(10)])
    noise = correlated.noise_like(torch.zeros(40_000, *SHAPE), generator())
    for x, tolerance in ((draws, 0.03), (noise, 0.05)):
        x = x.flatten(1).double()
        assert (x.T @ x / len(x) - correlated.noise).norm() < tolerance * correlated.noise.norm()


def test_with_a_full_covariance_codes_make_no_difference(v, moments):
    joint = torch.distributions.MultivariateNormal(moments.mean, moments.covariance)
    exact = joint.log_prob(v[:30].flatten(1).double())
    for codes in (0, 40):
        factorised = linear_decoder.fit(moments, codes)
        torch.testing.assert_close(linear_decoder.correlated(factorised).log_prob(v[:30]), exact, rtol=1e-9, atol=1e-8)
        assert factorised.log_prob(v).mean() < joint.log_prob(v.flatten(1).double()).mean() - 0.1


# --- residuals -----------------------------------------------------------------------------------------------


def test_correlation_of_a_moving_average():
    a = torch.randn(4000, 2, 9, 9, generator=generator())
    r = (a[..., :, 1:] + a[..., :, :-1]) / math.sqrt(2)  # neighbours across share one of two terms
    assert residuals.offset_correlation(r, 0, 1) == pytest.approx(0.5, abs=0.01)
    assert residuals.offset_correlation(r, 1, 0) == pytest.approx(0, abs=0.01)
    assert residuals.distance_correlations(r, [0, 1]) == pytest.approx([1, 0.25], abs=0.01)
    # scale and mean of a place do not matter
    assert residuals.offset_correlation(3 * r + torch.arange(8.0), 0, 1) == pytest.approx(0.5, abs=0.01)


def test_correlation_of_colours():
    a = torch.randn(20_000, 4, 2, 2, generator=generator())
    assert residuals.colour_correlation(a[:, :3] + a[:, 3:]) == pytest.approx(0.5, abs=0.01)  # half is shared
    assert residuals.colour_correlation(a[:, :3]) == pytest.approx(0, abs=0.01)


def test_excess_kurtosis_of_known_laws():
    u = torch.rand(200_000, 2, generator=generator(), dtype=torch.float64)
    assert residuals.excess_kurtosis(u) == pytest.approx(-1.2, abs=0.02)
    laplace = (u - 0.5).sign() * -(1 - 2 * (u - 0.5).abs()).log()
    assert residuals.excess_kurtosis(5 + 2 * laplace) == pytest.approx(3, abs=0.3)


@pytest.fixture(scope="module")
def lesson():
    """The Gaussians of the lesson, and what independence costs."""
    return SimpleNamespace(**run_cells("03", ("class Factorised", "def cost(")))


def test_both_gaussians_are_the_training_loss_of_a_factorised_decoder(photos, lesson):
    model = models.untrained_model("table1/vae", photos).model
    of = residuals.reconstruct(model, photos.test.images[:1])
    x, mean, log_sigma = (values.double() for values in (of.x, of.mean, of.log_sigma))
    expected, sigma = losses.gaussian_log_density(x, mean, log_sigma), log_sigma.flatten().exp()
    product = lesson.Factorised(mean.flatten(), sigma).log_prob(x.flatten(1))
    joint = lesson.Correlated(mean.flatten(), torch.diag(sigma.square())).log_prob(x.flatten(1))
    for log_p in (product, joint):
        torch.testing.assert_close(log_p, expected, rtol=0, atol=1e-8)


def test_the_covariance_of_the_cell_is_that_of_its_definition(photos, lesson):
    """S - W W^T is the covariance of x - m - W z with z ~ p(z|x), and gives the package's likelihoods."""
    moments = linear_decoder.training_moments(photos)
    cell = SimpleNamespace(**run_cells("03", ("class Factorised", "Sigma = S - W @ W.T"), moments=moments, codes=16))
    unit, W = torch.eye(len(cell.S), dtype=cell.S.dtype), cell.W
    A = W.T @ torch.linalg.inv(W @ W.T + cell.sigma2 * unit)  # p(z|x) = N(A (x - m), I - A W)
    cut = unit - W @ A
    defined = cut @ cell.S @ cut.T + W @ (torch.eye(16, dtype=W.dtype) - A @ W) @ W.T
    torch.testing.assert_close(cell.Sigma, defined, rtol=0, atol=1e-9)
    v, decoder = dequantise(photos.test.images[:20]), linear_decoder.fit(moments, 16)
    for noise, theirs in ((cell.sigma2 * unit, decoder), (cell.Sigma, linear_decoder.correlated(decoder))):
        log_p = lesson.Correlated(moments.mean, W @ W.T + noise).log_prob(v.flatten(1).double())
        torch.testing.assert_close(log_p, theirs.log_prob(v), rtol=0, atol=1e-4)


def test_gain_of_a_covariance_is_a_divergence(v, lesson):
    x = v.flatten(1).double()
    c = lesson.second_moments(x)
    zero, identity = torch.zeros(D, dtype=torch.float64), torch.eye(D, dtype=torch.float64)
    p, unit = (torch.distributions.MultivariateNormal(zero, matrix) for matrix in (c, identity))
    expected = float(torch.distributions.kl_divergence(p, unit))
    assert float(sum(lesson.cost(c))) == pytest.approx(expected, rel=1e-9)
    assert lesson.gain(c, x) == pytest.approx(expected, rel=1e-9)
    assert lesson.gain(c, x[:5]) == pytest.approx(float((p.log_prob(x[:5]) - unit.log_prob(x[:5])).mean()), rel=1e-9)
    white = lesson.Correlated(0, c).whiten(x)
    torch.testing.assert_close(white.T @ white / len(white), identity, rtol=0, atol=1e-9)


def test_draws_of_both_gaussians_have_their_moments(v, lesson):
    x = v.flatten(1).double()
    mean, c = x.mean(0), torch.cov(x.T)
    for p, expected in (
        (lesson.Factorised(mean, c.diagonal().sqrt()), torch.diag(c.diagonal())),
        (lesson.Correlated(mean, c), c),
    ):
        draws = p.sample(40_000, generator())
        torch.testing.assert_close(draws.mean(0), mean, rtol=0, atol=0.02)
        assert (torch.cov(draws.T) - expected).norm() < 0.05 * expected.norm()


def test_gain_has_a_part_for_scales_and_one_for_correlations(lesson):
    scales, correlations = lesson.cost(torch.diag(torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)))
    assert float(correlations) == pytest.approx(0, abs=1e-12) and scales > 0.1
    rho = 0.8
    scales, correlations = lesson.cost(torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64))
    assert float(scales) == pytest.approx(0, abs=1e-12)
    assert float(correlations) == pytest.approx(-0.5 * math.log(1 - rho**2))


def test_nats_of_a_reconstruction_are_those_of_the_model(photos):
    model, images = models.untrained_model("table1/vae-f", photos).model, photos.test.images[:5]
    of = residuals.reconstruct(model, images, seed=3)
    with torch.no_grad():
        expected = model.nats(images, generator=generator(3))
    torch.testing.assert_close(of.nats, expected, rtol=1e-5, atol=1e-3)
    assert not torch.equal(of.residual, of.image_residual)
    torch.testing.assert_close(of.standardised, of.residual / of.log_sigma.exp())
    drawn = replace(of, y=of.draw(generator()))
    torch.testing.assert_close(drawn.standardised, torch.randn(of.y.shape, generator=generator()), rtol=0, atol=1e-4)
    decoder = linear_decoder.fit(linear_decoder.training_moments(photos), 8)
    of = residuals.reconstruct(decoder, images)
    expected = 768 * LN_LEVELS - decoder.log_prob(dequantise(images, generator=generator(0)))
    torch.testing.assert_close(of.nats.double(), expected, rtol=1e-4, atol=0.1)


# --- the lesson ----------------------------------------------------------------------------------------------


def test_models_of_a_lesson(photos, tmp_path, monkeypatch):
    """Without a trained one, the command that trains it, or why a row does not take a change."""
    monkeypatch.setattr("cqlib.suite.experiments.load.PUBLISHED", tmp_path)
    chosen = Selection(["table1/vae", "table1/cq-f"], "smoke", changes={"system.flow.width": 6}, runs_dir=tmp_path)
    assert not models.trained_models(chosen, photos) and models.load_images(chosen).size == 16
    why = dict(cells(models.model_table(chosen, {})))
    assert "unknown setting of table1/vae" in why["VAE"] and "--set system.flow.width=6" in why["CQ-F"]


def test_noise_is_white_without_f_and_not_with_it(photos):
    with_f, without = (models.untrained_model(row, photos).model for row in ("table1/cq-f", "table1/vae"))
    for coupling in with_f.flow.couplings:
        coupling.net = Functions(lambda x: 0.5 * x + 0.3 * x.roll(1, dims=2), torch.zeros_like)
    images = photos.test.images[:1].expand(300, -1, -1, -1)
    a, b = (residuals.model_noise(m, residuals.reconstruct(m, images)) for m in (with_f, without))
    assert abs(residuals.neighbour_correlation(b)) < 0.02 < 0.05 < abs(residuals.neighbour_correlation(a))


def test_too_few_images_for_a_covariance_are_an_error():
    images = torch.zeros(100, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(UserError, match="769 training images"):
        linear_decoder.training_moments(dataset(images, images))
