"""The options of run_all.sh, checked with the standard library alone, before any environment is made.

`python -m cqlib.cli.options …` answers --help (exit 0), refuses what is wrong (one line, exit 2, or 1 for a file that
is not there), prints the names that --list lists (exit 101: what rows take is `cqlib/cli/run_all.py`'s to say) and
exits 100 when the work may begin. `cqlib/cli/run_all.py` parses with it again.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cqlib.cli.guard import guarded
from cqlib.data import SOURCES, is_path
from cqlib.experiments import rows as names
from cqlib.util.errors import UsageError, UserError, unknown
from cqlib.util.paths import ROOT

GO_ON, LISTED = 100, 101


class Parser(argparse.ArgumentParser):
    """argparse whose errors are a UsageError of one line, with the nearest option for an unknown one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and exiting."""
        raise UsageError(" ".join(message.split()).removeprefix("argument "))

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse's, but what is left over is named together with what was probably meant."""
        parsed, extra = self.parse_known_args(args, namespace)
        for action in self._actions:  # "--out=--": argparse before Python 3.13 takes that for no value at all
            if action.option_strings and getattr(parsed, action.dest, None) == []:
                raise UsageError(f"{'/'.join(action.option_strings)}: expected one argument")
        for word in extra:
            if word.startswith("-"):
                raise unknown("option", word.split("=")[0], self._option_string_actions)
        if extra:
            raise UsageError(f"unexpected argument '{extra[0]}'")
        return parsed


def listed(check: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of NAME,NAME,… in which each name passes `check`; doubles are dropped."""

    def parse(text: str) -> tuple[str, ...]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise argparse.ArgumentTypeError("the list of names is empty")
        return tuple(dict.fromkeys(check(part) for part in parts))

    return parse


def whole(text: str, low: int, high: int) -> int | None:
    """The whole number from `low` to `high` that is written in `text`, in plain digits; None for anything else."""
    plain = text.isascii() and text.isdigit() and len(text) <= 20
    return int(text) if plain and low <= int(text) <= high else None


def seed(text: str) -> int:
    """One seed, 0 to 2^31 - 1."""
    if (value := whole(text, 0, 2**31 - 1)) is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a seed: a whole number from 0 to {2**31 - 1}")
    return value


def seeds(text: str) -> tuple[int, ...]:
    """`5` -> seeds 0 to 4; `0,3` -> those two; `7,` -> seed 7 alone."""
    if "," in text:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise argparse.ArgumentTypeError("names no seed: give a number of seeds (5) or a list (0,3)")
        return tuple(dict.fromkeys(seed(part) for part in parts))
    if (n := whole(text, 1, 1000)) is None:
        raise argparse.ArgumentTypeError(f"'{text}': give a number of seeds (1 to 1000) or a list (0,3)")
    return tuple(range(n))


def count(text: str) -> int:
    """A whole number of at least 1."""
    if (n := whole(text, 1, 10**6)) is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to {10**6}")
    return n


def settled(name: str, data_dir: Path | None) -> str:
    """The data set `name` with its path, if it has one, absolute: notebooks and workers run in other folders.

    A path that lies under `data_dir` (default: $CQLIB_DATA), where it is looked for first, or that is nowhere
    stays as it is.
    """
    kind, _, path = name.partition(":")
    if f"{kind}:PATH" not in SOURCES:
        return name
    folder = data_dir or os.environ.get("CQLIB_DATA")
    try:
        wanted = Path(path).expanduser()
        if folder and not wanted.is_absolute() and (Path(folder).expanduser() / wanted).exists():
            return name
        return f"{kind}:{wanted.absolute()}" if wanted.exists() else name
    except (OSError, RuntimeError, ValueError):  # too long a name, no such ~user, a NUL: told when it is loaded
        return name


def minutes(text: str) -> float:
    """A positive, finite number of minutes."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of minutes above 0")
    return value


def address(text: str) -> str:
    """HOST:PORT of a Ray cluster, or `auto` for one that was started on this machine."""
    host, _, port = text.rpartition(":")
    if text != "auto" and (not host or "/" in host or whole(port, 0, 2**16 - 1) is None):
        raise argparse.ArgumentTypeError(f"'{text}' is no address: give HOST:PORT, or auto")
    return text


