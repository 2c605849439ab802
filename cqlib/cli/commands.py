"""python -m cqlib: rows, train, evaluate, sample, bench, doctor, report.

Every command is a function of its parsed options; what it needs is imported when it runs, so that --help and
a wrong option answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cqlib.cli.guard import guarded
from cqlib.cli.options import Parser, minutes, output, path, seed, settled, whole
from cqlib.cli.tasks import interrupted_by_sigterm
from cqlib.experiments import rows as names
from cqlib.util.errors import UsageError, UserError, unknown
from cqlib.util.paths import ROOT

PROGRAM = "python -m cqlib"
MAX_IMAGES = 10_000
"""That `sample` draws into one picture."""


@dataclass(frozen=True)
class Command:
    """A command: one line about it, its own options, and what it does (it returns the exit code)."""

    about: str
    options: Callable[[Parser], None]
    do: Callable[[argparse.Namespace], int]


def _about_rows(p: Parser, row: bool = True) -> None:
    """The options of all commands that are about rows."""
    if row:
        p.add_argument("row", type=names.row, metavar="ROW", help="table1/cq-f, …; see the command rows")
    profiles = " | ".join(names.PROFILES) + " (default: quick)"
    p.add_argument("--profile", type=names.profile, default="quick", metavar="NAME", help=profiles)
    p.add_argument("--data", type=names.data, metavar="NAME", help="a data set (default: the profile's)")
    p.add_argument("--seed", type=seed, default=0, metavar="N", help="default: 0")
    p.add_argument("--runs-dir", type=path, default=ROOT / "runs", metavar="DIR", help="default: runs/")


def _data_dir(p: Parser) -> None:
    p.add_argument("--data-dir", type=path, metavar="DIR",
                   help="local copies of data sets (default: $CQLIB_DATA, else data/)")  # fmt: skip


def _training(p: Parser) -> None:
    _about_rows(p)
    _data_dir(p)
    p.add_argument("--time-budget", type=minutes, metavar="MINUTES", help="stop after this time, to go on later")
    p.add_argument("--feature-weights", type=path, metavar="FILE", help="torch-fidelity's Inception weights")


def _sampling(p: Parser) -> None:
    _about_rows(p)
    p.add_argument("--n", type=_images, default=64, metavar="N", help="how many images (default: 64)")
    p.add_argument("--out", type=path, required=True, metavar="FILE.png", help="the picture to write")
    p.add_argument("--temperature", type=_temperature, default=1.0, metavar="T",
                   help="1: the model's own distribution (default); 0: the decoder's mean")  # fmt: skip


def _images(text: str) -> int:
    if (n := whole(text, 1, MAX_IMAGES)) is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to {MAX_IMAGES:,}")
    return n


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"'{text}' is not a temperature from 0 to 2")
    return value


def rows(given: argparse.Namespace) -> int:
    """List the rows, and what is known of each with this profile, data set and seed."""
    from cqlib.experiments import paper
    from cqlib.experiments.experiment import AVAILABLE, experiment
    from cqlib.experiments.run import finished

    for row in names.ROWS:
        label = paper.ROWS[row].label if row in paper.ROWS else ""
        if row not in AVAILABLE:
            state = "not part of this version yet"
        else:
            record = finished(experiment(row, given.profile, given.data, given.seed), given.runs_dir)
            state = "not run" if record is None else "finished"
            if record is not None and "BPD" in record.metrics:
                state += f", {record.metrics['BPD'].value:.3f} bpd"
        print(f"{row:<32} {label:<34} {state}")
    return 0


def train(given: argparse.Namespace) -> int:
    """Train and evaluate one row; a finished one is not run again."""
    import torch

    from cqlib.experiments import estimate
    from cqlib.experiments.experiment import experiment
    from cqlib.experiments.run import load_data, run, trained
    from cqlib.experiments.run_folder import room

    e = experiment(given.row, given.profile, given.data, given.seed)
    if given.profile == "paper" and not trained(e, given.runs_dir):
        load_data(e, given.data_dir)  # what is missing is told before anything is measured
        hardware = estimate.hardware(torch.get_num_threads())
        if (found := estimate.known(e, given.runs_dir, hardware)) is None:
            found = estimate.estimate(e)
            estimate.keep(e, given.runs_dir, hardware, found)
        print(f"{e.row} on {e.data}: {found}", file=sys.stderr, flush=True)

    def progress(step: int, steps: int, left: float) -> None:
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"step {step} of {steps}, {left:.0f} s left   ", end=end, file=sys.stderr, flush=True)

    record = run(
        given.row,
        profile=given.profile,
        data=given.data,
        seed=given.seed,
        runs_dir=given.runs_dir,
        data_dir=given.data_dir,
        feature_weights=given.feature_weights,
        time_budget=given.time_budget,
        progress=progress,
    )
    print(f"{record.row} · {record.data.name} · {record.profile} · seed {record.seed}: {record.status}")
    for name, metric in record.metrics.items():
        spread = "" if metric.std is None else f" ± {metric.std:.3g}"
        print(f"  {name:<24} {metric.value:>12.4f}{spread}  ({metric.protocol})")
    print(room(given.runs_dir), file=sys.stderr)
    return 0 if record.status == "done" else 1


def evaluate(given: argparse.Namespace) -> int:
    """Show the measurements of a row that has been trained, taking those that are missing. Published weights are
    measured in a folder of their own, where neither a report nor another training takes them for this machine's."""
    from cqlib.experiments.experiment import experiment
    from cqlib.experiments.run import fetch_published, run_dir, train_command, trained

    e = experiment(given.row, given.profile, given.data, given.seed)
    if not trained(e, given.runs_dir):
        own, apart = run_dir(e.row, e.profile, e.data, e.seed, given.runs_dir), given.runs_dir / "published"
        if (own / "model.safetensors").exists() or not (fetch_published(e, apart) or trained(e, apart)):
            raise UserError(f"{given.row} has not been trained in {own}: {train_command(given.row, e)}")
        print(f"not trained here: the published weights are measured, in {apart}", file=sys.stderr)
        given.runs_dir = apart
    return train(given)


