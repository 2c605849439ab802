"""Measurements batch by batch: what is cut off goes on, bit for bit, and no batch is measured twice."""

import pytest
import torch

from cqlib.metrics.evaluation import draw
from cqlib.metrics.resumable import Parts
from cqlib.models import coverage_quality
from cqlib.models.registry import build
from cqlib.util.errors import StoppedEarly


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build(coverage_quality.recipe("table1/vae-f", "smoke", 16).system)


class StopAfter:
    """Asks to stop after n batches."""

    def __init__(self, n):
        self.left = n

    def __call__(self):
        self.left -= 1
        if not self.left:
            raise StoppedEarly("a test")


def samples(model, parts=None, after=0):
    return draw(model, 10, temperature=1.0, seed=3, batch_size=3, parts=parts, on_batch=StopAfter(after))


def test_drawing_goes_on_bit_for_bit(model, tmp_path, monkeypatch):
    whole = samples(model)
    with pytest.raises(StoppedEarly):
        samples(model, Parts(tmp_path, "k", every=1e9), after=2)
    sizes, sample = [], model.sample
    monkeypatch.setattr(model, "sample", lambda n, **rest: sizes.append(n) or sample(n, **rest))
    assert torch.equal(samples(model, Parts(tmp_path, "k")), whole) and sizes == [3, 1]
    assert torch.equal(samples(model, Parts(tmp_path, "k")), whole) and sizes == [3, 1]  # all was kept
    assert torch.equal(samples(model, Parts(tmp_path, "other")), whole) and sizes == [3, 1, 3, 3, 3, 1]


def test_a_kill_loses_no_more_than_the_time_between_two_saves(model, tmp_path, monkeypatch):
    saves, now = [], [0.0]
    monkeypatch.setattr("cqlib.metrics.resumable.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "cqlib.metrics.resumable.save_checkpoint", lambda path, state, **_: saves.append(len(state["batches"]))
    )

    def on_batch():
        now[0] += 7.0

    generator = torch.Generator()
    Parts(tmp_path, "k", every=10.0).collect("x", 6, lambda i: {"": torch.zeros(1)}, generator, on_batch)
    assert saves == [3, 5, 6]  # at 14 s, 28 s, and the last


def test_without_a_folder_nothing_is_kept(model, tmp_path):
    assert torch.equal(samples(model, Parts()), samples(model)) and not list(tmp_path.iterdir())