def path(text: str) -> Path:
    """The path of a file or folder that can have one: not empty, and with a name that can be written in UTF-8."""
    if not text or not is_path(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no path that can be used: give one whose name is plain text")
    return Path(text)


def output(text: str) -> Path:
    """A file that is to be written, not a folder."""
    if path(text).is_dir():
        raise argparse.ArgumentTypeError(f"'{text}' is a folder, not a file")
    return Path(text)


@dataclass(frozen=True)
class Options:
    """What run_all.sh was asked for. Paths are absolute; `only` and `data` are empty when not given."""

    profile: str
    only: tuple[str, ...]
    data: tuple[str, ...]
    data_dir: Path | None
    feature_weights: Path | None
    seeds: tuple[int, ...]
    runs_dir: Path
    out: Path
    jobs: int | None
    cluster: str | None
    time_budget: float | None
    list: bool


def parser() -> Parser:
    """The parser of run_all.sh."""
    p = Parser(
        prog="./run_all.sh",
        description="Trains what is missing, runs the notebooks and renders one report: the paper's tables\n"
        "and figures, paper number beside measured number, with verdicts.",
        epilog="exit status: 0 all done; 1 something failed, the report names it; 2 wrong usage, nothing\n"
        "written; 3 stopped early (time budget, Ctrl-C, SIGTERM), the same command goes on from there.",
    )
    add = p.add_argument
    add("--profile", type=names.profile, default="quick", metavar="NAME",
        help=" | ".join(names.PROFILES) + " (default: quick)")  # fmt: skip
    add("--only", type=listed(names.target), default=(), metavar="NAME,…",
        help="notebooks (table1, figure_samples), rows (table1/cq-f) or all; "
        "default: every notebook, with the rows of Table 1")  # fmt: skip
    add("--data", type=listed(names.data), default=(), metavar="NAME,…",
        help="data sets (default: photos10; for paper those of the table)")  # fmt: skip
    add("--data-dir", type=path, metavar="DIR", help="local copies of data sets (default: $CQLIB_DATA, else data/)")
    add("--feature-weights", type=path, metavar="FILE",
        help="torch-fidelity's Inception weights, a file")  # fmt: skip
    add("--seeds", type=seeds, default=(0,), metavar="N|LIST",
        help="5: seeds 0 to 4; 0,3: these two; 7,: seed 7 alone (default: seed 0)")  # fmt: skip
    add("--runs-dir", type=path, default=ROOT / "runs", metavar="DIR",
        help="checkpoints, logs and records (default: runs/)")  # fmt: skip
    add("--out", type=path, default=ROOT / "reports" / "local", metavar="DIR",
        help="the report (default: reports/local/)")  # fmt: skip
    add("--jobs", type=count, metavar="N",
        help="rows at a time, each with its share of the cores (default: one per core, or per GPU)")  # fmt: skip
    add("--cluster", type=address, metavar="ADDRESS",
        help="run the rows on a Ray cluster, given as HOST:PORT (extra: cluster)")  # fmt: skip
    add("--time-budget", type=minutes, metavar="MINUTES", help="stop after this time, to go on later")
    add("--list", action="store_true",
        help="list rows, notebooks, data sets and profiles, and the time and memory that the rows of this command take "
        "here, then stop")  # fmt: skip
    return p


def parse(argv: Sequence[str]) -> Options:
    """The options in `argv`. UsageError for what is wrong, UserError for a file that is not there.

    `--help` prints and raises SystemExit(0), as argparse does. Nothing is written.
    """
    given = parser().parse_args(argv)
    for option in ("data_dir", "feature_weights", "runs_dir", "out"):
        if (path := getattr(given, option)) is not None:
            setattr(given, option, path.expanduser().absolute())
    given.data = tuple(dict.fromkeys(settled(name, given.data_dir) for name in given.data))
    if given.feature_weights is not None and not given.feature_weights.is_file():
        raise UserError(f"--feature-weights: there is no file {given.feature_weights}")
    if given.data_dir is not None and not given.data_dir.is_dir():
        raise UserError(f"--data-dir: there is no folder {given.data_dir}")
    for option, path in (("--runs-dir", given.runs_dir), ("--out", given.out)):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{option}: {path} is a file, not a folder")
    return Options(**vars(given))


def listing() -> str:
    """What `--list` prints first: every name that the options take."""
    books = {name: file.name for name, file in names.notebooks().items()}
    sets = {name: source.about for name, source in SOURCES.items()}
    parts = (("profiles", names.PROFILES), ("notebooks", books), ("data sets", sets))
    lines = ["rows", *(f"  {row}" for row in names.ROWS)]
    for title, entries in parts:
        width = max((len(name) for name in entries), default=0)
        lines += ["", title, *(f"  {name:<{width}}  {text}" for name, text in entries.items())]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Check the options; 100 when the work may begin, 101 when the names were listed."""
    with guarded("run_all.sh"):
        options = parse(sys.argv[1:] if argv is None else argv)
        if options.list:
            print(listing(), flush=True)
    return LISTED if options.list else GO_ON


if __name__ == "__main__":
    sys.exit(main())
