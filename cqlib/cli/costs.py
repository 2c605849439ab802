"""Time and memory of rows on this machine, before anything starts: the mean of finished runs of the same experiment on
the same hardware, else an estimate from a few training steps; and what a cluster is to keep free for a run."""

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cqlib.cli.tasks import Resources, Task, run_tasks
from cqlib.experiments.experiment import Experiment
from cqlib.experiments.record import Record
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import build
from cqlib.training import timing
from cqlib.training.device import fast_bf16
from cqlib.util import provenance
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.stop import StopRequest
from cqlib.util.text import gibibytes, rough_duration

MEMORY = {"smoke": 1.0, "quick": 1.5, "study": 3.0, "paper": 8.0}
"""GiB of main memory for a run on a cluster where none like it was measured."""
MARGIN = 1.25
GPU_SHARE = {"paper": 1.0}
"""Of the profiles whose runs fill a card; the nets of the others are small enough for four to share one."""


@dataclass(frozen=True)
class Cost:
    """Seconds and peak memory in bytes: of `runs` finished runs, or, where that is 0, an estimate of the training."""

    seconds: float
    memory_bytes: int
    runs: int = 0

    def __str__(self) -> str:
        time, memory, runs = rough_duration(self.seconds), gibibytes(self.memory_bytes), self.runs
        measured = f"{time}, {memory} (measured in {runs} run{'s' if runs > 1 else ''})"
        return measured if runs else f"about {time} of training, {memory} (estimated)"


def device_name(kind: str, threads: int | None = None) -> str:
    """A device ("cpu", "cuda") as records name it."""
    device = torch.device(kind)
    return provenance.device_name(device, bf16=fast_bf16(device), threads=threads)


@functools.cache
def hardware(threads: int) -> str:
    """The device of runs with so many threads, as records name it. Another process asks a card for its name: one in
    exclusive mode would be closed to children of this process."""
    if not torch.cuda.is_available():
        return device_name("cpu", threads)
    code = "from cqlib.cli.costs import device_name; print(device_name('cuda'))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() or "GPU"


def known(e: Experiment, runs_dir: Path, records: Sequence[Record], hardware: str) -> Cost | None:
    """From finished runs of this experiment, with any seed, on this hardware in its precision, else a kept estimate."""
    device = hardware if e.recipe.training.autocast == "auto" else f"{hardware.rsplit(', ', 1)[0]}, fp32"
    runs = [r for r in _like(e, records) if (r.device, r.config_hash) == (device, replace(e, seed=r.seed).config_hash)]
    if runs:
        memory = max(r.peak_memory_bytes or 0 for r in runs)
        return Cost(sum(r.seconds for r in runs) / len(runs), memory, len(runs))
    try:
        return Cost(**json.loads(_estimate_file(e, runs_dir, hardware).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def estimate_and_keep(e: Experiment, runs_dir: Path, hardware: str) -> Cost:
    """The cost of all training on this device, from a few real steps on random images; kept in the runs folder."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        system = build(e.recipe.system)
        seconds = e.recipe.training.steps * timing.measure(system, e.recipe.training, device)
        if (stage := e.recipe.frozen_decoder) is not None:
            seconds += stage.training.steps * timing.measure(
                FrozenDecoder(stage.config, system), stage.training, device
            )
    cost = Cost(seconds, provenance.peak_memory_bytes(device))
    if runs_dir.is_dir():
        write_atomic(_estimate_file(e, runs_dir, hardware), json.dumps(asdict(cost)))
    return cost


def estimate_task(argument: tuple[Experiment, Path, str]) -> None:
    """`estimate_and_keep` in a process of its own, where no other row's memory counts."""
    estimate_and_keep(*argument)


def _estimate_file(e: Experiment, runs_dir: Path, hardware: str) -> Path:
    key = canonical_json({"recipe": asdict(e.recipe), "device": hardware})
    return runs_dir / "estimates" / f"{sha256(key.encode())[:16]}.json"


def _like(e: Experiment, records: Sequence[Record]) -> list[Record]:
    """The finished runs of a row, with its changes, on a data set under a profile."""
    key = (e.variant, e.data, e.profile, "done")
    return [r for r in records if (r.variant, r.data.name, r.profile, r.status) == key]


def needs(e: Experiment, records: Sequence[Record]) -> Resources:
    """What a node of a cluster keeps free for a run: memory as measured on CPUs, with a margin, or a default."""
    peaks = [r.peak_memory_bytes or 0 for r in _like(e, records) if r.device.startswith("CPU")]
    memory = MARGIN * max(peaks) if peaks else MEMORY[e.profile] * 2**30
    return Resources(memory_bytes=int(memory), gpus=GPU_SHARE.get(e.profile, 0.25))


def lines(
    seeds: Mapping[Experiment, int],
    *,
    runs_dir: Path,
    records: Sequence[Record],
    slots: Sequence[Mapping[str, str]],
    stop: StopRequest,
) -> Iterator[str]:
    """A line per experiment, of which so many seeds are to run, unknown ones last; one on all, `slots` at a time."""
    device = hardware(int(slots[0]["OMP_NUM_THREADS"]))
    costs = {e: known(e, runs_dir, records, device) for e in seeds}

    def line(e: Experiment, words: object) -> str:
        number = {0: ", finished", 1: ""}.get(seeds[e], f", {seeds[e]} seeds")
        return f"  {e.variant} on {e.data}: {words}{number}"

    unknown = [e for e, cost in costs.items() if cost is None]
    if unknown:
        yield f"measuring a few steps of {len(unknown)} rows; Ctrl-C stops before anything has begun"
    yield from (line(e, cost) for e, cost in costs.items() if cost is not None)
    for e in unknown:
        with tempfile.TemporaryDirectory() as temporary:
            folder = runs_dir if runs_dir.is_dir() else Path(temporary)
            task = Task(f"estimate of {e.variant} on {e.data}", "cqlib.cli.costs:estimate_task", (e, folder, device))
            (outcome,) = run_tasks([task], slots[:1], stop=stop, logs=Path(temporary))
            costs[e] = known(e, folder, (), device) if outcome.status == "done" else None
        yield line(e, costs[e] or f"no estimate ({outcome.message})")
    total = [(cost.seconds, seeds[e]) for e, cost in costs.items() if cost is not None and seeds[e]]
    if total:  # as long as the longest run at least
        seconds = max(sum(time * n for time, n in total) / len(slots), *(time for time, _ in total), 0.0)
        yield f"  in all about {rough_duration(seconds)} with {len(slots)} at a time"
