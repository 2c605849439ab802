"""What rows take on this machine, told before anything starts: as measured, where there is a record of the same
experiment on the same hardware, else estimated from a few steps of training; and what a cluster is to keep free.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cqlib.cli.tasks import Resources, Task, run_tasks
from cqlib.experiments import estimate
from cqlib.experiments.estimate import Estimate
from cqlib.experiments.experiment import Experiment, experiment
from cqlib.experiments.record import Record
from cqlib.util.stop import StopRequest

Pair = tuple[str, str]
"""A row by its canonical id, and a data set."""

MEMORY = {"smoke": 1.0, "quick": 1.5, "study": 3.0, "paper": 8.0}
"""GiB of main memory that a run is given on a cluster where none like it was measured."""
MARGIN = 1.25
GPU_SHARE = {"paper": 1.0}
"""Of the profiles whose runs fill a card; the nets of the others are small enough for four to share one."""


def from_records(e: Experiment, records: Sequence[Record], hardware: str) -> Estimate | None:
    """Mean time and greatest memory of the finished runs, with any seed, of this experiment on this hardware, in its
    precision here: a processor's name does not tell whether it has bf16, which is up to four times as fast."""
    here = hardware if e.recipe.training.autocast == "auto" else f"{hardware.rsplit(', ', 1)[0]}, fp32"
    found = [r for r in _like(e, records) if r.device == here and r.config_hash == replace(e, seed=r.seed).config_hash]
    if not found:
        return None
    memory = max(r.peak_memory_bytes or 0 for r in found)
    return Estimate(sum(r.seconds for r in found) / len(found), memory, len(found))


def _like(e: Experiment, records: Sequence[Record]) -> list[Record]:
    """The finished runs of a row on a data set under a profile."""
    wanted = (e.row, e.data, e.profile, "done")
    return [r for r in records if (r.row, r.data.name, r.profile, r.status) == wanted]


def needs(e: Experiment, records: Sequence[Record]) -> Resources:
    """What a node of a cluster is to keep free for a run: memory as measured on CPUs, with a margin, or a guess."""
    peaks = [r.peak_memory_bytes or 0 for r in _like(e, records) if r.device.startswith("CPU")]
    memory = MARGIN * max(peaks) if peaks else MEMORY[e.profile] * 2**30
    return Resources(memory_bytes=int(memory), gpus=GPU_SHARE.get(e.profile, 0.25))


def lines(
    wanted: Mapping[Pair, int],
    profile: str,
    *,
    runs_dir: Path,
    records: Sequence[Record],
    slots: Sequence[Mapping[str, str]],
    stop: StopRequest,
) -> Iterator[str]:
    """A line per row and data set of `wanted`, which says how many seeds are to run; the last line is the sum. Rows of
    which nothing is known are measured, each by itself, and remembered in the runs folder where there is one."""
    hardware = estimate.hardware(int(slots[0]["OMP_NUM_THREADS"]))
    experiments = {pair: experiment(pair[0], profile, pair[1]) for pair in wanted}
    found = {pair: from_records(e, records, hardware) or estimate.known(e, runs_dir, hardware)
             for pair, e in experiments.items()}  # fmt: skip

    def line(pair: Pair, said: object) -> str:
        seeds = {0: ", finished", 1: ""}.get(wanted[pair], f", {wanted[pair]} seeds")
        return f"  {pair[0]} on {pair[1]}: {said}{seeds}"

    unknown = [pair for pair, value in found.items() if value is None]
    if unknown:
        yield f"measuring a few steps of {len(unknown)} rows; Ctrl-C stops before anything has begun"
    yield from (line(pair, value) for pair, value in found.items() if value is not None)
    for pair in unknown:  # alone on the machine
        argument = json.dumps({"row": pair[0], "profile": profile, "data": pair[1]})
        task = Task(f"estimate of {pair[0]} on {pair[1]}", "cqlib.experiments.estimate:main", argument)
        with tempfile.TemporaryDirectory() as logs:
            (outcome,) = run_tasks([task], slots[:1], stop=stop, logs=Path(logs))
        found[pair] = estimate.parse(outcome.message) if outcome.status == "done" else None
        if found[pair] is not None and runs_dir.is_dir():
            estimate.keep(experiments[pair], runs_dir, hardware, found[pair])
        yield line(pair, found[pair] or f"no estimate ({outcome.message})")
    known = {pair: value for pair, value in found.items() if value is not None and wanted[pair]}
    if known:
        yield "  " + estimate.total(known.values(), (wanted[pair] for pair in known), len(slots))
