"""The densities of the plane are what they say."""

import math

import pytest
import torch

from cqlib.pixels import to_uint8
from cqlib.suite.lessons import toy2d
from cqlib.util.errors import UsageError

ALL = sorted(toy2d.DENSITIES)


def midpoints(low: float, high: float, n: int) -> torch.Tensor:
    return low + (torch.arange(n, dtype=torch.float64) + 0.5) * (high - low) / n


@pytest.mark.parametrize("name", ALL)
def test_the_density_integrates_to_one(name):
    axis = midpoints(-1.5, 1.5, 384)  # the checkerboard's borders lie between midpoints
    total = toy2d.density(name).log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (3 / 384) ** 2
    assert abs(total - 1) < 1e-4


@pytest.mark.parametrize("name", ALL)
def test_samples_follow_the_density(name):
    density, n, fine = toy2d.density(name), 40_000, 24
    points = to_uint8(density.sample(n, torch.Generator().manual_seed(2))).long()
    blocks = torch.zeros(16, 16)
    blocks.index_put_((points[:, 0] // 16, points[:, 1] // 16), torch.ones(n), accumulate=True)
    axis = midpoints(-1, 1, 16 * fine)
    mass = density.log_prob(torch.cartesian_prod(axis, axis)).exp() * (2 / len(axis)) ** 2
    expected = n * mass.view(16, fine, 16, fine).sum((1, 3))
    used = expected > 5
    assert blocks[expected < 1e-6].sum() == 0
    chi2 = ((blocks - expected)[used] ** 2 / expected[used]).sum()
    degrees = int(used.sum()) - 1
    assert chi2 < degrees + 5 * math.sqrt(2 * degrees)


def test_a_mixture_is_the_mean_of_its_gaussians():
    centres, points = torch.tensor([[0.0, 0.0], [0.5, 0.25]]), torch.tensor([[0.1, -0.2], [0.9, 0.9]])
    one = torch.distributions.MultivariateNormal(centres[:, None], 0.05**2 * torch.eye(2)).log_prob(points)
    wanted = torch.logsumexp(one, 0) - math.log(2)
    assert torch.allclose(toy2d.GaussianMixture(centres, 0.05).log_prob(points).float(), wanted, rtol=1e-4)


def test_an_unknown_density_is_told_the_nearest_one():
    with pytest.raises(UsageError, match="unknown density 'spirl': did you mean 'spiral'"):
        toy2d.density("spirl")
