"""What the notebook on samples says of a model that copies, and that training images stay out of pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bs4 import BeautifulSoup
from markupsafe import escape

from cqlib import data as data_sets
from cqlib.experiments import run
from cqlib.experiments.experiment import experiment
from cqlib.figures.samples import generalisation, held_out, neighbours
from cqlib.figures.samples import memorisation as copies
from cqlib.metrics import cache
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.metrics.features import lite0
from cqlib.models.base import System
from cqlib.models.registry import build
from cqlib.util.errors import UserError


class Handing(System):
    """Hands out the images that it was given, one after the other: it has no likelihood."""

    def __init__(self, images):
        super().__init__()
        self.images = images
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def sample(self, n, *, temperature=1.0, generator=None):
        start = int(torch.randint(len(self.images) - n, (1,), generator=generator))
        return (self.images[start : start + n] + 0.5) / 128 - 1


def subject(system=None, data="photos10") -> generalisation.Subject:
    images = data_sets.load("photos10", size=16).first(300, 64)
    torch.manual_seed(0)
    system = system or build(experiment("table1/cq-f", "smoke").recipe.system).eval()
    return generalisation.Subject("table1/cq-f", "smoke", data, 0, system, images)


@pytest.fixture(scope="module")
def copying():
    """A model that hands out training images, and what is found of it."""
    it = subject()
    it = replace(it, system=Handing(it.images.train.images))
    return it, neighbours.evidence(it, runs_dir="nowhere")


def cells(html):
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return {line[0]: line[1:] for line in ([c.get_text() for c in row.find_all(["th", "td"])] for row in rows)}


def test_a_model_that_copies_is_caught_in_both_spaces(copying):
    _, found = copying
    lines = cells(neighbours.suspects(found))
    for name in ("samples, T = 1, pixels", "samples, T = 1, features"):
        _, median, nearer, share, _, _, ratio_share = lines[name]
        assert float(median) == 0 and float(nearer) == 1
        assert share.startswith("100.0 %") and ratio_share.startswith("100.0 %")
    assert float(lines["held-out images, pixels"][2]) == 0.5


def test_mirrored_copies_are_found_in_features(copying):
    """Their sources are among the training images that features are taken of."""
    it, found = copying
    train = it.images.train.images
    near = found.features["mirror"]
    sources = copies.nearest(found.images["mirror"][: len(near.nearest)].flip(3), train)
    assert sources[0].max() == 0
    assert (near.index[:, :1] == sources[1]).double().mean() > 0.5
    assert found.n_features < 2 * sum(len(space.nearest) for space in found.features.values()) + 1


def test_features_that_the_run_left_behind_are_read(tmp_path, monkeypatch):
    made = []

    def compute(images, *_):
        made.append(len(images))
        return images.flatten(1).float()[:, :20].contiguous()

    monkeypatch.setattr(cache, "_compute", compute)
    it, kept = subject(), tmp_path / "features"
    kept.mkdir()
    without = neighbours.evidence(it, runs_dir=tmp_path)
    cache.pooled_features(it.images.train.images[:64], features=lite0(), cache_dir=kept)
    made.clear()
    found = neighbours.evidence(it, runs_dir=tmp_path)
    assert 64 < found.n_features <= without.n_features + 64 and 64 not in made
    # whatever is the reference, a neighbour's index is its place among the training images
    near, train = found.features["test"], it.images.train.images
    feature = compute(train[near.index[:, 0]])
    own = compute(found.images["test"][: len(feature)])
    assert torch.allclose((own - feature).double().square().mean(1).sqrt(), near.nearest)
    assert cache.kept_features(train[:63], features=lite0(), cache_dir=kept) is None


@pytest.mark.parametrize(
    "data, pictured", [("photos10", True), ("celeba", False), ("folder:/home/someone/<img src=x>", False)]
)
def test_training_images_are_pictured_of_photos10_alone(copying, monkeypatch, data, pictured):
    it, found = copying
    it, shown = replace(it, data=data), []
    monkeypatch.setattr(neighbours, "grid", lambda images, **_: shown.extend(images) or torch.zeros(2, 2, 3).numpy())
    monkeypatch.setattr(generalisation.plots, "sample_board", lambda rows, **_: shown.extend(rows.values()))
    for module in (generalisation, neighbours):
        monkeypatch.setattr(module, "picture", lambda figure, alt: generalisation.HTML(escape(alt)))
    monkeypatch.setattr(generalisation, "draw", lambda it, n, t: it.images.test.images[:n])
    found = replace(found, images={**found.images, "samples": it.images.test.images})
    page = neighbours.board(it, found).data
    assert ("<p>Training images of" in page) != pictured and "<img src=x" not in page and "someone" not in page
    generalisation.beside(it, n=16)
    titles = list(shown.pop())
    assert titles[0] == ("training images" if pictured else "held-out images")
    distances, _ = copies.nearest(torch.stack(shown), it.images.train.images)
    assert bool((distances == 0).any()) == pictured


def test_where_nothing_was_trained_the_published_model_is_shown_and_named(tmp_path):
    where = {"profile": "study", "data": [], "seeds": [3], "runs_dir": tmp_path}
    it = generalisation.subject("table1/cq-f", **where)
    assert (it.profile, it.data, it.seed) == ("quick", "photos10", 0)
    text = str(it)
    assert "has not been trained with profile study on photos10, seed 3" in text and "Shown instead" in text
    assert "CQ-F on photos10 16×16, quick, seed 0: 20,000 training images, 2,000 held out" in text
    assert not generalisation.subject("table1/cq-f", profile="quick", data=[], seeds=[0], runs_dir=tmp_path).note


def test_bits_are_of_equally_many_images_and_a_gan_has_none(tmp_path, monkeypatch):
    it, other = subject(), subject().system

    def load(row, **where):
        if row != "table1/vae":
            raise UserError("not here")
        assert (where["profile"], where["data"], where["seed"]) == ("smoke", "photos10", 0)
        return other

    monkeypatch.setattr(run, "load", load)
    bits = held_out.bits(it, runs_dir=tmp_path, n=50)
    assert bits.n == 50 and list(bits.train) == ["CQ-F", "VAE", "Copier"]
    assert all(len(values) == 50 for split in (bits.train, bits.test) for values in split.values())
    for split, images in ((bits.train, it.images.train.images[:50]), (bits.test, it.images.test.images[:50])):
        expected = bits_per_dimension(held_out_nats(other, images), 3 * 16**2)
        assert split["CQ-F"].equal(expected) and split["VAE"].equal(expected)
    lines = cells(held_out.held_out(bits))
    found = copies.gap(bits.train["CQ-F"], bits.test["CQ-F"], *bits.labels)
    assert lines["CQ-F"][:2] == [f"{found.train:.2f}", f"{found.test:.2f}"]
    assert lines["CQ-F"][2].replace("−", "-") == f"{found.gap:+.3f}" and lines["CQ-F"][3] == f"{found.error:.3f}"
    assert float(lines["Copier"][2]) > 1  # it knows its training images by heart
    gan = held_out.bits(replace(it, system=Handing(it.images.train.images)), runs_dir=tmp_path, n=20)
    assert list(gan.train) == ["VAE", "Copier"]
    assert BeautifulSoup(held_out.bits_of(it, gan).data, "html.parser").svg


def test_closed_forms_stand_beside_what_was_measured(copying):
    it, found = copying
    bits = held_out.bits(replace(it, system=subject().system), runs_dir="nowhere", n=50)
    lines = cells(held_out.checks(it, found, bits))
    assert len(lines) == 3
    for closed, here, _ in lines.values():
        assert float(here) == pytest.approx(float(closed), rel=0.05)
