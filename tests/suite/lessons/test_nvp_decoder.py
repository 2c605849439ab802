"""Lesson 05: its equations are the package's, and linear flows give exactly the Gaussians of first order."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from functions import Functions
from lesson_cells import run_cells
from small_models import shaken
from torch import nn

from cqlib import data as data_sets
from cqlib import losses
from cqlib.pixels import LN_LEVELS, dequantise
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.lessons import models, nvp_decoder, residuals


@pytest.fixture(scope="module")
def images():
    return data_sets.load("photos10", size=16).first(100, 100)


def small_model(images):
    """CQ-F of the smoke profile with a flow that is no longer near the identity."""
    model = models.untrained_model("table1/cq-f", images).model
    shaken(model.flow, 0.15, seed=0)
    return model


@pytest.fixture(scope="module")
def model(images):
    return small_model(images)


class Blur(nn.Module):
    """A linear filter of packed pixels."""

    def forward(self, x):
        return 0.3 * x + 0.2 * x.roll(1, dims=2) - 0.1 * x.roll(1, dims=1)


@pytest.fixture(scope="module")
def linear(images):
    """The model with an f that is linear: t(x1) = a fixed filter of x1, s constant."""
    model = small_model(images)
    for coupling in model.flow.couplings:
        coupling.net = Functions(Blur(), lambda x: torch.full_like(x, -0.4))
    return model


# --- the equations -------------------------------------------------------------------------------------------


def test_without_a_trained_model_the_lesson_is_about_an_untrained_one(images, tmp_path):
    other = replace(images, name="npz:cats.npz")
    chosen = Selection(nvp_decoder.ROWS, "smoke", [other.name], runs_dir=tmp_path)
    (m,) = nvp_decoder.models_with_f(chosen, other).values()
    assert m.origin == "untrained" and m.model.shape == (3, 16, 16)
    again = models.untrained_model("table1/cq-f", other).model
    assert all(torch.equal(p, q) for p, q in zip(m.model.parameters(), again.parameters(), strict=True))


@pytest.fixture(scope="module")
def lesson():
    return SimpleNamespace(**run_cells("05", ("class Decoder", "def elbo(", "def jacobian(", "def draws(")))


def test_the_equations_in_the_cells_are_the_package_s(lesson, model, images):
    decoder = lesson.Decoder(model.decoder, model.flow, model.config.sigma_floor)
    vae = models.untrained_model("table1/vae", images).model
    with torch.no_grad():
        x = dequantise(images.test.images[:4], generator=torch.Generator().manual_seed(0))
        z, kl = lesson.encode(model.encoder, x, torch.Generator().manual_seed(1))
        q = model.infer(x, torch.Generator().manual_seed(1))  # draws the same z
        torch.testing.assert_close(z, q.z)
        torch.testing.assert_close(kl, q.kl["z"], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(decoder.log_prob(x, z), model.log_density(x, z), rtol=1e-5, atol=1e-2)
        torch.testing.assert_close(lesson.Decoder(vae.decoder).log_prob(x, z), vae.log_density(x, z))
        bound = losses.coverage_loss(model.log_probability(x, q.z), q.kl["z"])
        elbo = lesson.elbo(model.encoder, decoder, x, torch.Generator().manual_seed(1))
        assert float(768 * LN_LEVELS - elbo.mean()) == pytest.approx(float(bound), abs=1e-2)
        y, drawn = decoder.draw(z, torch.Generator().manual_seed(2))
        torch.testing.assert_close(model.flow(drawn)[0], y, rtol=0, atol=1e-4)


# --- one code ------------------------------------------------------------------------------------------------


def test_a_linear_flow_gives_exactly_the_gaussian_of_first_order(lesson, linear, images):
    n = 1000
    one = residuals.reconstruct(linear, images.test.images[:2]).select(1)
    (x, log_p), gaussian = lesson.draws(linear, one, n), lesson.first_order(linear, one)
    flat, expected = x.flatten(1).double(), gaussian.covariance_matrix
    torch.testing.assert_close(log_p.double(), gaussian.log_prob(flat), rtol=0, atol=2e-2)
    error = (torch.cov(flat.T) - expected).norm() / expected.norm()
    trace, size = expected.trace(), expected.norm()
    assert error < 1.2 * math.sqrt((trace**2 / size**2 + 1) / n)  # the sampling error of n draws
    place = torch.arange(x[0].numel()).view(x.shape[1:])
    deviations = expected.diagonal().sqrt()
    correlation = expected / torch.outer(deviations, deviations)
    wanted = float(correlation[place[:, :, :-1].flatten(), place[:, :, 1:].flatten()].mean())
    assert abs(wanted) > 0.05 and residuals.offset_correlation(x, 0, 1) == pytest.approx(wanted, abs=0.01)


def test_a_curved_flow_is_less_gaussian_under_wider_noise(lesson, model, images):
    one = residuals.reconstruct(model, images.test.images[:1])
    wide, gaps = replace(one, log_sigma=one.log_sigma + math.log(4)), []
    for which in (one, wide):
        x, log_p = lesson.draws(model, which, 250)
        gaussian = lesson.first_order(model, which)
        gaps.append(float((log_p.double() - gaussian.log_prob(x.flatten(1).double())).mean()))
    assert 0 < gaps[0] < gaps[1] and gaps[1] > 0.5


def test_singular_values_multiply_to_the_determinant(lesson, model, images):
    x = residuals.reconstruct(model, images.test.images[:1]).x.double()
    f = copy.deepcopy(model.flow).double()
    values = torch.linalg.svdvals(lesson.jacobian(f, x))
    with torch.no_grad():
        assert float(values.log().sum()) == pytest.approx(float(f(x)[1]), abs=1e-6) and abs(f(x)[1]) > 1


def test_images_by_contrast(model, images):
    of = residuals.reconstruct(model, images.test.images)
    indices = nvp_decoder.images_by_contrast(of)
    spread = [float(of.x[i].std((1, 2)).mean()) for i in indices]
    assert len(set(indices)) == 3 and spread == sorted(spread)
