"""One short run as a process of its own that can be stopped at any of its moments.

The processes are forked from one that has imported everything, so that a run takes a second and not ten: a smoke run
of a row with two trainings, measured on few images. A moment is a training step, a batch of the evaluation, or a file
that is opened for writing, synced, renamed or removed; the stage is known by what lies in the run's folder.
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

from cqlib.recipe import EVALUATION, Evaluation
from cqlib.util.stop import StopRequest

TESTS = Path(__file__).parent
ROW, NAME = "table1/gan", "table1_gan--photos10--smoke--0"
STAGES = {
    "start": "experiment.json",
    "training": "model.safetensors",
    "second training": "encoder.safetensors",
    "measuring": "samples_T1.png",
    "writing": "record.json",
    "clearing": None,
}
"""Stage -> the file whose coming ends it."""


@dataclass(frozen=True)
class Run:
    """A call of `python -m cqlib train ROW` with --runs-dir `runs`, and what befalls it."""

    runs: Path
    at: tuple[str, int] | None = None
    """Stage, and which of its moments."""
    signal: int = signal.SIGKILL
    delay: float | None = None
    """Seconds after the moment at which the signal comes from outside; None: at the moment itself."""
    every: float = 0.0
    """Seconds between checkpoints; 0: after each step."""
    prepare: tuple[Callable[..., None], ...] = ()
    """Called in the child before the command: faults to inject."""
    arguments: tuple[str, ...] = ("train", ROW, "--profile", "smoke")


@dataclass
class Ended:
    """How a run ended: exit code (negative: the signal's number), what it said, moments by stage, the last step
    (training, step) that was done, whether it was struck, and what it did to files."""

    code: int
    said: str
    moments: Counter
    step: tuple[str, int]
    struck: bool
    files: list[list] = field(default_factory=list)

    @property
    def last(self) -> str:
        """The last line said."""
        return (self.said.strip().splitlines() or [""])[-1]


def stage(folder: Path) -> str:
    """The stage that a run's folder is in."""
    return next(name for name, end in STAGES.items() if end is None or not (folder / end).exists())


def _child(run: Run, notes: Path) -> None:
    """The command, watched."""
    said = os.open(notes / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1, closefd=False), open(2, "w", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from cqlib.cli import commands as cli
    from cqlib.experiments import run as runs
    from cqlib.training import loop as training

    EVALUATION["smoke"] = Evaluation(8, 8, 2, 4)
    runs.run_experiment = partial(runs.run_experiment, checkpoint_seconds=run.every)
    folder, moments, files = run.runs / NAME, Counter(), []

    def moment() -> None:
        here = stage(folder)
        moments[here] += 1
        if run.at == (here, moments[here]):
            (notes / "struck").touch()
            if run.delay is None:
                os.kill(os.getpid(), run.signal)

    def audit(event: str, arguments: tuple) -> None:
        if event not in ("open", "os.rename", "os.remove") or not str(arguments[0]).startswith(str(run.runs)):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        inode = os.stat(arguments[0]).st_ino if event == "os.rename" else 0
        files.append([event, str(arguments[0]), str(arguments[1]), inode])
        moment()

    def fsync(handle: int) -> None:
        files.append(["fsync", os.readlink(f"/proc/self/fd/{handle}"), "", os.fstat(handle).st_ino])
        sync(handle)
        moment()

    def one_step(loop: training.Loop) -> Any:
        moment()
        result = step(loop)
        (notes / "step").write_text(f"{loop.path.stem} {loop.step + 1}")
        return result

    def reason(stop: StopRequest) -> str | None:
        moment()
        return ask(stop)

    sync, os.fsync = os.fsync, fsync
    step, training.Loop.one_step = training.Loop.one_step, one_step
    ask, StopRequest.reason = StopRequest.reason, reason
    sys.addaudithook(audit)
    for fault in run.prepare:
        fault()
    try:
        sys.exit(cli.main([*run.arguments, "--runs-dir", str(run.runs)]))
    finally:
        for late in (signal.SIGINT, signal.SIGTERM):  # a moment too late: what follows is no part of the run
            signal.signal(late, signal.SIG_IGN)
        (notes / "moments").write_text(json.dumps([moments, files]))


@functools.cache
def _server() -> Any:
    """The process that has imported everything a run needs, with this project and one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fault_preload"])
    path = os.pathsep.join(filter(None, (str(TESTS), str(TESTS.parent.parent), os.environ.get("PYTHONPATH"))))
    with mock.patch.dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS="1"):
        forkserver.ensure_running()
    return context


def start(run: Run, notes: Path) -> Any:
    """Begin a run; its process. It keeps its notes in a folder of their own."""
    process = _server().Process(target=_child, args=(run, notes), daemon=True)
    process.start()
    return process


def ended(process: Any, run: Run, notes: Path, limit: float = 300.0) -> Ended:
    """Wait for a run, and strike it on the way if it is to be struck from outside."""
    deadline = time.monotonic() + limit
    while run.delay is not None and process.is_alive() and time.monotonic() < deadline:
        if (notes / "struck").exists():
            time.sleep(run.delay)
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself meanwhile
                os.kill(process.pid, run.signal)
            break
        time.sleep(0.002)
    process.join(max(1.0, deadline - time.monotonic()))
    if process.is_alive():
        process.kill()
        raise AssertionError(f"a run hangs: {run}")
    found = notes / "moments"
    moments, files = json.loads(found.read_text()) if found.exists() else ({}, [])
    name, _, step = (notes / "step").read_text().partition(" ") if (notes / "step").exists() else ("", "", "0")
    said = (notes / "said").read_text() if (notes / "said").exists() else ""
    struck = (notes / "struck").exists()
    return Ended(process.exitcode, said, Counter(moments), (name, int(step or 0)), struck, files)


def go(run: Run) -> Ended:
    """Begin a run and wait for it."""
    with tempfile.TemporaryDirectory() as notes:
        return ended(start(run, Path(notes)), run, Path(notes))


def strike(run: Run, moments: Counter, rng: random.Random, number: int, stages: list[str]) -> Run:
    """`run`, struck by signal `number` at a random moment of one of `stages`, half the time from outside."""
    name = rng.choice(stages)
    delay = rng.choice([None, rng.uniform(0, 0.02)])
    return replace(run, at=(name, rng.randint(1, max(1, moments[name]))), signal=number, delay=delay)


def result(runs: Path, name: str = NAME) -> dict[str, Any]:
    """What must not differ between a disturbed run and an undisturbed one."""
    record = json.loads((runs / name / "record.json").read_text())
    kept = {key: record[key] for key in ("status", "config", "config_hash", "steps", "best_step", "parameters")}
    kept["metrics"] = {name: metric for name, metric in record["metrics"].items() if name != "seconds"}  # a time
    return kept | {"per_image": record.get("per_image"), "curve": record.get("curve")}
