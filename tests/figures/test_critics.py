"""The picture of losses is drawn from the functions that train."""

import math

import pytest
import torch

from cqlib.figures import critics


@pytest.mark.parametrize("score", [-3.0, 0.5, 2.0])
def test_panels_are_the_losses_of_one_image(score):
    s = torch.tensor([score])
    softplus = math.log1p(math.exp(score))  # -ln(1 - D)
    real, generated, generator = critics.PANELS.values()
    expected = {
        "cross-entropy": (softplus - score, softplus),
        "hinge": (max(0, 1 - score), max(0, 1 + score)),
        "Wasserstein": (-score, score),
    }
    for name, values in expected.items():
        assert (float(real[name](s)), float(generated[name](s))) == pytest.approx(values, abs=1e-6)
    assert [float(loss(s)) for loss in generator.values()] == pytest.approx([softplus - score, -score, -softplus])
