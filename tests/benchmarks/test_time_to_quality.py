"""Time to quality: when bounds are reached, what is said where they are not, and both sides at a tiny size."""

import json
import statistics
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from fake_records import record

from benchmarks import time_to_quality
from benchmarks.time_to_quality import BPD, DISTANCE, Learning, bounds, compared, learn
from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import load_data
from cqlib.experiments.record import write_record
from cqlib.metrics import evaluation
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.features import lite0
from cqlib.models.registry import build
from cqlib.util.errors import UserError

CPU = torch.device("cpu")


def learned(bpd, distance, side="ours", seconds=(10.0, 20.0, 30.0, 40.0)):
    steps = tuple(range(1, len(bpd) + 1))
    qualities = {BPD: tuple(bpd), DISTANCE: tuple(distance)}
    return Learning("time-to-quality", side, 101, steps, tuple(seconds[: len(bpd)]), qualities,
                    {BPD: 5.0, DISTANCE: 400.0}, "CPU")  # fmt: skip


def test_bounds_are_reached_when_all_are_within_and_interpolated():
    assert learned([5.5, 5.25, 4.75], [390, 380, 370]).reached == pytest.approx(25.0)
    assert learned([5.5, 5.25, 4.75], [900, 440, 390]).reached == pytest.approx(28.0)  # the later of the two
    assert learned([4.9, 5.2, 4.8], [500, 390, 390]).reached == pytest.approx(25.0)  # never both before
    assert learned([4.9, 4.8], [390, 380]).reached == 10.0
    assert learned([5.5, 5.0], [390, 400]).reached == pytest.approx(20.0)  # just so
    assert learned([5.5, 5.2, 4.9], [390, 380, 401]).reached is None


def test_a_side_that_does_not_get_there_counts_with_all_its_seconds():
    good, slow = learned([5.5, 4.5], [390, 390]), learned([5.5, 5.2, 4.8], [390, 390, 390])
    bad = learned([6, 6, 6, 6], [1, 1, 1, 1])
    r = compared(good, slow)
    assert (r.ours_s, r.other_s, r.ratio, r.target, r.holds) == (15.0, 25.0, 25 / 15, 1.5, True)
    r = compared(good, bad)
    assert (r.other_s, r.holds) == (40.0, True) and r.other.endswith("(not reached, so at least)")
    r = compared(bad, good)
    assert (r.ours_s, r.holds, r.ours) == (40.0, False, "not reached, so at least")
    assert not compared(replace(bad, seconds=(1.0, 2.0, 3.0, 4.0)), bad).holds  # faster, but to no end


def test_bounds_are_those_of_the_published_seeds(tmp_path):
    for seed in range(3):
        write_record(record("table1/cq-f", seed), tmp_path)
    write_record(record("table1/cq", 0), tmp_path)
    write_record(record("table1/cq-f", 0, profile="study"), tmp_path)
    write_record(record("table1/cq-f", 3, data="tiny-imagenet"), tmp_path)
    values = [record("table1/cq-f", seed).metrics[DISTANCE].value for seed in range(3)]
    assert bounds(tmp_path)[DISTANCE] == pytest.approx(statistics.mean(values) + statistics.stdev(values))
    with pytest.raises(UserError, match="fewer than two seeds"):
        bounds(tmp_path / "none")


def test_the_seed_is_none_of_the_tables():
    assert time_to_quality.SEED >= 100


@pytest.mark.slow
def test_a_model_is_judged_as_for_a_record_and_random_numbers_go_on_as_before(tmp_path):
    e = experiment("table1/cq-f", "smoke", seed=101)
    data = load_data(e, None)
    model = build(e.recipe.system)
    state = torch.get_rng_state()
    found = time_to_quality.judge(e, data, CPU)(model)
    assert torch.equal(torch.get_rng_state(), state)
    likelihood, _ = evaluation.likelihood_metrics(model, data, e.evaluation)
    scores, _, _ = evaluation.sample_metrics(model, data, e.evaluation, FeatureCache(lite0(96), tmp_path), seed=101)
    assert found == pytest.approx({BPD: likelihood[BPD].value, DISTANCE: scores[DISTANCE].value}, rel=1e-6)


@pytest.fixture
def smoke(monkeypatch):
    """20 steps; measuring takes no time of its own and sees an ever better model."""
    seen = []

    def judge(e, data, device):
        return lambda model: seen.append(model) or {BPD: 9.0 - len(seen), DISTANCE: 900.0 - len(seen)}

    monkeypatch.setattr(time_to_quality, "judge", judge)
    return seen


@pytest.mark.parametrize("side", time_to_quality.SIDES)
@pytest.mark.slow
def test_sides_are_measured_on_their_averaged_weights_until_they_are_good_enough(side, smoke, capsys):
    e = experiment("table1/cq-f", "smoke", seed=101)
    learn(side, e, CPU, {BPD: 0.0, DISTANCE: 0.0}, every=5)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["step"], line["last"]) for line in lines] == [(10, False), (15, False), (20, True)]
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] > 0 and len({id(model) for model in smoke}) == 1
    learn(side, e, CPU, {BPD: 5.0, DISTANCE: 900.0}, every=5)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["step"], line["last"]) for line in lines] == [(10, True)]


def test_the_time_of_measuring_is_not_counted(monkeypatch, capsys):
    clock = [0.0]

    def judge(e, data, device):
        def qualities(model):
            clock[0] += 1000.0
            return {BPD: 9.0, DISTANCE: 900.0}

        return qualities

    def train(system, data, e, device, note):
        for step in range(1, 21):
            clock[0] += 1.0
            note(step, system)

    monkeypatch.setattr(time_to_quality, "judge", judge)
    monkeypatch.setitem(time_to_quality.SIDES, "ours", train)
    monkeypatch.setattr(time_to_quality.time, "time", lambda: clock[0])
    monkeypatch.setattr(time_to_quality.psutil.Process, "create_time", lambda self: -3.0)
    learn("ours", experiment("table1/cq-f", "smoke"), CPU, {BPD: 0.0}, every=5)
    assert [json.loads(line)["seconds"] for line in capsys.readouterr().out.splitlines()] == [13.0, 18.0, 23.0]


def test_both_sides_are_followed_in_processes_of_one_thread_until_their_last_line(monkeypatch, capsys):
    told = {
        "ours": [{"step": 5, "seconds": 4.0, "last": True, BPD: 4.5, DISTANCE: 390.0}],
        "textbook": [{"step": 5, "seconds": 6.0, "last": False, BPD: 6.0, DISTANCE: 390.0},
                     {"step": 9, "seconds": 9.0, "last": True, BPD: 5.5, DISTANCE: 390.0}],
    }  # fmt: skip

    def process(what, module, side, threads):
        assert (module, threads) == ("benchmarks.time_to_quality", 1)
        return nullcontext(map(json.dumps, told[side]).__next__)

    monkeypatch.setattr(time_to_quality.sides, "process", process)
    monkeypatch.setattr(time_to_quality, "bounds", lambda: {BPD: 5.0, DISTANCE: 400.0})
    ratio, ours, other = time_to_quality.TimeToQuality().results(CPU)
    assert (ratio.ours_s, ratio.other_s, ratio.holds) == (4.0, 9.0, True) and "1 thread" in ratio.device
    assert (ours.reached, other.reached, other.steps, other.qualities[BPD]) == (4.0, None, (5, 9), (6.0, 5.5))
    out = capsys.readouterr().out
    assert "time-to-quality      ours: reached" in out and "textbook: not reached" in out
