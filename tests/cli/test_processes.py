"""Child processes: what they say, how they end, how they are told to stop."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from cqlib.cli.progress import Progress
from cqlib.cli.tasks import Outcome, Task, run_tasks
from cqlib.util.stop import StopRequest

CHILD = """
import json, os, signal, sys, time
from cqlib.cli.tasks import say
what = sys.argv[1]
print("noise that is no JSON")
say(progress=0.5)
if what == "saves":
    def stop(*_):
        say(message="saved"); sys.exit(3)
    signal.signal(signal.SIGTERM, stop)
    say(progress=0.7)
    time.sleep(60)
if what == "notes":
    say(note="waiting for process 7")
if what == "fails":
    say(message="no such file x.npz"); sys.exit(1)
if what == "crashes":
    1 / 0
if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN); say(progress=0.7); time.sleep(60)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(CHILD)
    root = str(Path(__file__).parent.parent.parent)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")

    def go(*what: str, stop: StopRequest | None = None, workers: int = 2, **more) -> dict[str, Outcome]:
        tasks = [Task(name, "child", name) for name in what]
        logs = tmp_path / "logs"
        outcomes = run_tasks(tasks, [{}] * workers, stop=stop or StopRequest(), logs=logs, **more)
        return {outcome.task.name: outcome for outcome in outcomes}

    return go


def test_every_task_ends_and_a_failure_stops_nobody(run, tmp_path):
    outcomes = run("fails", "crashes", "killed", "fine")
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "fails": "failed", "crashes": "failed", "killed": "failed", "fine": "done",
    }  # fmt: skip
    assert outcomes["fails"].message == "no such file x.npz"
    assert "SIGKILL" in outcomes["killed"].message and "--jobs" in outcomes["killed"].message
    assert str(tmp_path / "logs" / "crashes.log") in outcomes["crashes"].message
    assert "ZeroDivisionError" in (tmp_path / "logs" / "crashes.log").read_text()
    assert not (tmp_path / "logs" / "fine.log").exists()


def test_two_that_run_the_same_have_a_log_each_and_a_killed_one_s_goes(run, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    gone, alive = logs / "fine.running-999999999", logs / f"fine.running-{os.getppid()}"
    for path in (gone, alive):
        path.touch()
    assert run("fine")["fine"].status == "done"
    assert list(logs.iterdir()) == [alive]


def test_notes_are_heard_at_once(run):
    heard = []
    run("notes", noted=lambda task, text: heard.append((task.name, text)))
    assert heard == [("notes", "waiting for process 7")]


def test_a_stop_lets_children_save_and_starts_nothing_new(run):
    stop = StopRequest()

    def listener(task: Task, event: str, value: float) -> None:
        if value == 0.7:
            stop.requested = "SIGTERM"

    outcomes = run("saves", "fine", stop=stop, workers=1, listener=listener)
    assert outcomes["saves"].status == outcomes["fine"].status == "stopped"
    assert outcomes["saves"].message == "saved"
    assert outcomes["saves"].seconds < 30 and outcomes["fine"].seconds == 0


def test_a_second_signal_kills(run):
    stop = StopRequest()

    def listener(task: Task, event: str, value: float) -> None:
        if value == 0.7:
            stop.requested, stop.signals = "SIGINT", 2

    outcome = run("stubborn", stop=stop, listener=listener)["stubborn"]
    assert outcome.seconds < 30 and outcome.status in ("stopped", "failed")


def test_the_time_budget_is_a_stop(run):
    outcomes = run("fine", stop=StopRequest(deadline=time.monotonic() - 1))
    assert outcomes["fine"].status == "stopped" and "time budget" in outcomes["fine"].message


def test_plain_progress_has_one_line_per_event(run, capfd):
    tasks = [Task("fine", "child", "fine"), Task("fails", "child", "fails")]
    progress = Progress(tasks, sys.stderr)
    run("fine", "fails", listener=progress, ended=progress.ended)
    lines = capfd.readouterr().err.splitlines()
    assert sorted(line.split("] ")[1].split(" in ")[0] for line in lines) == [
        "fails: failed: no such file x.npz", "fails: started", "fine: done", "fine: started",
    ]  # fmt: skip
