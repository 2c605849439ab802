"""How two sides are compared: they take turns on one machine, and each turn is a ratio.

A side is a function that prepares work on a device. In each round every side runs once, in this order and in the
reverse by turns, so that all see the same machine; the first round warms up and is not counted. Medians are told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import torch

from benchmarks.machine import convolution_seconds, operations, peak_flops
from cqlib.metrics.precision import full_fp32
from cqlib.util import provenance


@dataclass(frozen=True)
class Work:
    """One side, ready to run. What is compared is the time of a unit: a training step, a batch of images, …"""

    run: Callable[[], object]
    units: float = 1.0
    """How many units one run does; a part of 1 where the rest of a unit is extrapolated."""
    images: float = 0.0
    """Images of a unit."""
    format: torch.dtype | None = None
    """Of the convolutions, where the share of the machine's peak is to be told."""


Side = Callable[[torch.device], Work]
Turn = Callable[[], float]
"""Runs a side once; the seconds of a unit."""


def repeated(action: Callable[[], object], units: int, *, images: float, format: torch.dtype | None = None) -> Work:
    """`units` calls of what does one unit; nothing that it returns is kept."""

    def run() -> None:
        for _ in range(units):
            action()

    return Work(run, units, images, format)


@dataclass(frozen=True)
class Other:
    """What ours is compared with, in words; and by how much ours is to be faster."""

    words: str
    side: Side
    cpu: float = 1.0
    cuda: float = 1.0
    needs: str = ""
    """A package that may be missing."""

    def target(self, device: torch.device) -> float:
        """Of the ratio of times, on that kind of device."""
        return self.cuda if device.type == "cuda" else self.cpu


@dataclass(frozen=True)
class Measurement:
    """Several ways to the same result, the first of them ours."""

    name: str
    ours: Side
    others: tuple[Other, ...]
    rounds: int = 5
    kinds: tuple[str, ...] = ("cpu", "cuda")
    """Of devices on which it is a row."""

    def sides(self) -> list[Side]:
        """Ours, then the others."""
        return [self.ours, *(other.side for other in self.others)]


SAME_WORK = 0.05
"""Sides whose multiply-adds differ by less do the same work."""


@dataclass(frozen=True)
class Result:
    """Ours against one other. Times are medians over n rounds, in seconds for a unit; `ratio` is the median of other /
    ours over the rounds, in each of which both saw the same machine.

    `about` "memory": the ratio and its target are those of bytes, and times stand beside.
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
    """The smallest and the largest ratio of one round."""
    ratio_high: float
    about: Literal["time", "memory"] = "time"
    ours_bytes: int | None = None
    """The most memory that the side takes in a process of its own, beyond the code's; on a GPU, on the card."""
    other_bytes: int | None = None
    images_per_s: float | None = None
    """Of ours."""
    flops_per_s: float | None = None
    """Multiplications and additions of ours, and what the device reaches on large products of the same format."""
    peak_flops_per_s: float | None = None
    convolutions_s: float | None = None
    """Of ours, on a CPU: the part within convolutions. It bounds the ratio where both sides call the same ones."""
    work_ratio: float | None = None
    """Multiplications and additions of ours over the other's, in convolutions and matrix products."""
    commit: str | None = None
    """Of the code that was measured, with "+" where it was changed after."""


def prepared(side: Side, device: torch.device) -> Work:
    """The side's work; each starts from the same random numbers."""
    torch.manual_seed(0)
    return side(device)


def measure(m: Measurement, device: torch.device, turns: list[Turn]) -> list[Result]:
    """Let all sides take their `turns`; a result for each other. Their operations are counted in this process, in true
    fp32 but for what a side itself does in bf16; the state of random numbers stays as it was."""
    with full_fp32(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        works = [prepared(side, device) for side in m.sides()]
        rounds = [_round(turns, backwards=k % 2 == 1) for k in range(m.rounds + 1)][1:]
        ours = works[0]
        counts = [operations(w.run) / w.units for w in works] if ours.format is not None else None
        peak = peak_flops(device, ours.format) if ours.format is not None else None
        within = convolution_seconds(ours.run) / ours.units if counts and counts[0] and device.type == "cpu" else None
    times = [[each[k] for each in rounds] for k in range(len(turns))]
    ours_s = median(times[0])
    name = provenance.device_name(device, bf16=ours.format is torch.bfloat16)
    results = []
    for k, (other, theirs) in enumerate(zip(m.others, times[1:], strict=True), start=1):
        ratios = [b / a for a, b in zip(times[0], theirs, strict=True)]
        ratio, target = median(ratios), other.target(device)
        one = Result(m.name, ours_s, other.words, median(theirs), ratio, target, ratio >= target, len(rounds), name,
                     min(ratios), max(ratios))  # fmt: skip
        if ours.images:
            one = replace(one, images_per_s=ours.images / ours_s)
        if counts is not None:
            one = replace(one, flops_per_s=counts[0] / ours_s, peak_flops_per_s=peak, convolutions_s=within,
                          work_ratio=counts[0] / counts[k] if counts[k] else None)  # fmt: skip
        results.append(one)
    return results


def _round(turns: list[Turn], *, backwards: bool) -> list[float]:
    """Seconds for a unit of each."""
    found = [0.0] * len(turns)
    for k in reversed(range(len(turns))) if backwards else range(len(turns)):
        found[k] = turns[k]()
    return found
