"""No traceback reaches the user: one line on stderr, an exit code, and a log for what is a bug."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cqlib.util.errors import UserError, one_line, out_of_memory

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors that another folder may mend: there is no room, no permission, or the disk is failing."""


@contextmanager
def guarded(program: str, logs: Path | None = None) -> Iterator[None]:
    """Turn what is raised inside into one line and an exit code: the UserError's own, 3 for Ctrl-C, 1 for what the
    system refuses (a full disk, no permission, no memory), and 1 for anything else, whose traceback goes to a file in
    `logs` (default: where temporary files go). What is printed can always be printed: a name's odd bytes are shown as
    escapes. Libraries' warnings are not shown, unless -W or PYTHONWARNINGS asks for them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
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
            if error.errno in OF_THE_DISK:
                line += "; mend that, or name another folder, and try again"
        elif out_of_memory(error):
            line = "there is not enough memory: free some, or run fewer rows at a time (--jobs)"
        elif isinstance(error, ModuleNotFoundError) and not (error.name or "cqlib").startswith("cqlib"):
            line = (f"this Python ({sys.executable}) has no module '{error.name}': first source .venv/bin/activate, "
                    "which ./run_all.sh has made, or pip install -e '.[notebooks]'")  # fmt: skip
        else:
            line = f"{type(error).__name__}: {one_line(error)} ({_log(logs)})"
    else:
        return
    print(f"{program}: {line}", file=sys.stderr)
    sys.exit(code)


def _log(folder: Path | None) -> str:
    """Write the traceback being handled to a new file; where it is."""
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    temporary = Path(tempfile.gettempdir())
    for place in (folder or temporary, temporary):
        with suppress(OSError):  # no permission, a full disk
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(traceback.format_exc())
            return f"details: {place / name}"
    return "details could not be written"
