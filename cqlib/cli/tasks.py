"""Runs tasks as child processes, a few at a time. A child sends messages with `send_message` and ends with exit code 0
(done), 3 (stopped, its state saved) or another one (failed). On Linux children are forked from a process, the fork
server, that has already imported torch (`cqlib.cli.preload`)."""

import io
import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from cqlib.util.errors import UserError, one_line
from cqlib.util.files import sha256
from cqlib.util.paths import ROOT
from cqlib.util.stop import StopRequest, interrupt_on_sigterm

GRACE = 120.0
"""Seconds between SIGTERM, upon which a child saves its state, and SIGKILL."""


Status = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class Task:
    """A call of `function` ("module:name") with `argument`; a text that it returns is the outcome's message. A cluster
    keeps free for it a core, `memory_bytes` and, if it has GPUs, `gpus`, a share in (0, 1] of one."""

    name: str
    function: str
    argument: Any
    cost: float = 1.0  # expected time, relative to the other tasks
    memory_bytes: int = 0
    gpus: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a task ended, with one line that says why when it did not succeed."""

    task: Task
    status: Status
    message: str
    seconds: float


class Listener:
    """`run_tasks` calls its methods as tasks proceed: a task has begun (`again`: on another node, after the one before
    was lost), has done a share in [0, 1], has a line for the user, has ended or will never begin; and `waiting` at
    least twice a second."""

    def started(self, task: Task, *, again: bool = False) -> None: ...
    def progress(self, task: Task, share: float) -> None: ...
    def note(self, task: Task, text: str) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...
    def waiting(self) -> None: ...


QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The CPU limit of a container: "200000 100000" allows 200,000 microseconds of CPU time, over all cores, in every
100,000 of the clock; "max" instead of the first number is no limit."""


def cores() -> int:
    """How many cores this process may use: those that it may run on, but no more than a container's share."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        share, period = map(int, QUOTA.read_text().split())
        return min(allowed, max(1, round(share / period)))
    return allowed


def thread_limits(threads: int) -> dict[str, str]:
    """The environment in which numerical libraries use so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def slots(jobs: int | None) -> list[dict[str, str]]:
    """One slot for each of the `jobs` children that run at a time (default: one per GPU, or per core without GPUs): the
    environment variables that give it a GPU, if there are any, and as many threads as its share of the cores, or
    $OMP_NUM_THREADS where that is set."""
    import torch

    from cqlib.training.device import select_device

    gpus: list[str] = []
    if (device := select_device()).type == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        there = torch.cuda.device_count()  # as many names of the list as come before one that is no card
        gpus = [gpu.strip() for gpu in visible.split(",")][:there] if visible else [*map(str, range(there))]
        gpus = gpus if device.index is None else [gpus[device.index]]
    count = jobs or len(gpus) or (1 if device.type == "mps" else cores())
    threads = os.environ.get("OMP_NUM_THREADS", "")
    limits = thread_limits((threads.isdecimal() and int(threads)) or max(1, cores() // count))
    cards = [{"CUDA_VISIBLE_DEVICES": gpu, "CQLIB_DEVICE": "cuda"} for gpu in gpus] or [{}]
    return [{**limits, **cards[i % len(cards)]} for i in range(count)]


def prepare(slot: Mapping[str, str]) -> Any:
    """The multiprocessing context that starts children. On Linux that is the fork server, started here with the
    environment variables of `slot`; elsewhere, and where it cannot start, children are spawned."""
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cqlib.cli.preload"])
    before = dict(os.environ)
    os.environ |= {**slot, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), before.get("PYTHONPATH"))))}
    try:
        forkserver.ensure_running()
    except OSError:  # its socket's path in the folder for temporary files is too long
        return multiprocessing.get_context("spawn")
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def run_tasks(
    tasks: Sequence[Task],
    slots: Sequence[Mapping[str, str]],
    *,
    stop: StopRequest,
    logs: Path,
    listener: Listener | None = None,
) -> list[Outcome]:
    """Run `tasks` in this order, one per slot at a time; returns outcomes in the order in which they end. A slot holds
    environment variables for its children (threads, which GPU). A task that fails leaves its log in `logs`. Once `stop`
    is requested, children get SIGTERM, and at the second signal SIGKILL; tasks that have not begun are "stopped"."""
    listener = listener or Listener()
    waiting, free, outcomes = list(tasks), list(slots), []
    running: list[_Child] = []
    context = prepare(slots[0])
    logs.mkdir(parents=True, exist_ok=True)

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        listener.ended(outcome)

    while waiting or running:
        if (reason := stop.reason()) is not None:
            for child in running:
                child.stop(now=stop.signals > 1)
            for task in waiting:
                end(Outcome(task, "stopped", reason, 0.0))
            waiting = []
        while waiting and free:
            running.append(_Child(waiting.pop(0), free.pop(0), logs, context))
            listener.started(running[-1].task)
        ended = wait([child.process.sentinel for child in running], timeout=0.5)
        for child in list(running):
            child.receive(listener)
            if child.process.sentinel in ended:
                running.remove(child)
                free.append(child.slot)
                end(child.outcome(stop))
        listener.waiting()
    return outcomes


