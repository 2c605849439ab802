"""Tasks as child processes, a few at a time: each has its own memory, its own log, and can be told to stop.

A child writes one JSON object per line to stdout: {"progress": 0.4} as it goes, {"note": "…"} for the user to see at
once, {"message": "…"} at its end.
Its exit code says the rest: 0 done, 3 stopped with its state saved, anything else failed.
"""

from __future__ import annotations

import glob
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cqlib.util.stop import StopRequest

GRACE = 120.0  # seconds between SIGTERM, upon which a child saves its state, and SIGKILL


@dataclass(frozen=True)
class Needs:
    """What a machine is to keep free for a task: cores, one thread each; memory; of a GPU, where there are any, a share
    in (0, 1]. `cqlib/cli/cluster.py` asks for it; on one machine `--jobs` decides."""

    cpus: int = 1
    memory_bytes: int = 0
    gpus: float = 1.0


@dataclass(frozen=True)
class Task:
    """`python -m MODULE ARGUMENT`, known to the user as `name`; `cost` is its expected share of the time."""

    name: str
    module: str
    argument: str
    cost: float = 1.0
    needs: Needs = Needs()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_limits(threads: int) -> dict[str, str]:
    """The environment in which numerical libraries use so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


@dataclass(frozen=True)
class Outcome:
    """How a task ended, with one line that says why when it did not succeed."""

    task: Task
    status: Literal["done", "stopped", "failed"]
    message: str
    seconds: float


@dataclass
class _Child:
    task: Task
    slot: int
    log: Path
    process: subprocess.Popen
    began: float
    message: str = ""
    told: float | None = field(default=None)


Listener = Callable[[Task, str, float], None]
"""(task, event, value): "started" 0, "progress" share done in [0, 1], "ended" 1."""


def run_tasks(
    tasks: Sequence[Task],
    slots: Sequence[Mapping[str, str]],
    *,
    stop: StopRequest,
    logs: Path,
    listener: Listener = lambda task, event, value: None,
    ended: Callable[[Outcome], None] = lambda outcome: None,
    noted: Callable[[Task, str], None] = lambda task, text: None,
) -> list[Outcome]:
    """Run `tasks`, one per slot at a time, in the order given; outcomes in the order in which they end.

    A slot is what its children's environment gets on top (threads, which GPU). `noted` hears what children have to
    say on the way. What fails does not stop the others, and leaves its log in `logs`. Once `stop` says so, children
    get SIGTERM and nothing new begins: what has not begun is "stopped".
    """
    waiting, outcomes = list(tasks), []
    free = list(range(len(slots)))
    running: list[_Child] = []
    lines: queue.Queue[tuple[_Child, str | None]] = queue.Queue()
    while waiting or running:
        if (reason := stop.reason()) is not None:
            for child in running:
                _tell(child, now=stop.signals > 1)
            for task in waiting:
                outcomes.append(Outcome(task, "stopped", reason, 0.0))
                ended(outcomes[-1])
            waiting = []
        while waiting and free:
            child = _start(waiting.pop(0), free.pop(0), slots, logs, lines)
            running.append(child)
            listener(child.task, "started", 0.0)
        try:
            child, line = lines.get(timeout=0.5)
        except queue.Empty:
            for task in running:
                listener(task.task, "waiting", 0.0)
            continue
        if line is None:
            running.remove(child)
            free.append(child.slot)
            outcomes.append(_outcome(child, stop, _kept_log(child)))
            listener(child.task, "ended", 1.0)
            ended(outcomes[-1])
        elif (said := _parse(line)) is not None:
            child.message = str(said.get("message", child.message))
            if "note" in said:
                noted(child.task, str(said["note"]))
            if isinstance(share := said.get("progress"), float | int):
                listener(child.task, "progress", min(max(float(share), 0.0), 1.0))
    return outcomes


def _start(task: Task, slot: int, slots: Sequence[Mapping], logs: Path, lines: queue.Queue) -> _Child:
    import psutil

    logs.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in task.name)
    for left in logs.glob(f"{glob.escape(name)}.running-*"):
        if not psutil.pid_exists(int(left.name.rpartition("-")[2])):  # of a parent that was killed
            left.unlink(missing_ok=True)
    log = logs / f"{name}.running-{os.getpid()}"  # its own, where the same command runs twice
    with open(log, "wb") as errors:
        # A session of its own: Ctrl-C reaches the parent alone, which then tells its children.
        process = subprocess.Popen(
            [sys.executable, "-m", task.module, task.argument],
            env={**os.environ, **slots[slot]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    child = _Child(task, slot, log, process, time.monotonic())

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.put((child, line))
        process.wait()
        lines.put((child, None))

    threading.Thread(target=read, daemon=True).start()
    return child


def _tell(child: _Child, now: bool) -> None:
    """SIGTERM once; SIGKILL when `now` or when the grace is over."""
    if now or (child.told is not None and time.monotonic() - child.told > GRACE):
        child.process.kill()
    elif child.told is None:
        child.told = time.monotonic()
        child.process.terminate()


def _parse(line: str) -> dict | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _kept_log(child: _Child) -> Path | None:
    """Where the log of a child that failed is now; None when it said nothing, or had no failure to speak of."""
    kept = child.log.with_name(f"{child.log.name.rpartition('.')[0]}.log")
    try:
        if child.process.returncode == 0 or not child.log.stat().st_size:
            child.log.unlink()
            return None
        os.replace(child.log, kept)
    except OSError:  # the folder was cleared meanwhile
        return None
    return kept


def _outcome(child: _Child, stop: StopRequest, log: Path | None) -> Outcome:
    code, seconds = child.process.returncode, time.monotonic() - child.began
    if code == 0:
        return Outcome(child.task, "done", child.message, seconds)
    if code == 3 or (child.told is not None and code < 0):
        return Outcome(child.task, "stopped", child.message or stop.requested or "", seconds)
    where = f"; see {log}" if log else ""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", perhaps for want of memory: try a smaller --jobs" if name == "SIGKILL" else ""
        return Outcome(child.task, "failed", f"killed by {name}{hint}{where}", seconds)
    return Outcome(child.task, "failed", f"{child.message or f'exit code {code}'}{where}", seconds)


def say(**said: object) -> None:
    """For children: one line to the parent. A parent that is gone stops the child as SIGTERM would."""
    try:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)
