"""How cost grows: exponents of known power laws, and steps in which one thing alone is changed."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from benchmarks import cost, sides

CPU = torch.device("cpu")


def test_the_exponent_of_a_power_law_is_exact_and_has_no_error():
    slope, error = cost.exponent([16, 32, 48, 64], [5 * x**2.5 for x in (16, 32, 48, 64)])
    assert slope == pytest.approx(2.5) and error == pytest.approx(0, abs=1e-6)


def test_what_is_no_power_law_has_an_error():
    """Of y = (1, 1, 4) at x = (1, 2, 4): in units of ln 2 the points are (0, 0), (1, 0), (2, 2), the line has slope 1,
    residuals 1/3, -2/3, 1/3, and the slope an error of sqrt((6/9) / 1 / 2)."""
    slope, error = cost.exponent([1, 2, 4], [1, 1, 4])
    assert (slope, error) == (pytest.approx(1), pytest.approx((1 / 3) ** 0.5))


def test_growth_is_measured_in_rounds_of_which_the_first_gives_the_memory(monkeypatch):
    row = cost.Cost("a", "width", (2, 4), lambda value: None, rounds=3)
    seconds = {2: iter([9.0, 1.0, 3.0, 2.0]), 4: iter([9.0, 5.0, 4.0, 6.0])}
    taken = {2: iter([100, 200, 200, 200]), 4: iter([300, 400, 400, 400])}
    ways = [lambda v=v: (next(seconds[v]), next(taken[v])) for v in (2, 4)]
    monkeypatch.setattr(sides, "turns", lambda name, numbers: nullcontext([ways[k] for k in numbers]))
    (g,) = row.results(CPU)
    assert (g.values, g.bytes, g.medians) == ((2, 4), (100, 300), [2.0, 5.0])
    assert g.seconds == ((1.0, 3.0, 2.0), (5.0, 4.0, 6.0))


def test_one_thing_alone_grows():
    rows = {row.name: row for row in cost.ROWS}
    plain = cost.CQF(CPU)
    changes = {
        "cost-over-batch": lambda v: replace(plain, training=replace(plain.training, batch_size=v)),
        "cost-over-couplings": lambda v: _with_flow(plain, couplings=v),
        "cost-over-width": lambda v: _with_flow(plain, width=v),
    }
    for name, expected in changes.items():
        for value in rows[name].values:
            assert rows[name].recipe(value)(CPU) == expected(value)
    assert [rows["cost-over-side"].recipe(v)(CPU).system.size for v in (16, 32, 48, 64)] == [16, 32, 48, 64]
    assert rows["cost-over-side"].recipe(16)(CPU) == plain and len(rows) == 4
    assert plain.training.batch_size in rows["cost-over-batch"].values


def _with_flow(recipe, **changes):
    return replace(recipe, system=replace(recipe.system, flow=replace(recipe.system.flow, **changes)))
