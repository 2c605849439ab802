"""toy2d: the densities are what they say, before and after rounding to 8 bits."""

import math

import pytest
import torch

from cqlib import data
from cqlib.data import toy2d
from cqlib.pixels import to_uint8

ALL = sorted(toy2d.DENSITIES)


def midpoints(low: float, high: float, n: int) -> torch.Tensor:
    return low + (torch.arange(n, dtype=torch.float64) + 0.5) * (high - low) / n


@pytest.mark.parametrize("name", ALL)
def test_the_density_integrates_to_one(name):
    axis = midpoints(-1.5, 1.5, 384)  # the checkerboard's borders lie between midpoints
    total = toy2d.density(name).log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (3 / 384) ** 2
    assert abs(total - 1) < 1e-4


@pytest.mark.parametrize("name", ALL)
def test_cell_probabilities_sum_to_one_and_are_the_integrals(name):
    density = toy2d.density(name)
    cells = density.log_cell_prob()
    assert cells.shape == (256, 256) and cells.dtype == torch.float64 and not cells.isnan().any()
    assert abs(cells.exp().sum() - 1) < 1e-9
    # an independent rule, on cells with probability (and not at the border, where the outside is counted)
    points = to_uint8(density.sample(40, torch.Generator().manual_seed(1)))
    for i, j in points.tolist():
        x, y = (midpoints(v / 128 - 1, (v + 1) / 128 - 1, 64) for v in (i, j))
        integral = density.log_prob(torch.cartesian_prod(x, y)).exp().mean() / 128**2
        assert cells[i, j].exp() == pytest.approx(integral.item(), rel=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_samples_follow_the_cell_probabilities(name):
    density = toy2d.density(name)
    n = 40_000
    points = to_uint8(density.sample(n, torch.Generator().manual_seed(2))).long()
    blocks = torch.zeros(16, 16)
    blocks.index_put_((points[:, 0] // 16, points[:, 1] // 16), torch.ones(n), accumulate=True)
    expected = n * density.log_cell_prob().exp().view(16, 16, 16, 16).sum((1, 3))
    used = expected > 5
    assert blocks[expected < 1e-6].sum() == 0
    chi2 = ((blocks - expected)[used] ** 2 / expected[used]).sum()
    degrees = int(used.sum()) - 1
    assert chi2 < degrees + 5 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("name", ALL)
def test_entropy_is_the_mean_code_length_of_samples(name):
    density = toy2d.density(name)
    points = to_uint8(density.sample(20_000, torch.Generator().manual_seed(3))).long()
    bits = -density.log_cell_prob()[points[:, 0], points[:, 1]] / (2 * math.log(2))
    error = bits.std() / math.sqrt(len(bits))
    assert abs(bits.mean() - toy2d.entropy(density)) < 5 * error + 1e-12


def test_entropies_with_a_closed_form():
    assert toy2d.entropy(toy2d.density("checkerboard")) == pytest.approx(math.log2(8 * 48 * 48) / 2)
    # eight Gaussians far apart: ln 8 + ln(2 pi e sigma^2) + 2 ln 128 nats, up to the coarseness of the cells
    nats = math.log(8) + math.log(2 * math.pi * math.e * 0.05**2) + 2 * math.log(128)
    assert toy2d.entropy(toy2d.density("eight-gaussians")) == pytest.approx(nats / 2 / math.log(2), abs=2e-3)


def test_the_mixture_s_tails_are_exact():
    cells = toy2d.GaussianMixture(torch.tensor([[0.0, 0.0]]), 0.05).log_cell_prob()
    assert cells.isfinite().all() and torch.allclose(cells, cells.flip(0, 1), rtol=1e-9)
    # mass beyond z is about phi(z) / z (1 - 1/z^2): z = (127/128) / 0.05 for the outermost row
    z = 127 / 128 / 0.05
    tail = -z * z / 2 - 0.5 * math.log(2 * math.pi) - math.log(z) + math.log1p(-1 / z**2 + 3 / z**4)
    assert torch.logsumexp(cells[255], 0).item() == pytest.approx(tail, abs=1e-4)


@pytest.mark.parametrize("name", [name for name in data.SOURCES if name.startswith("toy2d")])
def test_as_a_data_set(name):
    chosen = data.load(name)
    assert chosen.train.shape == (20_000, 2, 1, 1) and chosen.test.shape == (2_000, 2, 1, 1)
    assert chosen.size == 1 and chosen.name == name.replace(":eight-gaussians", "")
    assert chosen.train.fingerprint == data.load(name).train.fingerprint != chosen.test.fingerprint
    assert len(chosen.train.labels.unique()) == len(chosen.classes)


def test_labels_are_the_nearest_modes():
    chosen = data.load("toy2d")
    assert data.load("toy2d:eight-gaussians").train.fingerprint == chosen.train.fingerprint
    centres = torch.stack(
        [chosen.train.images[chosen.train.labels == k].double().mean(0).flatten() / 128 - 1 for k in range(8)]
    )
    assert torch.allclose(centres, toy2d.density().modes, atol=0.01)
