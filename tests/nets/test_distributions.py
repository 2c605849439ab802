"""The discretised logistic is a distribution over 256 values, and the mixture of them one over pixels, channel by
channel, that is sampled as it says."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import logistic

from cqlib.nets.distributions import MIN_LOG_SCALE, LogisticMixture, discretised_logistic, outputs_per_component
from cqlib.pixels import cell_centres, to_uint8

LEVELS = torch.arange(256, dtype=torch.uint8)


def double(value):
    return torch.tensor(value, dtype=torch.float64)


@given(st.floats(-3, 3), st.floats(-9, 4))
def test_sums_to_one_at_any_parameters(mean, log_scale):
    log_p = discretised_logistic(LEVELS.double(), double(mean), double(log_scale))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    single = discretised_logistic(LEVELS.float(), torch.tensor(mean), torch.tensor(log_scale))
    assert torch.isfinite(single).all() and single.exp().sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("mean, scale", [(0.1, 0.3), (-0.97, 0.02), (0.4, 2.0)])
def test_equals_differences_of_the_distribution_function(mean, scale):
    edges = torch.arange(257) / 128 - 1
    cdf = torch.from_numpy(logistic.cdf(edges.double().numpy(), loc=mean, scale=scale))
    cdf[0], cdf[-1] = 0, 1
    log_p = discretised_logistic(LEVELS.double(), double(mean), double(math.log(scale)))
    torch.testing.assert_close(log_p.exp(), cdf.diff(), rtol=0, atol=1e-12)


def test_is_exact_far_from_the_mean_where_a_difference_of_sigmoids_is_zero():
    mean, log_scale = double(-0.5), double(-6.0)
    log_p = discretised_logistic(LEVELS.double(), mean, log_scale)
    # deep in the tail the density falls by exp(-1 / (128 s)) from one value to the next
    torch.testing.assert_close(log_p[201] - log_p[200], -(-log_scale).exp() / 128, rtol=1e-9, atol=0)
    x = torch.tensor(200.0)
    m = torch.tensor(-0.5, requires_grad=True)
    discretised_logistic(x, m, torch.tensor(MIN_LOG_SCALE - 1)).backward()
    assert torch.isfinite(m.grad) and m.grad > 0


def outputs(n, components, channels, *, spread=1.0, seed=0, shape=()):
    """Random numbers as a net gives them, fp64."""
    generator = torch.Generator().manual_seed(seed)
    numbers = components * outputs_per_component(channels)
    return spread * torch.randn(n, numbers, *shape, dtype=torch.float64, generator=generator)


def mixture(channels=3, components=4, **how):
    return LogisticMixture.of(outputs(1, components, channels, **how), channels)


def repeated(m, n):
    """The mixture of one pixel for n pixels."""
    return LogisticMixture(*(part.expand(n, *part.shape[1:]) for part in vars(m).values()))


VALUES = st.sampled_from([0, 1, 77, 254, 255])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.1, 8), st.tuples(VALUES, VALUES))
def test_every_conditional_sums_to_one(seed, spread, earlier):
    """P(r), P(g | r), P(b | r, g), each over 256 values, edges included, at any parameters."""
    m, before = repeated(mixture(seed=seed, spread=spread), 256), 0.0
    for c in range(3):
        known = torch.tensor(earlier[:c], dtype=torch.uint8).expand(256, c)
        joint = m.log_probability(torch.cat([known, LEVELS[:, None]], dim=1))
        assert joint.logsumexp(0).item() == pytest.approx(float(before), abs=1e-9)
        if c < 2:
            before = joint[earlier[c]]


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_a_direct_sum(channels):
    """Term by term in numpy, by differences of the distribution function."""
    k, n = 3, 7
    out = outputs(n, k, channels, spread=0.7, seed=1)
    x = torch.randint(0, 256, (n, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x[0], x[1] = 0, 255
    found = LogisticMixture.of(out, channels).log_probability(x)
    table = out.numpy().reshape(n, -1, k)
    for i in range(n):
        weights = np.exp(table[i, 0]) / np.exp(table[i, 0]).sum()
        p = 0.0
        for j in range(k):
            product = weights[j]
            for c in range(channels):
                mean = table[i, 1 + c, j]
                for d in range(c):
                    which = {(1, 0): 0, (2, 0): 1, (2, 1): 2}[c, d]
                    mean += np.tanh(table[i, 1 + 2 * channels + which, j]) * ((int(x[i, d]) + 0.5) / 128 - 1)
                scale, v = np.exp(table[i, 1 + channels + c, j]), int(x[i, c])

                def cdf(edge, mean=mean, scale=scale):
                    return 1 / (1 + np.exp(-(edge / 128 - 1 - mean) / scale))

                product *= (1.0 if v == 255 else cdf(v + 1)) - (0.0 if v == 0 else cdf(v))
            p += product
        assert found[i].item() == pytest.approx(np.log(p), abs=1e-9)


def test_pixels_are_independent_and_any_shape_goes():
    out = outputs(2, 3, 3, shape=(4, 5))
    x = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    whole = LogisticMixture.of(out, 3).log_probability(x)
    assert whole.shape == (2, 4, 5)
    for r, c in itertools.product(range(4), range(5)):
        one = LogisticMixture.of(out[:, :, r, c], 3).log_probability(x[:, :, r, c])
        torch.testing.assert_close(whole[:, r, c], one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels, components, grid", [(1, 3, 500), (2, 2, 100)])
def test_a_uniform_grid_is_sampled_into_the_probabilities(channels, components, grid):
    """All (u_0, u_1) or (u_0, u_1, u_2) of a fine grid give each pixel in the share that is its probability."""
    m = mixture(channels, components, spread=1.5, seed=7)
    points = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid
    u = torch.cartesian_prod(*[points] * (1 + channels)).t().unsqueeze(0)  # (1, 1 + C, grid^(1 + C))
    whole = LogisticMixture(*(part.unsqueeze(-1).expand(*part.shape, u.shape[2]) for part in vars(m).values()))
    values = to_uint8(whole.sample(u))[0].long()
    place = values[0] if channels == 1 else 256 * values[0] + values[1]
    share = torch.bincount(place, minlength=256**channels).double() / u.shape[2]
    pixels = torch.cartesian_prod(*[LEVELS] * channels).view(-1, channels)
    p = repeated(m, len(pixels)).log_probability(pixels).exp()
    torch.testing.assert_close(share, p, atol=3 / grid, rtol=0)
    share, p = (of.view([256] * channels) for of in (share, p))
    for c in range(channels):
        share, p = share.cumsum(c), p.cumsum(c)
    torch.testing.assert_close(share, p, atol=3 / grid, rtol=0)


def test_narrow_components_are_drawn_with_the_scale_of_their_likelihood():
    """It is e^-7 at least: a mean just above the edge of cell 128 is drawn as that cell as often as that has mass."""
    m = mixture(channels=1, components=1)
    m = LogisticMixture(m.log_weights, torch.full_like(m.means, 0.0005), torch.full_like(m.log_scales, -20.0),
                        m.coefficients)  # fmt: skip
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    share = (to_uint8(repeated(m, 1000).sample(torch.stack([torch.zeros_like(u), u], 1))) == 128).double().mean()
    expected = m.log_probability(torch.tensor([[128]], dtype=torch.uint8)).exp()
    assert 0.6 < expected < 0.7
    torch.testing.assert_close(share, expected.squeeze(), atol=2e-3, rtol=0)


def test_samples_follow_the_channels_before_and_are_centres_of_cells():
    """With a narrow scale a channel is its mean, rounded, and that mean holds the rounded channels before."""
    m = mixture(components=1, seed=5, spread=0.2)
    m = LogisticMixture(m.log_weights, m.means, torch.full_like(m.log_scales, -20.0), m.coefficients)
    x = m.sample(torch.full((1, 4), 0.5, dtype=torch.float64))
    torch.testing.assert_close(cell_centres(to_uint8(x)).double(), x, rtol=0, atol=0)
    for c in range(3):
        assert to_uint8(m.mean(c, x[:, :c])).item() == to_uint8(x[:, c]).item()
    wide = LogisticMixture(m.log_weights, m.means, torch.full_like(m.log_scales, 3.0), m.coefficients)
    extremes = torch.tensor([[0.0, 0.0, 0.0, 1 - 2**-24]], dtype=torch.float64)
    assert to_uint8(wide.sample(extremes)).tolist() == [[0, 0, 255]]