def sample(given: argparse.Namespace) -> int:
    """Draw images from a finished run or a published checkpoint."""
    if given.out.suffix.lower() != ".png":
        raise UsageError(f"--out: '{given.out}' should end in .png")
    from cqlib.data.grids import grid_png
    from cqlib.experiments.run import load
    from cqlib.metrics.evaluation import draw
    from cqlib.util.files import write_atomic

    model = load(given.row, profile=given.profile, data=given.data, seed=given.seed, runs_dir=given.runs_dir)
    images = draw(model, given.n, temperature=given.temperature, seed=given.seed)
    write_atomic(given.out, grid_png(images, columns=round(given.n**0.5), scale=4))
    print(given.out)
    return 0


def doctor(given: argparse.Namespace) -> int:
    """Say what is there and what is missing, and which file to put where."""
    from cqlib.cli.doctor import report

    for line in report(given.runs_dir, given.data_dir):
        print(line)
    return 0


def report(given: argparse.Namespace) -> int:
    """Render the report from records that are there already; nothing is trained."""
    from cqlib.report.page import render

    if not given.runs_dir.is_dir():
        raise UserError(f"--from: there is no folder {given.runs_dir}")
    print(f"report: {render(given.out, runs_dir=given.runs_dir)}")
    return 0


def bench(given: argparse.Namespace) -> int:
    """Measure on this machine what this project says is fast, against what it replaces."""
    from benchmarks import main as measure

    return measure(given.json, given.rows)


def _doctor_options(p: Parser) -> None:
    p.add_argument("--runs-dir", type=path, default=ROOT / "runs", metavar="DIR", help="default: runs/")
    _data_dir(p)


def _report_options(p: Parser) -> None:
    p.add_argument("--from", dest="runs_dir", type=path, default=ROOT / "runs", metavar="DIR",
                   help="where the records are (default: runs/)")  # fmt: skip
    p.add_argument("--out", type=path, default=ROOT / "reports" / "local", metavar="DIR",
                   help="default: reports/local/")  # fmt: skip


def _bench_options(p: Parser) -> None:
    p.add_argument("rows", nargs="*", metavar="ROW", help="cqf-step, flow-inverse, … (default: all)")
    p.add_argument("--json", type=output, metavar="FILE", help="write the numbers to this file as well")


COMMANDS = {
    "rows": Command("list the rows of the tables", lambda p: _about_rows(p, row=False), rows),
    "train": Command("train and evaluate a row", _training, train),
    "evaluate": Command("show the measurements of a trained row", _training, evaluate),
    "sample": Command("draw images from a trained row", _sampling, sample),
    "bench": Command("measure what is fast against what it replaces", _bench_options, bench),
    "doctor": Command("say what is there and what is missing", _doctor_options, doctor),
    "report": Command("render the report from records", _report_options, report),
}


def _overview() -> str:
    lines = [f"usage: {PROGRAM} COMMAND [options]; --help after a command says more", ""]
    return "\n".join(lines + [f"  {name:<9} {command.about}" for name, command in COMMANDS.items()])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Errors are one line on stderr (`cqlib.cli.guard`)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with guarded(PROGRAM):
        interrupted_by_sigterm()  # but for as long as there is something to save
        if not argv:
            raise UsageError(f"which command? {', '.join(COMMANDS)} (--help says more)")
        if argv[0] in ("-h", "--help"):
            print(_overview(), flush=True)
            return 0
        if argv[0] not in COMMANDS:
            raise unknown("command", argv[0], COMMANDS)
        command = COMMANDS[argv[0]]
        parser = Parser(prog=f"{PROGRAM} {argv[0]}", description=f"{command.about.capitalize()}.")
        command.options(parser)
        given = parser.parse_args(argv[1:])
        if getattr(given, "data", None) is not None:
            given.data = settled(given.data, getattr(given, "data_dir", None))
        return command.do(given)
    raise AssertionError("unreachable")
