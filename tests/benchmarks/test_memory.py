"""Rows about memory: what grows, and what has to fit."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from benchmarks import memory, sides, steps
from cqlib.models.registry import RECIPES

CPU = torch.device("cpu")


def smoke(row):
    return lambda device: RECIPES[row](row, "smoke", 16)


@pytest.mark.slow
def test_growth_compares_the_memory_of_the_first_and_the_last_steps(monkeypatch):
    found = iter([100, 150, 104])
    monkeypatch.setattr(sides, "resident", lambda device: next(found))
    grown = memory.growth(CPU, first=2, last=6)
    assert (grown["before"], grown["after"]) == (100, 104) and grown["early_s"] > 0 and grown["late_s"] > 0


@pytest.mark.parametrize(("after", "holds"), [(100, True), (102, True), (104, False)])
def test_memory_must_not_grow(monkeypatch, after, holds):
    grown = {"early_s": 1.0, "late_s": 2.0, "before": 100, "after": after}
    monkeypatch.setattr(memory, "_growth", lambda: grown)
    (r,) = memory.MemoryGrowth().results(CPU)
    assert (r.about, r.other_bytes, r.ours_bytes, r.holds) == ("memory", 100, after, holds)
    assert (r.ratio, r.ours_s, r.other_s) == (100 / after, 2.0, 1.0)


def test_paper_memory_is_set_against_16_gb(monkeypatch):
    """In the precision of the recipe."""
    tiny = smoke("table1/cq-f")(CPU)
    for autocast, format in (("off", torch.float32), ("auto", torch.bfloat16)):
        asked = replace(tiny, training=replace(tiny.training, autocast=autocast))
        recipes = {"table1/cq-f": lambda *given, r=asked: {("table1/cq-f", "paper", 32): r}[given]}
        monkeypatch.setattr(memory, "RECIPES", recipes)
        monkeypatch.setattr(steps, "fast_bf16", lambda device: True)
        assert memory.PaperMemory().sides()[0](CPU).format == format
    for used, holds in ((8 * 10**9, True), (17 * 10**9, False)):
        turn = iter([(9.0, used), (0.5, used + 1)]).__next__  # the first warms up
        monkeypatch.setattr(sides, "turns", lambda name, numbers, turn=turn: nullcontext([turn]))
        (r,) = memory.PaperMemory().results(CPU)
        assert (r.ours_bytes, r.other_bytes, r.holds, r.ours_s) == (used, 16 * 10**9, holds, 0.5)
