"""Child processes: their messages, how they end, how they are stopped."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import pytest

from cqlib.cli import tasks
from cqlib.cli.progress import Progress
from cqlib.cli.tasks import Listener, Outcome, Task, run_tasks
from cqlib.util.stop import StopRequest

CHILD = """
import os, signal, sys, time
from cqlib.cli.tasks import send_message
from cqlib.util.errors import UserError
from cqlib.util.stop import StopRequest
def main(what):
    print("of a library")
    send_message(progress=0.5)
    if what == "saves":
        try:
            send_message(progress=0.7)
            time.sleep(60)
        except KeyboardInterrupt:
            send_message(message="saved")
            raise
    if what == "trains":
        stop = StopRequest()
        with stop.listening(second_interrupts=True):
            send_message(progress=0.7)
            while not stop.reason():
                time.sleep(0.01)
            send_message(message="saved")
        raise KeyboardInterrupt
    if what == "notes":
        send_message(note="waiting for process 7")
    if what == "fails":
        raise UserError("no such file x.npz")
    if what == "crashes":
        1 / 0
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        send_message(progress=0.7)
        time.sleep(60)
    if what == "threads":
        import torch
        return f"{torch.get_num_threads()} {os.environ['OMP_NUM_THREADS']}"
    return "a result"
"""


class Hears(Listener):
    def __init__(self, at_70=lambda: None):
        self.notes, self.at_70 = [], at_70

    def progress(self, task, share):
        if share == 0.7:
            self.at_70()

    def note(self, task, text):
        self.notes.append((task.name, text))


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)

    def go(*what: str, stop: StopRequest | None = None, slots=({}, {}), **more) -> dict[str, Outcome]:
        tasks = [Task(name, "child:main", name) for name in what]
        outcomes = run_tasks(tasks, slots, stop=stop or StopRequest(), logs=tmp_path / "logs", **more)
        return {outcome.task.name: outcome for outcome in outcomes}

    return go


@pytest.mark.slow
def test_every_task_ends_and_a_failure_stops_nobody(run, tmp_path):
    outcomes = run("fails", "crashes", "killed", "fine")
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "fails": "failed", "crashes": "failed", "killed": "failed", "fine": "done",
    }  # fmt: skip
    assert outcomes["fails"].message.startswith("no such file x.npz; see ")
    assert "SIGKILL" in outcomes["killed"].message and "--jobs" in outcomes["killed"].message
    assert str(tmp_path / "logs" / "crashes.log") in outcomes["crashes"].message
    assert "ZeroDivisionError" in (tmp_path / "logs" / "crashes.log").read_text()
    assert outcomes["fine"].message == "a result"
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["crashes.log", "fails.log", "killed.log"]


def test_cores_are_no_more_than_a_containers_share(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(tasks, "QUOTA", tmp_path / "cpu.max")
    assert tasks.cores() == 8  # there is no such file
    for text, count in (("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("max 100000", 8), ("", 8)):
        tasks.QUOTA.write_text(f"{text}\n")
        assert tasks.cores() == count


@pytest.mark.slow
def test_a_child_has_the_threads_of_its_slot(run):
    assert run("threads", slots=[{"OMP_NUM_THREADS": "3"}])["threads"].message == "3 3"


@pytest.mark.slow
def test_notes_are_heard(run):
    listener = Hears()
    run("notes", listener=listener)
    assert listener.notes == [("notes", "waiting for process 7")]


def test_a_stop_lets_children_save_and_starts_nothing_new(run):
    stop = StopRequest()
    outcomes = run(
        "saves", "fine", stop=stop, slots=[{}], listener=Hears(lambda: setattr(stop, "requested", "SIGTERM"))
    )
    assert outcomes["saves"].status == outcomes["fine"].status == "stopped"
    assert outcomes["saves"].message == "saved" and outcomes["fine"].seconds == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="children are forked on Linux alone")
def test_a_signal_to_all_processes_lets_children_save(run):
    """As a cluster or an init system ends a job: the process that children are forked from outlives them, and the
    parent's own signal, their second, cuts no training's save short."""
    stop = StopRequest()

    def to_all():
        server = forkserver._forkserver._forkserver_pid
        for process in (server, *map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())):
            os.kill(process, signal.SIGTERM)
        stop.requested = "SIGTERM"

    assert run("trains", stop=stop, slots=[{}], listener=Hears(to_all))["trains"].message == "saved"


def test_a_child_that_does_not_stop_in_time_is_killed(run, monkeypatch):
    monkeypatch.setattr(tasks, "GRACE", 0.0)
    stop = StopRequest()
    outcome = run("stubborn", stop=stop, listener=Hears(lambda: setattr(stop, "requested", "SIGTERM")))["stubborn"]
    assert outcome.status == "stopped"  # and not "done", as after its sleep


def test_a_second_signal_kills(run):
    stop = StopRequest()

    def twice():
        stop.requested, stop.signals = "SIGINT", 2

    outcome = run("stubborn", stop=stop, listener=Hears(twice))["stubborn"]
    assert outcome.status == "stopped"  # and not "done", as after its sleep


def test_the_time_budget_is_a_stop(run):
    outcomes = run("fine", stop=StopRequest(deadline=time.monotonic() - 1))
    assert outcomes["fine"].status == "stopped" and "time budget" in outcomes["fine"].message


def test_plain_progress_tells_notes_shares_and_the_time_left(monkeypatch, capfd):
    now = [100.0]
    monkeypatch.setattr("cqlib.cli.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("cqlib.cli.progress.EVERY", 0.0)
    a, b = Task("a", "x:y", None, cost=3.0), Task("b", "x:y", None)
    shown = Progress([a, b])
    shown.waiting()
    shown.started(a)
    shown.progress(a, 0.25)  # it is resumed: this quarter took no time now
    shown.note(a, "waiting for process 7")
    shown.waiting()
    now[0] += 12
    shown.progress(a, 0.5)
    shown.waiting()
    shown.started(a, again=True)
    shown.ended(Outcome(a, "done", "", 60.0))
    assert capfd.readouterr().err.splitlines() == [
        "0% done (nothing runs yet)", "[0/2] a: started", "waiting for process 7", "19% done (a 25%)",
        "38% done, about 40 s left (a 50%)",
        "[0/2] a: its node was lost; another resumes from the last checkpoint", "[1/2] a: done in 60 s",
    ]  # fmt: skip


def test_plain_progress_has_one_line_per_event(run, capfd, monkeypatch):
    monkeypatch.setattr("cqlib.cli.progress.EVERY", math.inf)
    tasks = [Task("fine", "child:main", "fine"), Task("fails", "child:main", "fails")]
    run("fine", "fails", listener=Progress(tasks))
    lines = capfd.readouterr().err.splitlines()
    assert sorted(line.split("] ")[1].split(" in ")[0].split(";")[0] for line in lines) == [
        "fails: failed: no such file x.npz", "fails: started", "fine: done", "fine: started",
    ]  # fmt: skip
