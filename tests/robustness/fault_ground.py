"""What the faults stand on: an undisturbed run, one that was stopped half way, and what must hold after a fault."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_run import NAME, STAGES, Ended, Run, go, result, stage, strike

from cqlib.experiments.run_folder import tidy
from cqlib.util.checkpoint import load_latest

NEIGHBOUR = "table1_vae--photos10--smoke--0"
"""A finished row beside the one that is disturbed."""


@dataclass(frozen=True)
class Fault:
    """A line of the table: what is expected, and one trial, which gives what came of it or fails an assertion."""

    kept: str
    said: str
    code: str
    trial: Callable[[Ground, random.Random], str]
    skip: Callable[[], str | None] = lambda: None
    """Why it cannot be tried here, or None."""


class Ground:
    """Made once, in `root`: `whole` is undisturbed, `half` was stopped in its second half of training."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.whole, self.half = root / "whole", root / "half"
        first = go(Run(self.whole))
        assert first.code == 0, first.said
        self.moments, self.files, self.wanted = first.moments, first.files, result(self.whole)
        stopped = go(Run(self.half, at=("training", self.moments["training"] // 2), signal=signal.SIGTERM))
        assert stopped.code == 3 and stopped.struck, stopped.said

    def fresh(self, state: Path | None = None) -> Path:
        """A runs folder of its own, empty or as `state`; beside the row there is a finished one."""
        runs = Path(tempfile.mkdtemp(dir=self.root))
        if state is not None:
            shutil.copytree(state, runs, dirs_exist_ok=True)
        shutil.copytree(self.whole / NAME, runs / NEIGHBOUR)
        return runs

    def finishes(self, runs: Path, **options: Any) -> None:
        """The same command again comes to its end, with the result of the undisturbed run, and leaves nothing."""
        last = go(Run(runs, **options))
        assert last.code == 0, last.said
        self.check(runs)

    def check(self, runs: Path) -> None:
        """The record is that of the undisturbed run, the neighbour's is as it was, and nothing is left over."""
        found = result(runs)
        differing = [key for key in self.wanted if found[key] != self.wanted[key]]
        assert not differing, f"differs in {differing}"
        self.neighbour(runs)
        for path in (runs / "features").glob(".*.tmp"):  # others may be writing there: it goes when it is an hour old
            os.utime(path, (0, 0))
        tidy(runs / NAME, runs)
        files = [path for path in runs.rglob("*") if "stale" not in path.parts]
        left = [path.name for path in files if path.suffix in (".tmp", ".new") or ".checkpoint" in path.name]
        assert not left, f"left over: {left}"
        shutil.rmtree(runs)

    def neighbour(self, runs: Path) -> None:
        """The finished row beside it is as it was."""
        before, now = (folder / "record.json" for folder in (self.whole / NAME, runs / NEIGHBOUR))
        assert before.read_bytes() == now.read_bytes(), "a finished row was lost"


def one_line(last: Ended, *words: str) -> None:
    """It said what is the matter in one line, without a traceback."""
    assert "Traceback" not in last.said, last.said
    assert last.last.startswith("python -m cqlib: "), last.said
    assert any(word in last.last for word in words), last.said


def struck_until_done(ground: Ground, rng: random.Random, number: int, most: int = 4) -> Counter:
    """A run that is struck up to `most` times at random moments, and each time goes on; the stages it was struck in."""
    runs, where = ground.fresh(), Counter()
    every = rng.choice([0.0, 60.0])
    for _ in range(most):
        now = list(STAGES).index(stage(runs / NAME))
        last = go(strike(Run(runs, every=every), ground.moments, rng, number, list(STAGES)[now:]))
        ground.neighbour(runs)
        if last.struck:
            where[after_strike(runs, last, number, every)] += 1
        else:
            assert last.code == 0, last.said
        if last.code == 0:
            break
    ground.finishes(runs)
    return where


def after_strike(runs: Path, last: Ended, number: int, every: float) -> str:
    """What must hold after a signal; the stage it came in."""
    folder = runs / NAME
    here = stage(folder)
    if number == signal.SIGKILL:
        assert last.code in (-signal.SIGKILL, 0), (last.code, last.said)  # 0: from outside, a moment too late
    else:
        assert last.code in (3, 0), (last.code, last.said)
        if last.code == 3:
            one_line(last, "is saved", "run it again to resume")
    if here == "clearing":
        assert result(runs)["status"] == "done", "a finished row was lost"
    name, step = last.step
    if name and not (folder / {"training": "model", "encoder": "encoder"}[name]).with_suffix(".safetensors").exists():
        state, problems = load_latest(folder / f"{name}.checkpoint")
        assert state is not None and not problems, f"no state is left: {problems}"
        if every == 0 or number != signal.SIGKILL:
            assert state["step"] >= step - 1, f"went back from step {step} to {state['step']}"
    return here
