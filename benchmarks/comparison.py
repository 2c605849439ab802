"""How steps are compared: they take turns on one machine, and each round gives a ratio of their times. What is reported
are medians over rounds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch

from cqlib.util import provenance
from cqlib.util.device import wall_clock
from cqlib.util.errors import to_stderr
from cqlib.util.fp32 import full_fp32

STEPS = 4
"""Training steps in one turn: the lazy gradient penalty comes in every fourth."""

Step = Callable[[], object]
Side = Callable[[torch.device], Step]
"""Prepares a training on the device, and returns the function that takes its next step."""


@dataclass(frozen=True)
class Ratio:
    """Our step against one other. Times are medians over `n` rounds, in seconds per step; `ratio` is the median over
    rounds of other / ours, in each of which both saw the same machine."""

    name: str
    other: str
    ours_s: float
    other_s: float
    ratio: float
    ratio_low: float
    """The smallest ratio of a round; `ratio_high` is the largest."""
    ratio_high: float
    target: float
    n: int
    device: str
    commit: str | None = None
    """The commit of the code that was measured, with "+" where the code had uncommitted changes."""

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target

    @classmethod
    def of_rounds(
        cls, name: str, ours: Sequence[float], theirs: Sequence[float], *, other: str, target: float, device: str
    ) -> Ratio:
        """The ratio from the seconds per step of both sides in each round."""
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        return cls(name, other, median(ours), median(theirs), median(ratios), min(ratios), max(ratios), target,
                   len(ratios), device)  # fmt: skip


@dataclass(frozen=True)
class Other:
    """A side that ours is compared with, what it is in words, and how many times as fast ours is to be, on a CPU and on
    a GPU."""

    words: str
    side: Side
    cpu: float = 1.0
    cuda: float = 1.0
    needs: str = ""
    """A package that the side needs and that may be missing; empty for none."""


@dataclass(frozen=True)
class Comparison:
    """A row: several ways to take a training step, the first of them ours."""

    name: str
    ours: Side
    others: tuple[Other, ...]

    def results(self, device: torch.device, rounds: int = 5) -> list[Ratio]:
        """A ratio for each of `others`; one whose package is not installed is left out, and a line says so."""
        others = [other for other in self.others if installed(other.needs)]
        with full_fp32():
            ours, *theirs = take_turns(
                [side(device) for side in (self.ours, *(o.side for o in others))], rounds, device
            )
        where = provenance.device_name(device)
        return [
            Ratio.of_rounds(self.name, ours, seconds, other=other.words, device=where,
                            target=other.cuda if device.type == "cuda" else other.cpu)
            for other, seconds in zip(others, theirs, strict=True)
        ]  # fmt: skip


def take_turns(sides: Sequence[Step], rounds: int, device: torch.device) -> list[list[float]]:
    """The seconds per step of each side in so many rounds. The order is reversed in every second round, so that all see
    the machine in the same state; a first round warms up and is not counted."""
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(rounds + 1):
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for k in order:
            seconds[k].append(wall_clock(partial(several, sides[k]), device) / STEPS)
    return [of_side[1:] for of_side in seconds]


def several(step: Step) -> None:
    """Take the steps of one turn."""
    for _ in range(STEPS):
        step()


def installed(package: str) -> bool:
    """Whether `package` is installed (or empty); if not, a line says so."""
    if not package or importlib.util.find_spec(package) is not None:
        return True
    to_stderr(f"{package} is not installed, so nothing is compared with it: pip install -e '.[test]'")
    return False
