"""What run_all.sh runs: the rows and notebooks that are not up to date, then the report, even if some have failed."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cqlib.cli import cluster_nodes, options
from cqlib.cli.options import Options
from cqlib.cli.progress import Progress
from cqlib.cli.tasks import Outcome, Task, run_tasks, slots
from cqlib.data import own_path
from cqlib.data.folders import local_folder
from cqlib.data.sets import entry_of
from cqlib.experiments import ablations
from cqlib.experiments.record import load_records
from cqlib.experiments.rows import default_data, targets
from cqlib.recipe import EVALUATION
from cqlib.util.errors import UsageError, UserError, one_line_errors, to_stderr
from cqlib.util.files import remove_leftovers, write_atomic
from cqlib.util.paths import PUBLISHED, RECORDS
from cqlib.util.stop import StopRequest

if TYPE_CHECKING:
    from cqlib.experiments.experiment import Experiment
    from cqlib.metrics.features import Features


class Plan(NamedTuple):
    """Experiments and notebooks to run, each once."""

    experiments: tuple[Experiment, ...]
    notebooks: tuple[Path, ...]


class Pending(NamedTuple):
    """The experiments of a plan that are left to run, how many are finished, and a failure per absent data set."""

    experiments: tuple[Experiment, ...]
    finished: int
    absent: tuple[Outcome, ...]


def plan(opts: Options) -> Plan:
    """The plan for `--only` (default: every notebook, and the rows of Table 1), `--data` and `--seeds`; without
    experiments for `--no-train`."""
    from cqlib.experiments.experiment import experiment
    from cqlib.experiments.selection import Selection

    rows, files = targets(opts.only, opts.profile)
    if not rows:  # notebooks alone: a wrong change is refused now, not by their kernels
        Selection(profile=opts.profile, changes=opts.changes)
    for row, changes, _ in () if opts.no_train else rows:
        if twice := sorted(changes.keys() & opts.changes.keys()):
            value = f"{row} with {twice[0]}={changes[twice[0]]}"
            raise UsageError(f"--set {twice[0]}: --only asks for {value} already: leave one of them out")
    experiments = [
        experiment(row, opts.profile, data, seed, {**changes, **opts.changes})
        for row, changes, book in rows
        for data in opts.data or default_data(row, opts.profile, book)
        for seed in opts.seeds
    ]
    once = {(e.variant, e.data, e.seed): e for e in experiments}
    return Plan(() if opts.no_train else tuple(once.values()), tuple(dict.fromkeys(files)))


def pending(opts: Options, todo: Plan, features: Features | None = None) -> Pending:
    """What is left of a plan. An experiment counts as finished if its record has scores on `features` (None: on any).
    Large data sets are converted here, once, before anything trains. UserError, one line, when nothing is finished and
    no data set can be loaded."""
    from cqlib.experiments.load import load_data
    from cqlib.experiments.run import finished_record, has_scores
    from cqlib.experiments.run_folder import training_files

    to_run: list[Experiment] = []
    problems: dict[str, Outcome | None] = {}
    done = 0
    for e in todo.experiments:
        record = finished_record(e, opts.runs_dir)
        # The user's own files may have changed since: such a row is left to `run`, which compares them with the record.
        if record is not None and own_path(e.data) is None and (features is None or has_scores(record, features)):
            if not training_files(opts.runs_dir / e.folder):
                done += 1
                continue
        if e.data not in problems:
            problems[e.data] = None
            try:
                load_data(e, opts.data_dir)
            except UserError as error:
                problems[e.data] = Outcome(Task(f"data set {e.data}", "", None), "failed", str(error), 0.0)
        if problems[e.data] is None:
            to_run.append(e)
    absent = tuple(filter(None, problems.values()))
    if absent and not to_run and not done:
        raise UserError("; ".join(outcome.message for outcome in absent))
    return Pending(tuple(to_run), done, absent)


def row_tasks(opts: Options, experiments: Sequence[Experiment]) -> list[Task]:
    """One task per experiment, the longest first."""
    from cqlib.cli.costs import RESOURCES

    data_dir = local_folder(opts.data_dir)  # resolved here: on a cluster's node $CQLIB_DATA may differ
    common = {"runs_dir": opts.runs_dir, "data_dir": data_dir, "feature_weights": opts.feature_weights}
    train = "cqlib.cli.tasks:train_row"
    tasks = [Task(e.title, train, {"e": e, **common}, e.cost, *RESOURCES[e.profile]) for e in experiments]
    return sorted(tasks, key=lambda task: -task.cost)


def expected_costs(
    opts: Options, experiments: Sequence[Experiment], stop: StopRequest, *, listed: bool = False
) -> Iterator[str]:
    """Lines on the time and memory that unfinished experiments take here; if `listed`, finished ones too."""
    from cqlib.cli import costs
    from cqlib.experiments.run import finished_record

    seeds: Counter[Experiment] = Counter()
    for e in experiments:
        open_seeds = int(finished_record(e, opts.runs_dir) is None)
        if listed or open_seeds:
            seeds[replace(e, seed=0)] += open_seeds
    records = load_records(opts.runs_dir)[0] + load_records(RECORDS)[0]
    return costs.lines(seeds, runs_dir=opts.runs_dir, records=records, slots=slots(opts.jobs), stop=stop)


def show(opts: Options, stop: StopRequest) -> int:
    """Print what `--list` says of the rows that the command would run without it; returns the exit code."""
    print("\nrows of this command, and what they take on this machine", flush=True)
    for line in expected_costs(opts, plan(opts).experiments, stop, listed=True):
        print(line, flush=True)
    return 3 if stop.requested else 0


def notebook_tasks(opts: Options, todo: Plan) -> list[Task]:
    """One task per notebook whose inputs are not those of its last run. All notebooks declare the parameters below;
    those that also declare `train` get it as False for --no-train."""
    from cqlib.cli.notebooks import Job, declared

    parameters = {
        "profile": opts.profile,
        "data": list(opts.data),
        "seeds": list(opts.seeds),
        "changes": opts.changes,
        "runs_dir": str(opts.runs_dir),
        "data_dir": opts.data_dir and str(opts.data_dir),
        "feature_weights": opts.feature_weights and str(opts.feature_weights),
    }
    folder = opts.out / "notebooks"
    records = (opts.runs_dir, RECORDS, opts.runs_dir / ablations.FOLDER, ablations.PUBLISHED, PUBLISHED / "calibration")
    values_of = {file: {**parameters, "train": False} if opts.no_train and "train" in declared(file) else parameters
                 for file in todo.notebooks}  # fmt: skip
    jobs = [Job(file, values, folder / file.stem, records) for file, values in values_of.items()]
    return [Task(job.out.name, "cqlib.cli.notebooks:execute", job) for job in jobs if not job.done()]


def work(tasks: Sequence[Task], opts: Options, stop: StopRequest) -> list[Outcome]:
    """Run `tasks` with progress, here or on the cluster; logs of those that fail stay in the runs folder."""
    if not tasks:
        return []
    with closing(Progress(tasks)) as progress:
        if opts.cluster is not None:
            from cqlib.cli import cluster

            return cluster.run_tasks(tasks, opts.jobs, stop=stop, logs=_logs(opts), listener=progress)
        return run_tasks(tasks, slots(opts.jobs), stop=stop, logs=_logs(opts), listener=progress)


def _logs(opts: Options) -> Path:
    """The folder of logs: in the runs folder, or, where that is read only or cannot be made, in the report's."""
    place = next(place for place in (opts.runs_dir, *opts.runs_dir.parents) if place.exists())
    writable = os.access(place, os.W_OK | os.X_OK)
    return (opts.runs_dir if writable else opts.out) / "logs"


