"""How a function becomes a command: by the decorator `command`, with its options and its examples."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cqlib.cli.options import settings

if TYPE_CHECKING:
    from cqlib.experiments.experiment import Experiment

PROGRAM = "python -m cqlib"
EXPERIMENT = ("row", "--profile", "--data", "--seed", "--set", "--runs-dir")

Run = Callable[[argparse.Namespace], int | None]
COMMANDS: dict[str, tuple[Run, dict[str, dict[str, Any]], tuple[str, ...]]] = {}
"""Name -> the function that runs it and returns the exit code (None: 0), its options, and examples of what follows its
name."""


def command(*options: str | tuple[str, dict[str, Any]], ends: Sequence[str]) -> Callable[[Run], Run]:
    """Make a function a command with these options of `settings`; `ends`: what may follow its name, for --help."""

    def register(run: Run) -> Run:
        COMMANDS[run.__name__] = run, settings(*options), tuple(ends)
        return run

    return register


def experiment_from_options(options: argparse.Namespace) -> "Experiment":
    """The experiment that the options of `EXPERIMENT` name."""
    from cqlib.experiments.experiment import experiment

    return experiment(options.row, options.profile, options.data, options.seed, dict(options.changes or ()))
