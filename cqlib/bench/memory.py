"""How much memory a side takes, measured in a process of its own; and whether training takes more the longer it runs.

    python -m cqlib.bench.memory NAME K     the bytes of side K (0: ours) of the measurement NAME, on a line of its own
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from cqlib import provenance
from cqlib.bench.measuring import Measurement, Result, Side, prepared
from cqlib.bench.steps import CQF, ours, random_images
from cqlib.errors import UserError
from cqlib.experiments import RECIPES, build
from cqlib.metrics.features import full_fp32
from cqlib.sampling_time import seconds
from cqlib.training import train


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


def peak(name: str, k: int) -> int:
    """`bytes_of` side k of a measurement, in a fresh process; UserError when it fails."""
    done = subprocess.run([sys.executable, "-m", "cqlib.bench.memory", name, str(k)], capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise UserError(f"bench: the memory of {name} could not be measured: {last}")
    return int(done.stdout.split()[-1])


def with_memory(m: Measurement, results: list[Result]) -> list[Result]:
    """The results of a measurement, with the memory of both sides."""
    of_ours, *of_others = (peak(m.name, k) for k in range(len(m.sides())))
    return [replace(r, ours_bytes=of_ours, other_bytes=b) for r, b in zip(results, of_others, strict=True)]


# --- rows about memory ---------------------------------------------------------------------------------------


class Growth:
    """Training of CQ-F from its 200th to its 1,000th step: memory must not grow."""

    name = "memory-growth"
    kinds = ("cpu", "cuda")

    def __init__(self, first: int = 200, last: int = 1000):
        self.first, self.last = first, last

    def results(self, device: torch.device) -> list[Result]:
        """Bytes and seconds per step of the last `first` steps against the first ones; target 0.97, since allocators
        hold on to what they once had."""
        recipe = RECIPES["table1/cq-f"]("table1/cq-f", "smoke", 16)
        config = replace(recipe.training, steps=self.last, log_every=self.first)
        marks: dict[int, tuple[float, int]] = {0: (time.perf_counter(), 0)}

        def note(step: int, steps: int, left: float) -> None:
            gc.collect()
            marks[step] = time.perf_counter(), resident(device)

        with tempfile.TemporaryDirectory() as folder:
            train(build(recipe.system), random_images(16, 300), config, seed=0, folder=Path(folder), device=device,
                  progress=note)  # fmt: skip
        steps = sorted(marks)
        early, late = ((marks[b][0] - marks[a][0]) / (b - a) for a, b in (steps[:2], steps[-2:]))
        before, after = marks[steps[1]][1], marks[steps[-1]][1]
        ratio, target = before / after, 0.97
        device_name = provenance.device_name(device, bf16=False)
        other = f"memory after {self.first} steps of CQ-F, not after {self.last:,}"
        return [Result(self.name, late, other, early, ratio, target, ratio >= target, 1, device_name, ratio, ratio,
                       "memory", after, before)]  # fmt: skip


class PaperMemory:
    """CQ-F of `paper` at 32x32 has to fit a GPU of 16 GB."""

    name = "cqf-paper-memory"
    kinds = ("cuda",)

    def results(self, device: torch.device) -> list[Result]:
        """The most memory on the card over a few training steps against 16 GB."""
        used, limit = peak("cqf-step", 0), 16 * 10**9
        work = prepared(ours(CQF), device)
        work.run()
        taken = seconds(work.run, device) / work.units
        name = provenance.device_name(device, bf16=work.format is torch.bfloat16)
        return [Result(self.name, taken, "16 GB", taken, limit / used, 1.0, used <= limit, 1, name, limit / used,
                       limit / used, "memory", used, limit)]  # fmt: skip


def main(arguments: list[str]) -> None:
    """Print the bytes of one side."""
    from cqlib.bench.table import ROWS

    name, k = arguments
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(bytes_of(ROWS[name].sides()[int(k)], device))


if __name__ == "__main__":
    main(sys.argv[1:])
