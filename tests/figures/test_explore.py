"""What the notebook `explore` shows: paths, latents, the ELBO in two parts, inpainting, changed images, widgets."""

import io
import math
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from lesson_cells import run_cell
from notebook_cells import by_name, cells, smoke_model, soup
from notebook_cells import smooth_images as images
from PIL import Image
from scipy import stats

from cqlib.data.photos10 import PHOTOS
from cqlib.experiments.rows import notebooks
from cqlib.experiments.selection import Selection
from cqlib.figures.explore import inpainting, latents, out_of_distribution
from cqlib.figures.strips import cost_board, strips
from cqlib.util.errors import UserError


@pytest.fixture(scope="module")
def system():
    """A smoke CQ-F with weights moved away from their start."""
    return smoke_model("table1/cq-f", 0.05)


def test_without_any_model_the_error_names_the_command(tmp_path, monkeypatch):
    assert "explore" in notebooks()
    monkeypatch.setattr("cqlib.experiments.load.PUBLISHED", tmp_path)
    with pytest.raises(UserError, match="python -m cqlib train table1/cq-f"):
        latents.find(Selection(latents.ROWS, runs_dir=tmp_path))


@pytest.mark.parametrize("path", latents.PATHS.values())
def test_paths_end_at_their_codes(path):
    a, b = torch.randn(2, 5, 8)
    torch.testing.assert_close(path(a, b, 0.0), a)
    torch.testing.assert_close(path(a, b, 1.0), b)


