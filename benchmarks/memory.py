"""Rows about memory: whether training takes more the longer it runs, and what a step of `paper` takes on a card."""

from __future__ import annotations

import gc
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import sides
from benchmarks.comparison import Ratio
from benchmarks.sides import Side
from benchmarks.steps import ours, random_images
from cqlib.models.registry import RECIPES, build
from cqlib.training.device import select_device
from cqlib.training.loop import train
from cqlib.util import provenance


def growth(device: torch.device, first: int = 200, last: int = 1000) -> dict[str, float]:
    """Train CQ-F of `smoke` for `last` steps: bytes in use after steps `first` ("before") and `last` ("after"), and
    seconds per step of the first ("early_s") and of the last `first` steps ("late_s")."""
    recipe = RECIPES["table1/cq-f"]("table1/cq-f", "smoke", 16)
    config = replace(recipe.training, steps=last, log_every=first)
    marks: dict[int, tuple[float, int]] = {0: (time.perf_counter(), 0)}

    def note(step: int, steps: int, left: float) -> None:
        gc.collect()
        marks[step] = time.perf_counter(), sides.resident(device)

    with tempfile.TemporaryDirectory() as folder:
        train(build(recipe.system), random_images(16, 300), config, seed=0, folder=Path(folder), device=device,
              progress=note)  # fmt: skip
    steps = sorted(marks)
    early, late = ((marks[b][0] - marks[a][0]) / (b - a) for a, b in (steps[:2], steps[-2:]))
    return {"early_s": early, "late_s": late, "before": marks[steps[1]][1], "after": marks[last][1]}


def _growth() -> dict[str, float]:
    with sides.process("the growth of memory", "benchmarks.memory") as ask:
        return json.loads(ask())


class MemoryGrowth:
    """Memory must not grow over 1,000 training steps. Target 0.97, since allocators hold on to what they once had."""

    name = "memory-growth"
    kinds = ("cpu", "cuda")

    def results(self, device: torch.device) -> list[Ratio]:
        """Bytes after 200 steps against those after 1,000, in a process of its own."""
        found = _growth()
        early, late = (found["early_s"], int(found["before"])), (found["late_s"], int(found["after"]))
        name = provenance.device_name(device, bf16=False)
        return [Ratio.of_bytes(self.name, late, "CQ-F after 200 steps", early, 0.97, name, "after 1,000")]


class PaperMemory:
    """CQ-F of `paper` at 32x32 has to fit a GPU of 16 GB."""

    name = "cqf-paper-memory"
    kinds = ("cuda",)

    def sides(self) -> tuple[Side]:
        """The step itself."""
        return (ours(lambda _: RECIPES["table1/cq-f"]("table1/cq-f", "paper", 32)),)

    def results(self, device: torch.device) -> list[Ratio]:
        """The most memory on the card over a few training steps against 16 GB."""
        with sides.turns(self.name, [0]) as (turn,):
            _, used = turn()
            taken, _ = turn()
        name = provenance.device_name(device, bf16=False)
        return [Ratio.of_bytes(self.name, (taken, used), "16 GB", (taken, 16 * 10**9), 1.0, name)]


ROWS = (MemoryGrowth(), PaperMemory())

if __name__ == "__main__":
    print(json.dumps(growth(select_device())), flush=True)
