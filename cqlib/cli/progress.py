"""Progress of a list of tasks: one bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from cqlib.cli.tasks import Listener, Outcome, Task
from cqlib.util.text import duration

EVERY = 30.0
"""Seconds between plain lines while nothing ends."""


class Progress(Listener):
    """Counts by the tasks' costs, not by their number."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.total = sum(task.cost for task in tasks) or 1.0
        self.count, self.ended_count, self.finished = len(tasks), 0, 0.0
        self.costs = {task.name: task.cost for task in tasks}
        self.shares: dict[str, float] = {}
        self.began = self.spoke = time.monotonic()
        form = "{percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left · {desc}"
        self.bar = tqdm(total=self.total, bar_format=form, dynamic_ncols=True, leave=False, disable=None)

    def started(self, task: Task, *, again: bool = False) -> None:
        """A line, but for the bar's own."""
        self.shares[task.name] = 0.0
        if again:
            self._line(task, "its node was lost; another resumes from the last checkpoint")
        elif self.bar.disable:
            self._line(task, "started")

    def progress(self, task: Task, share: float) -> None:
        """Moves the bar."""
        self.shares[task.name] = share

    def note(self, task: Task, text: str) -> None:
        """The line as it is."""
        self._write(text)

    def ended(self, outcome: Outcome) -> None:
        """One line per task that ended."""
        self.ended_count += 1
        if self.shares.pop(outcome.task.name, None) is not None:
            self.finished += outcome.task.cost
        status = f"done in {duration(outcome.seconds)}" if outcome.status == "done" else outcome.status
        reason = f": {outcome.message}" if outcome.message and outcome.status != "done" else ""
        self._line(outcome.task, f"{status}{reason}")

    def waiting(self) -> None:
        """The bar, or a plain line where it is time for one."""
        done = min(self.finished + sum(self.costs[name] * share for name, share in self.shares.items()), self.total)
        if not self.bar.disable:
            self.bar.set_description_str(", ".join(self.shares), refresh=False)
            self.bar.n = done
            self.bar.refresh()
        elif time.monotonic() - self.spoke >= EVERY:
            spent = time.monotonic() - self.began
            left = f", about {duration(spent * (self.total - done) / done)} left" if done > 0 else ""
            parts = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
            self._write(f"{done / self.total:.0%} done{left} ({parts})")

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()

    def _line(self, task: Task, text: str) -> None:
        self._write(f"[{self.ended_count}/{self.count}] {task.name}: {text}")

    def _write(self, text: str) -> None:
        self.spoke = time.monotonic()
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()
