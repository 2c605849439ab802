"""Commands on rows: list them, show a recipe, train, evaluate, sample."""

import argparse
import sys
from typing import TYPE_CHECKING

from cqlib.util.errors import UsageError, UserError, to_stderr
from cqlib.util.text import columns, duration

if TYPE_CHECKING:
    from cqlib.suite.experiments.experiment import Experiment


def experiment_from_options(options: argparse.Namespace) -> "Experiment":
    """The experiment of a command's row, profile, data set, seed and changes."""
    from cqlib.suite.experiments.experiment import experiment

    return experiment(options.row, options.profile, options.data, options.seed, dict(options.changes or ()))


def rows(options: argparse.Namespace) -> None:
    """list the rows of the tables, and which are finished or have published weights"""
    from cqlib.suite.experiments.experiment import experiment
    from cqlib.suite.experiments.load import published_weights
    from cqlib.suite.experiments.model_file import stored_training
    from cqlib.suite.experiments.rows import ROWS, label_of
    from cqlib.suite.experiments.run import ended_record

    lines = []
    for row in ROWS:
        state = "not run"
        try:
            e = experiment(row, options.profile, options.data, options.seed, dict(options.changes or ()))
            if (record := ended_record(e, options.runs_dir)) is not None:
                bpd = f", {record.metrics['BPD'].number:.3f} bpd" if "BPD" in record.metrics else ""
                state = record.ending or f"finished{bpd}"
            elif stored_training(published_weights(e.folder), e) is not None:
                state = "not run; published weights"
        except UsageError:
            if not options.changes:
                raise
            state = "does not take this --set"
        lines.append((row, label_of(row), state))
    print(*map(str.strip, columns(lines)), sep="\n")


def show(options: argparse.Namespace) -> None:
    """print the recipe of a row: every value, where `paper` has another, and the parameters of each net"""
    from cqlib.suite.experiments.sheet import sheet

    print(*sheet(experiment_from_options(options)), sep="\n")


def train(options: argparse.Namespace) -> None:
    """train and evaluate a row; a finished row is not run again"""
    e = experiment_from_options(options)
    if e.profile == "paper":
        from cqlib.suite.cli import costs

        print(*costs.time_lines({e: 1}, options.runs_dir, jobs=1), sep="\n", file=sys.stderr)
    _train(e, options)


def _train(e: "Experiment", options: argparse.Namespace) -> None:
    """Train and measure what is missing, and print the metrics. UserError if the training diverged."""
    from cqlib.suite.experiments.model_file import RECORD
    from cqlib.suite.experiments.run import run_experiment

    def progress(step: int, steps: int, left: float) -> None:
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"step {step} of {steps}, {duration(left)} left   ", end=end, file=sys.stderr, flush=True)

    record = run_experiment(
        e,
        runs_dir=options.runs_dir,
        data_dir=options.data_dir,
        feature_weights=options.feature_weights,
        time_budget=options.time_budget,
        progress=progress,
    )
    print(f"{record.title}: {record.ending or record.status}")
    for name, metric in record.metrics.items():
        spread = "" if metric.std is None else f" ± {metric.std:.3g}"
        if not name.startswith("Digit-"):  # twenty lines
            print(f"  {name:<24} {metric.number:>12.4f}{spread:<12} n = {metric.n:,}")
    print(f"protocols, curves, digits, notes: {options.runs_dir / e.folder / RECORD}")
    if not record.done:
        raise UserError(f"{record.ending}; its notes say why, and the report shows it")


def evaluate(options: argparse.Namespace) -> None:
    """show the metrics of a trained row, measuring those that are missing"""
    from cqlib.suite.experiments.load import fetch_published, is_trained
    from cqlib.suite.experiments.model_file import WEIGHTS

    e = experiment_from_options(options)
    if not is_trained(e, options.runs_dir):
        # Published weights are measured in a folder of their own, so that no report takes them for this machine's.
        folder = options.runs_dir / e.folder
        published = options.runs_dir / "published"
        if (folder / WEIGHTS).exists() or not fetch_published(e, published):
            raise UserError(f"{e.variant} has not been trained in {folder}: {e.command} --runs-dir {options.runs_dir}")
        to_stderr(f"not trained here: the published weights are measured, in {published}")
        options.runs_dir = published
    _train(e, options)


def sample(options: argparse.Namespace) -> None:
    """draw images from a trained row, published weights, or the model in a folder"""
    if options.out.suffix.lower() != ".png":
        raise UsageError(f"--out: '{options.out}' should end in .png")
    from cqlib.data.grids import grid_png
    from cqlib.metrics.evaluation import draw_samples
    from cqlib.suite.experiments.load import load
    from cqlib.util.device import select_device
    from cqlib.util.files import write_atomic

    given = {**vars(options), "changes": options.changes and dict(options.changes)}
    settings = {name: given[name] for name in ("profile", "data", "seed", "changes") if given[name] is not None}
    model = load(options.model, runs_dir=options.runs_dir, device=select_device(), **settings)
    images = draw_samples(model, options.n, temperature=options.temperature, seed=options.draw_seed)
    write_atomic(options.out, grid_png(images, columns=round(options.n**0.5), scale=4))
    print(options.out)
