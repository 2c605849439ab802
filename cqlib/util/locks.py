"""One at a time: a lock file whose owner is known by its process and its age.

The kernel holds the lock (flock) and frees it when its owner dies in whatever way, so that nobody waits for the dead;
on a shared file system its server does so. Who owns it stands beside it in NAME.owner, for whoever waits. Where there
is no flock, filelock's files do the same, and one that outlives its owner on another machine is deleted by hand.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cqlib.util.errors import UserError
from cqlib.util.files import sha256, write_atomic

EVERY = 0.5  # seconds between two tries


def to_stderr(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def held(
    path: Path,
    what: str,
    *,
    say: Callable[[str], None] = to_stderr,
    while_waiting: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold the lock at `path` on `what`. While another process has it, wait: one line to `say` tells for whom.

    `while_waiting` is called between tries and may raise to give up. A dead owner's lock is taken over, and `say` is
    told. UserError where there can be no lock file.
    """
    owner = path.with_name(path.name + ".owner")
    lock = FileLock(path)
    told = False
    while True:
        try:
            lock.acquire(timeout=EVERY)
            break
        except Timeout:
            if not told:
                say(f"{what}: waiting for {_words(_read(owner), path)}")
            told = True
            while_waiting()
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or "this file system has no locks"
            raise UserError(f"{path}: {why}; delete it if it is no lock file, or take another folder") from error
    try:
        if (before := _read(owner)) is not None:
            say(f"{what}: taken over from {_words(before)}, which ended before it was done")
        mine = {"pid": os.getpid(), "machine": _machine(), "id": secrets.token_hex(8), "since": time.time()}
        with suppress(OSError):  # a full disk: the lock holds without a name on it
            write_atomic(owner, json.dumps(mine))
        yield
    finally:
        with suppress(OSError):  # a folder that was deleted meanwhile
            owner.unlink(missing_ok=True)
        lock.release()


def _read(owner: Path) -> dict[str, Any] | None:
    """Who the file says holds the lock; None when there is none or it is damaged."""
    try:
        found = json.loads(owner.read_bytes())
        return {"pid": int(found["pid"]), "machine": str(found["machine"]), "since": float(found["since"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _words(owner: dict[str, Any] | None, lock: Path | None = None) -> str:
    """ "process 1234, at it for 5 min"; where the kernel here cannot know whether it lives, what to do about `lock`."""
    if owner is None:
        return "another process"
    here = owner["machine"] == _machine()
    age = max(0.0, time.time() - owner["since"])  # the clock may have gone back
    text = f"process {owner['pid']}{'' if here else ' on another machine'}, at it for "
    text += f"{age:.0f} s" if age < 90 else f"{age / 60:.0f} min"
    return text if here or lock is None else f"{text}; if it lives no more, delete {lock}"


def _machine() -> str:
    """Tells machines apart without naming them."""
    return sha256(platform.node().encode())[:8]
