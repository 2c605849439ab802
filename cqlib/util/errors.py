"""Errors for users: one line that says what to do, and an exit code."""

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


class Notice(UserWarning):
    """A warning for the user, one line: what was asked for was done in another way than it seems."""


def to_stderr(text: str) -> None:
    """Print one line on stderr."""
    print(text, file=sys.stderr, flush=True)


to_stderr_once = functools.cache(to_stderr)
"""Print one line on stderr, at most once in a process."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the machine, of this process or of the GPU is used up."""
    messages = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "can't start new thread",
                "out of memory", "could not create a primitive", "could not create a memory")  # fmt: skip
    return isinstance(error, MemoryError) or any(message in str(error) for message in messages)


MAX_SUGGESTIONS = 6
"""How many of the valid names an error lists when the unknown one resembles none of them."""


def unknown_name(kind: str, name: str, valid: Iterable[str], most: int = MAX_SUGGESTIONS) -> UsageError:
    """A `UsageError` for an unknown name: "unknown row 'table1/vea': did you mean 'table1/vae'?"; if no valid name
    resembles it or contains it, the error lists the first ones, `most` of them."""
    names = list(valid)
    close = difflib.get_close_matches(name.lower(), names, n=1) or [each for each in names if name.lower() in each]
    if close:
        return UsageError(f"unknown {kind} '{name}': did you mean '{close[0]}'?")
    there_are = f": there are {', '.join(names[:most])}{' …' * (len(names) > most)}" if names else ""
    return UsageError(f"unknown {kind} '{name}'{there_are}")


def printable(text: str) -> str:
    """`text` with a question mark in place of every character that a terminal cannot show, line ends included."""
    return "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: object) -> str:
    """`text` as one line without control characters, cut in the middle if it has more than 600 characters."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= 600 else f"{line[:400]} … {line[-150:]}"


def cause_of(error: BaseException) -> str:
    """The operating system's message of an OSError, or the error's own message; one line."""
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


@contextmanager
def one_line_errors(program: str, logs: Path | None = None) -> Iterator[None]:
    """Turn an exception into one line on stderr and an exit code: that of a UserError, 3 for Ctrl-C, else 1. The
    traceback of a bug is written to a file in `logs` (default: the system's temporary folder). A `Notice` becomes one
    line on stderr, and other warnings are hidden, unless Python was started with -W."""
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", Notice)
                warnings.showwarning = lambda message, *_, **__: to_stderr(f"{program}: {one_line(message)}")
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
    """The line for an error caused by the system or the environment; None for a bug."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
        return "the GPU has not enough memory: free it, or --set training.batch_size to less; the run can be resumed"
    if out_of_memory(error):
        return "there is not enough memory: free some, or run fewer rows at a time (--jobs); the run can be resumed"
    if isinstance(error, OSError) and error.strerror is not None:
        return one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "cqlib").startswith("cqlib"):
        environment = "source .venv/bin/activate, which ./run_all.sh has made, or pip install -e '.[notebooks]'"
        return f"this Python ({sys.executable}) has no module '{error.name}': first {environment}"
    return None


def _log(folder: Path | None) -> str:
    """Write the traceback of the error being handled to a new file in `folder`. Returns the file's name, or why it
    could not be written."""
    file = (folder or Path(tempfile.gettempdir())) / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError as error:
        return f"cannot be written: {cause_of(error)}"
    return str(file)
