"""Rows on a Ray cluster (extra `cluster`), which all see the runs folder: where a node is lost, Ray starts its tasks on
another, and each resumes from its checkpoint. An actor, the board, carries progress and the request to stop."""

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
"""How many nodes may be lost under a task before it counts as failed: it may be what brings them down."""

PASSED = ("CQLIB_BF16", "CQLIB_DEVICE", "CQLIB_TENSORBOARD")
"""What nodes get of this machine's environment."""


class _Board:
    """What the driver and the tasks know of each other: starts and shares done by name; why to stop, and signals."""

    def __init__(self) -> None:
        self.starts: dict[str, int] = {}
        self.shares: dict[str, float] = {}
        self.stop: tuple[Any, ...] = (None, 0)

    def report(self, name: str, share: float | None) -> tuple[Any, ...]:
        """From a task, the share done, None when a node starts it; the answer is (why to stop or None, signals)."""
        if share is None:
            self.starts[name] = self.starts.get(name, 0) + 1
        self.shares[name] = share or 0.0
        return self.stop

    def state(self, *stop: Any) -> tuple[dict[str, int], dict[str, float]]:
        """From the driver, which may request a stop; the answer is starts and shares."""
        self.stop = stop or self.stop
        return self.starts, self.shares


def _run(task: Task, logs: Path, board: Any, environment: dict[str, str]) -> Outcome:
    """One task on a node, in a child process; about once a second it reports its progress and hears whether to stop."""
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

    # In a thread of its own: a task whose main thread waits for another is idle to Ray, which gives its core away.
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
    """As `cqlib.cli.tasks.run_tasks`, but each task runs where the cluster has its resources, at most `jobs` at a time
    (None: as many as there is room for). Names of tasks differ."""
    listener = listener or Listener()
    board: Any = ray.remote(_Board).options(**on(ray.get_runtime_context().get_node_id())).remote()
    run, waiting, outcomes = ray.remote(_run), list(tasks), []
    # of "cuda:1" the kind: Ray shows a task the card that is its own
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
                if hopeless or task.name not in starts:  # it waits for room
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
