"""The options of all commands. run_all.sh runs this module before it looks for an environment, to refuse wrong options
and to answer --help and --list: it needs nothing but the standard library."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from cqlib.data import SOURCES, own_path, split_size
from cqlib.data.folders import find_local, local_folder, require_folder
from cqlib.experiments import rows
from cqlib.experiments.ablations import BY_NAME
from cqlib.util.errors import UsageError, UserError, one_line_errors, unknown_name, why_not_a_folder
from cqlib.util.files import is_storable_path
from cqlib.util.paths import ROOT, RUNS


def examples(*commands: str) -> str:
    """The block of examples in a command's --help."""
    return "".join(["examples:\n", *(f"  {command}\n" for command in commands), "\n"])


class Parser(argparse.ArgumentParser):
    """argparse whose errors are UsageErrors of one line, with the nearest valid option for an unknown one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and exiting."""
        raise UsageError(" ".join(message.split()).removeprefix("argument "))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """As argparse's, but an unknown option, or a word that is left over, is a UsageError."""
        parsed, extra = super().parse_known_args(args, namespace)
        for word in extra:
            if word.startswith("-"):
                raise unknown_name("option", word.split("=")[0], self._option_string_actions)
        if extra:
            raise UsageError(f"unexpected argument '{extra[0]}'")
        return parsed, []


