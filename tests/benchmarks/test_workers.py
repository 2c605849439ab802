"""Rows of the default command, shared out: what is set against what."""

import pytest
import torch

from benchmarks import workers
from cqlib.cli.tasks import Outcome, Task, thread_limits
from cqlib.util.errors import UserError

CPU = torch.device("cpu")


def test_the_rows_are_those_of_the_default_command_with_few_steps_in_every_stage():
    cqf, gan = (workers.shortened(row, 7) for row in ("table1/cq-f", "table1/gan"))
    assert (cqf.profile, cqf.recipe.training.steps, cqf.evaluation.bpd_images) == ("quick", 7, 64)
    assert gan.recipe.training.steps == gan.recipe.frozen_decoder.training.steps == 7


def test_every_row_is_run_once_the_longest_first_and_one_that_fails_is_an_error():
    seen = []

    def run(todo, logs, status="done"):
        seen.append([task.argument["e"] for task in todo])
        return [Outcome(task, status, "no room", 1.0) for task in todo]

    assert workers.seconds(run) >= 0
    assert sorted(e.row for e in seen[0]) == sorted(f"table1/{row}" for row in ("vae", "vae-f", "cq", "cq-f", "gan"))
    assert seen[0][0].row == "table1/cq-f"
    with pytest.raises(UserError, match="table1/cq-f on photos10, seed 0 ended as failed: no room"):
        workers.seconds(lambda todo, logs: run(todo, logs, "failed"))


def test_processes_share_out_the_rows(monkeypatch):
    asked = []
    monkeypatch.setattr(workers.tasks, "run_tasks", lambda todo, slots, **_: asked.append(slots) or [])
    workers.here(2, 1)
    workers.here(1, 2)
    assert asked == [[thread_limits(1)] * 2, [thread_limits(2)]]


@pytest.mark.slow
def test_the_process_that_others_are_forked_from_starts():
    workers.start()


@pytest.mark.slow
def test_one_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(workers, "Task", lambda name, *_: Task(name, "builtins:len", 7))
    with pytest.raises(UserError, match="does not start: .*has no len"):
        workers.start()


def test_ways_are_set_against_each_other(monkeypatch):
    """0.6 of the time of one just holds."""
    taken = {(2, 1): 6.0, (1, 1): 10.0, (1, 2): 5.0}
    monkeypatch.setattr(workers, "start", lambda: None)
    monkeypatch.setattr(workers, "here", lambda processes, threads: taken[processes, threads])
    monkeypatch.setattr(workers, "on_cluster", {1: 12.0, 2: 9.0}.__getitem__)
    one, threads, ray = workers.Workers().results(CPU)
    assert (one.ours, one.other, one.ours_s, one.other_s, one.holds) == ("2 processes", "1 process", 6.0, 10.0, True)
    assert (threads.other, threads.ratio, threads.holds) == ("1 process of 2 threads", 5 / 6, False)
    assert (ray.ours, ray.ratio, ray.holds) == ("2 Ray nodes", 12 / 9, False)


def test_without_ray_the_cluster_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(workers, "start", lambda: None)
    monkeypatch.setattr(workers, "here", lambda processes, threads: 1.0)
    monkeypatch.setattr(workers, "installed", lambda name, package: False)
    assert [r.ours for r in workers.Workers().results(CPU)] == ["2 processes", "2 processes"]
