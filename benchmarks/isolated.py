"""Sides in processes of their own, which take turns: what one sets for its process, such as how memory is kept
(`cqlib.training.device.keep_freed_memory`), is no gift to the others.

`python -m benchmarks.isolated NAME K` prepares side K (0: ours) of the measurement NAME; for each line that it reads it
runs the side once and prints the seconds of a unit.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import torch

from benchmarks.measuring import Turn, prepared
from cqlib.metrics.library import full_fp32
from cqlib.training.device import wall_clock
from cqlib.util.errors import UserError


@contextlib.contextmanager
def turns(name: str, sides: Sequence[int]) -> Iterator[list[Turn]]:
    """A call for each of these sides of a measurement that runs it once more, in its process, and returns the seconds
    of a unit. UserError with the process's last word where it has ended."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_turn(name, k)) for k in sides]


@contextlib.contextmanager
def _turn(name: str, k: int) -> Iterator[Turn]:
    command = [sys.executable, "-m", "benchmarks.isolated", name, str(k)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):

        def once() -> float:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write("\n")
                process.stdin.flush()
            if line := process.stdout.readline():
                return float(line)
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no word of why"])[-1]
            raise UserError(f"bench: side {k} of {name} could not be measured: {last}")

        try:
            yield once
        finally:
            process.kill()  # it waits for a line, and has nothing to lose
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def main(name: str, k: str) -> None:
    """Answer each line of standard input."""
    from benchmarks.table import ROWS

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with full_fp32():
        work = prepared(ROWS[name].sides()[int(k)], device)
        for _ in sys.stdin:
            print(wall_clock(work.run, device) / work.units, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
