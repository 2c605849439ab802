"""Lesson 05: the checks of the equations detect errors, linear flows give exact Gaussians, frequencies are right."""

import math
from dataclasses import replace

import pytest
import torch
from functions import Functions
from lesson_cells import run_cell
from notebook_cells import cells, value
from small_models import shaken
from torch import nn
from torch.distributions import Normal

from cqlib import data as data_sets
from cqlib.experiments.selection import Selection
from cqlib.lessons import models, nvp_decoder
from cqlib.lessons.coupling_layers import jacobian
from cqlib.lessons.factorised_decoders import residuals


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


# --- one code ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conditional():
    return run_cell("05", "class Conditional")["Conditional"]


def test_a_linear_flow_gives_exactly_the_gaussian_of_first_order(conditional, linear, images):
    n = 1000
    of = residuals.reconstruct(linear, images.test.images[:2])
    c = conditional(linear, of, 1, n=n)
    torch.testing.assert_close(c.log_p, c.linear_log_p, rtol=0, atol=2e-2)
    error = (c.covariance - c.linear_covariance).norm() / c.linear_covariance.norm()
    trace, size = c.linear_covariance.trace(), c.linear_covariance.norm()
    assert error < 1.2 * math.sqrt((trace**2 / size**2 + 1) / n)  # the sampling error of n draws
    place = torch.arange(c.x[0].numel()).view(c.x.shape[1:])
    deviations = c.linear_covariance.diagonal().sqrt()
    correlation = c.linear_covariance / torch.outer(deviations, deviations)
    expected = float(correlation[place[:, :, :-1].flatten(), place[:, :, 1:].flatten()].mean())
    assert abs(expected) > 0.05 and residuals.offset_correlation(c.x, 0, 1) == pytest.approx(expected, abs=0.01)
    normal = torch.distributions.MultivariateNormal(c.centre.flatten().double(), c.linear_covariance)
    torch.testing.assert_close(normal.log_prob(c.x[:5].flatten(1).double()), c.linear_log_p[:5], rtol=0, atol=1e-4)


def test_a_curved_flow_is_less_gaussian_under_wider_noise(conditional, model, images):
    of = residuals.reconstruct(model, images.test.images[:1])
    wide = replace(of, log_sigma=of.log_sigma + math.log(4))
    narrow, wider = (conditional(model, which, 0, n=250) for which in (of, wide))
    gaps = [float((c.log_p - c.linear_log_p).mean()) for c in (narrow, wider)]
    assert 0 < gaps[0] < gaps[1] and gaps[1] > 0.5
    # the density of the draws is Eq. (8)
    y, log_det = model.features(narrow.x[:4])
    p_y = Normal(of.mean.double(), of.log_sigma.exp().double())
    expected = p_y.log_prob(y.double()).flatten(1).sum(1) + log_det.double()
    torch.testing.assert_close(narrow.log_p[:4], expected.detach(), rtol=1e-4, atol=0.05)


def test_images_by_contrast(model, images):
    of = residuals.reconstruct(model, images.test.images)
    indices = nvp_decoder.images_by_contrast(of)
    spread = [float(of.x[i].std((1, 2)).mean()) for i in indices]
    assert len(set(indices)) == 3 and spread == sorted(spread)


# --- sensitivity ---------------------------------------------------------------------------------------------


def test_singular_values_multiply_to_the_determinant_and_stretch_their_directions(model, images):
    of = residuals.reconstruct(model, images.test.images[:1])
    shown = run_cell("05", "U diag(s)", model=model, reconstruction=of, indices=[0])
    matrix, values, flat = shown["matrices"][0], shown["stretch"][0], shown["directions"][0].flatten(1)
    (line,) = cells(run_cell("05", "and its determinant", **shown)["_"])
    assert line[3:5] == [f"{float(values.log().sum()):.3f}".replace("-", "−")] * 2 and abs(value(line[4])) > 1
    torch.testing.assert_close(flat @ flat.T, torch.eye(768, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close((matrix @ flat.T).norm(dim=0), values, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(matrix.float(), jacobian(lambda v: model.flow(v)[0], of.x[0]))


def test_waves_are_a_basis_with_their_frequencies():
    basis, frequency = nvp_decoder.waves(3, 8)
    flat = basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(192, dtype=torch.float64), rtol=0, atol=1e-12)
    constant = (basis[:64, 0].flatten(1).std(1) < 1e-9).nonzero()
    assert constant.tolist() == [[0]] and frequency[0] == 0
    # cos(pi (x + 1/2) k / 8) has k half periods over the side
    across = basis[1, 0, 0] / basis[1, 0, 0, 0]
    expected = torch.cos(math.pi * (torch.arange(8, dtype=torch.float64) + 0.5) / 8)
    torch.testing.assert_close(across, expected / expected[0])
    assert frequency[1] == frequency[8] == 0.5 and frequency[63] == pytest.approx(7 * math.sqrt(2) / 2)


def test_bands_hold_root_mean_squares():
    frequency = torch.tensor([0.0, 0.5, 1.0, 1.9, 2.0], dtype=torch.float64)
    energy = torch.tensor([1.0, 7.0, 9.0, 9.0, 5.0], dtype=torch.float64)
    assert nvp_decoder.band_means(energy, frequency) == pytest.approx([2.0, 3.0])
