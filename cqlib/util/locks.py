"""One process at a time: a file lock, and a line for whoever waits; NAME.owner says who holds it, and since when."""

import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cqlib.util.errors import UserError, to_stderr
from cqlib.util.files import write_atomic

POLL_SECONDS = 0.5  # seconds between two tries


@contextmanager
def file_lock(
    path: Path, what: str, *, say: Callable[[str], None] = to_stderr, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the lock at `path` on `what`; `say` one line when waiting for another process, or when the lock of a killed
    one is taken over. `while_waiting`, between tries, may raise to give up. UserError where there can be no lock."""
    owner, lock, waited = path.with_name(path.name + ".owner"), FileLock(path), False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL_SECONDS)
        except Timeout:
            if not waited:
                say(f"{what}: waiting for {_read(owner) or 'another process'}")
            waited = True
            while_waiting()
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or "this file system has no locks"
            raise UserError(f"{path}: {why}; delete it if it is no lock file, or take another folder") from error
    try:
        if before := _read(owner):
            say(f"{what}: taken over from {before}, which ended before it was done")
        with suppress(OSError):  # a full disk: the lock holds without a name on it
            since = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"  # the clock of a shared folder's other host may differ
            write_atomic(owner, f"process {os.getpid()} on {platform.node()} since {since}")
        yield
    finally:
        with suppress(OSError):  # a folder that was deleted meanwhile
            owner.unlink(missing_ok=True)
        lock.release()


def _read(owner: Path) -> str:
    """The owner's description, "process 1234 on a-host since 2026-01-31 12:05 UTC", or "" where there is no owner or
    the file is damaged."""
    with suppress(OSError, ValueError):
        if re.fullmatch(r"process \d{1,10} on [\w.-]{1,255} since [\d :-]{16} UTC", text := owner.read_text()):
            return text
    return ""
