"""Commands on rows: list them, show a recipe, train, evaluate, sample."""

import argparse
import sys
from typing import TYPE_CHECKING

from cqlib.cli.options import OPTIONS, new_file, number
from cqlib.cli.registry import EXPERIMENT, command, experiment_from_options
from cqlib.experiments.rows import ROWS, label_of
from cqlib.util.errors import UsageError, UserError, to_stderr
from cqlib.util.stop import StopRequest
from cqlib.util.text import duration

if TYPE_CHECKING:
    from cqlib.experiments.experiment import Experiment

TRAINING = (*EXPERIMENT, "--data-dir", "--time-budget", "--feature-weights", "--device", "--tensorboard")


@command("--profile", "--data", "--seed", "--set", "--runs-dir", ends=["", "--profile study"])
def rows(options: argparse.Namespace) -> None:
    """list the rows of the tables, and which are finished or have published weights"""
    from cqlib.experiments.experiment import experiment
    from cqlib.experiments.load import published_weights, stored_training
    from cqlib.experiments.run import ended_record

    states, refused = {}, {}
    for row in ROWS:
        try:
            e = experiment(row, options.profile, options.data, options.seed, dict(options.changes or ()), trial=False)
        except UsageError as error:
            states[row], refused[row] = "does not take this --set", error
            continue
        states[row] = "not run"
        if (record := ended_record(e, options.runs_dir)) is not None:
            bpd = f", {record.metrics['BPD'].value:.3f} bpd" if "BPD" in record.metrics else ""
            states[row] = record.ending or f"finished{bpd}"
        elif stored_training(published_weights(e.folder), e) is not None:
            states[row] = "not run; published weights"
    if len(refused) == len(ROWS):
        raise next(iter(refused.values()))
    for row, state in states.items():
        print(f"{row:<32} {label_of(row):<34} {state}")


@command(*EXPERIMENT, ("--runs-dir", {**OPTIONS["--runs-dir"], "help": "taken as by other commands; not needed here"}),
         ends=["table1/cq-f", "table1/cq-f --profile paper"])  # fmt: skip
def show(options: argparse.Namespace) -> None:
    """print the recipe of a row: every value, where `paper` has another, and the parameters of each net"""
    from cqlib.experiments.sheet import sheet

    print(*sheet(experiment_from_options(options)), sep="\n")


@command(*TRAINING, ends=["table1/cq-f --seed 3", "table1/vae --profile study --set training.steps=3000 --device cpu"])
def train(options: argparse.Namespace) -> int:
    """train and evaluate a row; a finished row is not run again"""
    return _train(experiment_from_options(options), options)


def _train(e: "Experiment", options: argparse.Namespace) -> int:
    from cqlib.cli import costs, tasks
    from cqlib.experiments.load import is_trained, load_data
    from cqlib.experiments.run import run_experiment
    from cqlib.experiments.run_folder import disk_usage
    from cqlib.metrics.metric import sentence

    if e.profile == "paper" and not is_trained(e, options.runs_dir):
        load_data(e, options.data_dir)  # reports missing data before anything is measured
        options.runs_dir.mkdir(parents=True, exist_ok=True)
        slots, stop = tasks.slots(1), StopRequest()
        for line in costs.lines({e: 1}, runs_dir=options.runs_dir, records=(), slots=slots, stop=stop):
            to_stderr(line)

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
        print(f"  {name:<24} {metric.value:>12.4f}{spread}  ({sentence(name, metric)})")
    to_stderr(disk_usage(options.runs_dir))
    return 0 if record.done else 1


@command(*TRAINING, ends=["table1/cq-f", "table1/cq-f --feature-weights weights.pth"])
def evaluate(options: argparse.Namespace) -> int:
    """show the metrics of a trained row, measuring those that are missing"""
    from cqlib.experiments.load import WEIGHTS, fetch_published, is_trained

    e = experiment_from_options(options)
    if not is_trained(e, options.runs_dir):
        # Published weights are measured in a folder of their own: no report takes them for this machine's.
        folder = options.runs_dir / e.folder
        published = options.runs_dir / "published"
        if (folder / WEIGHTS).exists() or not (fetch_published(e, published) or is_trained(e, published)):
            raise UserError(f"{e.variant} has not been trained in {folder}: {e.command}")
        to_stderr(f"not trained here: the published weights are measured, in {published}")
        options.runs_dir = published
    return _train(e, options)


@command(
    *EXPERIMENT,
    ("--n", {"type": number(1, 10_000, int), "default": 64, "metavar": "N", "help": "how many images (default: 64)"}),
    ("--out", {"type": new_file, "required": True, "metavar": "FILE.png", "help": "the picture to write"}),
    ("--temperature", {"type": number(0, 2), "default": 1.0, "metavar": "T",
                       "help": "1: the model's own distribution (default); 0: the decoder's mean"}),
    "--device",
    ends=["table1/cq-f --out samples.png", "table1/cq-f --n 100 --temperature 0 --out means.png"],
)  # fmt: skip
def sample(options: argparse.Namespace) -> None:
    """draw images from a trained row or published weights"""
    if options.out.suffix.lower() != ".png":
        raise UsageError(f"--out: '{options.out}' should end in .png")
    from cqlib.data.grids import grid_png
    from cqlib.experiments.load import load_system
    from cqlib.metrics.evaluation import draw_samples
    from cqlib.training.device import select_device
    from cqlib.util.files import write_atomic

    model = load_system(experiment_from_options(options), options.runs_dir).to(select_device())
    images = draw_samples(model, options.n, temperature=options.temperature, seed=options.seed)
    write_atomic(options.out, grid_png(images, columns=round(options.n**0.5), scale=4))
    print(options.out)
