"""How sides are compared: they take turns on one machine, and each round gives a ratio of their times.

In each round every side runs once, in an order that is reversed in every second round, so that all see the machine in
the same state. The first round warms up and is not counted. What is reported are medians over rounds.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import torch

from benchmarks import sides
from benchmarks.machine import convolution_seconds, operations, peak_flops
from benchmarks.sides import Side, Turn, prepared
from cqlib.training.device import fork_rng
from cqlib.util import provenance
from cqlib.util.fp32 import full_fp32


@dataclass(frozen=True)
class Ratio:
    """Our side against one other. Times are medians over `n` rounds, in seconds per unit of work; `ratio` is the median
    over rounds of other / ours, in each of which both saw the same machine.

    If `about` is "memory", the ratio and its target are of bytes, and the times are only given beside them.
    """

    name: str
    ours_s: float
    other: str
    other_s: float
    ratio: float
    target: float
    holds: bool
    n: int
    device: str
    ratio_low: float
    """The smallest ratio of a round; `ratio_high` is the largest."""
    ratio_high: float
    about: Literal["time", "memory"] = "time"
    ours: str = ""
    """What our side is, where the name of the row does not say it."""
    ours_bytes: int | None = None
    """The most memory that our side takes in a process of its own, beyond what it has in use before the work is
    prepared; with a GPU, memory of the card."""
    other_bytes: int | None = None
    images_per_s: float | None = None
    """Images per second of our side."""
    flops_per_s: float | None = None
    """Multiplications and additions per second of our side; `peak_flops_per_s`: those that the device reaches at best
    in the same number format (`machine.peak_flops`)."""
    peak_flops_per_s: float | None = None
    convolutions_s: float | None = None
    """Seconds per unit that our side spends within convolutions, on a CPU. They bound the ratio where both sides call
    the same ones."""
    work_ratio: float | None = None
    """Multiplications and additions of our side divided by the other's, in convolutions and matrix products."""
    commit: str | None = None
    """The commit of the code that was measured, with "+" where the code had uncommitted changes."""

    @classmethod
    def of_rounds(
        cls, name: str, ours: list[float], other: str, theirs: list[float], target: float, device: str
    ) -> Ratio:
        """The ratio from the seconds per unit of both sides in each round."""
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        ratio = median(ratios)
        return cls(name, median(ours), other, median(theirs), ratio, target, ratio >= target, len(ratios), device,
                   min(ratios), max(ratios))  # fmt: skip

    @classmethod
    def of_bytes(
        cls, name: str, ours: tuple[float, int], other: str, theirs: tuple[float, int], target: float, device: str,
        words: str = "",
    ) -> Ratio:  # fmt: skip
        """The ratio from the seconds per unit and the bytes of both sides, once; `words`: what our side is."""
        (ours_s, ours_bytes), (other_s, other_bytes) = ours, theirs
        ratio = other_bytes / ours_bytes
        return cls(name, ours_s, other, other_s, ratio, target, ratio >= target, 1, device, ratio, ratio, "memory",
                   words, ours_bytes, other_bytes)  # fmt: skip


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

    def target(self, device: torch.device) -> float:
        """The target for the ratio of times on that kind of device."""
        return self.cuda if device.type == "cuda" else self.cpu


@dataclass(frozen=True)
class Comparison:
    """A row: several ways to the same result, the first of them ours."""

    name: str
    ours: Side
    others: tuple[Other, ...]
    rounds: int = 5
    kinds: tuple[str, ...] = ("cpu", "cuda")
    """The kinds of devices on which the row is measured."""

    def sides(self) -> list[Side]:
        """Ours, then the others."""
        return [self.ours, *(other.side for other in self.others)]

    def results(self, device: torch.device) -> list[Ratio]:
        """A ratio for each of `others`; one whose package is not installed is left out, and a line says so."""
        there = [k for k, other in enumerate(self.others) if installed(self.name, other.needs)]
        with sides.turns(self.name, [0, *(k + 1 for k in there)]) as turns:
            return measure(replace(self, others=tuple(self.others[k] for k in there)), device, turns)


def installed(name: str, package: str) -> bool:
    """Whether `package` is installed (or empty); if not, a line names it and the row `name` that needs it."""
    if not package or importlib.util.find_spec(package) is not None:
        return True
    print(f"{name:<20} {package} is not installed: pip install -e '.[test]'", flush=True)
    return False


SAME_WORK = 0.05
"""Sides whose multiply-adds differ by less do the same work."""


def measure(row: Comparison, device: torch.device, turns: list[Turn]) -> list[Ratio]:
    """The ratio for each of the row's `others`, after all sides have taken their `turns`. Operations are counted in
    this process, in true fp32 but for what a side itself does in bf16; the state of random numbers stays as it was."""
    (first, *rounds) = [one_round(turns, backwards=k % 2 == 1) for k in range(row.rounds + 1)]
    times = [[each[k][0] for each in rounds] for k in range(len(turns))]
    with full_fp32(), fork_rng(device):
        works = [prepared(side, device) for side in row.sides()]
        ours, counted = works[0], works[0].format is not None
        counts = [operations(w.run) / w.units if counted else 0.0 for w in works]
        peak = peak_flops(device, ours.format) if ours.format is not None else None
        within = convolution_seconds(ours.run) / ours.units if counts[0] and device.type == "cpu" else None
    name = provenance.device_name(device, bf16=ours.format is torch.bfloat16)
    results = []
    for k, other in enumerate(row.others, start=1):
        one = Ratio.of_rounds(row.name, times[0], other.words, times[k], other.target(device), name)
        one = replace(one, ours_bytes=first[0][1], other_bytes=first[k][1])
        if ours.images:
            one = replace(one, images_per_s=ours.images / one.ours_s)
        if counted:
            one = replace(one, flops_per_s=counts[0] / one.ours_s, peak_flops_per_s=peak, convolutions_s=within,
                          work_ratio=counts[0] / counts[k] if counts[k] else None)  # fmt: skip
        results.append(one)
    return results


def one_round(turns: list[Turn], *, backwards: bool) -> list[tuple[float, int]]:
    """What each turn returns, (seconds per unit, bytes), in the order of `turns` even if they ran `backwards`."""
    found = {k: turns[k]() for k in (reversed(range(len(turns))) if backwards else range(len(turns)))}
    return [found[k] for k in range(len(turns))]
