"""A side of a comparison: work that is prepared once and run again and again, in a process of its own. So what a side
sets for its process does not help the others, and the memory of each is measured by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import psutil
import torch

from benchmarks.machine import Counts, counts
from cqlib.util import provenance
from cqlib.util.device import wall_clock
from cqlib.util.errors import UserError
from cqlib.util.fp32 import full_fp32


@dataclass(frozen=True)
class Work:
    """One side, ready to run. What is compared is the time of a unit: a training step, a batch of images, …"""

    run: Callable[[], object]
    units: float = 1.0
    """How many units a call of `run` does; less than 1 where it does a part of a unit and the rest is extrapolated."""


Side = Callable[[torch.device], Work]
"""Prepares the work. It goes to another process, so it is a function of a module, or a partial of one."""


class Turn(NamedTuple):
    """What a side took in its turn: seconds per unit of work, and the most bytes in use so far for this work."""

    seconds: float
    bytes: int


def repeated(action: Callable[[], object], units: int) -> Work:
    """Work whose run is `units` calls of `action`, which does one unit; nothing that it returns is kept."""

    def run() -> None:
        for _ in range(units):
            action()

    return Work(run, units)


@contextlib.contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Context with the connection to a fresh process that runs `target(connection, *arguments)`. UserError where it
    fails while this process waits for it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        yield ours
        ours.close()
        child.join()
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise UserError("the process of one side has failed, as it says above") from error
    finally:
        child.kill()


@contextlib.contextmanager
def processes(sides: Sequence[Side], device: torch.device) -> Iterator[list[Connection]]:
    """Context with the connections to processes that `answer` for the sides."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(process(answer, side, device)) for side in sides]


def answer(connection: Connection, side: Side, device: torch.device) -> None:
    """Prepare the side's work; run it and send its `Turn` for each "run" that comes, its `Counts` for each "count"."""
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    with full_fp32(), contextlib.suppress(EOFError):
        torch.manual_seed(0)
        work = side(device)
        while True:
            if connection.recv() == "run":
                seconds = wall_clock(work.run, device) / work.units
                connection.send(Turn(seconds, max(0, provenance.peak_memory_bytes(device) - before)))
            else:
                operations, convolutions = counts(work.run)
                connection.send(Counts(operations / work.units, convolutions / work.units))


def ask(connection: Connection, question: str) -> Any:
    """What the process at the other end answers."""
    connection.send(question)
    return connection.recv()


def take_turns(connections: Sequence[Connection], rounds: int) -> list[list[Turn]]:
    """The turns of each side in so many rounds. The order is reversed in every second round, so that all see the
    machine in the same state; a first round warms up and is not counted."""
    turns: list[list[Turn]] = [[] for _ in connections]
    for number in range(rounds + 1):
        order = range(len(connections)) if number % 2 == 0 else reversed(range(len(connections)))
        for k in order:
            turns[k].append(ask(connections[k], "run"))
    return [of_side[1:] for of_side in turns]
