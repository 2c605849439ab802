"""The discretised logistic is a distribution over 256 values, and the histogram baseline one over images."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import logistic

from cqlib.metrics.bpd import histogram_nll
from cqlib.nets.distributions import MIN_LOG_SCALE, discretised_logistic


def double(value):
    return torch.tensor(value, dtype=torch.float64)


LEVELS = torch.arange(256.0, dtype=torch.float64)


@given(st.floats(-3, 3), st.floats(-9, 4))
def test_sums_to_one_at_any_parameters(mean, log_scale):
    log_p = discretised_logistic(LEVELS, double(mean), double(log_scale))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    single = discretised_logistic(LEVELS.float(), torch.tensor(mean), torch.tensor(log_scale))
    assert torch.isfinite(single).all() and single.exp().sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("mean, scale", [(0.1, 0.3), (-0.97, 0.02), (0.4, 2.0)])
def test_equals_differences_of_the_distribution_function(mean, scale):
    edges = torch.arange(257) / 128 - 1
    cdf = torch.from_numpy(logistic.cdf(edges.double().numpy(), loc=mean, scale=scale))
    cdf[0], cdf[-1] = 0, 1
    log_p = discretised_logistic(LEVELS, double(mean), double(math.log(scale)))
    torch.testing.assert_close(log_p.exp(), cdf.diff(), rtol=0, atol=1e-12)


def test_is_exact_far_from_the_mean_where_a_difference_of_sigmoids_is_zero():
    mean, log_scale = double(-0.5), double(-6.0)
    log_p = discretised_logistic(LEVELS, mean, log_scale)
    # deep in the tail the density falls by exp(-1 / (128 s)) from one value to the next
    torch.testing.assert_close(log_p[201] - log_p[200], -(-log_scale).exp() / 128, rtol=1e-9, atol=0)
    x = torch.tensor(200.0)
    m = torch.tensor(-0.5, requires_grad=True)
    discretised_logistic(x, m, torch.tensor(MIN_LOG_SCALE - 1)).backward()
    assert torch.isfinite(m.grad) and m.grad > 0


def test_histogram_is_a_distribution_fitted_to_each_pixel():
    train = torch.tensor([[[[0, 9]]], [[[0, 8]]], [[[1, 9]]]], dtype=torch.uint8)
    first, second = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    every = torch.stack([first.flatten(), second.flatten()], 1).to(torch.uint8).view(-1, 1, 1, 2)
    p = (-histogram_nll(train, every)).exp().view(256, 256)
    assert p.sum().item() == pytest.approx(1, abs=1e-9)
    assert p[0, 9].item() == pytest.approx(3 / 259 * 3 / 259) and p[5, 8].item() == pytest.approx(1 / 259 * 2 / 259)
    assert histogram_nll(train[:1], train[:1]).item() == pytest.approx(-2 * math.log(2 / 257))