def number(low: float, high: float, kind: type[int] | type[float] = float) -> Callable[[str], Any]:
    """A function that turns a text into a number of `kind` from `low` to `high`, both included."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if text.isascii() and low <= (value := kind(text)) <= high:
                return value
        name = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"'{text}' is not a {name} from {low} to {high}")

    return parse


seed = number(0, rows.MAX_SEED, int)


def seeds(text: str) -> tuple[int, ...]:
    """The seeds that a text names: `3` is seed 3, `0-4` are seeds 0 to 4, `0,3` those two."""
    numbers: list[int] = []
    for part in comma_separated(str)(text):
        ends = re.fullmatch("([0-9]+)(?:-([0-9]+))?", part, re.ASCII)
        first, last = (seed(ends[1]), seed(ends[2] or ends[1])) if ends else (1, 0)
        if not first <= last < first + 1000:
            raise argparse.ArgumentTypeError(f"'{part}' names no seeds: write 3, 0-4 or 0,3")
        numbers += range(first, last + 1)
    return tuple(dict.fromkeys(numbers))


def device(text: str) -> str:
    """`text`, if it can be the name of a device; whether this machine has it is checked once torch is loaded."""
    if not re.fullmatch("auto|cpu|mps|cuda(:[0-9]{1,2})?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a device: auto, cpu, cuda, cuda:1, … or mps")
    return text


def set_environment(options: argparse.Namespace) -> None:
    """Pass the device and the wish for TensorBoard on by environment variables, to child processes too, and make
    $CQLIB_DATA absolute, for children run in other folders. Call it before torch is loaded, for MPS's fallback."""
    if folder := os.environ.get("CQLIB_DATA"):
        os.environ["CQLIB_DATA"] = folder if folder.startswith("~") else str(Path(folder).absolute())
    os.environ |= {"CQLIB_DEVICE": options.device} if getattr(options, "device", None) else {}
    os.environ |= {"CQLIB_TENSORBOARD": "1"} if getattr(options, "tensorboard", False) else {}
    if os.environ.get("CQLIB_DEVICE") == "mps":
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def comma_separated(parse_part: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A function that parses lists such as `a,b,c`, each part by `parse_part`, and drops duplicates."""

    def parse(text: str) -> tuple[Any, ...]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise argparse.ArgumentTypeError("the list is empty")
        return tuple(dict.fromkeys(parse_part(part) for part in parts))

    return parse


DATA_SETS = {name: source.about for name, source in SOURCES.items()}
"""Name -> what it is, of each data set."""


def data_sets(text: str) -> tuple[str, ...]:
    """Names of data sets, `a,b`."""
    try:
        names: tuple[str, ...] = comma_separated(rows.check_data)(text)
    except UsageError as error:
        if not any(own_path(part.strip()) is not None for part in text.split(",")[:-1]):
            raise
        remedy = "a path with a comma cannot stand here: rename it, or use python -m cqlib train"
        raise UsageError(f"{error}; {remedy}") from error
    return names


def change(text: str) -> tuple[str, str]:
    """(path, value as a text) of "PATH=VALUE"; whether the recipe has such a path is checked later."""
    setting, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*", setting) or not value.isprintable():
        raise argparse.ArgumentTypeError(f"'{text}' is not PATH=VALUE, such as training.steps=3000")
    return setting, value.strip()


def address(text: str) -> str:
    """HOST:PORT of a Ray cluster, or `auto` for one that was started on this machine."""
    port = re.fullmatch("[^/]+:([0-9]{1,5})", text)
    if text != "auto" and (port is None or int(port[1]) >= 2**16):
        raise argparse.ArgumentTypeError(f"'{text}' is not an address: write HOST:PORT, or auto")
    return text


def path(text: str) -> Path:
    """A path that the file system and UTF-8 can hold, made absolute; not empty."""
    try:
        if text and is_storable_path(text):
            return Path(os.path.abspath(Path(text).expanduser()))
    except RuntimeError:  # ~somebody who has no home
        pass
    raise argparse.ArgumentTypeError(f"'{text}' is not a path that can be used")


def folder(text: str) -> Path:
    """The absolute path of a folder that exists or can be made: neither it nor a parent is a file."""
    place = path(text)
    if line := why_not_a_folder(place):
        raise argparse.ArgumentTypeError(line)
    return place


def new_file(text: str) -> Path:
    """The absolute path of a file to write, whose folder exists or can be made."""
    file = path(text)
    if line := f"{file} is a folder" if file.is_dir() else why_not_a_folder(file.parent):
        raise argparse.ArgumentTypeError(line)
    return file


def check_folder(option: str, folder: Path) -> Path:
    """Return `folder`, which `option` names. UserError where it does not exist."""
    if not folder.is_dir():
        raise UserError(f"{option}: there is no folder {folder}")
    return folder


def absolute_data_path(name: str, data_dir: Path | None) -> str:
    """The data set `name` with its path, if it has one, made absolute: notebooks and workers run in other folders. It
    stays as it is if it lies under `data_dir` (default: $CQLIB_DATA), which is searched first, or does not exist."""
    kind, _, argument = name.partition(":")
    (text, size), local = split_size(argument), local_folder(data_dir)
    if own_path(name) is None or (local and not os.path.isabs(text) and find_local(text, local) == local / text):
        return name
    existing = find_local(text, Path())
    return f"{kind}:{os.path.abspath(existing)}" + (f":{size}" if size else "") if existing else name


OPTIONS: dict[str, dict[str, Any]] = {
    "row": {"type": rows.check_row, "metavar": "ROW", "help": "table1/cq-f, …; `python -m cqlib rows` lists them"},
    "--profile": {"type": rows.check_profile, "default": "quick", "metavar": "NAME",
                  "help": " | ".join(rows.PROFILES) + " (default: quick)"},
    "--data": {"type": rows.check_data, "metavar": "NAME", "help": "a data set (default: the profile's)"},
    "--seed": {"type": seed, "default": 0, "metavar": "N", "help": "default: 0"},
    "--set": {"type": change, "action": "append", "metavar": "PATH=VALUE", "dest": "changes",
              "help": "change a value of the recipe, may be repeated; `python -m cqlib show ROW` lists them"},
    "--runs-dir": {"type": folder, "default": RUNS, "metavar": "DIR",
                   "help": "checkpoints, logs and records (default: runs/)"},
    "--out": {"type": folder, "default": ROOT / "reports" / "local", "metavar": "DIR",
              "help": "the report (default: reports/local/)"},
    "--data-dir": {"type": path, "metavar": "DIR", "help": "local data sets (default: $CQLIB_DATA, else data/)"},
    "--feature-weights": {"type": path, "metavar": "FILE", "help": "torch-fidelity's Inception weights"},
    "--time-budget": {"type": number(0.01, 10**6), "metavar": "MINUTES", "help": "stop after this time; resumed later"},
    "--device": {"type": device, "metavar": "NAME",
                 "help": "auto, cpu, cuda, cuda:1, mps (default: $CQLIB_DEVICE, else auto: a CUDA GPU, or the CPU)"},
    "--tensorboard": {"action": "store_true", "help": "the losses for TensorBoard too, in the run's folder"},
}  # fmt: skip
"""Options that several commands share."""


def settings(*options: str | tuple[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Flag -> its settings for argparse. An option is given as a key of `OPTIONS`, or as (flag, settings)."""
    return dict((option, OPTIONS[option]) if isinstance(option, str) else option for option in options)


RUN_ALL = settings(
    "--profile",
    ("--only", {"type": comma_separated(rows.check_target), "action": "extend", "metavar": "NAME,…",
                "help": "notebooks (table1, figure_samples), rows (table1/cq-f), ablations or all; "
                        "default: every notebook, with the rows of Table 1"}),
    ("--data", {"type": data_sets, "action": "extend", "metavar": "NAME,…",
                "help": f"data sets (default: {rows.DEVELOPMENT_DATA}; for paper those of the table)"}),
    "--data-dir", "--feature-weights",
    ("--seeds", {"type": seeds, "action": "extend", "metavar": "LIST",
                 "help": "3: seed 3; 0-4: five seeds; 0,3: these two (default: seed 0)"}),
    "--set", "--runs-dir", "--out",
    ("--jobs", {"type": number(1, 10**6, int), "metavar": "N",
                "help": "rows at a time, each with its share of the cores (default: one per core, or per GPU)"}),
    ("--cluster", {"type": address, "metavar": "ADDRESS",
                   "help": "run the rows on a Ray cluster, given as HOST:PORT (extra: cluster)"}),
    "--time-budget", "--device", "--tensorboard",
    ("--locked", {"action": "store_true", "help": "install the versions that were tested (requirements.lock)"}),
    ("--no-train", {"action": "store_true",
                    "help": "train nothing: notebooks and report from what there is, here and published"}),
    ("--list", {"action": "store_true",
                "help": "list rows, notebooks, data sets and profiles, and the time and memory that the rows of this "
                        "command take here, then stop"}),
)  # fmt: skip
"""Options of run_all.sh."""
PROGRAM = "./run_all.sh"
EXAMPLES = ("./run_all.sh --no-train", "./run_all.sh --only table1/cq-f --seeds 0-4", "./run_all.sh --only all --list",
            "./run_all.sh --profile paper --only table1 --data-dir ~/data --time-budget 600")  # fmt: skip


Options = argparse.Namespace
"""The parsed options of run_all.sh. Paths are absolute; `changes` is a dict; `only` and `data` are empty by default."""


def parse(argv: Sequence[str]) -> Options:
    """The options in `argv`. UsageError for a wrong one, UserError for a missing file, SystemExit(0) after --help."""
    parser = Parser(
        prog=PROGRAM,
        description="Trains what is missing, runs the notebooks and renders one report: the paper's tables\n"
        "and figures, paper number beside measured number, with verdicts.",
        epilog=examples(*EXAMPLES)
        + "exit status: 0 all done; 1 something failed, the report names it; 2 wrong usage, nothing\n"
        "written; 3 stopped early (time budget, Ctrl-C, SIGTERM): run it again to resume.",
    )
    for flag, values in RUN_ALL.items():
        parser.add_argument(flag, **values)
    parsed = parser.parse_args(argv)
    parsed.changes = dict(parsed.changes or ())
    parsed.only = tuple(dict.fromkeys(parsed.only or ()))
    parsed.data = tuple(dict.fromkeys(absolute_data_path(name, parsed.data_dir) for name in parsed.data or ()))
    parsed.seeds = tuple(dict.fromkeys(parsed.seeds or (0,)))
    _, books = rows.targets(parsed.only, parsed.profile)
    if parsed.no_train and parsed.only and not books:
        raise UsageError(f"--no-train runs notebooks, and --only {','.join(parsed.only)} names rows alone")
    if parsed.feature_weights is not None and not parsed.feature_weights.is_file():
        raise UserError(f"--feature-weights: there is no file {parsed.feature_weights}")
    if parsed.data_dir is not None:
        require_folder(parsed.data_dir)
    if os.path.realpath(parsed.out / "notebooks") == os.path.realpath(ROOT / "notebooks"):
        raise UsageError(f"--out: {parsed.out} holds the notebooks themselves: name another folder")
    return parsed


def listing() -> str:
    """Every name that the options take, for `--list`."""
    named = {
        "profiles": rows.PROFILES,
        "notebooks": {name: file.name for name, file in rows.notebooks().items()},
        "data sets": DATA_SETS,
        "ablations": {a.name: "; ".join(rows.label_of(a.variant(row)) for row in a.changes) for a in BY_NAME.values()},
    }
    lines = ["rows", *(f"  {row}" for row in rows.ROWS)]
    for title, entries in named.items():
        width = max((len(name) for name in entries), default=0)
        lines += ["", title, *(f"  {name:<{width}}  {text}" for name, text in entries.items())]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Check the options of run_all.sh and print `listing` for --list. Returns 0; a wrong option exits with one line."""
    with one_line_errors("run_all.sh"):
        if parse(sys.argv[1:] if argv is None else argv).list:
            print(listing(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
