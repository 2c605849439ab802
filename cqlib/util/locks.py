"""File locks: one process at a time works in a folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cqlib.util.errors import UserError, to_stderr

POLL_SECONDS = 0.5  # seconds between two tries


@contextmanager
def file_lock(
    path: Path, what: str, *, say: Callable[[str], None] = to_stderr, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the lock at `path` on `what`. If another process holds it, `say` so once and wait for it; the lock of a
    killed process is free. `while_waiting` is called between two tries, and may raise to give up. UserError if the
    file system has no locks."""
    lock, waited = FileLock(path), False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL_SECONDS)
        except Timeout:
            if not waited:
                say(f"{what} is in use by another process: waiting")
            waited = True
            while_waiting()
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or "this file system has no locks"
            raise UserError(f"{path}: {why}; delete it if it is no lock file, or take another folder") from error
    try:
        yield
    finally:
        lock.release()
