"""The picture of what critics are told is drawn from the losses that train."""

import math

import pytest
import torch

from cqlib.figures import critics


@pytest.mark.parametrize("score", [-3.0, -1.0, 0.0, 0.5, 2.0])
def test_panels_are_the_losses_of_one_image(score):
    s = torch.tensor([score])
    softplus = math.log1p(math.exp(score))  # -ln(1 - D)
    real, made, generator = critics.PANELS.values()
    wanted = {
        "cross-entropy": (softplus - score, softplus),
        "hinge": (max(0, 1 - score), max(0, 1 + score)),
        "Wasserstein": (-score, score),
    }
    for name, values in wanted.items():
        assert (float(real[name](s)), float(made[name](s))) == pytest.approx(values, abs=1e-6)
    assert [float(loss(s)) for loss in generator.values()] == pytest.approx([softplus - score, -score, -softplus])


def test_the_picture_names_every_loss():
    page = critics.told().data
    for panel in critics.PANELS.values():
        assert all(name in page for name in panel)
