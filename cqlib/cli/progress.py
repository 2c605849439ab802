"""Progress of a list of tasks: one bar with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

from cqlib.util.text import duration

EVERY = 30.0
"""Seconds between plain lines while nothing ends."""


class Progress:
    """Shows progress on stderr. `costs`, name of a task -> its expected time relative to the others, weigh the tasks."""

    def __init__(self, costs: Mapping[str, float]) -> None:
        self.costs, self.total = costs, sum(costs.values()) or 1.0
        self.ended = 0
        self.resumed: dict[str, float] = {}
        """The first share known of each task: a row that is resumed begins with what it had, which took no time now."""
        self.began = self.written = time.monotonic()
        form = "{percentage:3.0f}% |{bar}| {desc}"
        self.bar = tqdm(total=self.total, bar_format=form, dynamic_ncols=True, leave=False, disable=None)

    def show(self, shares: Mapping[str, float]) -> None:
        """Show how far all is; `shares`, name -> the share done, in [0, 1], of each task that has begun."""
        for name, share in shares.items():
            self.resumed.setdefault(name, share)
        done, before = self._cost(shares), self._cost(self.resumed)
        left = (time.monotonic() - self.began) * (self.total - done) / (done - before) if done > before else None
        running = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share < 1)
        words = f"{running}{'' if left is None else f', about {duration(left)} left'}"
        if not self.bar.disable:
            self.bar.n = done
            self.bar.set_description_str(words)
        elif time.monotonic() - self.written >= EVERY:
            self.write(f"{done / self.total:.0%} done: {words}")

    def _cost(self, shares: Mapping[str, float]) -> float:
        return sum(self.costs[name] * share for name, share in shares.items())

    def start(self, name: str) -> None:
        """Say that a task has begun, where no bar shows it."""
        if self.bar.disable:
            self.write(f"[{self.ended}/{len(self.costs)}] {name}: started")

    def end(self, name: str, words: str) -> None:
        """A line on how a task has ended."""
        self.ended += 1
        self.write(f"[{self.ended}/{len(self.costs)}] {name}: {words}")

    def write(self, text: str) -> None:
        """Write a line above the bar."""
        self.written = time.monotonic()
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()
