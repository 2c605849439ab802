"""How the cost of a training step of CQ-F, in seconds and memory, grows with the side of the images, the batch, the
number of f's couplings and their width, with the exponent of a power law fitted to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch

from benchmarks import sides
from benchmarks.comparison import one_round
from benchmarks.sides import Side
from benchmarks.steps import CQF, Recipes, of_row, ours
from cqlib.recipe import Recipe
from cqlib.util import provenance


@dataclass(frozen=True)
class Growth:
    """The cost of a step at each of `values` of what grows (`over`): `seconds` per step, a number from each round, and
    the most `bytes` that the step takes."""

    name: str
    over: str
    values: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]
    bytes: tuple[int, ...]
    device: str
    commit: str | None = None

    @property
    def medians(self) -> list[float]:
        """Seconds per step at each value."""
        return [median(rounds) for rounds in self.seconds]


def exponent(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """p of y = c x^p by least squares on logarithms, and its standard error, which is due to noise and to deviations
    from a power law."""
    (slope, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    return float(slope), float(covariance[0, 0]) ** 0.5


@dataclass(frozen=True)
class Cost:
    """A row: the step of a recipe at each value of what grows, in turns."""

    name: str
    over: str
    values: tuple[int, ...]
    recipe: Callable[[int], Recipes]
    rounds: int = 3
    steps: int = 4
    kinds: tuple[str, ...] = ("cpu", "cuda")

    def sides(self) -> list[Side]:
        """One side for each value."""
        return [ours(self.recipe(value), self.steps) for value in self.values]

    def results(self, device: torch.device) -> list[Growth]:
        """The growth over all values, the only entry of the list."""
        with sides.turns(self.name, range(len(self.values))) as turns:
            first, *rounds = [one_round(turns, backwards=k % 2 == 1) for k in range(self.rounds + 1)]
        seconds = tuple(tuple(each[k][0] for each in rounds) for k in range(len(self.values)))
        taken = tuple(size for _, size in first)
        name = provenance.device_name(device, bf16=False)
        return [Growth(self.name, self.over, self.values, seconds, taken, name)]


def changed(change: Callable[[Recipe, int], Recipe]) -> Callable[[int], Recipes]:
    """Value -> CQ-F's recipe to which `change` has been applied with that value."""
    return lambda value: lambda device: change(CQF(device), value)


def batch(recipe: Recipe, n: int) -> Recipe:
    """The recipe with batches of n images."""
    return replace(recipe, training=replace(recipe.training, batch_size=n))


def flow(recipe: Recipe, **changes: int) -> Recipe:
    """The recipe with `changes` to f; the other nets stay the same."""
    system = recipe.system
    return replace(recipe, system=replace(system, flow=replace(system.flow, **changes)))


ROWS = (
    Cost("cost-over-side", "side of the images", (16, 32, 48, 64), lambda side: of_row("table1/cq-f", side)),
    Cost("cost-over-batch", "images in a batch", (8, 16, 32, 64), changed(batch)),
    Cost("cost-over-couplings", "couplings of f", (2, 4, 8, 16), changed(lambda r, n: flow(r, couplings=n))),
    Cost("cost-over-width", "width of f", (8, 16, 32, 64), changed(lambda r, n: flow(r, width=n))),
)
