"""How the cost of a training step of CQ-F, in seconds and memory, grows with the side of the images, the batch and the
number of f's couplings, with the exponent of a power law fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks.sides import processes, take_turns
from benchmarks.steps import RowRecipe, our_step
from cqlib.util import provenance

ROW = "table1/cq-f"
GROWING = {
    "side of the images": {side: RowRecipe(ROW, size=side) for side in (16, 32, 48, 64)},
    "images in a batch": {n: RowRecipe(ROW, changes={"training.batch_size": n}) for n in (8, 16, 32, 64)},
    "couplings of f": {n: RowRecipe(ROW, changes={"system.flow.couplings": n}) for n in (2, 4, 8, 16)},
}
"""What grows -> its value -> the recipe."""


@dataclass(frozen=True)
class Growth:
    """The cost of a step at each of `values` of what grows (`over`): the median `seconds` of a step over rounds, and
    the most `bytes` that it takes."""

    name: str
    over: str
    values: Sequence[int]
    seconds: Sequence[float]
    bytes: Sequence[int]
    device: str
    commit: str | None = None


def exponent(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """p of y = c x^p by least squares on logarithms, and its standard error, which is due to noise and to deviations
    from a power law."""
    (slope, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    return float(slope), float(covariance[0, 0]) ** 0.5


class Cost:
    """The row: for each thing that grows the steps at its values, in turns."""

    name = "cost"

    def results(self, device: torch.device, rounds: int = 3) -> list[Growth]:
        """A growth for each of `GROWING`."""
        found = []
        for over, recipes in GROWING.items():
            with processes([partial(our_step, of) for of in recipes.values()], device) as connections:
                turns = take_turns(connections, rounds)
            seconds = [median(turn.seconds for turn in of_value) for of_value in turns]
            taken = [max(turn.bytes for turn in of_value) for of_value in turns]
            where = provenance.device_name(device, bf16=False)
            found.append(Growth(self.name, over, list(recipes), seconds, taken, where))
        return found


ROWS = (Cost(),)
