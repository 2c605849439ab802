"""The command line: a function per command, which imports what it needs, so that --help comes at once."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cqlib.cli.options import (
    OPTIONS,
    Parser,
    absolute_data_path,
    check_folder,
    examples,
    number,
    path,
    set_environment,
    settings,
)
from cqlib.data import SOURCES
from cqlib.experiments.rows import PROFILES, ROWS, label_of
from cqlib.util import VERSION
from cqlib.util.errors import UsageError, UserError, one_line, one_line_errors, to_stderr, unknown
from cqlib.util.paths import CONTRIBUTED
from cqlib.util.stop import StopRequest, interrupt_on_sigterm

if TYPE_CHECKING:
    from cqlib.experiments.experiment import Experiment

PROGRAM = "python -m cqlib"
EXPERIMENT = ("row", "--profile", "--data", "--seed", "--set")
TRAINING = (*EXPERIMENT, "--runs-dir", "--data-dir", "--time-budget", "--feature-weights", "--device", "--tensorboard")
COMPLETIONS = {"row": ROWS, "profile": PROFILES, "data": SOURCES, "device": ("auto", "cpu", "cuda", "mps")}
"""Values of an option that a shell proposes, with argcomplete."""

Run = Callable[[argparse.Namespace], int]
COMMANDS: dict[str, tuple[Run, dict[str, dict[str, Any]], tuple[str, ...]]] = {}
"""Name -> the function that runs it and returns the exit code, its options, examples of what follows its name."""


def command(*options: str | tuple[str, dict[str, Any]], ends: Sequence[str]) -> Callable[[Run], Run]:
    """Make a function a command with these options of `settings`; `ends`: what may follow its name, for --help."""

    def register(run: Run) -> Run:
        COMMANDS[run.__name__] = run, settings(*options), tuple(ends)
        return run

    return register


def _experiment(options: argparse.Namespace) -> "Experiment":
    from cqlib.experiments.experiment import experiment

    return experiment(options.row, options.profile, options.data, options.seed, dict(options.changes or ()))


@command("--profile", "--data", "--seed", "--runs-dir", ends=["", "--profile study"])
def rows(options: argparse.Namespace) -> int:
    """list the rows of the tables, and which are finished"""
    from cqlib.experiments.experiment import AVAILABLE, experiment
    from cqlib.experiments.run import finished

    for row in ROWS:
        state = "not part of this version yet"
        if row in AVAILABLE:
            record = finished(experiment(row, options.profile, options.data, options.seed), options.runs_dir)
            state = "not run" if record is None else "finished"
            if record is not None and "BPD" in record.metrics:
                state += f", {record.metrics['BPD'].value:.3f} bpd"
        print(f"{row:<32} {label_of(row):<34} {state}")
    return 0


@command(*EXPERIMENT, ends=["table1/cq-f", "table1/cq-f --profile paper"])
def show(options: argparse.Namespace) -> int:
    """print the recipe of a row: every value, where `paper` has another, and the parameters of each net"""
    from cqlib.experiments.sheet import sheet

    print(*sheet(_experiment(options)), sep="\n")
    return 0


@command(*TRAINING, ends=["table1/cq-f --seed 3", "table1/vae --profile study --set training.steps=3000 --device cpu"])
def train(options: argparse.Namespace) -> int:
    """train and evaluate a row; a finished row is not run again"""
    return _train(_experiment(options), options)


def _train(e: "Experiment", options: argparse.Namespace) -> int:
    from cqlib.cli import costs, tasks
    from cqlib.experiments.load import load_data, trained
    from cqlib.experiments.run import run_experiment
    from cqlib.experiments.run_folder import room

    if e.profile == "paper" and not trained(e, options.runs_dir):
        load_data(e, options.data_dir)  # reports missing data before anything is measured
        options.runs_dir.mkdir(parents=True, exist_ok=True)
        slots, stop = tasks.slots(1), StopRequest()
        for line in costs.lines({e: 1}, runs_dir=options.runs_dir, records=(), slots=slots, stop=stop):
            to_stderr(line)

    def progress(step: int, steps: int, left: float) -> None:
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"step {step} of {steps}, {left:.0f} s left   ", end=end, file=sys.stderr, flush=True)

    record = run_experiment(
        e,
        runs_dir=options.runs_dir,
        data_dir=options.data_dir,
        feature_weights=options.feature_weights,
        time_budget=options.time_budget,
        progress=progress,
    )
    print(f"{record.variant} · {record.data.name} · {record.profile} · seed {record.seed}: {record.status}")
    for name, metric in record.metrics.items():
        spread = "" if metric.std is None else f" ± {metric.std:.3g}"
        print(f"  {name:<24} {metric.value:>12.4f}{spread}  ({metric.protocol})")
    to_stderr(room(options.runs_dir))
    return 0 if record.status == "done" else 1


@command(*TRAINING, ends=["table1/cq-f", "table1/cq-f --feature-weights weights.pth"])
def evaluate(options: argparse.Namespace) -> int:
    """show the metrics of a trained row, measuring those that are missing"""
    from cqlib.experiments.load import fetch_published, trained

    e = _experiment(options)
    if not trained(e, options.runs_dir):
        # Published weights are measured in a folder of their own: no report takes them for this machine's.
        folder = options.runs_dir / e.folder
        published = options.runs_dir / "published"
        if (folder / "model.safetensors").exists() or not (fetch_published(e, published) or trained(e, published)):
            raise UserError(f"{e.variant} has not been trained in {folder}: {e.command}")
        to_stderr(f"not trained here: the published weights are measured, in {published}")
        options.runs_dir = published
    return _train(e, options)


@command(
    *EXPERIMENT,
    "--runs-dir",
    ("--n", {"type": number(1, 10_000, int), "default": 64, "metavar": "N", "help": "how many images (default: 64)"}),
    ("--out", {"type": path, "required": True, "metavar": "FILE.png", "help": "the picture to write"}),
    ("--temperature", {"type": number(0, 2), "default": 1.0, "metavar": "T",
                       "help": "1: the model's own distribution (default); 0: the decoder's mean"}),
    "--device",
    ends=["table1/cq-f --out samples.png", "table1/cq-f --n 100 --temperature 0 --out means.png"],
)  # fmt: skip
def sample(options: argparse.Namespace) -> int:
    """draw images from a trained row or published weights"""
    if options.out.suffix.lower() != ".png":
        raise UsageError(f"--out: '{options.out}' should end in .png")
    from cqlib.data.grids import grid_png
    from cqlib.experiments.load import load_system
    from cqlib.metrics.evaluation import draw
    from cqlib.training.device import chosen
    from cqlib.util.files import write_atomic

    model = load_system(_experiment(options), options.runs_dir).to(chosen())
    images = draw(model, options.n, temperature=options.temperature, seed=options.seed)
    write_atomic(options.out, grid_png(images, columns=round(options.n**0.5), scale=4))
    print(options.out)
    return 0


@command(
    ("first", {"metavar": "A", "help": "a record's file, a run's folder, or the name of either"}),
    ("second", {"metavar": "B"}),
    "--runs-dir",
    ends=["table1_cq-f--photos10--quick--0 table1_cq-f--photos10--quick--1", "record.json theirs.json"],
)
def compare(options: argparse.Namespace) -> int:
    """say why the numbers of two runs differ: what is not the same, the weightiest first, and the spread over seeds"""
    from cqlib.report.compare import find, lines

    print(*lines(*(find(name, options.runs_dir) for name in (options.first, options.second))), sep="\n")
    return 0


@command(
    ("row", {**OPTIONS["row"], "nargs": "?", "help": "its weights alone (default: all that are published)"}),
    "--data-dir",
    "--feature-weights",
    "--device",
    ("--json", {"type": path, "metavar": "FILE", "help": "write the receipt there as well"}),
    ends=["", "table1/cq-f --json receipt.json"],
)
def verify(options: argparse.Namespace) -> int:
    """measure the published weights anew and hold them against their records; exit status 1 where one is off"""
    from cqlib.report.verify import lines, published, receipt, verify
    from cqlib.util.files import write_atomic

    checks = []
    with tempfile.TemporaryDirectory() as folder:
        where = {"data_dir": options.data_dir, "feature_weights": options.feature_weights}
        for record in published(options.row):
            checks.append(verify(record, Path(folder), **where))
            print(*lines(checks[-1]), sep="\n", flush=True)
    if options.json:
        write_atomic(options.json, json.dumps(receipt(checks), indent=1) + "\n")
    return 0 if all(check.passed for check in checks) else 1


@command(*EXPERIMENT, "--runs-dir", ("folder", {"type": path, "metavar": "DIR", "help": "the folder to write"}),
         ends=["table1/cq-f my-model"])  # fmt: skip
def card(options: argparse.Namespace) -> int:
    """write a trained row or published weights to a folder as a model hub takes it: weights, config, card"""
    from cqlib.report.model_card import write

    print(*write(_experiment(options), options.runs_dir, options.folder), sep="\n")
    return 0


@command("--runs-dir", "--data-dir", ends=["", "--data-dir ~/data"])
def doctor(options: argparse.Namespace) -> int:
    """show what is installed and present, what is missing, and which file to put where"""
    from cqlib.cli.doctor import report

    print(*report(options.runs_dir, options.data_dir), sep="\n")
    return 0


FROM = ("--from", {**OPTIONS["--runs-dir"], "dest": "runs_dir", "help": "the records (default: runs/)"})


@command(FROM, "--out", ends=["", "--from runs --out reports/local"])
def report(options: argparse.Namespace) -> int:
    """render the report from records; nothing is trained"""
    from cqlib.report.page import render

    print(f"report: {render(options.out, runs_dir=check_folder('--from', options.runs_dir))}")
    return 0


@command(FROM, ("--csv", {"type": path, "required": True, "metavar": "FILE", "help": "the table to write"}),
         ends=["--csv records.csv"])  # fmt: skip
def export(options: argparse.Namespace) -> int:
    """write all records, of this machine, published and contributed, to a table: a line per record and metric"""
    from cqlib.cli.export import write_csv
    from cqlib.experiments.record import load_records
    from cqlib.util.paths import PUBLISHED

    places = {"here": options.runs_dir, "published": PUBLISHED / "records", "contributed": CONTRIBUTED}
    lines = write_csv(options.csv, {name: load_records(folder)[0] for name, folder in places.items()})
    print(f"{options.csv}: {lines} lines")
    return 0


@command(("runs_dir", {"type": path, "metavar": "RUNS_DIR", "help": "a folder of finished runs"}), ends=["runs"])
def publish(options: argparse.Namespace) -> int:
    """copy the records, samples and small models of finished runs to reports/published/"""
    from cqlib.report.publish import PUBLISHED, publish

    for file in publish(check_folder("RUNS_DIR", options.runs_dir)):
        print(file.relative_to(PUBLISHED.parent.parent))
    return 0


@command(
    ("run", {"type": path, "metavar": "RUN", "help": "a run's folder, or its name in --runs-dir"}),
    "--runs-dir",
    ("--name", {"required": True, "metavar": "NAME", "help": "yours, as the page shows it; no e-mail address"}),
    ("--out", {"type": path, "default": CONTRIBUTED, "metavar": "DIR", "help": "default: reports/contributed/"}),
    ends=['table1_cq-f--photos10--quick--0 --name "A. Name"'],
)
def contribute(options: argparse.Namespace) -> int:
    """make a folder of a finished run's record, curve and samples that can be sent to this project"""
    from cqlib.report.contributed import contribute

    run = options.run if options.run.is_dir() else options.runs_dir / options.run.name
    print(contribute(check_folder("RUN", run), options.name, options.out))
    return 0


