"""Progress of a list of tasks: one bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

from cqlib.cli.tasks import Outcome, Task

EVERY = 30.0  # seconds between plain lines while nothing ends


class Progress:
    """A listener for `cqlib.cli.tasks.run_tasks`. Counts by the tasks' costs, not by their number."""

    def __init__(self, tasks: Sequence[Task], stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.total = sum(task.cost for task in tasks) or 1.0
        self.count, self.ended_count, self.finished = len(tasks), 0, 0.0
        self.shares: dict[Task, float] = {}
        self.began = self.spoke = time.monotonic()
        self.bar: tqdm | None = None
        if self.stream.isatty() and tasks:
            form = "{percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left · {desc}"
            settings = {"file": self.stream, "dynamic_ncols": True, "leave": False}
            self.bar = tqdm(total=self.total, bar_format=form, **settings)

    def line(self, text: str) -> None:
        """One line of text, above the bar if there is one."""
        self.spoke = time.monotonic()
        if self.bar is not None:
            self.bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def __call__(self, task: Task, event: str, value: float) -> None:
        """The listener."""
        if event == "ended":
            self.finished += task.cost
            self.shares.pop(task, None)
        elif event != "waiting":
            self.shares[task] = value
        if event == "started" and self.bar is None:
            self.line(f"{self.position(task)}: started")
        if event == "again":
            self.line(f"{self.position(task)}: its node was lost; another goes on from the last checkpoint")
        done = self.finished + sum(task.cost * share for task, share in self.shares.items())
        if self.bar is not None:
            self.bar.set_description_str(", ".join(task.name for task in self.shares), refresh=False)
            self.bar.n = min(done, self.total)
            self.bar.refresh()
        elif time.monotonic() - self.spoke >= EVERY:
            spent = time.monotonic() - self.began
            left = f", about {_duration(spent * (self.total - done) / done)} left" if done > 0 else ""
            parts = ", ".join(f"{task.name} {share:.0%}" for task, share in self.shares.items())
            self.line(f"{done / self.total:.0%} done{left} ({parts})")

    def position(self, task: Task) -> str:
        """The task's name with how many have ended: [3/7] table1/cq."""
        return f"[{self.ended_count}/{self.count}] {task.name}"

    def ended(self, outcome: Outcome) -> None:
        """One line per task that ended."""
        self.ended_count += 1
        how = f"done in {_duration(outcome.seconds)}" if outcome.status == "done" else outcome.status
        text = f": {outcome.message}" if outcome.message and outcome.status != "done" else ""
        self.line(f"{self.position(outcome.task)}: {how}{text}")

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
