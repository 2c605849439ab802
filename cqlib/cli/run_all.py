"""What run_all.sh runs: rows, notebooks, report. `python -m cqlib.cli.run_all` takes the same options.

The order of the work: what is asked for (`Plan`), the rows that are not finished yet, several at a time; the
notebooks whose inputs have changed; the report, rendered whatever has failed.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cqlib.cli import cluster, cluster_nodes, options, papermill
from cqlib.cli.options import Options
from cqlib.cli.progress import Progress
from cqlib.cli.slots import slots
from cqlib.cli.tasks import Outcome, Task, run_tasks
from cqlib.data.catalogue import entry_of
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import NOTEBOOK_ROWS, ROWS, default_data, notebooks, short_name
from cqlib.util.errors import UsageError, UserError, one_line_errors
from cqlib.util.files import remove_leftovers, write_atomic
from cqlib.util.paths import ROOT
from cqlib.util.stop import StopRequest

if TYPE_CHECKING:
    from cqlib.metrics.features import Features


@dataclass(frozen=True)
class Plan:
    """What to do: (row by canonical id, data set) pairs, and notebooks by file."""

    rows: tuple[tuple[str, str], ...]
    notebooks: tuple[Path, ...]


class Pending(NamedTuple):
    """How many runs are finished; (row, data set, seed) of those to run; a failure per data set not to be had."""

    finished: int
    runs: tuple[tuple[str, str, int], ...]
    absent: tuple[Outcome, ...]


def plan(chosen: Options, available: Sequence[str]) -> Plan:
    """The plan for `--only` and `--data`. UsageError for a row that is not among the `available` ones.

    Without `--only`: every notebook, and the rows of Table 1 alone. Without `--data` each row is paired with its own
    data sets for the profile, or with those of the notebook.
    """
    books = notebooks()
    table1 = tuple(row for row in available if row.startswith("table1/"))
    rows: list[tuple[str, str]] = []  # with the notebook that wants it, whose data sets may be its own
    files: list[Path] = []
    for name in chosen.only or ("",):
        if name in ROWS:
            if name not in available:
                raise UsageError(f"row '{name}' cannot be trained by this version yet")
            rows.append((name, ""))
            continue
        picked = [file for short, file in books.items() if name in ("", "all", short, file.stem)]
        files += picked
        for short in map(short_name, picked if name else ()):
            shown = NOTEBOOK_ROWS.get(short, ())
            rows += [(row, short) for row in available if row.startswith(f"{short}/") or row in shown]
        rows += [(row, "") for row in (table1 if name == "" else available if name == "all" else ())]
    pairs = ((canonical(row), data) for row, book in rows
             for data in chosen.data or default_data(row, chosen.profile, book))  # fmt: skip
    return Plan(_unique(pairs), _unique(files))


def _unique(values: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def pending(chosen: Options, todo: Plan, features: Features | None = None) -> Pending:
    """What is finished, with scores on `features` (None: on any), what is to run, and which data sets of that cannot
    be loaded.

    Large data sets are converted here, once, before anything trains.
    """
    from cqlib.experiments.experiment import experiment
    from cqlib.experiments.run import finished, load_data, run_dir, scored
    from cqlib.experiments.run_folder import tidied

    runs, absent, loaded, done = [], {}, set(), 0
    for row, data, seed in ((*pair, seed) for pair in todo.rows for seed in chosen.seeds):
        e = experiment(row, chosen.profile, data, seed)
        record = finished(e, chosen.runs_dir)
        # Files of the user's may have changed since: `run` compares them with the record.
        whole = record is not None and tidied(run_dir(row, chosen.profile, data, seed, chosen.runs_dir))
        if ":" not in data and whole and (features is None or scored(record, features)):
            done += 1
            continue
        if data not in loaded | absent.keys():
            try:
                load_data(e, chosen.data_dir)
                loaded.add(data)
            except UserError as error:
                absent[data] = Outcome(Task(f"data set {data}", "", ""), "failed", str(error), 0.0)
        if data in loaded:
            runs.append((row, data, seed))
    return Pending(done, tuple(runs), tuple(absent.values()))


def row_tasks(chosen: Options, runs: Sequence[tuple[str, str, int]]) -> list[Task]:
    """One task per (row, data set, seed), the longest first."""
    from cqlib.cli.costs import needs
    from cqlib.experiments.experiment import experiment

    tasks, records = [], _records(chosen)
    data_dir = chosen.data_dir or os.environ.get("CQLIB_DATA")  # a node of a cluster has another environment
    for row, data, seed in runs:
        argument = {
            "row": row,
            "profile": chosen.profile,
            "data": data,
            "seed": seed,
            "runs_dir": str(chosen.runs_dir),
            "data_dir": _text(data_dir),
            "feature_weights": _text(chosen.feature_weights),
        }
        e = experiment(row, chosen.profile, data, seed)
        name = f"{row} on {data}, seed {seed}"
        tasks.append(Task(name, "cqlib.cli.worker", json.dumps(argument), e.cost, needs(e, records)))
    return sorted(tasks, key=lambda task: -task.cost)


def _records(chosen: Options) -> list[Record]:
    """What was measured here and elsewhere."""
    return load_records(chosen.runs_dir)[0] + load_records(ROOT / "reports" / "published" / "records")[0]


def told(
    chosen: Options, runs: Sequence[tuple[str, str, int]], stop: StopRequest, todo: Sequence[tuple[str, str]] = ()
):
    """Lines on the time and the memory that `runs` take here, and, finished or not, the rows of `todo`."""
    from cqlib.cli import costs

    wanted = Counter(dict.fromkeys(todo, 0))
    wanted.update((row, data) for row, data, _ in runs)
    return costs.lines(wanted, chosen.profile, runs_dir=chosen.runs_dir, records=_records(chosen),
                       slots=slots(chosen.jobs), stop=stop)  # fmt: skip


def show(chosen: Options, stop: StopRequest) -> int:
    """What `--list` says of the rows that the same command without it would run; the exit code."""
    from cqlib.experiments.experiment import AVAILABLE, experiment
    from cqlib.experiments.run import finished

    todo = plan(chosen, AVAILABLE)
    runs = [(row, data, seed) for row, data in todo.rows for seed in chosen.seeds
            if finished(experiment(row, chosen.profile, data, seed), chosen.runs_dir) is None]  # fmt: skip
    print("\nrows of this command, and what they take on this machine", flush=True)
    for line in told(chosen, runs, stop, todo.rows):
        print(line, flush=True)
    return 3 if stop.requested else 0


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
    records = (str(chosen.runs_dir), str(ROOT / "reports" / "published" / "records"))
    tasks = []
    for file in todo.notebooks:
        job = papermill.Job(str(file), parameters, str(chosen.out / "notebooks" / file.stem), records)
        if not job.done():
            tasks.append(Task(file.stem, "cqlib.cli.papermill", papermill.encode(job)))
    return tasks


def _text(path: Path | str | None) -> str | None:
    return None if path is None else str(path)


def work(tasks: Sequence[Task], chosen: Options, stop: StopRequest) -> list[Outcome]:
    """Run `tasks` with progress, here or on the cluster; logs of those that fail stay in the runs folder."""
    if not tasks:
        return []
    progress = Progress(tasks)
    settings = {"stop": stop, "logs": _logs(chosen), "listener": progress, "ended": progress.ended}
    try:
        if chosen.cluster is not None:
            return cluster.run_tasks(tasks, chosen.jobs, **settings)
        return run_tasks(tasks, slots(chosen.jobs), noted=lambda task, text: progress.line(text), **settings)
    finally:
        progress.close()


def _logs(chosen: Options) -> Path:
    """Beside the runs; where that folder is read only, beside the report."""
    there = chosen.runs_dir
    writable = not there.exists() or os.access(there, os.W_OK | os.X_OK)
    return (there if writable else chosen.out) / "logs"


def collect_records(runs_dir: Path, out: Path) -> None:
    """Copy every record of the runs folder to `out`/records, where the report and its reader find them."""
    for file in sorted(file for file in runs_dir.glob("*/record.json") if file.is_file()):
        write_atomic(out / "records" / f"{file.parent.name}.json", file.read_bytes())


def _refuse_without_data(found: Pending) -> None:
    """UserError, one line, when no data set can be had and nothing was finished before."""
    if found.absent and not found.runs and not found.finished:
        raise UserError("; ".join(outcome.message for outcome in found.absent))


def _made_writable(out: Path) -> None:
    """The report's folder, made now: that it cannot be written to is told before days of training. OSError then."""
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(out))


