"""File locks: one process at a time works in a folder. A file NAME.owner says which process holds the lock NAME."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cqlib.util.errors import UserError, one_line, to_stderr
from cqlib.util.files import write_atomic

POLL_SECONDS = 0.5  # seconds between two tries


@contextmanager
def file_lock(
    path: Path, what: str, *, say: Callable[[str], None] = to_stderr, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the lock at `path` on `what`. If another process holds it, `say` so once and wait for it; the lock of a
    killed process is free. `while_waiting` is called between two tries, and may raise to give up. UserError if the
    file system has no locks."""
    owner, lock, waited = path.with_name(path.name + ".owner"), FileLock(path), False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL_SECONDS)
        except Timeout:
            if not waited:
                say(f"{what}: waiting for {_owner_name(owner)}")
            waited = True
            while_waiting()
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or "this file system has no locks"
            raise UserError(f"{path}: {why}; delete it if it is no lock file, or take another folder") from error
    try:
        with suppress(OSError):  # a full disk: the lock holds without the name of its owner
            since = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
            write_atomic(owner, f"process {os.getpid()} on {platform.node()} since {since}")
        yield
    finally:
        with suppress(OSError):  # the folder was deleted meanwhile
            owner.unlink(missing_ok=True)
        lock.release()


def _owner_name(owner: Path) -> str:
    """The process that holds the lock: "process 1234 on a-host since 2026-01-31 12:05 UTC"."""
    with suppress(OSError):
        return one_line(owner.read_text(errors="replace"))
    return "another process"
