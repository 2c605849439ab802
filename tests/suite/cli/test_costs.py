"""The time of rows before they run: from finished runs of the same row, else from what was computed for a GPU."""

from __future__ import annotations

from dataclasses import replace

import fake_records
import pytest

from cqlib.suite.cli import costs
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.record import Record, write_record

VAE, GAN = experiment("table1/vae", "quick"), experiment("table1/gan", "quick")


def made(seed: int = 0, **changes) -> Record:
    """A finished run of table1/vae under quick, of 100 steps in 50 s."""
    values = {"seed": seed, "device": "CPU Test, 1 thread", "steps": 100, "seconds": 50.0, **changes}
    return replace(fake_records.record("table1/vae", data=VAE.data, profile="quick"), **values)


def test_a_run_takes_its_steps_times_the_median_of_seconds_a_step():
    records = [
        made(),
        made(1, seconds=60.0),
        made(2, seconds=9000.0),
        made(3, steps=200, seconds=120.0, changes={"training.steps": 200}),
        made(4, seconds=9000.0, changes={"system.width": 9}),
        made(5, seconds=9000.0, status="diverged"),
        made(6, seconds=9000.0, profile="study"),
    ]
    seconds, words = costs.expected_seconds(VAE, records)
    assert seconds == pytest.approx(0.6 * VAE.recipe.training.steps)
    assert words == "as 4 runs on CPU Test, 1 thread"
    assert costs.expected_seconds(GAN, records) is None


def test_runs_of_this_machine_come_before_published_ones_and_what_is_unknown_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "RECORDS", tmp_path / "published")
    write_record(made(seconds=900.0), tmp_path / "published", "one.json")
    write_record(made(), tmp_path / "runs" / "one", "record.json")
    minutes = 0.5 * VAE.recipe.training.steps / 60
    vae, gan, total = costs.time_lines({VAE: 4, GAN: 1}, tmp_path / "runs", jobs=2)
    assert vae.startswith(f"  table1/vae on {VAE.data}: about {minutes:.0f} min (as 1 run on CPU Test, 1 thread), 4 se")
    assert gan == f"  table1/gan on {GAN.data}: time not known"
    assert total == f"  in all about {2 * minutes:.0f} min with 2 at a time, without what is not known"
    *_, total = costs.time_lines({VAE: 1}, tmp_path / "runs", jobs=4)
    assert total == f"  in all about {minutes:.0f} min with 4 at a time"
    finished, *none = costs.time_lines({VAE: 0}, tmp_path / "runs", jobs=4)
    assert finished.endswith(", finished") and not none


def test_the_paper_s_rows_have_estimates_for_a_gpu(tmp_path):
    line, _ = costs.time_lines({experiment("table1/cq-f", "paper"): 1}, tmp_path, jobs=1)
    assert "of an A100, estimated" in line and " min (" in line
    changed = experiment("table1/cq-f", "paper", changes={"system.quality_weight": 25})
    assert costs.expected_gpu_seconds(changed) is None
