"""The notebook `explore`: paths, latents, the ELBO in two parts, changed images, a picture in tiles."""

import math

import numpy as np
import pytest
import torch
from notebook_cells import smoke_model
from notebook_cells import smooth_images as images
from PIL import Image

from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures import common, latents, out_of_distribution
from cqlib.util.errors import UserError


@pytest.fixture(scope="module")
def system():
    """A smoke CQ-F with weights moved away from their start."""
    return smoke_model("table1/cq-f", 0.05)


def test_without_any_model_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("cqlib.suite.experiments.load.PUBLISHED", tmp_path)
    with pytest.raises(UserError, match="python -m cqlib train table1/cq-f"):
        common.trained_models(Selection(latents.ROWS, runs_dir=tmp_path))


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


def test_the_kl_of_latents_sums_to_the_models(system):
    x = images(3)
    v = system.continuous(x, torch.Generator().manual_seed(0))
    whole = system.infer(v).kl["z"].mean() / math.log(2)
    bits = latents.kl_by_latent(system, x)
    assert bits.shape == (system.config.latent,) and (bits >= 0).all()
    torch.testing.assert_close(bits.sum(), whole)


@torch.no_grad()
def test_the_two_parts_of_the_elbo_sum_to_nats(system):
    """`nats` of the same draws estimates the KL by them, `elbo_terms` has it in closed form."""
    x, draws = images(3), 12
    kl, reconstruction = latents.elbo_terms(system, x, draws)
    assert (kl > 5).all() and (reconstruction > 100).all()
    nats = torch.stack([system.nats(x, generator=torch.Generator().manual_seed(seed)) for seed in range(draws)])
    assert ((kl + reconstruction - nats.mean(0) / math.log(2)).abs() < 0.2 * kl).all()


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


def picture(width=70, height=50):
    """A picture whose red is its column and whose green is its row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return Image.fromarray(pixels)


def test_a_picture_is_cut_into_tiles_in_reading_order():
    cut, columns = out_of_distribution.tiles(picture(), 16)
    assert columns == 4 and cut.shape == (12, 3, 16, 16)
    second_row_third = cut[1 * 4 + 2]
    assert torch.equal(second_row_third[0], torch.arange(32, 48).expand(16, -1).to(torch.uint8))
    assert torch.equal(second_row_third[1], torch.arange(16, 32)[:, None].expand(-1, 16).to(torch.uint8))
    scaled, columns = out_of_distribution.tiles(picture(1000, 800), 16)  # down to 500 × 400
    assert (len(scaled), columns) == (25 * 31, 31)
