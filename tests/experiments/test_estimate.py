"""The estimate before a long run: words, arithmetic, and a measurement of real steps."""

import json

import pytest
import torch

from cqlib.experiments import estimate
from cqlib.experiments.estimate import Estimate
from cqlib.experiments.experiment import experiment
from cqlib.training import timing
from cqlib.util.text import rough_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (5401, "2 h"), (172_000, "48 h"),
     (200_000, "2.3 days"), (8e6, "93 days"), (86400 * 1234, "1,234 days")],
)  # fmt: skip
def test_durations(seconds, words):
    assert rough_duration(seconds) == words


def test_total_shares_the_slots_and_counts_the_seeds():
    found = [Estimate(3600 * 10, 1), Estimate(3600 * 20, 1)]
    line = estimate.total(found, [4, 1], 2)
    assert line == "in all about 30 h with 2 at a time"
    assert estimate.total(found, [2, 1], 4).startswith("in all about 20 h")  # the second takes that long alone


def test_every_stage_is_counted(monkeypatch):
    steps = []

    def measure(system, config, device):
        steps.append(config.steps)
        return 2.0

    monkeypatch.setattr(timing, "measure", measure)
    found = estimate.estimate(experiment("table1/gan", "smoke"))
    recipe = experiment("table1/gan", "smoke").recipe
    assert steps == [recipe.training.steps, recipe.frozen_decoder.training.steps]
    assert found.seconds == 2.0 * sum(steps) and found.memory_bytes > 0


def test_measuring_leaves_no_trace_and_main_says_what_parse_reads(capsys):
    before = torch.get_rng_state()
    assert estimate.main(json.dumps({"row": "table1/vae", "profile": "smoke", "data": "photos10"})) == 0
    said = json.loads(capsys.readouterr().out)["message"]
    found = estimate.parse(said)
    assert found.seconds > 0 and found.memory_bytes > 2**20 and "GiB" in str(found)
    assert estimate.parse("no memory") is None and estimate.parse("a b") is None
    assert torch.equal(before, torch.get_rng_state())


def test_an_estimate_is_kept_for_its_recipe_and_hardware(tmp_path):
    e, found = experiment("table1/vae", "smoke"), Estimate(3.5, 7)
    assert estimate.known(e, tmp_path, "CPU X, 1 thread") is None
    estimate.keep(e, tmp_path, "CPU X, 1 thread", found)
    assert estimate.known(experiment("table1/vae", "smoke", seed=3), tmp_path, "CPU X, 1 thread") == found
    assert estimate.known(experiment("table1/vae", "quick"), tmp_path, "CPU X, 1 thread") is None
    assert estimate.known(e, tmp_path, "CPU X, 2 threads") is None
    (file,) = (tmp_path / "estimates").iterdir()
    for damage in ("", "[]", '{"seconds": 1}'):
        file.write_text(damage)
        assert estimate.known(e, tmp_path, "CPU X, 1 thread") is None
