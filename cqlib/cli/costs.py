"""Time and memory of rows on this machine, before anything starts: the mean of finished runs of the same experiment on
the same hardware, else an estimate from a few training steps; and what a cluster keeps free for a run."""

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cqlib.cli.tasks import Task, run_tasks
from cqlib.experiments.experiment import Experiment
from cqlib.experiments.record import Record
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import build
from cqlib.training import timing
from cqlib.training.device import select_device
from cqlib.util import provenance
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.stop import StopRequest
from cqlib.util.text import count_of, duration, format_bytes

RESOURCES = {"smoke": (2**30, 0.25), "quick": (3 * 2**29, 0.25), "study": (4 * 2**30, 0.25), "paper": (8 * 2**30, 1.0)}
"""Profile -> what a cluster keeps free for a run: bytes of memory, more than any published run took, and a share of a
GPU, which four runs of small nets share."""


@dataclass(frozen=True)
class Cost:
    """Seconds and peak memory in bytes of a run: the mean and the maximum over `runs` finished runs, or, where `runs`
    is 0, an estimate of the training alone."""

    seconds: float
    memory_bytes: int
    runs: int = 0

    def __str__(self) -> str:
        time, memory, runs = duration(self.seconds), format_bytes(self.memory_bytes), self.runs
        measured = f"{time}, {memory} (measured in {count_of(runs, 'run')})"
        return measured if runs else f"about {time} of training, {memory} (estimated)"


def device_name(threads: int | None = None) -> str:
    """The device of runs here, as records name it; `threads` of a CPU (None: as many as this process
    uses)."""
    return provenance.hardware_name(select_device(), threads)


@functools.cache
def hardware(threads: int) -> str:
    """`device_name` of runs with so many threads. Another process asks a GPU for its name: if this one did, a GPU in
    exclusive mode would be closed to its children."""
    if select_device().type != "cuda":
        return device_name(threads)
    code = "from cqlib.cli.costs import device_name; print(device_name())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() or "GPU"


def known(e: Experiment, runs_dir: Path, records: Sequence[Record], machine: str) -> Cost | None:
    """The cost of an experiment: from finished runs of it, of any seed, on `machine`, else an estimate that was kept,
    else None."""
    here = (e.row, e.profile, machine)
    alike = [r for r in records if r.done and (r.row, r.profile, r.device) == here]
    runs = [r for r in alike if r.config_hash == replace(e, seed=r.seed).config_hash]
    if runs:
        memory = max(r.peak_memory_bytes for r in runs)
        return Cost(sum(r.seconds for r in runs) / len(runs), memory, len(runs))
    try:
        return Cost(**json.loads(_estimate_file(e, runs_dir, machine).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _estimate_file(e: Experiment, runs_dir: Path, machine: str) -> Path:
    key = canonical_json({"recipe": asdict(e.recipe), "device": machine})
    return runs_dir / "estimates" / f"{sha256(key.encode())[:16]}.json"


def estimate(e: Experiment) -> str:
    """The `Cost` of all training on this device as JSON, from a few real steps on random images. It is run as a task:
    in a process of its own, the memory of other rows does not count."""
    device = select_device()
    with torch.random.fork_rng(devices=[]):
        system = build(e.recipe.system)
        seconds = e.recipe.training.steps * timing.seconds_per_step(system, e.recipe.training, device)
        if (stage := e.recipe.frozen_decoder) is not None:
            second = FrozenDecoder(stage.config, system)
            seconds += stage.training.steps * timing.seconds_per_step(second, stage.training, device)
    return json.dumps(asdict(Cost(seconds, provenance.peak_memory_bytes(device))))


def lines(
    seeds: Mapping[Experiment, int],
    *,
    runs_dir: Path,
    records: Sequence[Record],
    slots: Sequence[Mapping[str, str]],
    stop: StopRequest,
) -> Iterator[str]:
    """Yield a line on the cost of each experiment in `seeds` (experiment -> how many of its seeds are to run; 0: it is
    finished), those measured now last; then a line on the time of all, with len(`slots`) runs at a time."""
    device = hardware(int(slots[0]["OMP_NUM_THREADS"]))
    costs = {e: known(e, runs_dir, records, device) for e in seeds}

    def line(e: Experiment, words: object) -> str:
        number = {0: ", finished", 1: ""}.get(seeds[e], f", {seeds[e]} seeds")
        return f"  {e.variant} on {e.data}: {words}{number}"

    unknown = [e for e, cost in costs.items() if cost is None]
    if unknown:
        yield f"measuring a few steps of {count_of(len(unknown), 'row')}; Ctrl-C stops before anything has begun"
    yield from (line(e, cost) for e, cost in costs.items() if cost is not None)
    for e in unknown:
        task = Task(f"estimate of {e.variant} on {e.data}", "cqlib.cli.costs:estimate", e)
        logs = Path(tempfile.mkdtemp(prefix="cqlib-"))
        (outcome,) = run_tasks([task], slots[:1], stop=stop, logs=logs)
        with suppress(OSError):  # after a failure its log stays there: the line names it
            logs.rmdir()
        if outcome.status == "done":
            costs[e] = Cost(**json.loads(outcome.message))
            with suppress(OSError):  # the runs folder may be read only
                if runs_dir.is_dir():
                    write_atomic(_estimate_file(e, runs_dir, device), outcome.message)
        yield line(e, costs[e] or f"no estimate ({outcome.message})")
    total = [(cost.seconds, seeds[e]) for e, cost in costs.items() if cost is not None and seeds[e]]
    if total:  # as long as the longest run at least
        seconds = max([sum(time * n for time, n in total) / len(slots), *(time for time, _ in total)])
        yield f"  in all about {duration(seconds)} with {len(slots)} at a time"
