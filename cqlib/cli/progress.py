"""Progress of a list of tasks: one bar with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from cqlib.cli.tasks import Listener, Outcome, Task
from cqlib.util.text import duration

EVERY = 30.0
"""Seconds between plain lines while nothing ends."""
FORM = "{percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left · {desc}"


class Progress(Listener):
    """Shows progress on stderr. The share done counts tasks by their costs, not by their number."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.costs = {task.name: task.cost for task in tasks}
        self.shares: dict[str, float] = {}
        self.first_shares: dict[str, float] = {}
        """The first share heard of each task: a row that is resumed begins with what it had, which took no time now."""
        self.total, self.finished, self.ended_count = sum(self.costs.values()) or 1.0, 0.0, 0
        self.began = self.spoke = time.monotonic()
        self.bar = tqdm(total=self.total, bar_format=FORM, dynamic_ncols=True, leave=False, disable=None)
        self.close = self.bar.close

    def started(self, task: Task, *, again: bool = False) -> None:
        self.shares.setdefault(task.name, 0.0)
        if again or self.bar.disable:
            self._line(task, "its node was lost; another resumes from the last checkpoint" if again else "started")

    def progress(self, task: Task, share: float) -> None:
        self.first_shares.setdefault(task.name, share)
        self.shares[task.name] = share

    def note(self, task: Task, text: str) -> None:
        self._write(text)

    def ended(self, outcome: Outcome) -> None:
        self.ended_count += 1
        if self.shares.pop(outcome.task.name, None) is not None:
            self.finished += outcome.task.cost
        done, words = f"done in {duration(outcome.seconds)}", f"{outcome.status}: {outcome.message}".removesuffix(": ")
        self._line(outcome.task, done if outcome.status == "done" else words)

    def waiting(self) -> None:
        done, before = self.finished + self._cost(self.shares), self._cost(self.first_shares)
        if not self.bar.disable:
            self.bar.set_description_str(", ".join(self.shares), refresh=False)
            self.bar.n, self.bar.initial = done, before
            self.bar.refresh()
        elif time.monotonic() - self.spoke >= EVERY:
            left = (time.monotonic() - self.began) * (self.total - done) / (done - before) if done > before else None
            words = "" if left is None else f", about {duration(left)} left"
            parts = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items()) or "nothing runs yet"
            self._write(f"{done / self.total:.0%} done{words} ({parts})")

    def _cost(self, shares: Mapping[str, float]) -> float:
        return sum(self.costs[name] * share for name, share in shares.items())

    def _line(self, task: Task, text: str) -> None:
        self._write(f"[{self.ended_count}/{len(self.costs)}] {task.name}: {text}")

    def _write(self, text: str) -> None:
        self.spoke = time.monotonic()
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()
