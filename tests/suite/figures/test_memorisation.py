"""The notebook on samples: neighbours against brute force, the copier against its equations, copies are caught."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from IPython.display import HTML
from markupsafe import escape
from notebook_cells import by_name, smoke_model
from scipy import stats

from cqlib import data as data_sets
from cqlib.models.base import System
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.figures import memorisation, neighbours


def noise(n, *shape, seed=0):
    return torch.randint(256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# --- kernels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [7, 1000])
def test_nearest_is_what_comparing_all_pairs_gives(monkeypatch, chunk):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    a, b = noise(9, 3, 4, 4), noise(40, 3, 4, 4, seed=1)
    a[3] = b[25]
    found = neighbours.nearest(a, b)
    pairs = (a[:, None].double() - b[None].double()).square().mean((2, 3, 4)).sqrt()
    best, order = pairs.sort(1)
    assert torch.allclose(found.distances, best[:, :3]) and torch.equal(found.index, order[:, :3])
    assert found.nearest[3] == 0 and found.index[3, 0] == 25
    assert torch.allclose(found.ratio, best[:, 0] / best[:, 1])


def test_copies_are_training_images_under_noise():
    train = noise(20, 3, 16, 16) // 2 + 64  # far from black and white
    made = memorisation.copier_samples(train, 50, sigma=8.0, generator=torch.Generator().manual_seed(0))
    assert made.dtype == torch.uint8 and made.shape == (50, 3, 16, 16)
    found = neighbours.nearest(made, train)
    assert found.nearest.mean().item() == pytest.approx(math.sqrt(64 + 1 / 12), rel=0.01)
    assert len(found.index[:, 0].unique()) > 15


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


# --- the study -------------------------------------------------------------------------------------------------


class Copying(System):
    """Returns the images that it was given, one after the other: it has no likelihood."""

    def __init__(self, images):
        super().__init__()
        self.images = images
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def sample(self, n, *, temperature=1.0, generator=None):
        start = int(torch.randint(len(self.images) - n, (1,), generator=generator))
        return (self.images[start : start + n] + 0.5) / 128 - 1


def subject(system: System | None = None, data: str = "photos10") -> ModelAndData:
    e = replace(experiment("table1/cq-f", "smoke"), data=data)
    model = ModelAndData(e, system or smoke_model("table1/cq-f"), "local")
    model.__dict__["data"] = data_sets.load("photos10", size=16).first(300, 64)
    return model


@pytest.fixture(scope="module")
def copying():
    """A model that copies training images, and their nearest training images."""
    model = subject(Copying(subject().data.train.images))
    return model, neighbours.compare(model)


def test_a_model_that_copies_is_caught(copying):
    _, found = copying
    table = by_name(neighbours.suspects(found))
    _, median, share, _, ratio_share = table["samples"]
    assert float(median) == 0 and share.startswith("100.0 %") and ratio_share.startswith("100.0 %")
    assert float(table["copies under noise"][-1].split()[0]) > 50
    n, _, share, _, _ = table["held-out images"]
    low, high = stats.beta.ppf(0.025, 1, 64), stats.beta.ppf(0.975, 2, 63)  # Clopper and Pearson, 1 of 64
    assert (n, share) == ("64", f"1.6 % [{100 * low:.1f}, {100 * high:.1f}]")


@pytest.mark.parametrize("data, allowed", [("photos10", True), ("celeba", False)])
def test_training_images_are_shown_of_what_comes_with_pip_alone(copying, monkeypatch, data, allowed):
    model, found = copying
    model, shown = subject(model.model, data), []
    monkeypatch.setattr(neighbours, "strips", lambda rows, **_: shown.extend(torch.cat([*rows.values()])))
    monkeypatch.setattr(neighbours, "picture", lambda figure, alt: HTML(escape(alt)))
    found = found | {"samples": found["test"]}
    page = neighbours.board(model, found).data
    assert ("<p>Training images of" in page) != allowed
    distances = neighbours.nearest(torch.stack(shown), model.data.train.images).nearest
    assert bool((distances == 0).any()) == allowed


def test_gaps_are_of_equally_many_images_and_a_gan_has_none(tmp_path):
    model = subject()
    bits = memorisation.held_out_bits(model, runs_dir=tmp_path, n=50)
    assert list(bits) == ["CQ-F", "Copier", "PNG file"]
    train, test = bits["CQ-F"]
    training, held_out, gap = by_name(memorisation.gaps(bits))["CQ-F"]
    error = math.sqrt(float(train.var() / 50 + test.var() / 50))
    assert (training, held_out) == (f"{train.mean():.2f}", f"{test.mean():.2f}")
    assert gap == f"{test.mean() - train.mean():+.3f} ± {error:.3f}".replace("-", "−")
    assert float((bits["Copier"][1] - bits["Copier"][0]).mean()) > 1  # it knows its training images by heart
    wide = memorisation.held_out_bits(model, runs_dir=tmp_path, n=50, sigma=32)
    assert wide["Copier"][0].mean() > bits["Copier"][0].mean() + 1.9  # log2(32 / 8)
    own = math.log2(8 * math.sqrt(2 * math.pi)) + 1 / (24 * 64 * math.log(2)) + math.log2(300) / 768
    assert float(bits["Copier"][0].mean()) == pytest.approx(own, rel=0.05)
    assert "CQ-F" not in memorisation.held_out_bits(subject(Copying(model.data.train.images)), runs_dir=tmp_path, n=5)
