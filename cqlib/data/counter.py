"""How far a long step is, on stderr: a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

EVERY = 10.0
"""Seconds between plain lines; what is done sooner says nothing."""


class Counter:
    """Counts to `total` in `unit`s ("B" for bytes); also the progress bar that pooch wants."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.spoke = time.monotonic()
        self.bar: tqdm | None = None
        if sys.stderr.isatty():
            self.bar = tqdm(desc=what, total=total, unit=unit, unit_scale=unit == "B", leave=False, file=sys.stderr)

    def update(self, n: int) -> None:
        """n more are done."""
        self.done = min(self.done + n, self.total) if self.total else self.done + n
        if self.bar is not None:
            self.bar.total = self.total or None
            self.bar.update(self.done - self.bar.n)
        elif time.monotonic() - self.spoke >= EVERY:
            self.spoke = time.monotonic()
            count = f"{self.done:,} of {self.total:,} {self.unit}s"
            if self.unit == "B":
                count = f"{self.done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB"
            print(f"{self.what}: {count}", file=sys.stderr, flush=True)

    def reset(self) -> None:
        """Begin anew."""
        self.done = 0

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
