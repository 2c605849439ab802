"""The command line: a function per command, which imports what it needs, so that --help comes at once.

Commands on rows are in `experiments`, those on records in `records`; how a function becomes a command, in `registry`.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from cqlib.cli import experiments, records  # noqa: F401 (registers their commands)
from cqlib.cli.options import DATA_SETS, OPTIONS, Parser, absolute_data_path, examples, set_environment
from cqlib.cli.registry import COMMANDS, PROGRAM, command
from cqlib.experiments.rows import PROFILES, ROWS
from cqlib.util import VERSION
from cqlib.util.errors import UserError, one_line_errors, unknown_name
from cqlib.util.stop import interrupt_on_sigterm

COMPLETIONS = {"row": ROWS, "profile": PROFILES, "data": DATA_SETS, "device": ("auto", "cpu", "cuda", "mps")}
"""Values of an option that a shell proposes, with argcomplete."""
EXAMPLES = ("rows", "train table1/cq-f --profile quick", "sample table1/cq-f --out samples.png")
"""What follows the program's name, for --help."""


@command("--runs-dir", "--data-dir", ends=["", "--data-dir ~/data"])
def doctor(options: argparse.Namespace) -> None:
    """show what is installed and present, what is missing, and which file to put where"""
    from cqlib.cli.doctor import report

    print(*report(options.runs_dir, options.data_dir), sep="\n")


@command(("names", {"nargs": "+", "metavar": "NAME", "help": "cifar10, celeba, …"}), "--data-dir",
         ends=["cifar10 celeba --data-dir ~/data"])  # fmt: skip
def fetch(options: argparse.Namespace) -> None:
    """download published data sets"""
    from cqlib import data

    folder = data.fetch(*options.names, data_dir=options.data_dir)
    for entry in filter(None, map(data.entry_of, options.names)):
        print(f"{entry.title}: in {folder}; terms: {entry.terms}")


def _values(option: str, **_: Any) -> Sequence[str]:
    return tuple(COMPLETIONS.get(option, ()))


def parser() -> Parser:
    """The parser of all commands, whose values a shell can complete."""
    some = examples(*(f"{PROGRAM} {end}" for end in EXAMPLES))
    top = Parser(prog=PROGRAM, epilog=f"{some}exit status: 0 done; 1 failed; 2 wrong usage; 3 stopped, its state saved")
    top.add_argument("--version", action="version", version=f"cqlib {VERSION}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (run, arguments, ends) in COMMANDS.items():
        about, epilog = str(run.__doc__), examples(*(f"{PROGRAM} {name} {end}".rstrip() for end in ends))
        sub = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=epilog)
        for flag, values in arguments.items():
            action: Any = sub.add_argument(flag, **values)
            action.completer = partial(_values, action.dest)
    with suppress(ImportError):
        import argcomplete

        argcomplete.autocomplete(top)
    return top


def _folders(options: argparse.Namespace) -> str:
    """The options for those of a command's folders that are not the defaults: " --runs-dir DIR --data-dir DIR"."""
    folders = {flag: getattr(options, flag[2:].replace("-", "_"), None) for flag in ("--runs-dir", "--data-dir")}
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in folders.items()
                   if value is not None and value != OPTIONS[flag].get("default"))  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line on stderr (`cqlib.util.errors.one_line_errors`)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with one_line_errors(PROGRAM):
        interrupt_on_sigterm()  # until there is something to save
        if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
            raise unknown_name("command", argv[0], COMMANDS)
        options = parser().parse_args(argv)
        set_environment(options)
        if getattr(options, "data", None) is not None:
            options.data = absolute_data_path(options.data, getattr(options, "data_dir", None))
        try:
            return COMMANDS[vars(options).pop("command")][0](options) or 0
        except UserError as error:  # a command in its message needs the same folders
            error.args = (str(error).replace(f"{PROGRAM} train", f"{PROGRAM} train{_folders(options)}"),)
            raise
    raise AssertionError("unreachable")
