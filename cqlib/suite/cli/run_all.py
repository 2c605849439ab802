"""run_all.sh: train the rows and run the notebooks that are not up to date, then render the report, even if some of
them have failed."""

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cqlib.data import SOURCES, own_path
from cqlib.data.folders import find_local, local_folder
from cqlib.metrics.features import Features, features_for
from cqlib.recipe import EVALUATION
from cqlib.suite.cli import cluster, costs
from cqlib.suite.cli.notebooks import Job, parameter_names
from cqlib.suite.cli.options import Options
from cqlib.suite.cli.tasks import Outcome, Task, local_start, run_tasks, slots
from cqlib.suite.experiments import ablations, rows
from cqlib.suite.experiments.experiment import Experiment, check_nets, experiment
from cqlib.suite.experiments.load import load_data
from cqlib.suite.experiments.record import read_record
from cqlib.suite.experiments.run import ended_record, has_scores
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.report import page
from cqlib.training import tensorboard
from cqlib.util.device import select_device
from cqlib.util.errors import UsageError, UserError, to_stderr
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, ROOT
from cqlib.util.stop import StopRequest

GPU_SHARE = {"smoke": 0.25, "quick": 0.25, "study": 0.25, "paper": 1.0}
"""Profile -> the share of a GPU for each run on a cluster."""


# --- what is to be done ------------------------------------------------------------------------------------------


def plan(opts: Options) -> tuple[list[Experiment], list[Path]]:
    """The experiments and the notebooks for `--only` (default: every notebook, and the rows of Table 1), `--data` and
    `--seeds`; no experiments for `--no-train`; for `--shard` no notebooks, and every Nth experiment of the queue,
    whatever has been finished meanwhile. UsageError for wrong changes."""
    chosen, files = rows.targets(opts.only, opts.profile)
    if not chosen:  # notebooks that train nothing: a wrong change is refused now, not by their kernels
        Selection(profile=opts.profile, changes=opts.changes)
    for row, changes, _ in chosen:
        if twice := sorted(changes.keys() & opts.changes.keys()):
            value = f"{row} with {twice[0]}={changes[twice[0]]}"
            raise UsageError(f"--set {twice[0]}: --only asks for {value} already: leave one of them out")
    experiments = [
        experiment(row, opts.profile, data, seed, {**changes, **opts.changes})
        for row, changes, book in chosen
        for data in opts.data or rows.default_data(row, opts.profile, book)
        for seed in opts.seeds
    ]
    once = {(e.variant, e.data, e.seed): e for e in experiments}
    for e in once.values() if opts.changes else ():
        check_nets(e)
    if opts.shard:
        first, of = opts.shard
        return longest_first(once.values())[first - 1 :: of], []
    return [] if opts.no_train else [*once.values()], [*dict.fromkeys(files)]


def longest_first(experiments: Iterable[Experiment]) -> list[Experiment]:
    """The queue of experiments."""
    return sorted(experiments, key=lambda e: -e.cost)


def pending_runs(
    opts: Options, experiments: Iterable[Experiment], features: Features
) -> tuple[list[Experiment], int, list[Outcome]]:
    """The experiments that are left to run, the number of finished ones, whose records have scores on `features`, and a
    failure for each data set that is missing. Data sets are loaded here first, so that large ones are converted once.
    UserError if nothing is finished and no data set can be loaded."""
    to_run: list[Experiment] = []
    problems: dict[str, Outcome | None] = {}
    done = 0
    for e in experiments:
        record = ended_record(e, opts.runs_dir)
        # The user's own images may have changed: `run_experiment` compares them with those of the record.
        if record and record.done and own_path(e.data) is None and has_scores(record, features):
            done += 1
            continue
        if e.data not in problems:
            problems[e.data] = None
            try:
                load_data(e, opts.data_dir)
            except UserError as error:
                problems[e.data] = Outcome(Task(f"data set {e.data}", (), ""), "failed", str(error))
        if problems[e.data] is None:
            to_run.append(e)
    absent = [*filter(None, problems.values())]
    if absent and not to_run and not done:
        raise UserError("; ".join(outcome.message for outcome in absent))
    return to_run, done, absent


