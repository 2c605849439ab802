"""The cost of rows before they run: from records of the same hardware, else from a few real steps."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from pkgutil import resolve_name

import pytest
import torch

from cqlib.cli import costs
from cqlib.cli.tasks import Outcome
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import PROFILES
from cqlib.training import timing
from cqlib.training.device import fast_bf16
from cqlib.util import provenance
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT
from cqlib.util.stop import StopRequest

HERE = "CPU Test, 1 thread, bf16 convolutions"


@pytest.fixture(scope="module")
def example() -> Record:
    found = load_records(ROOT / "reports" / "published" / "records")[0]
    return next(r for r in found if (r.row, r.data.name) == ("table1/vae", "photos10"))


def made(example: Record, seed: int = 0, **changes) -> Record:
    """A finished run of table1/vae under smoke on this hardware."""
    e = experiment("table1/vae", "smoke", seed=seed)
    values = {"profile": "smoke", "seed": seed, "config_hash": e.config_hash, "device": HERE}
    return replace(example, **{**values, **changes})


def test_only_finished_runs_of_the_same_experiment_on_the_same_hardware_are_measured(example, tmp_path):
    e, gib = experiment("table1/vae", "smoke"), 2**30
    records = [
        made(example, seconds=100, peak_memory_bytes=gib),
        made(example, 7, seconds=200, peak_memory_bytes=2 * gib),
        made(example, 1, seconds=9000, device="CPU Test, 16 threads, bf16 convolutions"),
        made(example, 1, seconds=9000, device="CPU Test, 1 thread, fp32"),
        made(example, 2, seconds=9000, config_hash="0123456789abcdef"),
        made(example, 3, seconds=9000, status="diverged"),
    ]
    assert costs.known(e, tmp_path, records, HERE) == costs.Cost(150, 2 * gib, 2)
    assert str(costs.known(e, tmp_path, records, HERE)) == "2 min, 2,147 MB (measured in 2 runs)"
    assert costs.known(experiment("table1/gan", "smoke"), tmp_path, records, HERE) is None
    full = replace(e, recipe=replace(e.recipe, training=replace(e.recipe.training, autocast="off")))
    records = [made(example, config_hash=full.config_hash, device="CPU Test, 1 thread, fp32", seconds=7)]
    assert costs.known(full, tmp_path, records, HERE).seconds == 7
    records = [made(example, config_hash=full.config_hash, device="A Card, TF32 convolutions", seconds=5)]
    assert costs.known(full, tmp_path, records, "A Card, bf16 convolutions").seconds == 5
    assert costs.known(full, tmp_path, records, "GPU") is None  # whose name could not be asked for


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks the card")
def test_the_hardware_is_named_as_records_name_it():
    cpu = torch.device("cpu")
    for threads in (1, 3):
        named = costs.hardware(threads)
        assert named == provenance.device_name(cpu, bf16=fast_bf16(cpu), threads=threads)
        assert f", {threads} thread" in named and named.endswith("bf16 convolutions" if fast_bf16(cpu) else "fp32")


def test_a_cluster_keeps_free_more_than_any_published_run_took():
    assert set(costs.RESOURCES) == set(PROFILES) and costs.RESOURCES["paper"][1] == 1
    for r in load_records(ROOT / "reports" / "published" / "records")[0]:
        assert r.peak_memory_bytes < costs.RESOURCES[r.profile][0], r.row


def test_measured_rows_are_told_at_once_and_others_are_timed_and_remembered(example, tmp_path, monkeypatch):
    def here(tasks, slots, *, stop, logs):
        """As in a process of its own, whose start takes seconds."""
        (task,), reason = tasks, stop.reason()
        done = None if reason else Outcome(task, "done", resolve_name(task.function)(task.argument), 1)
        return [done or Outcome(task, "stopped", reason, 0)]

    monkeypatch.setattr(costs, "run_tasks", here)
    monkeypatch.setattr(costs, "hardware", lambda threads: HERE)
    wanted = Counter({experiment("table1/vae", "smoke"): 0, experiment("table1/gan", "smoke"): 2})
    settings = {"runs_dir": tmp_path / "runs", "records": [made(example, seconds=100, peak_memory_bytes=2**30)],
                "slots": [{"OMP_NUM_THREADS": "1"}] * 2}  # fmt: skip

    lines = list(costs.lines(wanted, stop=StopRequest(requested="SIGTERM"), **settings))
    told = "  table1/vae on photos10: 2 min, 1,074 MB (measured in 1 run), finished"
    assert lines == ["measuring a few steps of 1 row; Ctrl-C stops before anything has begun", told,
                     "  table1/gan on photos10: no estimate (SIGTERM), 2 seeds"]  # fmt: skip
    (tmp_path / "runs").mkdir()
    lines = list(costs.lines(wanted, stop=StopRequest(), **settings))
    assert lines[2].startswith("  table1/gan on photos10: about ") and lines[2].endswith("(estimated), 2 seeds")
    assert lines[3].startswith("  in all about ") and lines[3].endswith(" with 2 at a time")
    monkeypatch.setattr(costs, "run_tasks", lambda *_, **__: pytest.fail("measured again"))
    assert list(costs.lines(wanted, stop=StopRequest(), **settings)) == lines[1:]


def test_the_log_that_a_line_names_stays(tmp_path, monkeypatch):
    def fails(tasks, slots, *, stop, logs):
        log = logs / "estimate.log"
        log.write_text("why")
        return [Outcome(tasks[0], "failed", f"exit code 1; see {log}", 1)]

    monkeypatch.setattr(costs.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(costs, "hardware", lambda threads: HERE)
    settings = {"runs_dir": tmp_path / "runs", "records": (), "slots": [{"OMP_NUM_THREADS": "1"}]}
    for run, left in ((fails, 1), (lambda tasks, *_, **__: [Outcome(tasks[0], "stopped", "SIGINT", 1)], 1)):
        monkeypatch.setattr(costs, "run_tasks", run)
        *_, line = costs.lines({experiment("table1/vae", "smoke"): 1}, stop=StopRequest(), **settings)
        assert "no estimate (" in line and len(list(tmp_path.iterdir())) == left
    (log,) = tmp_path.glob("*/*.log")
    assert log.read_text() == "why"


def test_an_estimate_counts_every_stage_and_is_kept_for_its_recipe_and_hardware(tmp_path, monkeypatch):
    steps = []

    def measure(system, config, device):
        steps.append(config.steps)
        return 2.0

    monkeypatch.setattr(timing, "seconds_per_step", measure)
    e, before = experiment("table1/gan", "smoke"), torch.get_rng_state()
    assert costs.known(e, tmp_path, (), HERE) is None
    cost = costs.Cost(**json.loads(costs.estimate(e)))
    assert steps == [e.recipe.training.steps, e.recipe.frozen_decoder.training.steps]
    assert cost.seconds == 2.0 * sum(steps) and cost.memory_bytes > 2**20 and "(estimated)" in str(cost)
    assert torch.equal(before, torch.get_rng_state())
    file = costs._estimate_file(e, tmp_path, HERE)
    write_atomic(file, json.dumps(asdict(cost)))
    assert costs.known(experiment("table1/gan", "smoke", seed=3), tmp_path, (), HERE) == cost
    for other in ((experiment("table1/gan", "quick"), HERE), (e, "CPU Test, 2 threads, fp32")):
        assert costs.known(other[0], tmp_path, (), other[1]) is None
    for damage in ("", "[]", '{"seconds": 1}'):
        file.write_text(damage)
        assert costs.known(e, tmp_path, (), HERE) is None


def test_all_rows_share_the_slots_and_take_as_long_as_the_longest(monkeypatch, tmp_path):
    monkeypatch.setattr(costs, "hardware", lambda threads: HERE)
    monkeypatch.setattr(costs, "known", lambda e, *_: costs.Cost(36_000 if e.row == "table1/vae" else 72_000, 1))
    for seeds, jobs, words in (((4, 1), 2, "about 30 h 00 min with 2"), ((2, 1), 4, "about 20 h 00 min with 4")):
        number = dict(zip(map(experiment, ("table1/vae", "table1/gan")), seeds, strict=True))
        slots = [{"OMP_NUM_THREADS": "1"}] * jobs
        *_, total = costs.lines(number, runs_dir=tmp_path, records=(), slots=slots, stop=StopRequest())
        assert total == f"  in all {words} at a time"
