"""The notebook on samples: a model that copies is caught, and training images stay out of pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from IPython.display import HTML
from lesson_cells import run_cell
from markupsafe import escape
from notebook_cells import by_name, smoke_model, soup
from scipy import stats

from cqlib import data as data_sets
from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import ModelAndData
from cqlib.experiments.selection import Selection
from cqlib.figures.samples import held_out, memorisation, neighbours
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.models.base import System
from cqlib.util.errors import UserError


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "FEATURE_IMAGES", 16)
        return model, neighbours.nearest_images(model, runs_dir="nowhere")


@pytest.mark.slow
def test_a_model_that_copies_is_caught_in_both_spaces(copying):
    _, found = copying
    table = by_name(neighbours.suspects(found))
    for name in ("samples, pixels", "samples, features"):
        _, median, nearer, share, _, _, ratio_share = table[name]
        assert float(median) == 0 and float(nearer) == 1
        assert share.startswith("100.0 %") and ratio_share.startswith("100.0 %")
    n, *_, share, _, _, _ = table["held-out images, pixels"]
    low, high = stats.beta.ppf(0.025, 1, 64), stats.beta.ppf(0.975, 2, 63)  # Clopper and Pearson, 1 of 64
    assert (n, share) == ("64", f"1.6 % [{100 * low:.1f}, {100 * high:.1f}]")
    assert float(table["held-out images, pixels"][2]) == 0.5


@pytest.mark.parametrize("sigma", [2, 32])
def test_copies_have_the_noise_that_is_asked_for(copying, monkeypatch, sigma):
    monkeypatch.setattr(neighbours, "FEATURE_IMAGES", 2)
    noisy = neighbours.nearest_images(copying[0], runs_dir="nowhere", sigma=sigma).pixels["noise"].nearest
    assert 0.75 * sigma < noisy.median() < 1.1 * sigma  # less where a pixel cannot be darker or brighter


def test_mirrored_copies_are_found_in_features(copying):
    """Their sources are among the training images that features are taken of."""
    model, found = copying
    near = found.features["mirror"]
    sources = memorisation.nearest(found.images["mirror"][: len(near.nearest)].flip(3), model.data.train.images)
    assert sources[0].max() == 0
    assert (near.index[:, :1] == sources[1]).double().mean() > 0.5


def test_a_neighbour_in_features_is_named_by_its_place_among_the_training_images(copying):
    """Of few training images features are taken: the place among those is another."""
    model, found = copying
    near = found.features["samples"]
    assert near.nearest.max() < 1e-5
    assert torch.equal(model.data.train.images[near.index[:, 0]], found.images["samples"][: len(near.nearest)])


@pytest.mark.parametrize(
    "data, allowed", [("photos10", True), ("celeba", False), ("folder:/home/someone/<img src=x>", False)]
)
def test_training_images_are_shown_of_photos10_alone(copying, monkeypatch, data, allowed):
    model, found = copying
    model, shown = subject(model.model, data), []
    monkeypatch.setattr(neighbours, "strips", lambda rows, **_: shown.extend(torch.cat([*rows.values()])))
    monkeypatch.setattr(neighbours.plots, "sample_board", lambda rows, **_: shown.extend(rows.values()))
    monkeypatch.setattr(neighbours, "picture", lambda figure, alt: HTML(escape(alt)))
    monkeypatch.setattr(neighbours, "draw", lambda model, n: model.data.test.images[:n])
    found = replace(found, images={**found.images, "samples": model.data.test.images})
    page = neighbours.board(model, found).data
    assert ("<p>Training images of" in page) != allowed and "<img src=x" not in page and "someone" not in page
    neighbours.beside_real(model, n=16)
    titles = list(shown.pop())
    assert titles[0] == ("training images" if allowed else "held-out images")
    distances, _ = memorisation.nearest(torch.stack(shown), model.data.train.images)
    assert bool((distances == 0).any()) == allowed


def test_where_nothing_was_trained_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("cqlib.experiments.load.PUBLISHED", tmp_path)
    with pytest.raises(UserError):
        neighbours.find(Selection(profile="study", seeds=[3], runs_dir=tmp_path))


def test_bits_are_of_equally_many_images_and_a_gan_has_none(tmp_path, monkeypatch):
    model, other = subject(), subject().model

    def load_system(e, runs_dir):
        if e.row != "table1/vae":
            raise UserError("not here")
        assert (e.profile, e.data, e.seed) == ("smoke", "photos10", 0)
        return other

    monkeypatch.setattr(held_out, "load_system", load_system)
    bits = held_out.bits(model, runs_dir=tmp_path, n=50)
    assert list(bits.models) == ["CQ-F", "VAE", "Copier"]
    for i, split in enumerate((model.data.train, model.data.test)):
        expected = bits_per_dimension(held_out_nll(other, split.images[:50]), 3 * 16**2)
        assert bits.models["CQ-F"][i].equal(expected) and bits.models["VAE"][i].equal(expected)
    page = held_out.gaps(bits)
    table, (train, test) = by_name(page), bits.models["CQ-F"]
    expected = []
    for pair in ((train, test), memorisation.at_equal_difficulty(train, test, *bits.png)):
        gap = f"{pair[1].mean() - pair[0].mean():+.3f}".replace("-", "−")
        expected.append([gap, *(f"{error:.3f}" for error in memorisation.gap_errors(*pair, *bits.labels))])
    (gap, error, by_class), (equal_gap, equal_error, equal_by_class) = expected
    heads = [head.get_text() for head in soup(page).thead.find_all("th")]
    assert list(zip(heads, ["CQ-F", *table["CQ-F"]], strict=True)) == [
        ("Model", "CQ-F"), ("Training", f"{train.mean():.2f}"), ("Held out", f"{test.mean():.2f}"), ("Gap", gap),
        ("s.e., images", error), ("s.e., classes", by_class),
        ("Gap at equal PNG", f"{equal_gap} ± {equal_error}"), ("s.e., classes", equal_by_class),
    ]  # fmt: skip
    assert len({error, by_class, equal_error, equal_by_class}) == 4
    assert float(table["Copier"][2]) > 1  # it knows its training images by heart
    wide = held_out.bits(model, runs_dir=tmp_path, n=50, sigma=32)
    assert wide.models["Copier"][0].mean() > bits.models["Copier"][0].mean() + 1.9  # log2(32 / 8)
    gan = held_out.bits(subject(Copying(model.data.train.images)), runs_dir=tmp_path, n=20)
    assert list(gan.models) == ["VAE", "Copier"]
    assert soup(held_out.distributions(model, gan)).svg


def test_a_changed_recipe_has_bits_and_a_picture_under_its_own_name(tmp_path):
    model = subject()
    changed = replace(model, experiment=experiment("table1/cq-f", "smoke", changes={"system.quality_weight": 100.0}))
    changed.__dict__["data"] = model.data
    bits = held_out.bits(changed, runs_dir=tmp_path, n=20)
    assert list(bits.models) == [changed.name, "Copier"] and "100" in changed.name
    assert changed.name in soup(held_out.distributions(changed, bits)).text


def test_closed_forms_stand_beside_what_was_measured(copying):
    model, found = copying
    bits = held_out.bits(subject(), runs_dir="nowhere", n=50)
    values = {"model": model, "nearest": found, "bits": bits, "sigma": neighbours.SIGMA}
    table = by_name(run_cell("figure_samples", "The equations in numbers", **values)["_"])
    assert len(table) == 3
    for closed, here, _ in table.values():
        assert float(here) == pytest.approx(float(closed), rel=0.05)
