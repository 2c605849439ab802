"""Lesson 06: samples along the training of the published models."""

import torch

import cqlib
from cqlib.pixels import to_uint8
from cqlib.suite.experiments.paper import TABLE1
from cqlib.suite.lessons.models import along_training
from cqlib.training.snapshots import SEED, SHOWN


def test_the_last_step_shows_what_the_published_model_draws():
    """Up to a lossy picture and weights in half precision; no other step or model is as near."""
    along = along_training("quick")
    assert list(along) == [*range(200, 4001, 200)]
    assert all([*images] == [row.label for row in TABLE1.rows] for images in along.values())
    for row in TABLE1.rows:
        model = cqlib.load(row.id, profile="quick")
        with torch.no_grad():
            drawn = to_uint8(model.sample(SHOWN, generator=torch.Generator().manual_seed(SEED))).double()
        distances = {(step, label): float((images.double() - drawn).abs().mean())
                     for step, of_step in along.items() for label, images in of_step.items()}  # fmt: skip
        assert min(distances, key=distances.__getitem__) == (4000, row.label)
        assert distances[4000, row.label] < 20
