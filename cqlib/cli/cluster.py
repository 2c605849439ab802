"""Rows on a Ray cluster (extra `cluster`): the tasks of `cqlib/cli/tasks.py`, on whichever node has room for them.

A node runs a task as this machine would, in a child process of its own. Checkpoints and records lie in the runs
folder, which all nodes see: where a node is lost, Ray starts its tasks again on another, and each goes on from its
last checkpoint. One actor beside the driver, the board, carries progress one way and the wish to stop the other.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cqlib.cli.cluster_nodes import ANSWER, on
from cqlib.cli.tasks import GRACE, Listener, Outcome, Task, thread_limits
from cqlib.cli.tasks import run_tasks as run_here
from cqlib.util.errors import UserError
from cqlib.util.paths import ROOT
from cqlib.util.stop import StopRequest

LOSSES = 5
"""How many nodes may be lost under a task before it counts as failed: it may be what brings them down."""


# --- on the nodes --------------------------------------------------------------------------------------------


class _Board:
    """What driver and tasks tell each other."""

    def __init__(self) -> None:
        self.attempts: dict[str, int] = {}
        self.shares: dict[str, float] = {}
        self.wish: tuple[str | None, int] = (None, 0)

    def begin(self, name: str, share: float) -> tuple[str | None, int]:
        """A node has taken the task up; it hears as from `tell`."""
        self.attempts[name] = self.attempts.get(name, 0) + 1
        return self.wish

    def tell(self, name: str, share: float) -> tuple[str | None, int]:
        """Share done, from a task; it hears (why to stop or None, number of signals)."""
        self.shares[name] = share
        return self.wish

    def ask(self, reason: str, signals: int) -> None:
        """The driver wishes that all stop."""
        self.wish = (reason, signals)

    def news(self) -> tuple[dict[str, int], dict[str, float]]:
        """By task: how often it was taken up; share done."""
        return self.attempts, self.shares


def _run(task: Task, logs: Path, board: Any) -> Outcome:
    """One task on a node, in a child process; about once a second its progress is told, and a wish to stop heard."""
    import ray

    stop, heard, over = StopRequest(), threading.Event(), threading.Event()
    share = 0.0

    def talk() -> None:
        ask = board.begin
        while True:
            try:
                stop.requested, stop.signals = ray.get(ask.remote(task.name, share), timeout=ANSWER)
            except ray.exceptions.GetTimeoutError:
                pass  # asked again
            except ray.exceptions.RayError:
                stop.requested = "the machine that began this run is gone"
            ask = board.tell
            heard.set()
            if over.wait(1):
                return

    def listener(_: Task, event: str, value: float) -> None:
        nonlocal share
        share = value if event == "progress" else share

    # In a thread of its own: a task whose main thread waits for another is idle to Ray, which gives its core away.
    talking = threading.Thread(target=talk, daemon=True)
    talking.start()
    heard.wait()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    child = {**thread_limits(task.needs.cpus), "PYTHONPATH": path}
    (outcome,) = run_here([task], [child], stop=stop, logs=logs, listener=listener)
    over.set()
    talking.join()
    return outcome


# --- on the driver -------------------------------------------------------------------------------------------


def run_tasks(
    tasks: Sequence[Task],
    jobs: int | None = None,
    *,
    stop: StopRequest,
    logs: Path,
    listener: Listener = lambda task, event, value: None,
    ended: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """As `cqlib.cli.tasks.run_tasks`, but each task runs where the cluster has what it needs, at most `jobs` at a time
    (None: as many as there is room for). Names of tasks differ. The listener hears "again" when a task's node was lost
    and another has taken it up."""
    import ray

    board = ray.remote(_Board).options(**on(ray.get_runtime_context().get_node_id())).remote()
    run, waiting, running, outcomes = ray.remote(_run), list(tasks), {}, []
    attempts: dict[str, int] = {}
    began: dict[str, float] = {}
    asked = 0.0

    def over(outcome: Outcome) -> None:
        if outcome.task.name in began:
            outcome = replace(outcome, seconds=time.monotonic() - began[outcome.task.name])
            listener(outcome.task, "ended", 1.0)
        outcomes.append(outcome)
        ended(outcome)

    while waiting or running:
        if (reason := stop.reason()) is not None:
            board.ask.remote(reason, stop.signals)
            for task in waiting:
                over(Outcome(task, "stopped", reason, 0.0))
            asked = asked or time.monotonic()
            hopeless = stop.signals > 1 or time.monotonic() - asked > GRACE + ANSWER
            for ref, task in running.items():
                if hopeless or task.name not in attempts:  # it waits for room
                    ray.cancel(ref)
            waiting = []
        while waiting and (jobs is None or len(running) < jobs):
            task = waiting.pop(0)
            try:
                running[run.options(**_resources(task), max_retries=LOSSES).remote(task, logs, board)] = task
            except UserError as error:
                over(Outcome(task, "failed", str(error), 0.0))
        ready, _ = ray.wait(list(running), timeout=0.5) if running else ([], [])
        counts, shares = ray.get(board.news.remote())
        for task in running.values():
            before, count = attempts.get(task.name, 0), counts.get(task.name, 0)
            attempts |= {task.name: count} if count else {}
            began |= {task.name: time.monotonic()} if count and not before else {}
            event = "waiting" if count == before else "again" if before else "started"
            listener(task, "progress" if event == "waiting" and count else event, shares.get(task.name, 0.0))
        for ref in ready:
            over(_outcome(ref, running.pop(ref), stop))
    return outcomes


def _resources(task: Task) -> dict[str, float]:
    """What Ray is to keep free for a task. UserError when no node will ever have it."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": task.needs.cpus, "memory": task.needs.memory_bytes}
    if any(node.get("GPU") for node in nodes):
        wanted["GPU"] = task.needs.gpus
    if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        words = [f"{wanted['CPU']} CPU", f"{wanted['memory'] / 2**30:.1f} GiB of memory"]
        words += [f"{wanted['GPU']:g} GPU"] if "GPU" in wanted else []
        raise UserError(f"no node of the cluster has {', '.join(words)}")
    return {"num_cpus": wanted["CPU"], "num_gpus": wanted.get("GPU", 0), "memory": wanted["memory"]}


def _outcome(ref: Any, task: Task, stop: StopRequest) -> Outcome:
    import ray

    try:
        return ray.get(ref)
    except ray.exceptions.TaskCancelledError:
        return Outcome(task, "stopped", stop.requested or "", 0.0)
    except ray.exceptions.RayError as error:
        line = " ".join(str(error).split())[:200]
        return Outcome(task, "failed", f"its process on the cluster was lost: {line}", 0.0)
