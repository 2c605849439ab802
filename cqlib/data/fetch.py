"""Published data sets from their publishers: checked, whole or absent, and one line when it cannot be done.

    python -m cqlib fetch NAME … [--data-dir DIR]

`cqlib.data.load` does the same by itself. Only what comes over https and has a published hash is fetched.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from cqlib.data.catalogue import GDRIVE, Entry, File
from cqlib.data.counter import Counter
from cqlib.util import locks
from cqlib.util.errors import UserError
from cqlib.util.files import move

CONNECT, READ = 5, 60
"""Seconds to wait for a connection, and for more of a file."""


def fetch(entry: Entry, folder: Path) -> None:
    """Put the entry's files into `folder`, those that are not there yet.

    UserError, one line with files, sizes, sources and folder, when there is no network, no room or no way; without
    a network nothing has been written then.
    """
    if entry.by_hand:
        raise _absent(entry, folder, "")
    try:
        _reach(next((file.url for file in entry.files[0] if not (folder / file.name).is_file()), None))
        folder.mkdir(parents=True, exist_ok=True)
        with locks.held(folder / f".{entry.name}.lock", entry.name):  # several rows start at a time
            for file in entry.files[0]:
                if not (folder / file.name).is_file():
                    _get(file, folder)
    except _Failed as failed:
        raise _absent(entry, folder, f" and could not be fetched ({failed})") from failed
    except OSError as error:
        raise _absent(entry, folder, f" and could not be fetched ({error.strerror or error})") from error


class _Failed(Exception):
    """Why a file was not fetched, in a few words."""


def _absent(entry: Entry, folder: Path, why: str) -> UserError:
    there = "there, unpacked" if "unzipped" in entry.unpacked else "there"
    return UserError(f"{entry.name} is not in {folder}{why}: put {entry.wanted} {there}")


def _reach(url: str | None) -> None:
    """Whether there is something at `url`, found out at once: what comes later may wait longer."""
    if url is not None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=CONNECT).close()
        except urllib.error.HTTPError:  # an answer; whether the file can be had shows when it is asked for
            pass
        except OSError as error:
            raise _Failed(f"no connection to {_host(url)}") from error


def _get(file: File, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < file.bytes:
        raise _Failed(f"{file.name} has {file.size}, and {free / 1e6:,.0f} MB are free")
    print(f"fetching {file.name} ({file.size}) from {file.url} to {folder}", file=sys.stderr, flush=True)
    partial = folder / f".{file.name}.part"  # under the lock, so what is there was left by a killed process
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        (_from_drive if file.url.startswith(GDRIVE) else _over_http)(file, partial)
        _to_disk(partial / file.name)
        move(partial / file.name, folder / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _to_disk(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _over_http(file: File, folder: Path) -> None:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    with Counter(file.name, file.bytes, "B") as counter:
        downloader = pooch.HTTPDownloader(progressbar=counter, timeout=(CONNECT, READ), chunk_size=1 << 20)
        try:
            pooch.retrieve(file.url, f"md5:{file.md5}", fname=file.name, path=folder, downloader=downloader)
        except ValueError as error:
            raise _Failed(f"what {_host(file.url)} sent is truncated or altered") from error
        except OSError as error:
            raise _Failed(_reason(error, _host(file.url))) from error


def _from_drive(file: File, folder: Path) -> None:
    """Google Drive asks before it hands out large files, and has quotas; gdown knows its ways."""
    try:
        import gdown
    except ImportError as error:
        raise _Failed("it lies on Google Drive, for which gdown is missing: pip install -e '.[data]'") from error
    try:
        gdown.download(id=file.url.removeprefix(GDRIVE), output=str(folder / file.name), quiet=not sys.stderr.isatty())
    except OSError as error:
        raise _Failed(_reason(error, _host(file.url))) from error
    except Exception as error:  # gdown's own: over the quota, moved
        raise _Failed(" ".join(str(error).split())[:120] or type(error).__name__) from error
    if not (folder / file.name).is_file():
        raise _Failed(f"{_host(file.url)} gave no file")
    with open(folder / file.name, "rb") as opened:
        if hashlib.file_digest(opened, "md5").hexdigest() != file.md5:
            raise _Failed(f"what {_host(file.url)} sent is truncated or altered")


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _reason(error: OSError, host: str) -> str:
    """In a few words: a refusal, the disk (its errors have a number or name a file), or else the network."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"{host} answered {status}"
    on_disk = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or error.filename is not None
    return error.strerror if on_disk else f"the connection to {host} broke off"

