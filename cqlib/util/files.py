"""Files that are whole or absent: atomic writes, hashes, canonical JSON."""

import errno
import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_atomic(path: Path, content: bytes | str) -> Path:
    """Write `content` (text as UTF-8) to `path` so that a reader sees the old file or the new one, never a part; return
    `path`. Raises OSError (disk full, no permission); the old file is then untouched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            move(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        error.filename = str(path)  # the temporary file's name would tell the user nothing
        raise
    return path


def move(source: Path | str, target: Path) -> None:
    """Rename `source`, whose content is on the disk already, to `target`, durably where the file system can sync a
    folder. Raises OSError."""
    os.replace(source, target)
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder
        return
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync files alone
            raise
    finally:
        os.close(folder)


def is_storable_path(text: str) -> bool:
    """Whether a file can have the path `text`, and the path can be written in UTF-8 (into a record, a page)."""
    return "\0" not in text and text.encode(errors="ignore").decode() == text


def remove_leftovers(folder: Path, *, older: float = 0.0) -> None:
    """Remove the temporary files, `older` seconds old at least, that killed writers left in `folder`."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # gone already, or not ours to remove
            if path.is_file() and (not older or time.time() - path.stat().st_mtime > older):
                path.unlink()


def sha256(data: bytes) -> str:
    """Hex digest of SHA-256."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
