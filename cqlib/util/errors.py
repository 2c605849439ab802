"""Errors that a user sees: one clear line, and the exit code that goes with it."""

import difflib
import functools
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """An error the user can fix. The message is one line that says what to do; exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """A wrong option, name or value; nothing has been written. Exit code 2."""

    exit_code = 2


class StoppedEarly(UserError):
    """Time budget, SIGINT or SIGTERM; the state is saved; the same command resumes. Exit code 3."""

    exit_code = 3


def to_stderr(text: str) -> None:
    """Print one line on stderr."""
    print(text, file=sys.stderr, flush=True)


to_stderr_once = functools.cache(to_stderr)
"""`to_stderr`, but each line only once in a process."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the machine, or what this process may use of it, is used up."""
    messages = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "can't start new thread",
                "could not create a primitive", "could not create a memory")  # fmt: skip  # the last two: oneDNN
    return isinstance(error, MemoryError) or any(message in str(error) for message in messages)


MAX_SUGGESTIONS = 6
"""How many of the valid names an error lists when the unknown one resembles none of them."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UsageError:
    """A `UsageError` for an unknown name: "unknown row 'table1/vea': did you mean 'table1/vae'?"; where none is near,
    the first ones that there are."""
    names = list(valid)
    if close := difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4):
        return UsageError(f"unknown {kind} '{name}': did you mean '{close[0]}'?")
    more = " …" * (len(names) > MAX_SUGGESTIONS)
    there_are = f": there are {', '.join(names[:MAX_SUGGESTIONS])}{more}" if names else ""
    return UsageError(f"unknown {kind} '{name}'{there_are}")


def printable(text: str) -> str:
    """`text` with a question mark for each line end, control character and mark that reverses the text's direction."""
    return "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: object) -> str:
    """`text` as one line that any terminal can show: no control characters, and of 600 characters at most."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= 600 else f"{line[:400]} … {line[-150:]}"


def cause_of(error: BaseException) -> str:
    """What the system says of an OSError, or the error's own words; one line."""
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def why_not_a_folder(path: Path) -> str:
    """Why `path` is no folder and cannot be made one, in one line: it, or its nearest parent that exists, is a file.
    "" where nothing stands in the way."""
    nearest = next(place for place in (path, *path.parents) if place.exists())
    return "" if nearest.is_dir() else f"{nearest} is a file where a folder is needed: name another"


@contextmanager
def one_line_errors(program: str, logs: Path | None = None) -> Iterator[None]:
    """Turn an exception into one line on stderr and an exit code: the UserError's own, 3 for Ctrl-C, else 1. A bug's
    traceback goes to a file in `logs` (default: a temporary folder). Warnings are hidden, unless -W is set."""
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    except UserError as error:
        code, line = error.exit_code, one_line(error)
    except KeyboardInterrupt:
        code, line = 3, "stopped; run it again to resume"
    except Exception as error:
        code, line = 1, _line(error) or f"{type(error).__name__}: {one_line(error)} (details: {_log(logs)})"
    else:
        return
    to_stderr(f"{program}: {line}")
    sys.exit(code)


def _line(error: Exception) -> str | None:
    """What to tell the user of an error that the system or the environment causes; None for a bug."""
    if isinstance(error, OSError) and error.strerror is not None:
        return one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if out_of_memory(error):
        return "there is not enough memory: free some, or run fewer rows at a time (--jobs)"
    if isinstance(error, ModuleNotFoundError) and not (error.name or "cqlib").startswith("cqlib"):
        environment = "source .venv/bin/activate, which ./run_all.sh has made, or pip install -e '.[notebooks]'"
        return f"this Python ({sys.executable}) has no module '{error.name}': first {environment}"
    return None


def _log(folder: Path | None) -> str:
    """Write the traceback of the error being handled to a new file in `folder`. Returns the file's name, or why there
    is none."""
    file = (folder or Path(tempfile.gettempdir())) / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError as error:
        return f"cannot be written: {cause_of(error)}"
    return str(file)
