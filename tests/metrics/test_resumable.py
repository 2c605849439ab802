"""Measurements batch by batch: what is cut off resumes, bit for bit, and no batch is measured twice."""

import pytest
import torch
from small_models import StopAfter

from cqlib.metrics.evaluation import NonFiniteSamples, draw_samples
from cqlib.metrics.resumable import PartialResults
from cqlib.models import cq
from cqlib.models.registry import RECIPES, build
from cqlib.util.errors import StoppedEarly


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build(cq.recipe("table1/vae-f", "smoke", 16).system)


def samples(model, **results):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cqlib.metrics.evaluation.BATCH", 3)
        return draw_samples(model, 10, temperature=1.0, seed=3, results=PartialResults(**results))


def test_drawing_resumes_bit_for_bit(model, tmp_path, monkeypatch):
    whole = samples(model)
    with pytest.raises(StoppedEarly, match="while measuring: a test"):
        samples(model, folder=tmp_path, key="k", seconds=1e9, stop=StopAfter(1))  # asked after each batch
    sizes, sample = [], model.sample
    monkeypatch.setattr(model, "sample", lambda n, **rest: sizes.append(n) or sample(n, **rest))
    assert torch.equal(samples(model, folder=tmp_path, key="k"), whole) and sizes == [3, 1]
    assert torch.equal(samples(model, folder=tmp_path, key="k"), whole) and sizes == [3, 1]  # all was kept
    assert torch.equal(samples(model, folder=tmp_path, key="other"), whole) and sizes == [3, 1, 3, 3, 3, 1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_samples_that_are_not_finite_are_told_and_no_black_images(model, monkeypatch, value):
    monkeypatch.setattr(
        model, "sample", lambda n, **_: torch.zeros(n, 3, 16, 16).index_fill(0, torch.tensor([1]), value)
    )
    with pytest.raises(NonFiniteSamples, match="1 of 3 samples") as caught:
        samples(model)
    assert "\n" not in str(caught.value)


def test_temperatures_are_kept_apart_and_nets_are_in_evaluation_mode(tmp_path):
    torch.manual_seed(0)
    model = build(RECIPES["table3/sngan"]("table3/sngan", "smoke", 16).system)
    whole = draw_samples(model.eval(), 4, temperature=1.0, seed=3)
    assert torch.equal(draw_samples(model.train(), 4, temperature=1.0, seed=3), whole)  # batch norm by running moments
    torch.manual_seed(0)
    model, kept = build(cq.recipe("table1/vae", "smoke", 16).system), PartialResults(tmp_path, "k")
    noisy, mean = (draw_samples(model, 4, temperature=t, seed=3, results=kept) for t in (1.0, 0.0))
    assert torch.equal(mean, draw_samples(model, 4, temperature=0.0, seed=3)) and not torch.equal(mean, noisy)


def test_a_kill_loses_no_more_than_the_time_between_two_saves(tmp_path, monkeypatch):
    saves, now = [], [0.0]
    monkeypatch.setattr("cqlib.metrics.resumable.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "cqlib.metrics.resumable.save_checkpoint", lambda path, state, **_: saves.append(len(state["batches"]))
    )

    def batch(i):
        now[0] = 7.0 * i
        return {"": torch.zeros(1)}

    PartialResults(tmp_path, "k", seconds=10.0).collect("x", 6, batch, torch.Generator())
    assert saves == [3, 5, 6]  # at 14 s, 28 s, and the last


def test_what_another_kind_of_device_measured_is_measured_anew(tmp_path):
    """A generator cannot take the state of another device's: a CUDA state has 16 bytes."""

    class Cuda:
        device = torch.device("cuda")

        def get_state(self):
            return torch.zeros(16, dtype=torch.uint8)

    kept = PartialResults(tmp_path, "k")
    kept.collect("x", 1, lambda i: {"": torch.zeros(1)}, Cuda())
    generator = torch.Generator()
    assert torch.equal(kept.collect("x", 1, lambda i: {"": torch.ones(1)}, generator)[0][""], torch.ones(1))
    again = kept.collect("x", 1, lambda i: {"": torch.zeros(1)}, generator)
    assert torch.equal(again[0][""], torch.ones(1))  # while the same kind takes up what there is
