"""A side of a comparison: work that is prepared once and run again and again, in a process of its own. So what a side
sets for its process, such as how memory is kept (`cqlib.training.device.keep_freed_memory`), does not help the others,
and the memory of each is measured by itself.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import psutil
import torch

from cqlib.cli.tasks import thread_limits
from cqlib.training.device import wall_clock
from cqlib.util import provenance
from cqlib.util.errors import UserError
from cqlib.util.fp32 import full_fp32


@dataclass(frozen=True)
class Work:
    """One side, ready to run. What is compared is the time of a unit: a training step, a batch of images, …"""

    run: Callable[[], object]
    units: float = 1.0
    """How many units a call of `run` does; less than 1 where it does a part of a unit and the rest is extrapolated."""
    images: float = 0.0
    """Images of a unit."""
    format: torch.dtype | None = None
    """The number format of convolutions, where the share of the machine's peak is to be reported; else None."""


Side = Callable[[torch.device], Work]
Turn = Callable[[], tuple[float, int]]
"""Runs a side once; returns the seconds per unit, and the most bytes in use so far."""


def repeated(action: Callable[[], object], units: int, *, images: float, format: torch.dtype | None = None) -> Work:
    """Work whose run is `units` calls of `action`, which does one unit; nothing that it returns is kept."""

    def run() -> None:
        for _ in range(units):
            action()

    return Work(run, units, images, format)


def prepared(side: Side, device: torch.device) -> Work:
    """The side's work; each starts from the same random numbers."""
    torch.manual_seed(0)
    return side(device)


@contextlib.contextmanager
def process(what: str, module: str, *arguments: str, threads: int | None = None) -> Iterator[Callable[[], str]]:
    """Context with a function that asks a fresh process, `python -m module arguments…` with `threads` threads, for its
    next line. It raises UserError, with the last line of the process's errors, where the process has ended; `what`
    names what is measured there."""
    environment = os.environ | (thread_limits(threads) if threads else {})
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen([sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=errors, text=True, env=environment) as child,
    ):  # fmt: skip
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
            raise UserError(f"{what} could not be measured: {last}")

        try:
            yield ask
        finally:
            child.kill()  # it waits for a line, and has nothing to lose
            with contextlib.suppress(BrokenPipeError):
                stdin.close()


@contextlib.contextmanager
def turns(name: str, numbers: Sequence[int]) -> Iterator[list[Turn]]:
    """Context with a `Turn` for each of the sides `numbers` of the row `name`, which runs in a process of its own."""
    with contextlib.ExitStack() as stack:
        processes = [process(f"side {k} of {name}", "benchmarks.side_process", name, str(k)) for k in numbers]
        yield [partial(_turn, stack.enter_context(each)) for each in processes]


def _turn(ask: Callable[[], str]) -> tuple[float, int]:
    seconds, taken = ask().split()
    return float(seconds), int(taken)


def resident(device: torch.device) -> int:
    """Bytes in use now: of this process, or on the card."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def answer(side: Side, device: torch.device) -> None:
    """Run the side once for each line of standard input; print the seconds of a unit, and the most bytes taken so far
    beyond those in use at the start."""
    before = resident(device)
    with full_fp32():
        work = prepared(side, device)
        for _ in sys.stdin:
            seconds = wall_clock(work.run, device) / work.units
            print(seconds, max(0, provenance.peak_memory_bytes(device) - before), flush=True)
