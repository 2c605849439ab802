"""`python -m cqlib`: the table of commands. Each command imports what it needs when it is called, so that --help takes
no time."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

from cqlib.suite.cli import experiments, records
from cqlib.suite.cli.options import (
    OPTIONS,
    PROGRAM,
    Option,
    Parser,
    absolute_data_path,
    add_options,
    examples,
    folder,
    new_file,
    number,
    path,
    set_environment,
)
from cqlib.util import VERSION
from cqlib.util.errors import one_line_errors, unknown_name
from cqlib.util.stop import interrupt_on_sigterm

EXPERIMENT = ("row", "--profile", "--data", "--seed", "--set", "--runs-dir")
TRAINING = (*EXPERIMENT, "--data-dir", "--time-budget", "--feature-weights", "--device", "--tensorboard")
FROM = ("--from", {**OPTIONS["--runs-dir"], "dest": "runs_dir", "help": "the records (default: runs/)"})


def doctor(options: argparse.Namespace) -> None:
    """show what is installed and present, what is missing, and which file to put where"""
    from cqlib.suite.cli.doctor import report

    print(*report(options.runs_dir, options.data_dir), sep="\n")


def fetch(options: argparse.Namespace) -> None:
    """download published data sets"""
    from cqlib import data

    place = data.fetch(*options.names, data_dir=options.data_dir)
    for entry in filter(None, map(data.entry_of, options.names)):
        print(f"{entry.title}: in {place}; terms: {entry.terms}")


class Command(NamedTuple):
    """A command: a function that runs it and returns the exit code (None: 0), and whose docstring is its help; its
    options; examples of the words after its name; and whether it is listed and suggested, which those that rewrite
    what the repository publishes are not."""

    run: Callable[[argparse.Namespace], int | None]
    options: Sequence[Option]
    examples: Sequence[str] = ("",)
    listed: bool = True


COMMANDS: dict[str, Command] = {
    "rows": Command(experiments.rows, EXPERIMENT[1:], ("", "--profile study")),
    "show": Command(experiments.show, EXPERIMENT, ("table1/cq-f", "table1/cq-f --profile paper")),
    "train": Command(experiments.train, TRAINING, (
        "table1/cq-f --seed 3", "table1/vae --profile study --set training.steps=3000 --device cpu")),
    "evaluate": Command(experiments.evaluate, TRAINING, (
        "table1/cq-f", "table1/cq-f --feature-weights weights.pth")),
    "sample": Command(experiments.sample, (
        ("model", {"metavar": "ROW|FOLDER",
                   "help": "a row (table1/cq-f), the folder of a run, card, fit or save, or hf://OWNER/NAME"}),
        *((flag, {**OPTIONS[flag], "default": None}) for flag in ("--profile", "--data", "--seed", "--set")),
        "--runs-dir", "--device",
        ("--n", {"type": number(1, 10_000, int), "default": 64, "metavar": "N", "help": "images (default: 64)"}),
        ("--out", {"type": new_file, "required": True, "metavar": "FILE.png", "help": "the picture to write"}),
        ("--temperature", {"type": number(0, 2), "default": 1.0, "metavar": "T",
                           "help": "1: the model's own distribution (default); 0: the decoder's mean"}),
        ("--draw-seed", {**OPTIONS["--seed"], "help": "the seed of the noise; another one draws other images"}),
    ), ("table1/cq-f --out samples.png", "table1/cq-f --n 100 --temperature 0 --out means.png",
        "my-model --draw-seed 1 --out more.png")),
    "fetch": Command(fetch, (
        ("names", {"nargs": "+", "metavar": "NAME", "help": "cifar10, celeba, …"}), "--data-dir",
    ), ("cifar10 celeba --data-dir ~/data",)),
    "compare": Command(records.compare, (
        ("first", {"metavar": "A", "help": "a record's file, a run's folder, or the name of either"}),
        ("second", {"metavar": "B", "nargs": "?", "help": "another (default: the published run of A's name)"}),
        "--runs-dir",
    ), ("table1_cq-f--photodigits--quick--0", "record.json theirs.json")),
    "verify": Command(records.verify, (
        ("row", {**OPTIONS["row"], "nargs": "?", "help": "its weights alone (default: all that are published)"}),
        ("--profile", {**OPTIONS["--profile"], "default": None, "help": "those of one profile alone"}),
        ("--data", {**OPTIONS["--data"], "help": "those of one data set alone"}),
        ("--seed", {**OPTIONS["--seed"], "default": None, "help": "those of one seed alone"}),
        "--data-dir", "--device",
    ), ("", "table1/cq-f", "--profile quick")),
    "card": Command(records.card, (
        *EXPERIMENT, ("folder", {"type": folder, "metavar": "DIR", "help": "the folder to write"}),
    ), ("table1/cq-f my-model",)),
    "export": Command(records.export, (
        FROM, ("--csv", {"type": new_file, "required": True, "metavar": "FILE", "help": "the table to write"}),
    ), ("--csv records.csv",)),
    "doctor": Command(doctor, ("--runs-dir", "--data-dir"), ("", "--data-dir ~/data")),
    "report": Command(records.report, (FROM, "--out"), ("", "--from runs --out reports/local")),
    "publish": Command(records.publish, (
        ("runs_dir", {"type": path, "metavar": "RUNS_DIR", "help": "a folder of finished runs"}),
    ), ("runs",), listed=False),
    "readme": Command(records.readme, (), listed=False),
}  # fmt: skip
"""Name -> command."""
LISTED = tuple(name for name, command in COMMANDS.items() if command.listed)


def parser() -> Parser:
    """The parser of all commands."""
    firsts = ((name, ends[0]) for name, (_, _, ends, listed) in COMMANDS.items() if listed)
    some = examples(*(f"{PROGRAM} {name} {end}".rstrip() for name, end in firsts))
    top = Parser(prog=PROGRAM, epilog=f"{some}exit status: 0 done; 1 failed; 2 wrong usage; 3 stopped, its state saved")
    top.add_argument("--version", action="version", version=f"cqlib {VERSION}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (run, options, ends, listed) in COMMANDS.items():
        about, epilog = str(run.__doc__), examples(*(f"{PROGRAM} {name} {end}".rstrip() for end in ends))
        line: dict[str, Any] = {"help": about} if listed else {}  # argparse lists what has help
        sub = commands.add_parser(name, **line, description=f"{about[0].upper()}{about[1:]}.", epilog=epilog)
        add_options(sub, options)
    with suppress(ImportError):  # the extra `completion`
        import_module("argcomplete").autocomplete(top)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are printed as one line on stderr."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with one_line_errors(PROGRAM):
        interrupt_on_sigterm()  # until there is something to save
        if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
            raise unknown_name("command", argv[0], LISTED, most=len(LISTED))
        options = parser().parse_args(argv)
        set_environment(options)
        if getattr(options, "data", None) is not None:
            options.data = absolute_data_path(options.data, getattr(options, "data_dir", None))
    runs_dir = getattr(options, "runs_dir", None)
    with one_line_errors(PROGRAM, runs_dir and runs_dir / "logs"):
        return COMMANDS[vars(options).pop("command")][0](options) or 0
    raise AssertionError("unreachable")
