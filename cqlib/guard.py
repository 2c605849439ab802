"""No traceback reaches the user: one line on stderr, an exit code, and a log for what is a bug."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cqlib.errors import UserError, one_line


@contextmanager
def guarded(program: str, logs: Path | None = None) -> Iterator[None]:
    """Turn what is raised inside into one line and an exit code: the UserError's own, 3 for Ctrl-C, 1 for what the
    system refuses (a full disk, no permission), 1 for anything else, whose traceback goes to a file in `logs` (default:
    where temporary files go). What is printed can always be printed: a name's odd bytes are shown as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except UserError as error:
        code = error.exit_code
        line = one_line(error)
    except KeyboardInterrupt:
        code, line = 3, "stopped; the same command goes on where it stopped"
    except BrokenPipeError:  # the reader of a pipe has gone: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        code = 1
        if isinstance(error, OSError) and error.strerror is not None:
            line = one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        else:
            line = f"{type(error).__name__}: {one_line(error)} (details: {_log(logs)})"
    else:
        return
    print(f"{program}: {line}", file=sys.stderr)
    sys.exit(code)


def _log(folder: Path | None) -> Path:
    """Write the traceback being handled to a new file."""
    folder = folder or Path(tempfile.gettempdir())
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(traceback.format_exc())
    except OSError:  # no permission, a full disk
        path = Path(tempfile.gettempdir()) / name
        path.write_text(traceback.format_exc())
    return path
