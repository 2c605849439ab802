"""Nearest neighbours against brute force, the copier against its equations, errors of gaps against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from cqlib.figures.samples import memorisation


def noise(n, *shape, seed=0):
    return torch.randint(256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [7, 1000])
def test_nearest_is_what_comparing_all_pairs_gives(monkeypatch, chunk):
    monkeypatch.setattr(memorisation, "CHUNK", chunk)
    a, b = noise(9, 3, 4, 4), noise(40, 3, 4, 4, seed=1)
    a[3] = b[25]
    distances, index = memorisation.nearest(a, b, 3)
    pairs = (a[:, None].double() - b[None].double()).square().mean((2, 3, 4)).sqrt()
    best, order = pairs.sort(1)
    assert torch.allclose(distances, best[:, :3]) and torch.equal(index, order[:, :3])
    assert distances[3, 0] == 0 and index[3, 0] == 25


def test_nearest_of_features_is_in_their_units():
    a = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    distances, index = memorisation.nearest(a, torch.tensor([[3.0, 4.0], [0.0, 0.5]]))
    assert index.flatten().tolist() == [1, 0]
    assert distances.flatten().tolist() == pytest.approx([0.5 / math.sqrt(2), 0.0])


def test_copies_are_training_images_under_noise():
    train = noise(20, 3, 16, 16) // 2 + 64  # far from black and white
    made = memorisation.copier_samples(train, 50, sigma=8.0, generator=torch.Generator().manual_seed(0))
    assert made.dtype == torch.uint8 and made.shape == (50, 3, 16, 16)
    distances, index = memorisation.nearest(made, train)
    assert distances.mean().item() == pytest.approx(math.sqrt(64 + 1 / 12), rel=0.01)
    assert len(index.unique()) > 15


@pytest.mark.parametrize("chunk", [3, 1000])
def test_the_copiers_density_is_the_mixture_of_its_kernels(monkeypatch, chunk):
    monkeypatch.setattr(memorisation, "CHUNK", chunk)
    train, images = noise(10, 1, 2, 2), noise(6, 1, 2, 2, seed=1)
    images[0] = train[4]
    nats = memorisation.copier_nats(train, images, sigma=20.0, generator=torch.Generator().manual_seed(3))
    u = torch.rand(6, 4, generator=torch.Generator().manual_seed(3)) - 0.5
    kernels = torch.distributions.Independent(torch.distributions.Normal(train.flatten(1).double(), 20.0), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(10)), kernels)
    assert torch.allclose(nats, -mixture.log_prob(images.flatten(1).double() + u), atol=1e-3)


def test_the_copiers_probabilities_of_all_images_sum_to_one():
    """E_u p(x + u) is the mass in the cell of x; one pixel has 256 cells."""
    train = torch.tensor([100, 130, 131], dtype=torch.uint8).view(3, 1, 1, 1)
    every = torch.arange(256, dtype=torch.uint8).repeat(100).view(-1, 1, 1, 1)
    nats = memorisation.copier_nats(train, every, sigma=8.0, generator=torch.Generator().manual_seed(0))
    assert (-nats).exp().view(100, 256).sum(1).mean().item() == pytest.approx(1, abs=0.002)


def test_the_probability_of_lying_nearer_counts_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 30), rng.integers(2, 12, 40)
    difference = b[None] - a[:, None]
    expected = np.mean((difference > 0) + 0.5 * (difference == 0))
    nearer = memorisation.probability_nearer
    assert nearer(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected)
    assert nearer(torch.zeros(3), torch.ones(5)) == 1 and nearer(torch.ones(3), torch.ones(5)) == 0.5


def test_errors_of_a_gap():
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(n, dtype=torch.float64, generator=generator) for n in (60, 30))
    labels = torch.arange(60) % 6, torch.arange(30) % 6
    error, class_error = memorisation.gap_errors(train, test + 2, *labels)
    assert error == pytest.approx(math.sqrt(float(train.var() / 60 + test.var() / 30)))
    by_class = [float(test[labels[1] == k].mean() - train[labels[0] == k].mean()) for k in range(6)]
    assert class_error == pytest.approx(np.std(by_class, ddof=1) / 6**0.5)
    assert memorisation.gap_errors(train, test, labels[0] % 4, labels[1] % 4)[1] is None


def test_at_equal_is_the_analysis_of_covariance():
    """Its gap is the coefficient of the split in a regression on split and difficulty."""
    rng = np.random.default_rng(0)
    hard = np.concatenate((rng.normal(5, 1, 80), rng.normal(4, 1, 50)))  # held-out images are easier
    split = np.concatenate((np.zeros(80), np.ones(50)))
    y = 0.7 * hard + 0.3 * split + rng.normal(0, 0.1, 130)
    columns = np.stack((np.ones(130), hard, split), 1)
    expected = np.linalg.lstsq(columns, y, rcond=None)[0][2]
    values = [torch.tensor(v) for v in (y[:80], y[80:], hard[:80], hard[80:])]
    train, test = memorisation.at_equal_difficulty(*values)
    assert float(test.mean() - train.mean()) == pytest.approx(expected, abs=1e-12)
    assert abs(expected - 0.3) < 0.1 < abs(float(values[1].mean() - values[0].mean()) - 0.3)


def test_png_bits_are_those_of_the_file(tmp_path):
    images = torch.stack((noise(1, 3, 8, 8)[0], torch.full((3, 8, 8), 7, dtype=torch.uint8)))
    bits = memorisation.png_bits(images)
    file = tmp_path / "image.png"
    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(file, optimize=True)
    assert bits[0].item() == file.stat().st_size * 8 / 192 and bits[1] < bits[0]
