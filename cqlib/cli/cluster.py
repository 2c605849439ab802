"""Runs rows on a Ray cluster (extra `cluster`) whose nodes all see the runs folder. When a node is lost, Ray starts its
tasks on another one, and each resumes from its checkpoint. A Ray actor, the board, carries progress from the tasks to
this machine (the driver), and the request to stop back to them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from cqlib.cli.cluster_nodes import ANSWER, on
from cqlib.cli.tasks import GRACE, Listener, Outcome, Task, thread_limits
from cqlib.cli.tasks import run_tasks as run_here
from cqlib.util.errors import UserError, one_line
from cqlib.util.stop import StopRequest
from cqlib.util.text import format_bytes

LOSSES = 5
"""How often a task is started again after its node was lost. At the next loss it counts as failed: the task itself may
be what brings nodes down."""

PASSED = ("CQLIB_DEVICE", "CQLIB_TENSORBOARD")
"""Environment variables of this machine that tasks on the nodes get too."""


class _Board:
    """What the driver and the tasks tell each other: by a task's name, how often it was started and the share of it
    done, in [0, 1]; `stop`: why to stop (None: go on) and how many signals have come."""

    def __init__(self) -> None:
        self.starts: dict[str, int] = {}
        self.shares: dict[str, float] = {}
        self.stop: tuple[Any, ...] = (None, 0)

    def report(self, name: str, share: float | None) -> tuple[Any, ...]:
        """Called by a task with its share done, or None when a node starts it; returns `stop`."""
        if share is None:
            self.starts[name] = self.starts.get(name, 0) + 1
        self.shares[name] = share or 0.0
        return self.stop

    def state(self, *stop: Any) -> tuple[dict[str, int], dict[str, float]]:
        """Called by the driver, with why to stop and the number of signals if it stops; returns starts and shares."""
        self.stop = stop or self.stop
        return self.starts, self.shares


def _run(task: Task, logs: Path, board: Any, environment: dict[str, str]) -> Outcome:
    """Run a task on a node, in a child process; about once a second report its progress and ask whether to stop."""
    class Share(Listener):
        done = 0.0

        def progress(self, task: Task, share: float) -> None:
            self.done = share

    stop, heard, over, share = StopRequest(), threading.Event(), threading.Event(), Share()

    def talk() -> None:
        done = None
        while True:
            try:
                stop.requested, stop.signals = ray.get(board.report.remote(task.name, done), timeout=ANSWER)
            except ray.exceptions.GetTimeoutError:
                pass  # asked again
            except ray.exceptions.RayError:
                stop.requested = "the machine that began this run is gone"
            done = share.done
            heard.set()
            if over.wait(1):
                return

    # In a thread of its own: while the main thread of a task waits in ray.get, Ray gives the task's core to others.
    talking = threading.Thread(target=talk, daemon=True)
    talking.start()
    heard.wait()
    (outcome,) = run_here([task], [{**thread_limits(1), **environment}], stop=stop, logs=logs, listener=share)
    over.set()
    talking.join()
    return outcome


def run_tasks(
    tasks: Sequence[Task],
    jobs: int | None = None,
    *,
    stop: StopRequest,
    logs: Path,
    listener: Listener | None = None,
) -> list[Outcome]:
    """Like `cqlib.cli.tasks.run_tasks`, but each task runs on a node that has the resources for it, at most `jobs` at a
    time (None: as many as there is room for). No two tasks may have the same name."""
    listener = listener or Listener()
    board: Any = ray.remote(_Board).options(**on(ray.get_runtime_context().get_node_id())).remote()
    run, waiting, outcomes = ray.remote(_run), list(tasks), []
    # "cuda:1" is passed on as "cuda": Ray lets a task see only the card that it may use
    environment = {name: value.partition(":")[0] for name, value in os.environ.items() if name in PASSED}
    running: dict[Any, Task] = {}
    starts: dict[str, int] = {}
    stopping_since: float | None = None

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        listener.ended(outcome)

    while waiting or running:
        if (reason := stop.reason()) is not None:
            for task in waiting:
                end(Outcome(task, "stopped", reason, 0.0))
            waiting, stopping_since = [], stopping_since or time.monotonic()
            hopeless = stop.signals > 1 or time.monotonic() - stopping_since > GRACE + ANSWER
            for ref, task in running.items():
                if hopeless or task.name not in starts:  # the latter still waits for room
                    ray.cancel(ref)
        while waiting and (jobs is None or len(running) < jobs):
            task = waiting.pop(0)
            try:
                placed = run.options(**_resources(task), max_retries=LOSSES)
                running[placed.remote(task, logs, board, environment)] = task
            except UserError as error:
                end(Outcome(task, "failed", str(error), 0.0))
        ready, _ = ray.wait(list(running), timeout=0.5) if running else ([], [])
        counts, shares = ray.get(board.state.remote(*[reason, stop.signals] if reason else []))
        for task in running.values():
            if counts.get(task.name, 0) > starts.get(task.name, 0):
                listener.started(task, again=task.name in starts)
                starts[task.name] = counts[task.name]
            if task.name in starts:
                listener.progress(task, shares[task.name])
        for ref in ready:
            end(_outcome(ref, running.pop(ref), stop))
        listener.waiting()
    return outcomes


def _resources(task: Task) -> dict[str, float]:
    """What Ray is to keep free for a task. UserError when no node will ever have it."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    use_gpus = os.environ.get("CQLIB_DEVICE") != "cpu" and any(node.get("GPU") for node in nodes)
    gpus = task.gpus if use_gpus else 0
    needed = {"CPU": 1, "memory": task.memory_bytes, "GPU": gpus}
    if not any(all(node.get(name, 0) >= amount for name, amount in needed.items()) for node in nodes):
        more = f", {gpus:g} GPU" if gpus else ""
        raise UserError(f"no node of the cluster has 1 CPU, {format_bytes(task.memory_bytes)} of memory{more}")
    return {"num_cpus": 1, "num_gpus": gpus, "memory": task.memory_bytes}


def _outcome(ref: Any, task: Task, stop: StopRequest) -> Outcome:
    try:
        return ray.get(ref)
    except ray.exceptions.TaskCancelledError:
        return Outcome(task, "stopped", stop.requested or "", 0.0)
    except ray.exceptions.RayError as error:
        return Outcome(task, "failed", f"its process on the cluster was lost: {one_line(error)[:200]}", 0.0)
