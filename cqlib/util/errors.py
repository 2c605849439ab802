"""Errors that a user sees: one clear line, and the exit code that goes with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend. The message is one line that says what to do; exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """A wrong option, name or value; nothing has been written. Exit code 2."""

    exit_code = 2


class StoppedEarly(UserError):
    """Time budget, SIGINT or SIGTERM; the state is saved and the same command goes on. Exit code 3."""

    exit_code = 3


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that the machine's memory, or what the process may have of it, is used up."""
    said = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "can't start new thread")
    said += ("could not create a primitive", "could not create a memory")  # of oneDNN
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The entry of `valid` that is most like `name`, or None when `valid` is empty."""
    valid = list(valid)
    close = difflib.get_close_matches(name.lower(), valid, n=1, cutoff=0.0)
    return close[0] if close else None


def unknown(kind: str, name: str, valid: Iterable[str]) -> UsageError:
    """A `UsageError` for an unknown name: "unknown row 'table1/vea': did you mean 'table1/vae'?"."""
    best = nearest(name, valid)
    hint = f": did you mean '{best}'?" if best else ""
    return UsageError(f"unknown {kind} '{name}'{hint}")


LONGEST = 600
"""Characters of a message; what is longer loses its middle."""


def printable(text: str) -> str:
    """`text` with a question mark for each line end, control character and mark that turns text round."""
    return "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: object) -> str:
    """`text` as one line that any terminal can show: no line ends, no control characters, no overlong names."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= LONGEST else f"{line[: 2 * LONGEST // 3]} … {line[-LONGEST // 4 :]}"
