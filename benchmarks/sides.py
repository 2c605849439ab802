"""Sides in processes of their own: what one sets for its process, such as how memory is kept
(`cqlib.training.device.keep_freed_memory`), does not help the others, and its memory is its own.

`python -m benchmarks.sides time|memory NAME K` prepares side K (0: ours) of the measurement NAME; for each line that it
reads, `time` runs the side once and prints the seconds of a unit, `memory` prints the bytes of preparing it and running
it once. `python -m benchmarks.sides growth` prints what a long training takes (`benchmarks.memory.growth`).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import torch

from benchmarks.measuring import Result, Side, Turn, prepared
from cqlib.metrics.precision import full_fp32
from cqlib.training.device import wall_clock
from cqlib.util import provenance
from cqlib.util.errors import UserError


@contextlib.contextmanager
def process(name: str, *arguments: str) -> Iterator[Callable[[], str]]:
    """A function that asks a fresh process of this module's command for its next line. UserError, with the last word of
    the process, where it has ended; `name` is what it measures."""
    command = [sys.executable, "-m", "benchmarks.sides", *arguments]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        stdin, stdout = child.stdin, child.stdout
        assert stdin is not None and stdout is not None

        def ask() -> str:
            with contextlib.suppress(BrokenPipeError):
                stdin.write("\n")
                stdin.flush()
            if line := stdout.readline():
                return line
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no word of why"])[-1]
            raise UserError(f"{name} could not be measured: {last}")

        try:
            yield ask
        finally:
            child.kill()  # it waits for a line, and has nothing to lose
            with contextlib.suppress(BrokenPipeError):
                stdin.close()


@contextlib.contextmanager
def turns(name: str, sides: Sequence[int]) -> Iterator[list[Turn]]:
    """For each of these sides of a measurement a function that runs it once more, in its process, and returns the
    seconds of a unit."""
    with contextlib.ExitStack() as stack:
        asks = [stack.enter_context(process(f"side {k} of {name}", "time", name, str(k))) for k in sides]
        yield [partial(_number, ask) for ask in asks]


def _number(ask: Callable[[], str]) -> float:
    return float(ask())


def peak(name: str, k: int) -> int:
    """Bytes that side k of a measurement takes beyond the code's."""
    with process(f"the memory of side {k} of {name}", "memory", name, str(k)) as ask:
        return int(ask())


def with_memory(name: str, sides: Sequence[int], results: Sequence[Result]) -> list[Result]:
    """The results of a measurement of these sides, ours first, with the memory of both."""
    ours, *others = (peak(name, k) for k in sides)
    return [replace(r, ours_bytes=ours, other_bytes=other) for r, other in zip(results, others, strict=True)]


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
    """What preparing the side and running it once takes beyond what was in memory before."""
    before = resident(device)
    with full_fp32():
        prepared(side, device).run()
    return max(0, highest(device) - before)


def main(kind: str, name: str = "", k: str = "0") -> None:
    """Answer each line of standard input."""
    from benchmarks import memory
    from benchmarks.table import ROWS

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "growth":
        print(json.dumps(memory.growth(device)), flush=True)
        return
    side = ROWS[name].sides()[int(k)]
    if kind == "memory":
        print(bytes_of(side, device), flush=True)
        return
    with full_fp32():
        work = prepared(side, device)
        for _ in sys.stdin:
            print(wall_clock(work.run, device) / work.units, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