def row_tasks(opts: Options, experiments: Sequence[Experiment]) -> list[Task]:
    """One task per experiment, the longest first: the command that trains it."""
    # the data folder is an option, because $CQLIB_DATA may differ on a node of a cluster
    folders = {"--runs-dir": opts.runs_dir, "--data-dir": local_folder(opts.data_dir),
               "--feature-weights": opts.feature_weights}  # fmt: skip
    given = [word for flag, value in folders.items() if value is not None for word in (flag, str(value))]
    return [Task(e.title, (*shlex.split(e.command)[1:], *given), e.folder, e.cost) for e in longest_first(experiments)]


def notebook_tasks(opts: Options, books: Sequence[Path]) -> list[Task]:
    """One task per notebook whose inputs have changed since its last run. Of the parameters below a notebook gets those
    that its own cell of parameters names."""
    parameters = {
        "profile": opts.profile,
        "data": list(opts.data),
        "seeds": list(opts.seeds),
        "changes": opts.changes,
        "runs_dir": str(opts.runs_dir),
        "data_dir": opts.data_dir and str(opts.data_dir),
        "feature_weights": opts.feature_weights and str(opts.feature_weights),
        **({"train": False} if opts.no_train else {}),
    }
    records, files = (opts.runs_dir, opts.runs_dir / ablations.FOLDER), tuple(notebook_files(opts))
    tasks = []
    for file in books:
        taken = parameter_names(file)
        own = {name: value for name, value in parameters.items() if name in taken}
        job = Job(file, own, opts.out / "notebooks" / file.stem, records, files)
        tasks += [] if job.done() else [Task(file.stem, job.arguments(), file.stem)]
    return tasks


def notebook_files(opts: Options) -> Iterator[Path]:
    """Files and folders that notebooks may read, besides records of `--runs-dir`: pictures of the documentation; what
    is published, but for rendered pages; and the user's own images."""
    yield ROOT / "docs" / "pictures"
    yield from (path for path in sorted(PUBLISHED.iterdir()) if path.name not in ("notebooks", "index.html"))
    places = [place for place in (local_folder(opts.data_dir), Path()) if place]
    for path in filter(None, map(own_path, opts.data)):
        if found := find_local(path, *places):
            yield found


# --- --list ------------------------------------------------------------------------------------------------------


def listing(opts: Options) -> Iterator[str]:
    """The lines of --list: every valid name, and the expected time of this command's rows."""
    labels = {a.name: "; ".join(rows.label_of(a.variant(row)) for row in a.changes) for a in ablations.BY_NAME.values()}
    named = {
        "rows": {row: rows.label_of(row) for row in rows.ROWS},
        "profiles": rows.PROFILES,
        "notebooks": {name: file.name for name, file in rows.notebooks().items()},
        "data sets": {name: source.about for name, source in SOURCES.items()},
        "ablations": labels,
    }
    for title, entries in named.items():
        width = max((len(name) for name in entries), default=0)
        yield from (title, *(f"  {name:<{width}}  {text}" for name, text in entries.items()), "")
    yield from ("time of this command's rows", *expected_time(opts, plan(opts)[0]))


def expected_time(opts: Options, experiments: Sequence[Experiment]) -> Iterator[str]:
    """The lines on the expected time of the experiments on this machine."""
    seeds: Counter[Experiment] = Counter()
    for e in experiments:
        record = ended_record(e, opts.runs_dir)
        seeds[replace(e, seed=0)] += not (record and record.done)
    return costs.time_lines(seeds, opts.runs_dir, len(slots(opts.jobs)))


# --- doing it ----------------------------------------------------------------------------------------------------


