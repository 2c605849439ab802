"""Tasks as child processes, a few at a time. A task is a Python command that prints "step 3 of 40" on stderr and ends
with exit code 0 (done), 3 (stopped, its state saved) or another one (failed, its last line says why)."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cqlib.suite.cli.options import PROGRAM
from cqlib.suite.cli.progress import Progress
from cqlib.util.paths import ROOT
from cqlib.util.stop import StopRequest
from cqlib.util.text import duration

GRACE = 120.0
"""Seconds between SIGTERM, on which a child saves its state, and SIGKILL."""
LAST_STEP = 0.9
"""The share of a task that is done at its last step; after it a row is evaluated, and a notebook is made a page."""

Status = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class Task:
    """A Python command: `arguments` are the words after "python", `log` is the name of its log file without suffix."""

    name: str
    arguments: tuple[str, ...]
    log: str
    cost: float = 1.0
    """Expected time, relative to the other tasks."""


@dataclass(frozen=True)
class Outcome:
    """The end of a task. `message`, one line, says why it did not succeed, or how long it took."""

    task: Task
    status: Status
    message: str

    def __str__(self) -> str:
        words = self.message if self.message.startswith(self.status) else f"{self.status}: {self.message}"
        return f"{self.task.name}: {words}"


class Process(Protocol):
    """What a `subprocess.Popen` and a process on a cluster have in common."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Start = Callable[[Task, Path, int], Process]
"""A function that starts a task in the slot of this number, with its stderr appended to a log."""


# --- cores and GPUs ----------------------------------------------------------------------------------------------

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The CPU limit of a container: "200000 100000" allows 200,000 microseconds of CPU time, over all cores, in every
100,000 microseconds; "max" in place of the first number means no limit."""


def cores() -> int:
    """The number of cores that this process may use, within the limit of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        share, period = map(int, QUOTA.read_text().split())
        return min(allowed, max(1, round(share / period)))
    return allowed


def thread_limits(threads: int | str) -> dict[str, str]:
    """The environment variables that limit the threads of numerical libraries."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def slots(jobs: int | None) -> list[dict[str, str]]:
    """For each of `jobs` children at a time (default: one per GPU, or per core without GPUs) the environment variables
    that give it a GPU, if there is one, and its share of the cores as threads (or $OMP_NUM_THREADS threads)."""
    import torch

    from cqlib.util.device import select_device

    gpus: list[str] = []
    if (device := select_device()).type == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [name.strip() for name in visible.split(",")] if visible else [*map(str, range(64))]
        gpus = names[: torch.cuda.device_count()] if device.index is None else [names[device.index]]
    count = jobs or len(gpus) or (1 if device.type == "mps" else cores())
    limits = thread_limits(os.environ.get("OMP_NUM_THREADS") or max(1, cores() // count))
    cards = [{"CUDA_VISIBLE_DEVICES": gpu, "CQLIB_DEVICE": "cuda"} for gpu in gpus] or [{}]
    return [{**limits, **cards[i % len(cards)]} for i in range(count)]


# --- children ----------------------------------------------------------------------------------------------------


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of children: that of this process, with `more`, and with this package on the path."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **more}


def local_start(slots: Sequence[Mapping[str, str]]) -> Start:
    """A function that starts tasks on this machine; `slots` has environment variables for each slot."""

    def start(task: Task, log: Path, slot: int) -> Process:
        with log.open("ab") as errors:
            return subprocess.Popen([sys.executable, *task.arguments], env=child_environment(slots[slot]),
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)  # fmt: skip

    return start


def run_tasks(tasks: Sequence[Task], start: Start, jobs: int, *, stop: StopRequest, logs: Path) -> list[Outcome]:
    """Run `tasks` in this order, at most `jobs` at a time, and show their progress. Returns their outcomes in the order
    in which they end. The log of a task that fails is kept in `logs`. Once `stop` is requested, children get SIGTERM,
    then SIGKILL at the second signal or `GRACE` seconds later; tasks that have not begun are "stopped"."""
    logs.mkdir(parents=True, exist_ok=True)
    waiting, slots = list(tasks), list(range(jobs))
    children: list[_Child] = []
    outcomes: list[Outcome] = []
    shares: dict[str, float] = {}
    with closing(Progress({task.name: task.cost for task in tasks})) as progress:
        try:
            while waiting or children:
                if (reason := stop.reason()) is not None:
                    for child in children:
                        child.stop(at_once=stop.signals > 1)
                    outcomes += [Outcome(task, "stopped", reason) for task in waiting]
                    waiting = []
                while waiting and slots:
                    children.append(_Child(waiting.pop(0), start, logs, slots.pop(0)))
                time.sleep(0.2)
                for child in list(children):
                    code = child.process.poll()  # before the log is read: of a task that has ended, it is whole then
                    for note in child.read_log():
                        progress.write(note)
                    shares[child.task.name] = child.share if code is None else 1.0
                    if code is not None:
                        children.remove(child)
                        slots.append(child.slot)
                        outcomes.append(child.outcome(code))
                        progress.end(str(outcomes[-1]))
                progress.show(shares, {child.task.name: child.last_line for child in children})
        finally:  # after an error in this loop
            for child in children:
                child.process.terminate()
    return outcomes


class _Child:
    """A task that has begun, with its process and its log."""

    def __init__(self, task: Task, start: Start, logs: Path, slot: int) -> None:
        self.task, self.slot, self.share, self.began = task, slot, 0.0, time.monotonic()
        self.asked_to_stop: float | None = None  # on the clock of `time.monotonic`
        self.log = logs / f"{task.log}.log"
        self.log.write_text("")
        self.reader = self.log.open(errors="replace")
        self.unfinished_line = self.last_line = self.said = ""
        self.process = start(task, self.log, slot)

    def stop(self, at_once: bool) -> None:
        """Send SIGTERM at the first call; send SIGKILL if `at_once`, or `GRACE` seconds after the first call."""
        if self.asked_to_stop is None:
            self.asked_to_stop = time.monotonic()
            self.process.terminate()
        if at_once or time.monotonic() - self.asked_to_stop > GRACE:
            self.process.kill()

    def read_log(self) -> Iterator[str]:
        """Read the new lines of the log, such as "step 3 of 40". Yields lines for the user: those that begin with the
        task's name, for example if it waits for another process."""
        *lines, self.unfinished_line = (self.unfinished_line + self.reader.read()).split("\n")
        for line in filter(None, map(str.strip, lines)):
            self.last_line = line
            if line.startswith(f"{PROGRAM}: "):  # a kernel that is stopped may print more after it
                self.said = line.removeprefix(f"{PROGRAM}: ")
            if line.startswith(f"{self.task.name}: "):
                yield line
            elif step := re.match(r"\w+ (\d+) of (\d+)", line):
                self.share = LAST_STEP * int(step[1]) / max(int(step[2]), 1)

    def outcome(self, code: int) -> Outcome:
        """The outcome of the task, whose process has ended with this exit code. The log is deleted unless it failed."""
        self.reader.close()
        message = self.said or self.last_line
        if code == 0 or code == 3 or self.asked_to_stop is not None:
            self.log.unlink(missing_ok=True)
            done = f"done in {duration(time.monotonic() - self.began)}"
            return Outcome(self.task, "stopped", message) if code else Outcome(self.task, "done", done)
        if code < 0:
            message = f"killed by {signal.Signals(-code).name}"
            message += ", perhaps for lack of memory: try a smaller --jobs" if code == -signal.SIGKILL else ""
        return Outcome(self.task, "failed", f"{message or f'exit code {code}'}; see {self.log}")