def collect_records(runs_dir: Path, out: Path) -> None:
    """Copy every record of the runs folder to `out`/records, beside the report, for whoever the report is passed to."""
    for file in filter(Path.is_file, runs_dir.glob("*/record.json")):
        write_atomic(out / "records" / f"{file.parent.name}.json", file.read_bytes())


def _files_read(experiments: Sequence[Experiment], opts: Options) -> list[Path]:
    """The files and folders that the experiments read and that do not come with the packages."""
    from cqlib.data import published

    folder, sets = published.data_folder(opts.data_dir), {e.data for e in experiments}
    paths = [folder / path for path in map(own_path, sets) if path is not None]
    paths += [folder] if any(map(entry_of, sets)) else []
    return paths + ([opts.feature_weights] if opts.feature_weights else [])


def reproduce(opts: Options, stop: StopRequest) -> int:
    """Train rows, run notebooks and render the report, in this order; returns the exit code."""
    with cluster_nodes.connected(opts.cluster) if opts.cluster else nullcontext():
        from cqlib.metrics.features import features_for
        from cqlib.training import device, tensorboard

        device.select_device(), tensorboard.summary_writer()  # both raise UserError for what is missing
        if opts.time_budget is not None:
            stop.deadline = time.monotonic() + 60 * opts.time_budget
        todo = plan(opts)
        with stop.at_once():  # while data sets are fetched and converted, for there is nothing to save
            if opts.profile == "paper":  # missing data are reported before features are fetched
                pending(opts, todo)
            features = features_for(
                opts.feature_weights, opts.data_dir, profile=opts.profile, side=EVALUATION[opts.profile].side
            )
            features.check()  # once, before many processes do
            opts.feature_weights = features.weights if features.name == "inception" else None
            left = pending(opts, todo, features)
        opts.out.mkdir(parents=True, exist_ok=True)
        if not os.access(opts.out, os.W_OK | os.X_OK):  # now, not after days of training
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(opts.out))
        for outcome in left.absent:
            to_stderr(f"{outcome.task.name}: {outcome.message}")
        rows, open_rows = len(todo.experiments), len(left.experiments)
        to_stderr(f"rows: {rows} in all, {left.finished} finished before, {open_rows} to run")
        if opts.cluster is not None and left.experiments:
            with stop.at_once():
                cluster_nodes.check_nodes(opts.runs_dir, _files_read(left.experiments, opts))
        elif opts.profile == "paper":
            for line in expected_costs(opts, left.experiments, stop):
                to_stderr(line)
        outcomes = [*left.absent, *work(row_tasks(opts, left.experiments), opts, stop)]
        opts.cluster = None  # notebooks run here: they read what the rows have left
        tasks, books = notebook_tasks(opts, todo), len(todo.notebooks)
        to_stderr(f"notebooks: {books} in all, {books - len(tasks)} up to date, {len(tasks)} to run")
        outcomes += work(tasks, opts, stop)
        return _report(opts, [outcome for outcome in outcomes if outcome.status != "done"], stop)