def reproduce(opts: Options) -> int:
    """Train rows, run notebooks and render the report, in this order; for `--shard` train rows alone. Returns the exit
    code."""
    stop = StopRequest(None if opts.time_budget is None else time.monotonic() + 60 * opts.time_budget)
    select_device(), tensorboard.summary_writer()  # UserError if either is not available
    experiments, books = plan(opts)
    side = EVALUATION[opts.profile].side
    features = features_for(opts.feature_weights, opts.data_dir, profile=opts.profile, side=side)
    opts.feature_weights = features.weights if features.name == "inception" else None
    to_run, finished, absent = pending_runs(opts, experiments, features)
    if not opts.shard:
        opts.out.mkdir(parents=True, exist_ok=True)
    for outcome in absent:
        to_stderr(str(outcome))
    to_stderr(f"rows: {len(experiments)} in all, {finished} finished before, {len(to_run)} to run")
    if opts.profile == "paper":
        for line in expected_time(opts, to_run):
            to_stderr(line)
    with stop.listening():
        outcomes = [*absent, *train_rows(opts, to_run, stop)]
        if not opts.shard:
            tasks = notebook_tasks(opts, books)
            to_stderr(f"notebooks: {len(books)} in all, {len(books) - len(tasks)} up to date, {len(tasks)} to run")
            outcomes += run_here(opts, tasks, stop)
        bad = [outcome for outcome in outcomes if outcome.status != "done"]
        made = f"records: {opts.runs_dir}; --no-train renders the report, once all shards have ended"
        if not opts.shard:
            made = f"report: {report(opts, bad)}"
        code = ending(opts, bad, stop)
        print(made, flush=True)
        return code


def train_rows(opts: Options, experiments: Sequence[Experiment], stop: StopRequest) -> list[Outcome]:
    """Train the experiments, here or on the cluster."""
    tasks = row_tasks(opts, experiments)
    if opts.cluster is None or not tasks:
        return run_here(opts, tasks, stop)
    with cluster.cluster_connection(opts.cluster):
        start, jobs = cluster.cluster_start(GPU_SHARE[opts.profile]), opts.jobs or cluster.cores()
        return run_tasks(tasks, start, jobs, stop=stop, logs=opts.runs_dir / "logs")


def run_here(opts: Options, tasks: Sequence[Task], stop: StopRequest) -> list[Outcome]:
    """Run tasks on this machine; the logs of failed ones are kept in the runs folder."""
    if not tasks:
        return []
    places = slots(opts.jobs)
    return run_tasks(tasks, local_start(places), len(places), stop=stop, logs=opts.runs_dir / "logs")


def report(opts: Options, bad: Sequence[Outcome]) -> Path:
    """Render the report, which names the tasks that did not succeed (`bad`); returns its file."""
    copies = {f"{file.parent.name}.json": file for file in opts.runs_dir.glob("*/record.json")}
    for name, file in copies.items():  # the report can be passed on with its records
        write_atomic(opts.out / "records" / name, file.read_bytes())
    for file in (opts.out / "records").glob("*.json"):  # those of an earlier report on another folder of runs
        with suppress(OSError, UserError):
            if file.name not in copies and read_record(file):
                file.unlink()
    failures = [str(outcome) for outcome in bad]
    return page.render(
        opts.out, runs_dir=opts.runs_dir, failures=failures, data_dir=opts.data_dir, profile=opts.profile
    )


def ending(opts: Options, bad: Sequence[Outcome], stop: StopRequest) -> int:
    """Tell what the tasks that did not succeed mean for the user; returns the exit code."""
    failed = sum(outcome.status == "failed" for outcome in bad)
    if failed:
        diverged = sum(outcome.message.startswith("diverged") for outcome in bad)
        retry = "run it again to retry them; " * (failed > diverged)  # a training that diverged would diverge again
        to_stderr(f"{failed} failed; {retry}the logs are in {opts.runs_dir / 'logs'}")
    if failed < len(bad):
        to_stderr(f"stopped: {stop.requested or 'not all was run'}; run it again to resume")
    return 1 if failed == len(bad) > 0 else 3 if bad else 0
