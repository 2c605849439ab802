"""The nearest that a model can draw: where the answer has a closed form, and where the search starts."""

import pytest
import torch
from notebook_cells import by_name, smoke_model, smooth_images
from scipy import stats

from cqlib.pixels import cell_centres
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures import common, nearest


@pytest.mark.parametrize("length", [2.0, 9.0])
def test_of_a_linear_decoder_the_nearest_is_the_projection_within_the_ball_of_codes(length):
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 3, generator=generator))[0]  # orthonormal columns
    codes = length * torch.nn.functional.normalize(torch.randn(5, 3, generator=generator))
    beside = torch.randn(5, 12, generator=generator)
    beside -= beside @ basis @ basis.T  # no code changes this part
    target = (codes @ basis.T + beside).view(5, 3, 2, 2)
    found = nearest.nearest_codes(lambda z: (z @ basis.T).view(-1, 3, 2, 2), target, torch.zeros(1, 5, 3))
    longest = float(stats.chi(3).ppf(nearest.SHARE))
    torch.testing.assert_close(found, codes * min(1, longest / length), atol=2e-3, rtol=0)


def test_the_best_of_all_starts_is_taken_image_by_image():
    """A start at which the decoder has no gradient stays where it is."""
    starts = torch.tensor([[[-1.0], [0.5]], [[0.5], [-1.0]]])  # each image has one good start
    found = nearest.nearest_codes(lambda z: z.relu().view(-1, 1, 1, 1), torch.ones(2, 1, 1, 1), starts)
    torch.testing.assert_close(found, torch.ones(2, 1), atol=1e-3, rtol=0)


def test_starts_that_fall_behind_are_given_up():
    """At the end the one start of each image is followed that came near: its codes alone are decoded."""
    decoded = []

    def decode(z):
        decoded.append(z.detach().clone())
        return z.relu().view(-1, 1, 1, 1)

    starts = torch.tensor([[[-1.0], [0.5]], [[0.5], [-1.0]], [[-2.0], [-2.0]]])
    nearest.nearest_codes(decode, torch.ones(2, 1, 1, 1), starts)
    assert [len(z) for z in decoded[::100]] == [6, 4, 2, 2, 2]
    assert (decoded[-1] > 0.9).all()


@torch.no_grad()
@pytest.mark.parametrize("row", ["table1/cq-f", "table1/vae"])
def test_nothing_found_is_farther_than_the_reconstruction(row, tmp_path):
    model, x = smoke_model(row, 0.05), smooth_images(2)
    with torch.enable_grad():
        found = nearest.nearest_images(ModelAndData(experiment(row, "smoke"), model, "local"), x, tmp_path)
    reconstruction = nearest.mean_image(model, model.encoder(cell_centres(x))[0]).clamp(-1, 1)
    squares = [(images - cell_centres(x)).square().mean((1, 2, 3)) for images in (cell_centres(found), reconstruction)]
    assert (squares[0] < squares[1] + 1e-3).all()


def test_a_gan_starts_from_the_encoder_that_was_trained_around_it(tmp_path):
    (gan,) = common.trained_models(Selection(["table1/gan"], runs_dir=tmp_path)).values()
    x = gan.data.test.images[:8]
    around = nearest.encoder_of(gan, tmp_path)
    assert around.generator is gan.model
    with torch.no_grad():
        codes = around.encoder(cell_centres(x))[0]
        error, other = ((gan.model.decode(z) - cell_centres(x)).square().mean() for z in (codes, codes.flip(0)))
    assert error < 0.5 * other  # it knows these images
    assert nearest.encoder_of(ModelAndData(experiment("table1/gan", "smoke"), smoke_model("table1/gan"), "local"),
                              tmp_path) is None  # fmt: skip


def test_distances_are_in_squared_grey_levels():
    x = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    found = {"GAN": torch.stack([x[0] + 3, x[1] - 5])}
    assert by_name(nearest.distances(x, found)) == {"GAN": ["17", "9", "25"]}
