"""Child processes: how they end, how they are stopped, what is shown of them."""

from __future__ import annotations

import os
import time

import pytest
import torch

from cqlib.suite.cli import tasks
from cqlib.suite.cli.progress import Progress
from cqlib.suite.cli.tasks import Outcome, Task, local_start, run_tasks
from cqlib.util.stop import StopRequest

CHILD = """
import os, signal, sys, time
from pathlib import Path
what, here = sys.argv[1], Path(sys.argv[2])
print("step 1 of 2", file=sys.stderr, flush=True)
if what == "waits":
    print("waits: waiting for process 7", file=sys.stderr, flush=True)
if what == "interrupted":
    print("python -m cqlib: stopped; run it again to resume", file=sys.stderr)
    print("zmq.error.ZMQError: Socket operation on non-socket", file=sys.stderr)
    sys.exit(3)
if what in ("saves", "stubborn"):
    def stop(*_):
        if what == "saves":
            print("python -m cqlib: stopped at step 1 of 2", file=sys.stderr, flush=True)
            sys.exit(3)
    signal.signal(signal.SIGTERM, stop)
    (here / what).touch()
    time.sleep(60)
if what == "fails":
    print("python -m cqlib: no such file x.npz", file=sys.stderr)
    sys.exit(1)
if what == "crashes":
    1 / 0
if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "threads":
    print(os.environ["OMP_NUM_THREADS"], file=sys.stderr)
    sys.exit(1)
"""


class StopWhen(StopRequest):
    """A request to stop once there is a file."""

    def __init__(self, file, signals: int = 1) -> None:
        super().__init__()
        self.file, self.signals = file, signals

    def reason(self) -> str | None:
        return "SIGTERM" if self.file.exists() else None


@pytest.fixture
def run(tmp_path):
    def go(*what: str, stop: StopRequest | None = None, slots=({}, {})) -> dict[str, Outcome]:
        todo = [Task(name, ("-c", CHILD, name, str(tmp_path)), name) for name in what]
        outcomes = run_tasks(todo, local_start(slots), len(slots), stop=stop or StopRequest(), logs=tmp_path / "logs")
        return {outcome.task.name: outcome for outcome in outcomes}

    return go


def test_every_task_ends_and_a_failure_stops_nobody(run, tmp_path, capfd):
    outcomes = run("fails", "crashes", "killed", "fine", "waits")
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "fails": "failed", "crashes": "failed", "killed": "failed", "fine": "done", "waits": "done",
    }  # fmt: skip
    assert outcomes["fails"].message == f"no such file x.npz; see {tmp_path / 'logs' / 'fails.log'}"
    assert "SIGKILL" in outcomes["killed"].message and "--jobs" in outcomes["killed"].message
    assert "ZeroDivisionError" in outcomes["crashes"].message
    assert "Traceback" in (tmp_path / "logs" / "crashes.log").read_text()
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["crashes.log", "fails.log", "killed.log"]
    lines = capfd.readouterr().err.splitlines()
    assert "waits: waiting for process 7" in lines and not any("step 1" in line for line in lines)
    assert sum("fine: done in " in line for line in lines) == 1 and any("fails: failed: no such" in x for x in lines)


def test_what_a_kernel_prints_after_the_programs_own_line_is_not_told(run, capfd):
    assert run("interrupted")["interrupted"].message == "stopped; run it again to resume"
    assert "zmq" not in capfd.readouterr().err


def test_a_child_has_the_threads_of_its_slot(run):
    assert run("threads", slots=[{"OMP_NUM_THREADS": "3"}])["threads"].message.startswith("3; see")


def test_a_stop_lets_children_save_and_starts_nothing_new(run, tmp_path):
    outcomes = run("saves", "fine", slots=[{}], stop=StopWhen(tmp_path / "saves"))
    assert outcomes["saves"].status == outcomes["fine"].status == "stopped"
    assert outcomes["saves"].message == "stopped at step 1 of 2" and outcomes["fine"].message == "SIGTERM"


@pytest.mark.parametrize(("grace", "signals"), [(0.0, 1), (120.0, 2)])
def test_a_child_that_does_not_stop_is_killed_in_the_end_and_at_a_second_signal_at_once(
    run, tmp_path, monkeypatch, grace, signals
):
    monkeypatch.setattr(tasks, "GRACE", grace)
    began = time.monotonic()
    assert run("stubborn", stop=StopWhen(tmp_path / "stubborn", signals))["stubborn"].status == "stopped"
    assert time.monotonic() - began < 50  # it would sleep for 60 s


def test_cores_are_no_more_than_a_containers_share(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(tasks, "QUOTA", tmp_path / "cpu.max")
    assert tasks.cores() == 8  # there is no such file
    for text, count in (("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("max 100000", 8)):
        tasks.QUOTA.write_text(f"{text}\n")
        assert tasks.cores() == count


def test_jobs_share_the_cores_and_take_turns_on_the_gpus(monkeypatch):
    monkeypatch.setattr(tasks, "cores", lambda: 7)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CQLIB_DEVICE"):
        monkeypatch.delenv(name, raising=False)

    def values(name: str, jobs: int | None) -> list[str]:
        return [slot[name] for slot in tasks.slots(jobs)]

    assert values("OMP_NUM_THREADS", None) == ["1"] * 7 and values("OMP_NUM_THREADS", 3) == ["2"] * 3
    assert values("OMP_NUM_THREADS", 1) == ["7"] and values("OMP_NUM_THREADS", 9) == ["1"] * 9
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert values("OMP_NUM_THREADS", None) == ["4"] * 7

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert values("CUDA_VISIBLE_DEVICES", None) == ["0", "1"]
    assert values("CUDA_VISIBLE_DEVICES", 3) == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-ab")
    assert values("CUDA_VISIBLE_DEVICES", 4) == ["5", "GPU-ab"] * 2
    monkeypatch.setenv("CQLIB_DEVICE", "cuda:1")
    assert tasks.slots(None)[0].items() >= {"CUDA_VISIBLE_DEVICES": "GPU-ab", "CQLIB_DEVICE": "cuda"}.items()
    monkeypatch.setenv("CQLIB_DEVICE", "cpu")
    assert all("CUDA_VISIBLE_DEVICES" not in slot for slot in tasks.slots(3))


def test_plain_progress_says_what_each_task_has_reported_last(monkeypatch, capfd):
    monkeypatch.setattr("cqlib.suite.cli.progress.SECONDS", 0.0)
    shown = Progress({"a": 3.0, "b": 1.0})
    shown.show({"a": 0.25, "b": 0.0}, {"a": "step 1 of 4, 9 s left", "b": ""})
    shown.end("a: done in 12 s")
    lines = ["a: step 1 of 4, 9 s left", "b: running", "[1/2] a: done in 12 s"]
    assert capfd.readouterr().err.splitlines() == lines
