"""The notebook on colourisation: greys kept, wrong colours, diversity and costs in bits."""

import math

import pytest
import torch
from notebook_cells import by_name, cells, smoke_model, smooth_images
from scipy import stats

from cqlib.data.dataset import Dataset, Split
from cqlib.nets import colour
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures import colourisation
from cqlib.util.errors import UserError


@pytest.fixture(scope="module")
def conditional() -> ModelAndData:
    """The conditional model under smoke, with weights moved away from their start, and made images."""
    row = colourisation.ROWS[0]
    splits = [Split(name, smooth_images(n, n), torch.arange(n) % 2) for name, n in (("train", 40), ("test", 12))]
    one = ModelAndData(experiment(row, "smoke"), smoke_model(row, 0.05), "local")
    one.__dict__["data"] = Dataset("made", 16, ("a", "b"), *splits)
    return one


def test_diversity_by_hand(conditional):
    x, n = conditional.data.test.images, 4
    table = by_name(colourisation.diversity(conditional, x, n))
    chroma = colour.split(colourisation.draw(conditional.model, x, n).flatten(0, 1))[1].double().unflatten(0, (-1, n))
    truth = colour.split(x)[1].double()
    expected = [chroma.var(1), (chroma - truth[:, None]) ** 2, (chroma.mean(1) - truth) ** 2]
    assert table["colourings"] == [f"{float(v.mean()) ** 0.5:.1f}" for v in expected]
    assert table["no colour"][1] == f"{float((truth**2).mean()) ** 0.5:.1f}"
    train = colour.split(conditional.data.train.images)[1].double()
    off = [(truth[:, k] - train[:, k].mean()).square().mean() for k in range(2)]
    assert table["the mean training colour"][1] == f"{float(sum(off) / 2) ** 0.5:.1f}"


def test_recoloured_images_keep_their_grey_and_have_the_colours_of_their_name(conditional):
    x = smooth_images(5)
    grey, chroma = colour.split(x)
    images = colourisation.recoloured(x, conditional.model)
    assert torch.equal(images["true colours"], x) and len(images) == 8
    assert all(torch.equal(colour.split(one)[0], grey) for one in images.values())
    assert not colour.split(images["no colour"])[1].any()
    for name, wanted in (("colours of the next image", chroma.roll(1, 0)), ("colours mirrored", chroma.flip(3)),
                         ("complementary colours", -chroma), ("red and blue exchanged", chroma.flip(1)),
                         ("colours moved by a quarter", chroma.roll(4, 3))):  # fmt: skip
        fits = colour.is_colour(grey, wanted).expand_as(chroma)
        assert fits.double().mean() > 0.3 and torch.equal(colour.split(images[name])[1][fits], wanted[fits])


def test_histogram_bits_are_the_cross_entropy_of_chroma_values():
    train, x = smooth_images(6, 1), smooth_images(2, 2)
    bits = 0.0
    for k in range(2):
        values = colour.split(train)[1][:, k].flatten().tolist()
        for value in colour.split(x)[1][0, k].flatten().tolist():
            bits -= math.log2((values.count(value) + 1) / (len(values) + 511))
    torch.testing.assert_close(colourisation.histogram_bits(train, x)[0].item(), bits / 768)


def test_costs_are_in_bits_per_dimension_of_the_colour_image(conditional):
    unconditional, x = smoke_model("table1/cq-f", 0.05), conditional.data.test.images
    table = by_name(colourisation.costs(conditional, unconditional))
    given = float(colourisation.bits(conditional.model, x).mean())
    whole = float(colourisation.bits(unconditional, x).mean())
    name = "P(x | g), CQ-F given grey"
    assert table[name][0].startswith(f"{given:.3f} ± ")
    assert table[name][1:] == [f"{given * 768 / 512:.2f}", f"{given * 768:,.0f}"]
    assert table["difference: what the grey image costs"][0].startswith(f"{whole - given:.3f} ± ".replace("-", "−"))


def test_costs_are_compared_pair_by_pair(conditional):
    x = conditional.data.test.images
    recoloured = colourisation.recoloured(x, conditional.model)
    bits = {name: colourisation.bits(conditional.model, recoloured[name]) for name in ("true colours", "no colour")}
    (line,) = cells(colourisation.pairwise_costs(bits, conditional))
    more = 768 * (bits["no colour"] - bits["true colours"])
    share, error = float((more > 0).double().mean()), float(stats.sem(more))
    assert line == ["no colour", f"{share:.0%}", f"{more.mean():+,.0f} ± {error:,.0f}".replace("-", "−")] and error > 1


def test_without_models_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("cqlib.suite.experiments.load.PUBLISHED", tmp_path)
    with pytest.raises(UserError, match="./run_all.sh --only colourisation"):
        colourisation.find(Selection(colourisation.ROWS, "smoke", runs_dir=tmp_path))