@command(("folder", {"type": path, "metavar": "FOLDER", "help": "what `contribute` has made"}),
         ends=["reports/contributed/table1_cq-f--cifar10--paper--0"])  # fmt: skip
def check(options: argparse.Namespace) -> int:
    """say whether a contribution is whole, clean, of a known commit, of today's recipe, measured as today"""
    from cqlib.report.contributed import check

    problems = check(options.folder)
    print(*map(one_line, problems or ["it can be taken"]), sep="\n")
    return 1 if problems else 0


@command(ends=[""])
def readme(options: argparse.Namespace) -> int:
    """render README.md and docs anew from the published records"""
    from cqlib.report import readme

    readme.write()
    return 0


@command(("names", {"nargs": "+", "metavar": "NAME", "help": "cifar10, celeba, …"}), "--data-dir",
         ends=["cifar10 celeba --data-dir ~/data"])  # fmt: skip
def fetch(options: argparse.Namespace) -> int:
    """download published data sets"""
    from cqlib import data

    folder = data.fetch(*options.names, data_dir=options.data_dir)
    for entry in map(data.ENTRIES.__getitem__, options.names):
        print(f"{entry.title}: in {folder}; terms: {entry.terms}")
    return 0


def _values(option: str, **_: Any) -> Sequence[str]:
    return tuple(COMPLETIONS.get(option, ()))


def parser() -> Parser:
    """The parser of all commands, whose values a shell can complete."""
    made = Parser(prog=PROGRAM, epilog="exit status: 0 done; 1 failed; 2 wrong usage; 3 stopped, its state saved")
    made.add_argument("--version", action="version", version=f"cqlib {VERSION}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (run, arguments, ends) in COMMANDS.items():
        about, shown = str(run.__doc__), examples(*(f"{PROGRAM} {name} {end}".rstrip() for end in ends))
        sub = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=shown)
        for flag, values in arguments.items():
            action: Any = sub.add_argument(flag, **values)
            action.completer = partial(_values, action.dest)
    with suppress(ImportError):
        import argcomplete

        argcomplete.autocomplete(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Errors are one line on stderr (`cqlib.util.errors.one_line_errors`)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with one_line_errors(PROGRAM):
        interrupt_on_sigterm()  # until there is something to save
        if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
            raise unknown("command", argv[0], COMMANDS)
        options = parser().parse_args(argv)
        set_environment(options)
        if getattr(options, "data", None) is not None:
            options.data = absolute_data_path(options.data, getattr(options, "data_dir", None))
        return COMMANDS[vars(options).pop("command")][0](options)
    raise AssertionError("unreachable")
