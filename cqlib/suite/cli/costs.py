"""The expected time of rows: their steps times the seconds per step of finished runs of the same row, on this machine
or, if there are none, published. Rows of `paper`, which nobody has run, have estimates for an A100."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from cqlib.suite.experiments.experiment import Experiment
from cqlib.suite.experiments.record import Record, load_records
from cqlib.util.paths import PUBLISHED, RECORDS
from cqlib.util.text import count_of, duration

GPU_HOURS = PUBLISHED / "gpu_hours.json"
STEPS = "training.steps"


def expected_seconds(e: Experiment, records: Sequence[Record]) -> tuple[float, str] | None:
    """The expected seconds of a run, and their source: the median over finished `records` of the row with the same
    profile, data and changes, apart from the number of steps. None if there are no such records."""

    wanted = (e.row, e.profile, e.data, _changes_but_steps(e))
    alike = [
        r for r in records
        if r.done and r.steps and (r.row, r.profile, r.data.name, _changes_but_steps(r)) == wanted
    ]  # fmt: skip
    if not alike:
        return None
    seconds = e.recipe.training.steps * median(r.seconds / r.steps for r in alike)
    devices = sorted({r.device for r in alike})
    return seconds, f"as {count_of(len(alike), 'run')} on {' and '.join(devices)}"


def _changes_but_steps(run: Experiment | Record) -> dict[str, Any]:
    return {path: value for path, value in run.changes.items() if path != STEPS}


def expected_gpu_seconds(e: Experiment) -> tuple[float, str] | None:
    """The same for an unchanged row of `paper`, from `GPU_HOURS`, which was computed, not measured."""
    if e.profile != "paper" or e.changes or not GPU_HOURS.is_file():
        return None
    runs = json.loads(GPU_HOURS.read_text())["runs"]
    for run in runs:
        if (run["row"], run["data"]) == (e.row, e.data):
            return 3600 * run["hours"], "of an A100, estimated"
    return None


def time_lines(seeds: Mapping[Experiment, int], runs_dir: Path, jobs: int) -> Iterator[str]:
    """A line with the expected time of each experiment in `seeds` (experiment -> the number of its seeds that are left
    to run), then a line with the time of all, with `jobs` runs at a time."""
    here, published = load_records(runs_dir)[0], load_records(RECORDS)[0]
    times: list[float] = []
    for e, number in seeds.items():
        expected = expected_seconds(e, here) or expected_seconds(e, published) or expected_gpu_seconds(e)
        words = f"about {duration(expected[0])} ({expected[1]})" if expected else "time not known"
        times += [expected[0]] * number if expected else []
        runs = {0: ", finished", 1: ""}.get(number, f", {number} seeds")
        yield f"  {e.variant} on {e.data}: {words}{runs}"
    if times:  # at least as long as the longest run
        unknown = ", without what is not known" * (len(times) < sum(seeds.values()))
        yield f"  in all about {duration(max(sum(times) / jobs, *times))} with {jobs} at a time{unknown}"