def log_name(title: str) -> str:
    """The name of a task's log: different for every title, and short enough for any disk."""
    plain = re.sub("[^A-Za-z0-9_.-]", "_", title)[:100]
    return f"{plain}.log" if plain == title else f"{plain}-{sha256(title.encode())[:8]}.log"


class _Child:
    """A task's process."""

    def __init__(self, task: Task, slot: Mapping[str, str], logs: Path, context: Any) -> None:
        self.task, self.slot, self.message, self.began = task, slot, "", time.monotonic()
        self.asked: float | None = None  # when it was asked to stop
        self.log = logs / log_name(task.name)
        self.messages, child_end = context.Pipe(duplex=False)
        self.process = context.Process(target=_child, args=(task, dict(slot), self.log, child_end), daemon=True)
        self.process.start()
        child_end.close()

    def receive(self, listener: Listener) -> None:
        """Read the messages that have come: keep the outcome's line, pass progress and notes on to the listener."""
        with suppress(EOFError, OSError):  # there will be no more
            while self.messages.poll():
                message = self.messages.recv()
                self.message = message.get("message", self.message)
                if "note" in message:
                    listener.note(self.task, message["note"])
                if "progress" in message:
                    listener.progress(self.task, message["progress"])

    def stop(self, now: bool) -> None:
        """Send SIGTERM at the first call, and SIGKILL if `now` or once `GRACE` seconds have passed since."""
        if now or (self.asked is not None and time.monotonic() - self.asked > GRACE):
            self.process.kill()
        elif self.asked is None:
            self.process.terminate()
        self.asked = self.asked or time.monotonic()

    def outcome(self, stop: StopRequest) -> Outcome:
        """How the ended process fared. Its log is deleted, unless it failed and wrote to it."""
        self.process.join()
        status: Status = "failed"
        code, message = self.process.exitcode, self.message
        if code == 0:
            status = "done"
        elif code == 3 or (self.asked is not None and code < 0):
            status, message = "stopped", message or stop.requested or ""
        elif code < 0:
            message = f"killed by {signal.Signals(-code).name}"
            message += ", perhaps for lack of memory: try a smaller --jobs" if code == -signal.SIGKILL else ""
        else:
            message = message or f"exit code {code}"
        with suppress(OSError):  # the folder was cleared meanwhile
            if status == "failed" and self.log.stat().st_size:
                message += f"; see {self.log}"
            else:
                self.log.unlink()
        return Outcome(self.task, status, message, time.monotonic() - self.began)


_parent: Connection | None = None


def send_message(**message: Any) -> None:
    """Send one message to the parent: `progress` (share done), `note` (a line for the user), `message` (the outcome's
    line). If the parent is gone, this process sends itself SIGTERM."""
    try:
        if _parent is not None:
            _parent.send(message)
    except OSError:
        os.kill(os.getpid(), signal.SIGTERM)


def _child(task: Task, environment: dict[str, str], log: Path, parent: Connection) -> None:
    global _parent
    interrupt_on_sigterm()  # until the task has its own handlers
    os.setsid()  # Ctrl-C reaches the parent alone, which then stops its children
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that the log of a killed process is complete
    os.environ.update(environment)
    if "torch" in sys.modules and "OMP_NUM_THREADS" in environment:
        sys.modules["torch"].set_num_threads(int(environment["OMP_NUM_THREADS"]))
    _parent = parent
    code = 3
    with suppress(KeyboardInterrupt):  # by a second signal, while the first is being obeyed
        code = attempt(task)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(code)


def attempt(task: Task) -> int:
    """Run a task in this process and return its exit code. If it fails, send the parent one line that says why; a bug's
    traceback goes to stderr."""
    try:
        result = resolve_name(task.function)(task.argument)
    except KeyboardInterrupt:
        return 3
    except UserError as error:
        send_message(message=str(error))
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        send_message(message=f"{type(error).__name__}: {one_line(error)[:200]}")
        return 1
    if isinstance(result, str):
        send_message(message=result)
    return 0


def train_row(options: Mapping[str, Any]) -> None:
    """Train and evaluate an experiment; `options` are the arguments of `cqlib.experiments.run.run_experiment`."""
    from cqlib.experiments.run import run_experiment

    record = run_experiment(
        **options,
        progress=lambda step, steps, left: send_message(progress=0.9 * step / max(steps, 1)),
        tell=lambda text: send_message(note=text),
    )
    if not record.done:
        raise UserError(f"{record.status}: {'; '.join(record.notes)}")
