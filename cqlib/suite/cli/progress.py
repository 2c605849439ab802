"""Progress of a list of tasks: one bar with the time left on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

SECONDS = 30.0
"""Time between plain lines if no task ends."""
FORM = "{percentage:3.0f}% |{bar:20}| {elapsed} gone, {remaining} left · {desc}"


class Progress:
    """Shows progress on stderr. `costs`: name of a task -> its expected time relative to the others."""

    def __init__(self, costs: Mapping[str, float]) -> None:
        self.costs = costs
        self.ended = 0
        self.begun: set[str] = set()
        self.written = time.monotonic()
        self.bar = tqdm(total=sum(costs.values()), bar_format=FORM, dynamic_ncols=True, leave=False, disable=None)

    def show(self, shares: Mapping[str, float], lines: Mapping[str, str]) -> None:
        """Show the progress. `shares`: name -> the share done, in [0, 1], of each task that has begun; `lines`: name ->
        the last line of each task that is running."""
        if not self.bar.disable:
            for name, share in shares.items():
                if name not in self.begun and 0 < share < 1:  # a resumed row: earlier calls took that time
                    self.begun.add(name)
                    self.bar.initial += self.costs[name] * share
            self.bar.n = sum(self.costs[name] * share for name, share in shares.items())
            self.bar.set_description_str(", ".join(lines))
        elif time.monotonic() - self.written >= SECONDS:
            for name, line in lines.items():
                self.write(f"{name}: {line or 'running'}")

    def end(self, outcome: str) -> None:
        """Print the outcome of a task."""
        self.ended += 1
        self.write(f"[{self.ended}/{len(self.costs)}] {outcome}")

    def write(self, text: str) -> None:
        """Print a line above the bar."""
        self.written = time.monotonic()
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
