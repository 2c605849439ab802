"""The cost of rows before they run: from records of the same hardware, else from a few real steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pkgutil import resolve_name

import fake_records
import pytest

from cqlib.cli import costs
from cqlib.cli.tasks import Outcome
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import PROFILES
from cqlib.training import timing
from cqlib.util.paths import RECORDS
from cqlib.util.stop import StopRequest

HERE, GIB = "CPU Test, 1 thread", 2**30


def made(seed: int = 0, **changes) -> Record:
    """A finished run of table1/vae under smoke on this hardware."""
    e = experiment("table1/vae", "smoke", seed=seed)
    values = {"profile": "smoke", "seed": seed, "config_hash": e.config_hash, "device": HERE}
    return replace(fake_records.record("table1/vae"), **{**values, **changes})


def test_only_finished_runs_of_the_same_experiment_on_the_same_hardware_are_measured(tmp_path):
    records = [
        made(seconds=100, peak_memory_bytes=GIB),
        made(7, seconds=200, peak_memory_bytes=2 * GIB),
        made(1, seconds=9000, device="CPU Test, 16 threads"),
        made(2, seconds=9000, config_hash="0123456789abcdef"),
        made(3, seconds=9000, status="diverged"),
    ]
    cost = costs.known(experiment("table1/vae", "smoke"), tmp_path, records, HERE)
    assert cost == costs.Cost(150, 2 * GIB, 2) and str(cost) == "2 min, 2,147 MB (measured in 2 runs)"
    assert costs.known(experiment("table1/gan", "smoke"), tmp_path, records, HERE) is None


def test_a_cluster_keeps_free_more_than_any_published_run_took():
    assert set(costs.RESOURCES) == set(PROFILES) and costs.RESOURCES["paper"][1] == 1
    for r in load_records(RECORDS)[0]:
        assert r.peak_memory_bytes < costs.RESOURCES[r.profile][0], r.row


def test_measured_rows_are_told_at_once_and_others_are_timed_and_remembered(tmp_path, monkeypatch):
    def here(tasks, slots, *, stop, logs):
        """As in a process of its own, whose start takes seconds."""
        (task,), reason = tasks, stop.reason()
        done = None if reason else Outcome(task, "done", resolve_name(task.function)(task.argument), 1)
        return [done or Outcome(task, "stopped", reason, 0)]

    steps = []
    monkeypatch.setattr(timing, "seconds_per_step", lambda system, config, device: steps.append(config.steps) or 2.0)
    monkeypatch.setattr(costs, "run_tasks", here)
    monkeypatch.setattr(costs, "hardware", lambda threads: HERE)
    vae, gan = experiment("table1/vae", "smoke"), experiment("table1/gan", "smoke")
    settings = {"runs_dir": tmp_path / "runs", "records": [made(seconds=100, peak_memory_bytes=GIB)],
                "slots": [{"OMP_NUM_THREADS": "1"}] * 2}  # fmt: skip
    _, first, second = costs.lines({vae: 0, gan: 2}, stop=StopRequest(requested="SIGTERM"), **settings)
    assert first == f"  table1/vae on {vae.data}: 2 min, 1,074 MB (measured in 1 run), finished"
    assert second == f"  table1/gan on {gan.data}: no estimate (SIGTERM), 2 seeds"

    (tmp_path / "runs").mkdir()
    *_, second, total = lines = list(costs.lines({vae: 0, gan: 2}, stop=StopRequest(), **settings))
    assert steps == [gan.recipe.training.steps, gan.recipe.frozen_decoder.training.steps]  # every stage
    assert second.startswith(f"  table1/gan on {gan.data}: about ") and second.endswith("(estimated), 2 seeds")
    assert total.startswith("  in all about ") and total.endswith(" with 2 at a time")
    monkeypatch.setattr(costs, "run_tasks", lambda *_, **__: pytest.fail("measured again"))
    assert list(costs.lines({vae: 0, gan: 2}, stop=StopRequest(), **settings)) == lines[1:]
    (file,) = (tmp_path / "runs" / "estimates").iterdir()
    assert costs.known(gan, tmp_path / "runs", (), HERE) == costs.Cost(**json.loads(file.read_text()))
    assert costs.known(gan, tmp_path / "runs", (), "CPU Test, 2 threads") is None
    file.write_text('{"seconds": 1}')
    assert costs.known(gan, tmp_path / "runs", (), HERE) is None


def test_all_rows_share_the_slots_and_take_as_long_as_the_longest(monkeypatch, tmp_path):
    monkeypatch.setattr(costs, "hardware", lambda threads: HERE)
    monkeypatch.setattr(costs, "known", lambda e, *_: costs.Cost(36_000 if e.row == "table1/vae" else 72_000, 1))
    for seeds, jobs, words in (((4, 1), 2, "about 30 h 00 min with 2"), ((2, 1), 4, "about 20 h 00 min with 4")):
        number = dict(zip(map(experiment, ("table1/vae", "table1/gan")), seeds, strict=True))
        slots = [{"OMP_NUM_THREADS": "1"}] * jobs
        *_, total = costs.lines(number, runs_dir=tmp_path, records=(), slots=slots, stop=StopRequest())
        assert total == f"  in all {words} at a time"
