"""The options of all commands. Standard library only: run_all.sh checks its options before it installs anything."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from cqlib.data import own_path, split_size
from cqlib.data.folders import find_local, local_folder, require_folder
from cqlib.suite.experiments import rows
from cqlib.util.errors import UsageError, UserError, one_line_errors, unknown_name
from cqlib.util.paths import PUBLISHED, ROOT, RUNS

PROGRAM, RUN_ALL = "python -m cqlib", "./run_all.sh"

Options = argparse.Namespace
"""The parsed options of a command. Paths are absolute."""


class Parser(argparse.ArgumentParser):
    """argparse that raises its errors as UsageErrors, with the nearest valid option for an unknown one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and exiting."""
        raise UsageError(message.removeprefix("argument "))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Parse as argparse does, but raise UsageError for an unknown option or argument."""
        parsed, extra = super().parse_known_args(args, namespace)
        for word in extra:
            if word.startswith("-"):
                raise unknown_name("option", word.split("=")[0], self._option_string_actions)
            raise UsageError(f"unexpected argument '{word}'")
        return parsed, []


def examples(*commands: str) -> str:
    """The block of examples in a command's --help."""
    return "".join(["examples:\n", *(f"  {command}\n" for command in commands), "\n"])


# --- the values of options ---------------------------------------------------------------------------------------


def number(low: float, high: float, kind: type[int] | type[float] = float) -> Callable[[str], Any]:
    """A parser of numbers of `kind` from `low` to `high`, both included."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        name = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"'{text}' is not a {name} from {low} to {high}")

    return parse


def comma_separated(parse_part: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A parser of lists such as `a,b,c`, with `parse_part` for each part."""

    def parse(text: str) -> list[Any]:
        if not (parts := [part.strip() for part in text.split(",") if part.strip()]):
            raise argparse.ArgumentTypeError("the list is empty")
        return list(map(parse_part, parts))

    return parse


seed = number(0, rows.MAX_SEED, int)


def seeds(text: str) -> list[int]:
    """The seeds of a text: `3` is seed 3, `0-4` are seeds 0 to 4, `0,3` are those two."""
    numbers: list[int] = []
    for part in comma_separated(str)(text):
        ends = re.fullmatch("([0-9]+)(?:-([0-9]+))?", part, re.ASCII)
        first, last = (seed(ends[1]), seed(ends[2] or ends[1])) if ends else (1, 0)
        if not first <= last < first + 1000:
            raise argparse.ArgumentTypeError(f"'{part}' names no seeds: write 3, 0-4 or 0,3")
        numbers += range(first, last + 1)
    return numbers


def change(text: str) -> tuple[str, str]:
    """(path, value as text) of "PATH=VALUE". Whether the recipe has such a path is checked later."""
    setting, equals, value = text.partition("=")
    if not setting or not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not PATH=VALUE, such as training.steps=3000")
    return setting.strip(), value.strip()


def shard(text: str) -> tuple[int, int]:
    """(I, N) of "I/N", the Ith of N parts."""
    parts = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text, re.ASCII)
    if parts and 1 <= int(parts[1]) <= int(parts[2]):
        return int(parts[1]), int(parts[2])
    raise argparse.ArgumentTypeError(f"'{text}' is no part of several: write 1/8 to 8/8")


def device(text: str) -> str:
    """`text` if it is the name of a device. Whether this machine has it is checked once torch is loaded."""
    if not re.fullmatch("auto|cpu|mps|cuda(:[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a device: write auto, cpu, cuda, cuda:1 or mps")
    return text


def path(text: str) -> Path:
    """The absolute path; `~` is the home folder."""
    return Path(os.path.abspath(Path(text).expanduser()))


def folder(text: str) -> Path:
    """The absolute path of a folder, which exists or can be made."""
    place = path(text)
    nearest = next(parent for parent in (place, *place.parents) if os.path.exists(parent))
    if not nearest.is_dir():
        raise argparse.ArgumentTypeError(f"{nearest} is a file: name a folder")
    return place


