"""How sides are compared: they take turns on one machine, and each round gives a ratio of their times. What is reported
are medians over rounds."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from benchmarks.machine import peak_flops
from benchmarks.sides import Side, ask, processes, take_turns
from cqlib.util import provenance
from cqlib.util.errors import to_stderr


@dataclass(frozen=True)
class Ratio:
    """Our side against one other. Times are medians over `n` rounds, in seconds per unit of work; `ratio` is the median
    over rounds of other / ours, in each of which both saw the same machine."""

    name: str
    ours: str
    """What our side is, where the name of the row does not say it."""
    other: str
    ours_s: float
    other_s: float
    ratio: float
    ratio_low: float
    """The smallest ratio of a round; `ratio_high` is the largest."""
    ratio_high: float
    target: float
    holds: bool
    """Whether the target is met."""
    n: int
    device: str
    peak_share: float | None = None
    """Multiplications and additions per second of our side, as a share of those that the device reaches at best."""
    convolution_share: float | None = None
    """The share of our time within convolutions, on a CPU. It bounds the ratio where both sides call the same ones."""
    work_ratio: float | None = None
    """Multiplications and additions of our side divided by the other's, in convolutions and matrix products."""
    commit: str | None = None
    """The commit of the code that was measured, with "+" where the code had uncommitted changes."""

    @classmethod
    def of_rounds(
        cls, name: str, ours: Sequence[float], theirs: Sequence[float], *, other: str, target: float, device: str,
        our_words: str = "",
    ) -> Ratio:  # fmt: skip
        """The ratio from the seconds per unit of both sides in each round."""
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        ratio = median(ratios)
        return cls(name, our_words, other, median(ours), median(theirs), ratio, min(ratios), max(ratios), target,
                   ratio >= target, len(ratios), device)  # fmt: skip


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
    """A row: several ways to the same result, the first of them ours."""

    name: str
    ours: Side
    others: tuple[Other, ...]
    rounds: int = 5
    counted: bool = False
    """Whether the work of the sides is counted too."""

    def results(self, device: torch.device) -> list[Ratio]:
        """A ratio for each of `others`; one whose package is not installed is left out, and a line says so."""
        others = [other for other in self.others if installed(other.needs)]
        with processes([self.ours, *(other.side for other in others)], device) as connections:
            turns = take_turns(connections, self.rounds)
            counts = [ask(each, "count") for each in connections] if self.counted else []
        ours, *theirs = [[turn.seconds for turn in of_side] for of_side in turns]
        where = provenance.device_name(device, bf16=False)
        ratios = [
            Ratio.of_rounds(self.name, ours, seconds, other=other.words, device=where,
                            target=other.cuda if device.type == "cuda" else other.cpu)
            for other, seconds in zip(others, theirs, strict=True)
        ]  # fmt: skip
        if not counts:
            return ratios
        peak_share = counts[0].operations / median(ours) / peak_flops(device)
        convolutions = counts[0].convolution_seconds / median(ours) if device.type == "cpu" else None
        return [
            replace(ratio, peak_share=peak_share, convolution_share=convolutions,
                    work_ratio=counts[0].operations / count.operations)
            for ratio, count in zip(ratios, counts[1:], strict=True)
        ]  # fmt: skip


def installed(package: str) -> bool:
    """Whether `package` is installed (or empty); if not, a line says so."""
    if not package or importlib.util.find_spec(package) is not None:
        return True
    to_stderr(f"{package} is not installed, so nothing is compared with it: pip install -e '.[test]'")
    return False