def _report(opts: Options, bad: Sequence[Outcome], stop: StopRequest) -> int:
    """Render the report, which names the tasks in `bad`, those that did not succeed; returns the exit code."""
    from cqlib.experiments import run_folder
    from cqlib.report import page

    for folder in (opts.out, opts.out / "records", opts.out / "notebooks"):
        remove_leftovers(folder, older=run_folder.HOUR)
    collect_records(opts.runs_dir, opts.out)
    problems = [f"{o.task.name}: {o.status}: {o.message}".rstrip(": ") for o in bad]
    index = page.render(opts.out, runs_dir=opts.runs_dir, failures=problems, data_dir=opts.data_dir,
                        profile=opts.profile)  # fmt: skip
    failed = sum(outcome.status == "failed" for outcome in bad)
    if failed:
        diverged = sum(outcome.message.startswith("diverged") for outcome in bad)
        retry = "; run it again to retry them" * (failed > diverged)
        to_stderr(f"{failed} failed{retry}; the logs are in {_logs(opts)}")
    if any(outcome.status == "stopped" for outcome in bad):
        to_stderr(f"{f'stopped: {stop.requested}' if stop.requested else 'stopped'}; run it again to resume")
    print(f"report: {index}", flush=True)
    return 1 if failed == len(bad) > 0 else 3 if bad else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the options, then `show` for --list, else `reproduce`; returns the exit code."""
    stop = StopRequest()
    with stop.listening():
        with one_line_errors("run_all.sh"):
            opts = options.parse(sys.argv[1:] if argv is None else argv)
            options.set_environment(opts)
        with one_line_errors("run_all.sh", opts.runs_dir / "logs"):
            return show(opts, stop) if opts.list else reproduce(opts, stop)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
