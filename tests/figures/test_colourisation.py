"""What the notebook on colourisation shows: every colour counted, greys kept, wrong colours, costs in bits."""

import math

import pytest
import torch
from bs4 import BeautifulSoup

from cqlib.data.dataset import Dataset, Split
from cqlib.experiments import rows as names
from cqlib.experiments import run
from cqlib.figures import colour_costs, colourisation
from cqlib.figures import common as show
from cqlib.figures.colourisation import Found
from cqlib.models.registry import RECIPES, build
from cqlib.nets import colour


def smooth(n, seed=0):
    """Smooth colour images, uint8 (n, 3, 16, 16)."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return (255 * torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")).to(torch.uint8)


@pytest.fixture(scope="module")
def found() -> Found:
    """Both models under smoke, untrained but with weights moved away from their start, and made images."""
    torch.manual_seed(0)
    systems = []
    for row in colourisation.ROWS:
        systems.append(build(RECIPES[row](row, "smoke", 16).system).eval().requires_grad_(False))
        with torch.no_grad():
            for p in systems[-1].parameters():
                p.add_(0.05 * torch.randn_like(p))
    splits = [Split(name, smooth(n, n), torch.arange(n) % 2) for name, n in (("train", 40), ("test", 12))]
    return Found(*systems, Dataset("made", 16, ("a", "b"), *splits), "made 16×16")


def cells(html) -> list[list[str]]:
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows]


def test_the_rows_are_those_of_the_notebook():
    assert colourisation.ROWS == ("extra/cq-f-conditional", "table1/cq-f")
    assert "colourisation" in names.notebooks()


def test_every_colour_comes_back():
    (line,) = cells(colourisation.exactness())
    assert line[0] == "16,777,216" and line[1] == "0" and line[-1] == "261,121"
    assert line[2] == "13" and line[-2] == "1"  # R + 2 G + B <= 3 has 13 solutions, >= 1020 one


def test_exactness_counts_colours_that_do_not_come_back(monkeypatch):
    join = colour.join
    monkeypatch.setattr(colour, "join", lambda grey, chroma: join(grey, chroma) + (grey == 7))
    changed = int(cells(colourisation.exactness())[0][1].replace(",", ""))
    assert changed == sum(28 <= r + 2 * g + b < 32 for r in range(32) for g in range(16) for b in range(32))


def test_pictures_of_colourings(found):
    x = found.data.test.images[:3]
    pages = [colourisation.change_of_variables(x), colourisation.colourings(found, x, 2),
             colourisation.spread_maps(found, x, 4), colour_costs.true_or_wrong(found, x)]  # fmt: skip
    assert all('<svg role="img" aria-label="' in page.data for page in pages)
    assert "0, a" in pages[1].data and "1, b" in pages[1].data and "truth" in pages[1].data


def test_diversity_by_hand(found):
    x, n = found.data.test.images, 4
    lines = {line[0]: line[1:] for line in cells(colourisation.diversity(found, x, n))}
    chroma = colour.split(colourisation.draw(found.conditional, x, n).flatten(0, 1))[1].double().unflatten(0, (-1, n))
    truth = colour.split(x)[1].double()
    expected = [chroma.var(1), (chroma - truth[:, None]) ** 2, (chroma.mean(1) - truth) ** 2]
    assert lines["colourings, T = 1"] == [*(f"{float(v.mean()) ** 0.5:.1f}" for v in expected), "0"]
    assert lines["no colour"][1] == f"{float((truth**2).mean()) ** 0.5:.1f}"
    train = colour.split(found.data.train.images)[1].double()
    off = [(truth[:, k] - train[:, k].mean()).square().mean() for k in range(2)]
    assert lines["the mean training colour"][1] == f"{float(sum(off) / 2) ** 0.5:.1f}"


def test_recoloured_images_keep_their_grey_and_have_the_colours_they_are_called_by(found):
    x = smooth(5)
    grey, chroma = colour.split(x)
    images = colour_costs.recoloured(x, found.conditional)
    assert torch.equal(images["true colours"], x) and len(images) == 9
    for made in images.values():
        assert torch.equal(colour.split(made)[0], grey)
    assert not colour.split(images["no colour"])[1].any()
    for name, wanted in (("colours of the next image", chroma.roll(1, 0)), ("colours mirrored", chroma.flip(3)),
                         ("complementary colours", -chroma), ("red and blue exchanged", chroma.flip(1)),
                         ("colours moved by a quarter", chroma.roll(4, 3))):  # fmt: skip
        fits = colour.is_colour(grey, wanted).expand_as(chroma)
        assert fits.double().mean() > 0.3 and torch.equal(colour.split(images[name])[1][fits], wanted[fits])
    assert "the model’s, T = 1" not in colour_costs.recoloured(x)


def test_histogram_bits_are_the_cross_entropy_of_chroma_values():
    train, x = smooth(6, 1), smooth(2, 2)
    bits = 0.0
    for k in range(2):
        values = colour.split(train)[1][:, k].flatten().tolist()
        for value in colour.split(x)[1][0, k].flatten().tolist():
            bits -= math.log2((values.count(value) + 1) / (len(values) + 511))
    torch.testing.assert_close(colour_costs.histogram_bits(train, x)[0].item(), bits / 768)


def test_costs_are_in_bits_per_dimension_of_the_colour_image(found):
    lines = {line[0]: line[1:] for line in cells(colour_costs.costs(found))}
    given = float(colour_costs.bits(found.conditional, found.data.test.images).mean())
    whole = float(colour_costs.bits(found.unconditional, found.data.test.images).mean())
    name = "P(x | g), CQ-F given grey"
    assert lines[name][0].startswith(f"{given:.3f} ± ")
    assert lines[name][1:] == [f"{given * 768 / 512:.2f}", f"{given * 768:,.0f}"]
    assert lines["difference: what the grey image costs"][0].startswith(f"{whole - given:.3f} ± ")
    alone = colour_costs.costs(Found(found.conditional, None, found.data, "made"))
    assert len(cells(alone)) == 2


def test_won_compares_pair_by_pair(found):
    x = found.data.test.images
    lines = {line[0]: line[1:] for line in cells(colour_costs.won(found, x))}
    images = colour_costs.recoloured(x)
    more = colour_costs.bits(found.conditional, images["no colour"]) - colour_costs.bits(found.conditional, x)
    assert lines["no colour"][0] == f"{float((more > 0).double().mean()):.0%}"
    assert lines["no colour"][1].startswith(f"{float(more.mean()) * 768:+,.0f} ± ")


def test_without_a_model_the_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "PUBLISHED", tmp_path)
    nothing = colourisation.find("smoke", ["photos10"], [0], tmp_path)
    assert nothing.conditional is None and len(nothing.data.test.images) and nothing.label.startswith("photos10")
    x = nothing.data.test.images[:2]
    for page in (colourisation.colourings(nothing, x), colourisation.spread_maps(nothing, x),
                 colourisation.diversity(nothing, x), colour_costs.costs(nothing),
                 colour_costs.true_or_wrong(nothing, x), colour_costs.won(nothing, x)):  # fmt: skip
        assert page is colourisation.NONE and "./run_all.sh --only colourisation" in page.data
    assert colourisation.slider(nothing, x) is None and not list(tmp_path.iterdir())


def test_the_slider_draws_other_colours(found, monkeypatch):
    x = found.data.test.images[:3]
    monkeypatch.setattr(show, "live", lambda: False)
    assert colourisation.slider(found, x) is None
    monkeypatch.setattr(show, "live", lambda: True)
    controls, view = colourisation.slider(found, x, n=3).children
    before = view.value
    assert before.startswith('<img alt="A grey image, 3 colourings at T = 1.00, seed 0')
    controls.children[1].value = 7
    assert "seed 7" in view.value and view.value != before
