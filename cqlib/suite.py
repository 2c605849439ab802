"""What run_all.sh runs: rows, notebooks, report. `python -m cqlib.suite` takes the same options.

The order of the work: what is asked for (`Plan`), the rows that are not finished yet, several at a time; the
notebooks whose inputs have changed; the report, rendered whatever has failed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cqlib import names, notebooks, options
from cqlib.errors import UsageError
from cqlib.files import write_atomic
from cqlib.guard import guarded
from cqlib.options import Options
from cqlib.paper import canonical
from cqlib.processes import Outcome, Stop, Task, run_tasks
from cqlib.progress import Progress
from cqlib.records import Record


@dataclass(frozen=True)
class Plan:
    """What to do: rows by canonical id, notebooks by file, data sets (None: the profile's own)."""

    rows: tuple[str, ...]
    notebooks: tuple[Path, ...]
    data: tuple[str | None, ...]


def plan(chosen: Options, available: Sequence[str]) -> Plan:
    """The plan for `--only` and `--data`. UsageError for a row that is not among the `available` ones."""
    books = names.notebooks()
    table1 = tuple(row for row in available if row.startswith("table1/"))
    rows: list[str] = []
    files: list[Path] = []
    for name in chosen.only or ("",):
        if name in names.ROWS:
            if name not in available:
                raise UsageError(f"row '{name}' cannot be trained by this version yet")
            rows.append(name)
            continue
        picked = [file for short, file in books.items() if name in ("", "all", short, file.stem)]
        files += picked
        for file in picked:
            rows += [row for row in available if row.startswith(f"{names.short_name(file)}/")]
        rows += table1 if name == "" else available if name == "all" else ()
    return Plan(_unique(map(canonical, rows)), _unique(files), chosen.data or (None,))


def _unique(values: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def row_tasks(chosen: Options, todo: Plan) -> list[Task]:
    """One task per row x data x seed that has no finished run yet, the longest first."""
    from cqlib.experiments import experiment
    from cqlib.run import finished

    tasks = []
    for row in todo.rows:
        for data in todo.data:
            for seed in chosen.seeds:
                wanted = experiment(row, chosen.profile, data, seed)
                # Files of the user's may have changed since: `run` compares them with the record.
                if ":" not in wanted.data and _measured(finished(wanted, chosen.runs_dir), chosen):
                    continue
                argument = {
                    "row": row,
                    "profile": chosen.profile,
                    "data": data,
                    "seed": seed,
                    "runs_dir": str(chosen.runs_dir),
                    "data_dir": _text(chosen.data_dir),
                    "feature_weights": _text(chosen.feature_weights),
                }
                name = f"{row} on {wanted.data}, seed {seed}"
                tasks.append(Task(name, "cqlib.worker", json.dumps(argument), wanted.cost))
    return sorted(tasks, key=lambda task: -task.cost)


def _measured(record: Record | None, chosen: Options) -> bool:
    """Whether a finished run has the scores asked for: with the Inception weights given, or with lite0."""
    score = "IS@T1" if chosen.feature_weights else "IS-lite0@T1"
    return record is not None and score in record.metrics


def notebook_tasks(chosen: Options, todo: Plan) -> list[Task]:
    """One task per notebook whose inputs are not those of its last run.

    Every notebook declares the parameters passed here: profile, data (names; none: the profile's own), seeds,
    runs_dir, data_dir and feature_weights.
    """
    parameters = {
        "profile": chosen.profile,
        "data": list(chosen.data),
        "seeds": list(chosen.seeds),
        "runs_dir": str(chosen.runs_dir),
        "data_dir": _text(chosen.data_dir),
        "feature_weights": _text(chosen.feature_weights),
    }
    records = (str(chosen.runs_dir), str(names.ROOT / "reports" / "published" / "records"))
    tasks = []
    for file in todo.notebooks:
        job = notebooks.Job(str(file), parameters, str(chosen.out / "notebooks" / file.stem), records)
        if not job.done():
            tasks.append(Task(file.stem, "cqlib.notebooks", notebooks.encode(job)))
    return tasks


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def slots(jobs: int | None) -> list[Mapping[str, str]]:
    """The environments of the children that run at a time: one thread each, and one GPU if there are any."""
    import torch

    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    if not torch.cuda.is_available():
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return [one_thread] * (jobs or cores or 1)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = seen.split(",") if seen else [str(index) for index in range(torch.cuda.device_count())]
    return [{**one_thread, "CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(jobs or len(gpus))]


def work(tasks: Sequence[Task], chosen: Options, stop: Stop) -> list[Outcome]:
    """Run `tasks` with progress; logs of those that fail stay in the runs folder."""
    if not tasks:
        return []
    progress = Progress(tasks)
    try:
        return run_tasks(
            tasks,
            slots(chosen.jobs),
            stop=stop,
            logs=chosen.runs_dir / "logs",
            listener=progress,
            ended=progress.ended,
        )
    finally:
        progress.close()


def collect_records(runs_dir: Path, out: Path) -> None:
    """Copy every record of the runs folder to `out`/records, where the report and its reader find them."""
    for file in sorted(runs_dir.glob("*/record.json")):
        write_atomic(out / "records" / f"{file.parent.name}.json", file.read_bytes())


def reproduce(chosen: Options, stop: Stop) -> int:
    """Everything, in order; the exit code."""
    if chosen.time_budget is not None:
        stop.deadline = time.monotonic() + 60 * chosen.time_budget
    from cqlib import report
    from cqlib.experiments import AVAILABLE

    todo = plan(chosen, AVAILABLE)
    tasks = row_tasks(chosen, todo)
    wanted = len(todo.rows) * len(todo.data) * len(chosen.seeds)
    _say(f"rows: {wanted} wanted, {wanted - len(tasks)} finished before, {len(tasks)} to run")
    outcomes = work(tasks, chosen, stop)
    tasks = notebook_tasks(chosen, todo)
    wanted = len(todo.notebooks)
    _say(f"notebooks: {wanted} wanted, {wanted - len(tasks)} up to date, {len(tasks)} to run")
    outcomes += work(tasks, chosen, stop)
    bad = [outcome for outcome in outcomes if outcome.status != "done"]
    problems = [f"{o.task.name}: {o.status}: {o.message}".rstrip(": ") for o in bad]
    collect_records(chosen.runs_dir, chosen.out)
    index = report.render(
        chosen.out,
        runs_dir=chosen.runs_dir,
        failures=problems,
        data_dir=chosen.data_dir,
        profile=chosen.profile,
    )
    failed = sum(outcome.status == "failed" for outcome in bad)
    if failed:
        _say(f"{failed} failed; the logs are in {chosen.runs_dir / 'logs'}")
    if any(outcome.status == "stopped" for outcome in bad):
        _say(f"{stop.requested or 'stopped'}; the same command goes on where it stopped")
    print(f"report: {index}", flush=True)
    return 1 if failed == len(bad) > 0 else 3 if bad else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, then reproduce; the exit code."""
    stop = Stop()
    stop.listen()
    with guarded("run_all.sh"):
        chosen = options.parse(sys.argv[1:] if argv is None else argv)
    with guarded("run_all.sh", chosen.runs_dir / "logs"):
        if chosen.list:
            print(options.listing(), flush=True)
            return 0
        return reproduce(chosen, stop)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