def new_file(text: str) -> Path:
    """The absolute path of a file to write, whose folder exists or can be made."""
    place = path(text)
    return folder(str(place.parent)) / place.name


def check_folder(option: str, folder: Path) -> Path:
    """`folder`, the value of `option`. UserError if it does not exist."""
    if not folder.is_dir():
        raise UserError(f"{option}: there is no folder {folder}")
    return folder


def absolute_data_path(name: str, data_dir: Path | None) -> str:
    """The data set `name` with its path, if it has one, made absolute, because notebooks and workers run in other
    folders. A path stays as it is if it is in `data_dir` (default: $CQLIB_DATA), which is searched first, or does not
    exist."""
    kind, _, argument = name.partition(":")
    (text, size), local = split_size(argument), local_folder(data_dir)
    if own_path(name) is None or (local and not os.path.isabs(text) and find_local(text, local) == local / text):
        return name
    existing = find_local(text, Path())
    return f"{kind}:{os.path.abspath(existing)}" + (f":{size}" if size else "") if existing else name


# --- the options -------------------------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "row": {"type": rows.check_row, "metavar": "ROW", "help": "table1/cq-f, …; `python -m cqlib rows` lists them"},
    "--profile": {"type": rows.check_profile, "default": "quick", "metavar": "NAME",
                  "help": "smoke | quick | study | paper (default: quick)"},
    "--data": {"type": rows.check_data, "metavar": "NAME", "help": "a data set (default: the profile's)"},
    "--seed": {"type": seed, "default": 0, "metavar": "N", "help": "the seed of the training (default: 0)"},
    "--set": {"type": change, "action": "append", "metavar": "PATH=VALUE", "dest": "changes",
              "help": "change a value of the recipe, may be repeated; `python -m cqlib show ROW` lists them"},
    "--runs-dir": {"type": folder, "default": RUNS, "metavar": "DIR",
                   "help": "checkpoints, logs and records (default: runs/)"},
    "--out": {"type": folder, "default": ROOT / "reports" / "local", "metavar": "DIR",
              "help": "the report (default: reports/local/)"},
    "--data-dir": {"type": path, "metavar": "DIR", "help": "local data sets (default: $CQLIB_DATA, else data/)"},
    "--feature-weights": {"type": path, "metavar": "FILE", "help": "torch-fidelity's Inception weights"},
    "--time-budget": {"type": number(0.01, 10**6), "metavar": "MINUTES", "help": "stop after this time, to be resumed"},
    "--device": {"type": device, "metavar": "NAME",
                 "help": "auto, cpu, cuda, cuda:1, mps (default: $CQLIB_DEVICE, else auto: a CUDA GPU, or the CPU)"},
    "--tensorboard": {"action": "store_true", "help": "also write the losses for TensorBoard, in the run's folder"},
}  # fmt: skip
"""Options of several commands: flag -> its settings for argparse."""

Option = str | tuple[str, dict[str, Any]]
"""An option of a command: a flag of `OPTIONS`, or a flag with its settings."""

