"""How much memory a side takes, measured in a process of its own; and whether training takes more the longer it runs.

`python -m benchmarks.memory NAME K` prints the bytes of side K (0: ours) of the measurement NAME; with `growth` as the
only argument, bytes and seconds of a long training as JSON.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from benchmarks.measuring import Result, Side, prepared
from benchmarks.steps import ours, random_images
from cqlib.metrics.library import full_fp32
from cqlib.models.registry import RECIPES, build
from cqlib.training.device import fast_bf16, wall_clock
from cqlib.training.loop import train
from cqlib.util import provenance
from cqlib.util.errors import UserError


def resident(device: torch.device) -> int:
    """Bytes in use now: of this process, or on the card."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def highest(device: torch.device) -> int:
    """The most bytes so far. On Linux not `ru_maxrss`, in which the parent's memory counts until the child starts."""
    if device.type == "cpu" and sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return provenance.peak_memory_bytes(device)


def bytes_of(side: Side, device: torch.device) -> int:
    """What preparing the side and running it once takes beyond what lay in memory before."""
    before = resident(device)
    with full_fp32():
        prepared(side, device).run()
    return max(0, highest(device) - before)


def in_a_fresh_process(*arguments: str) -> str:
    """The last line that this module's command prints; UserError when it fails."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise UserError(f"bench: the memory of {arguments[0]} could not be measured: {last}")
    return done.stdout.splitlines()[-1]


def peak(name: str, k: int) -> int:
    """`bytes_of` side k of a measurement, in a fresh process."""
    return int(in_a_fresh_process(name, str(k)))


def with_memory(name: str, sides: Sequence[int], results: list[Result]) -> list[Result]:
    """The results of a measurement of these sides, ours first, with the memory of both."""
    of_ours, *of_others = (peak(name, k) for k in sides)
    return [replace(r, ours_bytes=of_ours, other_bytes=b) for r, b in zip(results, of_others, strict=True)]


# --- rows about memory ---------------------------------------------------------------------------------------


def growth(device: torch.device, first: int = 200, last: int = 1000) -> dict[str, float]:
    """Training of CQ-F of `smoke`: bytes in use after the `first` and the `last` step, and seconds per step until then
    and of as many steps at the end."""
    recipe = RECIPES["table1/cq-f"]("table1/cq-f", "smoke", 16)
    config = replace(recipe.training, steps=last, log_every=first)
    marks: dict[int, tuple[float, int]] = {0: (time.perf_counter(), 0)}

    def note(step: int, steps: int, left: float) -> None:
        gc.collect()
        marks[step] = time.perf_counter(), resident(device)

    with tempfile.TemporaryDirectory() as folder:
        train(build(recipe.system), random_images(16, 300), config, seed=0, folder=Path(folder), device=device,
              progress=note)  # fmt: skip
    steps = sorted(marks)
    early, late = ((marks[b][0] - marks[a][0]) / (b - a) for a, b in (steps[:2], steps[-2:]))
    return {"early_s": early, "late_s": late, "before": marks[steps[1]][1], "after": marks[last][1]}


class Growth:
    """Memory must not grow over 1,000 training steps. Target 0.97, since allocators hold on to what they once had."""

    name = "memory-growth"
    kinds = ("cpu", "cuda")

    def results(self, device: torch.device) -> list[Result]:
        """Bytes after 200 steps against those after 1,000, in a process of its own."""
        found = json.loads(in_a_fresh_process("growth"))
        ratio, target = found["before"] / found["after"], 0.97
        name = provenance.device_name(device, bf16=fast_bf16(device))
        return [Result(self.name, found["late_s"], "CQ-F after 200 steps; ours: after 1,000", found["early_s"], ratio,
                       target, ratio >= target, 1, name, ratio, ratio, "memory", found["after"],
                       found["before"])]  # fmt: skip


class PaperMemory:
    """CQ-F of `paper` at 32x32, in fp32 as it is trained, has to fit a GPU of 16 GB."""

    name = "cqf-paper-memory"
    kinds = ("cuda",)

    def sides(self) -> tuple[Side]:
        """The step itself."""
        return (ours(lambda _: RECIPES["table1/cq-f"]("table1/cq-f", "paper", 32)),)

    def results(self, device: torch.device) -> list[Result]:
        """The most memory on the card over a few training steps against 16 GB."""
        used, limit = peak(self.name, 0), 16 * 10**9
        work = prepared(self.sides()[0], device)
        work.run()
        taken = wall_clock(work.run, device) / work.units
        name = provenance.device_name(device, bf16=work.format is torch.bfloat16)
        return [Result(self.name, taken, "16 GB", taken, limit / used, 1.0, used <= limit, 1, name, limit / used,
                       limit / used, "memory", used, limit)]  # fmt: skip


def main(arguments: list[str]) -> None:
    """Print what is asked for."""
    from benchmarks.table import ROWS

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments == ["growth"]:
        print(json.dumps(growth(device)))
        return
    name, k = arguments
    print(bytes_of(ROWS[name].sides()[int(k)], device))


if __name__ == "__main__":
    main(sys.argv[1:])