def _read_by(runs: Sequence[tuple[str, str, int]], chosen: Options) -> list[Path]:
    """The files and folders that `runs` read and that do not come with the packages."""
    from cqlib.data import published

    folder, sets = published.home(chosen.data_dir), {data for _, data, _ in runs}
    paths = [folder / name.partition(":")[2] for name in sets if ":" in name and entry_of(name) is None]
    paths += [folder] if any(map(entry_of, sets)) else []
    return paths + ([chosen.feature_weights] if chosen.feature_weights else [])


def reproduce(chosen: Options, stop: StopRequest) -> int:
    """Everything, in order; the exit code."""
    with cluster_nodes.connected(chosen.cluster) if chosen.cluster else nullcontext():
        return _reproduce(chosen, stop)


def _reproduce(chosen: Options, stop: StopRequest) -> int:
    if chosen.time_budget is not None:
        stop.deadline = time.monotonic() + 60 * chosen.time_budget
    from cqlib.experiments import run_folder
    from cqlib.experiments.experiment import AVAILABLE
    from cqlib.metrics.features import features_for
    from cqlib.report import page as report

    todo = plan(chosen, AVAILABLE)
    with stop.at_once():  # while data sets are fetched and converted, for there is nothing to save
        if chosen.profile == "paper":  # where the features may have to be fetched
            _refuse_without_data(pending(chosen, todo))
        features = features_for(chosen.feature_weights, chosen.data_dir, profile=chosen.profile)
        features.check()  # once, before many processes do
        chosen = replace(chosen, feature_weights=features.weights if features.name == "inception" else None)
        found = pending(chosen, todo, features)
    _refuse_without_data(found)
    _made_writable(chosen.out)
    outcomes = list(found.absent)
    for outcome in outcomes:
        _say(f"{outcome.task.name}: {outcome.message}")
    wanted = len(todo.rows) * len(chosen.seeds)
    _say(f"rows: {wanted} wanted, {found.finished} finished before, {len(found.runs)} to run")
    if chosen.cluster is not None and found.runs:
        with stop.at_once():
            cluster_nodes.check_nodes(chosen.runs_dir, _read_by(found.runs, chosen))
    elif chosen.profile == "paper":
        for line in told(chosen, found.runs, stop):
            _say(line)
    outcomes += work(row_tasks(chosen, found.runs), chosen, stop)
    chosen = replace(chosen, cluster=None)  # notebooks read what the rows have left
    tasks = notebook_tasks(chosen, todo)
    wanted = len(todo.notebooks)
    _say(f"notebooks: {wanted} wanted, {wanted - len(tasks)} up to date, {len(tasks)} to run")
    outcomes += work(tasks, chosen, stop)
    bad = [outcome for outcome in outcomes if outcome.status != "done"]
    problems = [f"{o.task.name}: {o.status}: {o.message}".rstrip(": ") for o in bad]
    for folder in (chosen.out, chosen.out / "records", chosen.out / "notebooks"):
        remove_leftovers(folder, older=run_folder.HOUR)
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
        _say(f"{failed} failed, and the same command tries them again; the logs are in {_logs(chosen)}")
    if any(outcome.status == "stopped" for outcome in bad):
        reason = f"stopped: {stop.requested}" if stop.requested else "stopped"
        _say(f"{reason}; the same command goes on where it stopped")
    _say(run_folder.room(chosen.runs_dir))
    print(f"report: {index}", flush=True)
    return 1 if failed == len(bad) > 0 else 3 if bad else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, then reproduce; the exit code."""
    stop = StopRequest()
    with stop.listening():
        with one_line_errors("run_all.sh"):
            chosen = options.parse(sys.argv[1:] if argv is None else argv)
        with one_line_errors("run_all.sh", chosen.runs_dir / "logs"):
            if chosen.list:
                return show(chosen, stop)
            return reproduce(chosen, stop)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