def test_the_spherical_path_keeps_the_length_and_turns_evenly():
    a, b = torch.nn.functional.normalize(torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    b = 2 * b
    whole = torch.nn.functional.cosine_similarity(a, b).acos()
    for t in (0.2, 0.5, 0.9):
        c = latents.spherical(a, b, t)
        torch.testing.assert_close(c.norm(dim=1), torch.full((6,), 1 + t))
        torch.testing.assert_close(torch.nn.functional.cosine_similarity(a, c).acos(), t * whole, rtol=1e-3, atol=1e-3)
    same = latents.spherical(a, a, 0.5)  # no angle between them
    torch.testing.assert_close(same, a, rtol=0, atol=1e-3)


def test_lengths_of_midpoints_follow_the_formula(system):
    """The mean length of N(0, I), and that of a mean of two draws, N(0, I / 2)."""
    d = system.config.latent
    expected = math.sqrt(2) * math.gamma((d + 1) / 2) / math.gamma(d / 2)
    page, (a, b) = latents.midpoints(system, 20), latents.prior_pairs(system, 20)
    groups = {"p(z)": (a, expected), "linear, t = ½": (latents.linear(a, b, 0.5), expected / math.sqrt(2)),
              "spherical, t = ½": (latents.spherical(a, b, 0.5), expected)}  # fmt: skip
    assert [head.get_text() for head in soup(page).thead.find_all("th")] == [
        "Codes", "‖z‖ by the formula", "measured", "P(shorter) under p(z)", "contrast of the image, levels",
    ]  # fmt: skip
    for name, (z, length) in groups.items():
        shorter = stats.chi2.cdf(length**2, d)
        contrast = latents.decoded(system, z).float().flatten(2).std(2).mean()
        cells_of = [f"{length:.2f}", f"{z.norm(dim=1).mean():.2f}", f"{shorter:.2f}", f"{contrast:.1f}"]
        assert by_name(page)[name] == cells_of and len(set(cells_of)) == 4
    a, b = latents.prior_pairs(system, 4000)
    assert abs(float(a.norm(dim=1).mean()) - expected) < 0.05
    assert abs(float(latents.linear(a, b, 0.5).norm(dim=1).mean()) - expected / math.sqrt(2)) < 0.05
    assert abs(float(latents.spherical(a, b, 0.5).norm(dim=1).mean()) - expected) < 0.05


def test_the_kl_of_latents_sums_to_the_models(system):
    x = images(3)
    v = system.continuous(x, torch.Generator().manual_seed(0))
    whole = system.infer(v).kl["z"].mean() / math.log(2)
    bits = latents.kl_by_latent(system, x)
    assert bits.shape == (system.config.latent,) and (bits >= 0).all()
    torch.testing.assert_close(bits.sum(), whole)


def test_one_latent_is_moved_and_no_other(system):
    x = images(3)
    z = latents.encode(system, x)
    z[:, 5] = 2.0
    assert torch.equal(latents.with_latent(system, x, 5, 2.0), latents.decoded(system, z))
    assert not torch.equal(latents.with_latent(system, x, 5, 2.0), latents.decoded(system, latents.encode(system, x)))
    assert "bits" in latents.latents_used(system, x).data


def test_the_latents_that_are_moved_are_the_most_used(system, rows_shown):
    x, shown = images(3), rows_shown(latents)
    latents.traversals(system, x[0], x, n=2)
    bits = latents.kl_by_latent(system, x)
    first, second = sorted(range(len(bits)), key=lambda k: -bits[k])[:2]
    assert list(shown) == [f"z{k + 1}, {bits[k]:.1f} bits" for k in (first, second)]
    ends = (torch.cat([latents.with_latent(system, x[:1], first, end) for end in (-3.0, 3.0)])).float()
    assert ((next(iter(shown.values()))[[0, -1]].float() - ends).abs() <= 1).all()  # in batches of other sizes


def test_reconstructions_are_of_the_mean_and_of_one_draw(system, rows_shown):
    x, shown = images(3), rows_shown(latents)
    latents.reconstructions(system, x)
    whole, mean, draw = shown.values()
    assert torch.equal(whole, x) and torch.equal(mean, latents.decoded(system, latents.encode(system, x)))
    assert not torch.equal(draw, mean) and not torch.equal(mean, x)


def test_the_two_parts_of_the_elbo_sum_to_nats(system):
    x = images(3)
    terms = latents.elbo_terms(system, x, draws=100)
    assert (terms["kl"] > 0).all() and (terms["reconstruction"] > 100).all()
    torch.testing.assert_close(terms["sum"], terms["kl"] + terms["reconstruction"])
    assert ((terms["sum"] - terms["nats"]).abs() < 4 * terms["error"]).all()
    assert (terms["error"] < 0.01 * terms["nats"]).all() and (terms["kl"] > 4 * terms["error"]).all()
    few = latents.elbo_terms(system, x, draws=3)
    for i, line in enumerate(cells(latents.elbo(system, x, draws=3))):
        in_order = [few[name][i] for name in ("kl", "reconstruction", "sum", "nats")]
        assert line[:5] == [str(i + 1), *(f"{float(bits):,.0f}" for bits in in_order)]


def test_the_search_draws_from_the_posterior_of_a_linear_model():
    """Oracle of the closed form: the joint precision of x = A u and the known entries, in the space of u."""
    cell = run_cell("explore", "A linear model with")
    a, target, known, tau, mean, covariance, drawn = (
        cell[name] for name in ("A", "target", "known", "tau", "mean", "covariance", "drawn")
    )
    seen = a[known]
    precision = torch.eye(7) + seen.T @ seen / tau**2
    expected = a @ torch.linalg.solve(precision, seen.T @ target[known]) / tau**2
    torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(covariance, a @ torch.linalg.inv(precision) @ a.T, rtol=1e-3, atol=1e-3)
    spread = covariance.diagonal().sqrt()
    assert ((drawn.mean(0) - mean).abs() < 4 * spread / 4000**0.5 + 0.02 * spread).all()
    product = torch.outer(spread, spread)
    error = ((product.square() + covariance.square()) / 4000).sqrt()
    assert ((drawn.T.cov() - covariance).abs() < 4 * error + 0.02 * product).all()


@pytest.mark.slow
def test_completions_keep_what_is_known_and_differ_elsewhere(system):
    x, known = images(2), inpainting.masks(16)["left half"]
    pasted, made = inpainting.complete(system, x, known, 3, steps=150)
    assert pasted.shape == made.shape == (2, 3, 3, 16, 16)
    assert torch.equal(pasted[..., known], x[:, None].expand(-1, 3, -1, -1, -1)[..., known])
    assert torch.equal(pasted[..., ~known], made[..., ~known])
    off = (made - x[:, None].float())[..., known].square().mean().sqrt()
    start = inpainting.complete(system, x, known, 3, steps=1)[1]
    before = (start - x[:, None].float())[..., known].square().mean().sqrt()
    assert off < 5 < 20 < before
    assert (made.float()[..., ~known].std(1) > 1).float().mean() > 0.5


def test_the_board_and_the_scores(system):
    x = images(2)
    found = inpainting.completions(system, x, n=2, steps=5)
    page = inpainting.board(found, x).data
    assert all(name in page for name in (*inpainting.masks(16), "known", "truth"))
    truth = x[:, None].expand(-1, 2, -1, -1, -1)
    assert inpainting.scores({"all": (found["left half"][0], truth, truth)}, x).data.count("<td>0.0</td>") == 4


def test_changed_photographs_are_what_they_are_called(system):
    x = images(5)
    found = out_of_distribution.kinds(x, system)
    assert all(made.shape == x.shape and made.dtype == torch.uint8 for made in found.values())
    mean = x.float().mean((2, 3))
    assert (found["half the contrast"].float().mean((2, 3)) - mean).abs().max() < 0.6
    spread = x.float().std((2, 3))
    assert (found["half the contrast"].float().std((2, 3)) / spread - 0.5).abs().max() < 0.05
    assert (found["flat, the mean colour"].float() - mean[:, :, None, None]).abs().max() <= 0.5
    assert found["blurred"].float().std((2, 3)).mean() < spread.mean()
    assert torch.equal(found["negative"] + x, torch.full_like(x, 255))
    assert torch.equal(found["pixels in another order"].flatten(2).sum(2), x.flatten(2).sum(2))
    page = out_of_distribution.costs_by_kind(system, x).data
    assert all(name in page for name in found)


def picture(width=70, height=50):
    """A picture whose red is its column and whose green is its row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return Image.fromarray(pixels)


def test_a_picture_is_cut_into_tiles_in_reading_order():
    cut, (rows, columns) = out_of_distribution.tiles(picture(), 16)
    assert (rows, columns) == (3, 4) and cut.shape == (12, 3, 16, 16)
    second_row_third = cut[1 * 4 + 2]
    assert torch.equal(second_row_third[0], torch.arange(32, 48).expand(16, -1).to(torch.uint8))
    assert torch.equal(second_row_third[1], torch.arange(16, 32)[:, None].expand(-1, 16).to(torch.uint8))
    assert out_of_distribution.tiles(picture(1000, 800), 16)[1] == (25, 31)  # scaled down to 500 × 400
    with pytest.raises(UserError, match="20 × 9 pixels"):
        out_of_distribution.tiles(picture(20, 9), 16)


def test_a_picture_of_your_own(system, tmp_path):
    path, broken = tmp_path / "mine.png", tmp_path / "broken.png"
    picture().save(path)
    broken.write_bytes(b"no picture")
    page = out_of_distribution.your_image(system, str(path), images(8)).data
    assert "12 tiles of 16 × 16 pixels" in page and "bits per dimension" in page and str(tmp_path) not in page
    assert "tiles" in out_of_distribution.your_image(system, None, images(8)).data
    assert out_of_distribution.PICTURE not in {photo.file for photo in PHOTOS.values()}  # no model has seen it
    for source in (broken, b"no picture", tmp_path / "absent.png"):
        with pytest.raises(UserError, match="no picture that can be read"):
            out_of_distribution.read(source)


def test_strips_stand_in_one_lattice():
    figure = strips({"a": images(3), "b": images(2)}, columns=["x", "y", "z"])
    first, second = (ax.get_position() for ax in figure.axes)
    assert first.x0 == second.x0 and first.y0 > second.y1
    assert math.isclose(first.width / 3, second.width / 2)
    assert [text.get_text() for text in figure.texts] == ["x", "y", "z", "a", "b"]


def test_one_kind_that_costs_much_leaves_room_between_the_others():
    costs = {name: torch.full((3,), value) for name, value in (("a", -0.5), ("b", 3.0), ("c", 5.0), ("d", 100.0))}
    figure, alt = cost_board(dict.fromkeys(costs, images(4)), costs, "b", "bits", "Costs")
    ax = figure.axes[1]
    at = ax.transAxes.inverted().transform(ax.transData.transform([(v[0], 0) for v in costs.values()]))[:, 0]
    assert at[2] - at[1] > 0.04 and 0 < at[0] < at[3] < 1  # on a linear scale 0.015
    assert alt == "Costs: a -0.50, b 3.00, c 5.00, d 100.00"


def test_widgets_stand_only_where_someone_can_move_them(system, live):
    models, x = {"CQ-F": system}, images(3)

    def widgets():
        return [latents.interpolation_slider(models, 4), latents.latent_slider(models, x, x),
                out_of_distribution.upload(system, x)]  # fmt: skip

    assert widgets() == [None, None, None]
    live(True)
    paths, one, button = widgets()
    for box, alt in ((paths, "4 images at t = 0.00 of spherical paths, CQ-F"), (one, "3 test images with z")):
        controls, view = box.children
        before = view.value
        assert before.startswith(f'<img alt="{alt}')
        controls.children[-1].value = 1.0
        assert view.value != before and view.value.startswith("<img alt=")
    content = io.BytesIO()
    picture().save(content, "PNG")
    choose, view = button.children
    file = {"name": "mine.png", "type": "image/png", "size": 1, "last_modified": datetime.now(UTC)}
    choose.set_trait("value", ({**file, "content": memoryview(content.getvalue())},))
    assert "12 tiles" in view.value
    choose.set_trait("value", ({**file, "content": memoryview(b"<b>no</b>")},))
    assert "no picture that can be read" in view.value and "<b>" not in view.value
