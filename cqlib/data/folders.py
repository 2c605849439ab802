"""Where local copies of data sets, and the user's own files, are. Standard library only, like `cqlib.data` itself."""

import os
import shlex
from pathlib import Path

from cqlib.util.errors import UserError


def local_folder(data_dir: Path | str | None = None) -> Path | None:
    """The folder that is named for local copies: `data_dir`, else $CQLIB_DATA; None where neither names one."""
    named = data_dir or os.environ.get("CQLIB_DATA")
    return Path(os.path.expanduser(named)).absolute() if named else None


def require_folder(folder: Path) -> Path:
    """`folder`, which was named for local copies. UserError, with the remedy, where it does not exist."""
    if not folder.is_dir():
        remedy = f"make it (mkdir -p {shlex.quote(str(folder))}); published data sets are fetched to it"
        raise UserError(f"--data-dir or $CQLIB_DATA: there is no folder {folder}: {remedy}")
    return folder


def find_local(path: str, *folders: Path) -> Path | None:
    """`path` in the first of `folders` that holds such a file or folder; None where none does."""
    places = (folder / os.path.expanduser(path) for folder in folders)
    return next((place for place in places if os.path.exists(place)), None)