RUN_ALL_OPTIONS: tuple[Option, ...] = (
    "--profile",
    ("--only", {"type": comma_separated(rows.check_target), "action": "extend", "metavar": "NAME,…",
                "help": "notebooks (table1, figure_samples), rows (table1/cq-f), ablations or all; "
                        "default: every notebook, with the rows of Table 1"}),
    ("--data", {"type": comma_separated(rows.check_data), "action": "extend", "metavar": "NAME,…",
                "help": "data sets (default: photodigits; under paper, those of each table)"}),
    "--data-dir", "--feature-weights",
    ("--seeds", {"type": seeds, "action": "extend", "metavar": "LIST",
                 "help": "3: seed 3; 0-4: five seeds; 0,3: these two (default: seed 0)"}),
    "--set", "--runs-dir", "--out",
    ("--jobs", {"type": number(1, 10**6, int), "metavar": "N",
                "help": "rows to train at a time, each with its share of the cores (default: one per core or GPU)"}),
    ("--cluster", {"metavar": "ADDRESS", "help": "run the rows on a Ray cluster, HOST:PORT or auto (extra: cluster)"}),
    ("--shard", {"type": shard, "metavar": "I/N",
                 "help": "train every Nth run, from the Ith on, and render nothing (--no-train renders afterwards)"}),
    "--time-budget", "--device", "--tensorboard",
    ("--locked", {"action": "store_true", "help": "install the versions that were tested (requirements.lock)"}),
    ("--no-train", {"action": "store_true",
                    "help": "train nothing: notebooks and report from finished runs, yours and the published ones"}),
    ("--list", {"action": "store_true",
                "help": "list the names that these options take and the estimated time of each row, then stop"}),
)  # fmt: skip
EXAMPLES = ("./run_all.sh --no-train", "./run_all.sh --only table1/cq-f --seeds 0-4", "./run_all.sh --only all --list",
            "./run_all.sh --profile paper --only table1 --data-dir ~/data --time-budget 600")  # fmt: skip


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Add `options` to a parser."""
    for option in options:
        flag, settings = (option, OPTIONS[option]) if isinstance(option, str) else option
        parser.add_argument(flag, **settings)


def set_environment(options: Options) -> None:
    """Set the environment variables that pass --device and --tensorboard on to child processes, and make $CQLIB_DATA
    absolute, because children run in other folders. Must be called before torch is loaded (for MPS)."""
    if folder := os.environ.get("CQLIB_DATA"):
        os.environ["CQLIB_DATA"] = str(path(folder))
    if getattr(options, "device", None):
        os.environ["CQLIB_DEVICE"] = options.device
    if getattr(options, "tensorboard", False):
        os.environ["CQLIB_TENSORBOARD"] = "1"
    if os.environ.get("CQLIB_DEVICE") == "mps":
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def parse(argv: Sequence[str]) -> Options:
    """The options of run_all.sh in `argv`; lists without duplicates, `changes` as a dict. UsageError for a wrong
    option, UserError for a missing file, SystemExit(0) after --help."""
    parser = Parser(
        prog=RUN_ALL,
        description="Trains what is missing, runs the notebooks and renders one report: the paper's tables\n"
        "and figures, its numbers beside the measured ones, with verdicts.",
        epilog=examples(*EXAMPLES)
        + "exit status: 0 all done; 1 something failed, the report names it; 2 wrong usage, nothing\n"
        "written; 3 stopped early (time budget, Ctrl-C, SIGTERM): run it again to resume.",
    )
    add_options(parser, RUN_ALL_OPTIONS)
    parsed = parser.parse_args(argv)

    parsed.changes = dict(parsed.changes or ())
    parsed.only = tuple(dict.fromkeys(parsed.only or ()))
    parsed.data = tuple(dict.fromkeys(absolute_data_path(name, parsed.data_dir) for name in parsed.data or ()))
    parsed.seeds = tuple(dict.fromkeys(parsed.seeds or (0,)))
    _, books = rows.targets(parsed.only, parsed.profile)
    if parsed.no_train and parsed.only and not books:
        raise UsageError(f"--no-train runs notebooks, and --only {','.join(parsed.only)} names rows alone")
    if parsed.no_train and parsed.shard:
        raise UsageError("--shard trains and renders nothing, --no-train the reverse: leave one of them out")
    if parsed.feature_weights is not None and not parsed.feature_weights.is_file():
        raise UserError(f"--feature-weights: there is no file {parsed.feature_weights}")
    if parsed.data_dir is not None:
        require_folder(parsed.data_dir)
    if parsed.out in (ROOT, PUBLISHED):
        raise UsageError(f"--out: {parsed.out} holds files of the repository: name another folder")
    return parsed


if __name__ == "__main__":  # run_all.sh checks its options by this before it makes an environment
    with one_line_errors("run_all.sh"):
        parse(sys.argv[1:])
