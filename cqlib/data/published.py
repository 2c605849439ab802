"""The published data sets on this machine: where they are, fetching them, loading them."""

import hashlib
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cqlib.data.catalogue import GDRIVE, File, PublishedDataset
from cqlib.data.folders import local_folder, require_folder
from cqlib.data.sets import ENTRIES, entry_of
from cqlib.util import locks
from cqlib.util.errors import UserError, cause_of, one_line, to_stderr
from cqlib.util.files import move
from cqlib.util.paths import ROOT
from cqlib.util.text import count_of, format_bytes

if TYPE_CHECKING:
    from cqlib.data.dataset import Dataset

CONNECT, READ = 5, 60
"""Seconds to wait for a connection, and for more of a file."""


def data_folder(data_dir: Path | str | None = None) -> Path:
    """The folder of local copies: `data_dir`, else $CQLIB_DATA, else data/ of the repository (made when needed).
    UserError when one was named and does not exist."""
    folder = local_folder(data_dir)
    return ROOT / "data" if folder is None else require_folder(folder)


def converted_folder(folder: Path) -> Path:
    """Where the converted copies of `folder` are: in it, or, where that is read only, in data/ of the repository."""
    inside = folder / "converted"
    writable = os.access(inside if inside.exists() else folder, os.W_OK | os.X_OK)
    return inside if writable or not folder.exists() else ROOT / "data" / "converted"


def find_parts(entry: PublishedDataset, folder: Path) -> Path | None:
    """The folder that holds all parts of a data set, unpacked: `folder` or its sub-folder of the set's name, or
    of the name up to a "-": "lsun", which the sets of LSUN may share, "tiny"."""
    homes = (folder, folder / entry.name, folder / entry.name.partition("-")[0])
    return next((path for path in homes if not _missing(entry, path)), None)


def _missing(entry: PublishedDataset, folder: Path) -> list[str]:
    """The parts of a data set that are not in `folder`, or are empty there."""
    return [part for part in entry.parts if not _has_content(folder / part)]


def _has_content(path: Path) -> bool:
    """Whether `path` is a file or folder that is not empty."""
    with suppress(OSError):
        return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    return False


def missing_files(name: str, data_dir: Path | str | None = None) -> PublishedDataset | None:
    """The entry of `name` where that is a published data set whose files are not here; nothing is fetched."""
    entry = entry_of(name)
    try:
        return entry if entry and find_parts(entry, data_folder(data_dir)) is None else None
    except UserError:  # no such folder: the command says so when it is run
        return entry


def missing_files_text(entry: PublishedDataset, folder: Path) -> str:
    """Which files of which size to put where."""
    missing = _missing(entry, folder)
    some = f" ({missing[0]} is missing)" if len(missing) < len(entry.parts) else ""
    unpacked = f", unpacked: {', '.join(entry.parts)}" if entry.by_hand else ""
    return f"not in {folder}{some}: put {entry.sources} there{unpacked}"


def describe(entry: PublishedDataset, folder: Path) -> Iterator[str]:
    """The lines of `doctor`: whether and where it is ("+" or "-"), else how to get it; its terms. No file is read."""
    path = find_parts(entry, folder)
    yield f"{'-' if path is None else '+'}   {entry.name}: {entry.about}"
    if path is None:
        hashes = ", ".join(f"{file.name} {file.md5}" for file in entry.files if file.md5) or "none is published"
        yield f"      {missing_files_text(entry, folder)}; {entry.how}; MD5: {hashes}"
        for file in entry.files:
            if (archive := folder / file.name).is_file() and file.name not in entry.parts:
                then = "unpack it" if entry.by_hand else f"`python -m cqlib fetch {entry.name}` checks and unpacks it"
                size = format_bytes(archive.stat().st_size)
                yield f"      {archive}: {size} of {file.size}, hash not checked; {then}"
    else:
        sizes = [size for part in entry.parts for size in _sizes(path / part)]
        yield f"      in {path}: {count_of(len(sizes), 'file')}, {format_bytes(sum(sizes))}, hash not checked"
    yield f"      terms: {entry.terms}"


def _sizes(part: Path) -> Iterator[int]:
    """The bytes of a file, or of those in a folder that can be read."""
    files = [part] if part.is_file() else (Path(home, name) for home, _, names in os.walk(part) for name in names)
    for file in files:
        with suppress(OSError):  # deleted meanwhile
            yield file.stat().st_size


def load(name: str, size: int | None, data_dir: Path | None) -> "Dataset":
    """The data set `name` at `size` (default: that in its name, or its first), from a local copy, which is fetched
    where that is allowed. UserError when it is damaged, or missing; that names file, size, source and folder."""
    from cqlib.data import converted

    name, _, fixed = name.partition(":")
    entry, folder = ENTRIES[name], data_folder(data_dir)
    path = find_parts(entry, folder) or fetch(entry, folder)
    side = size or int(fixed or entry.sizes[0])
    sources = [path / part for part in entry.parts]
    data = converted.load(name, side, sources, lambda: entry.read(path, side), converted_folder(folder))
    counts = (("training", len(data.train), entry.train), ("test", len(data.test), entry.test))
    shortfall = ", ".join(f"{n:,} {split} images of {whole:,}" for split, n, whole in counts if n != whole)
    return replace(data, how=f"{data.how}; {shortfall}") if shortfall else data


def fetch(entry: PublishedDataset, folder: Path) -> Path:
    """Put the entry's files into `folder`, unpacked: downloaded, or from archives that are there already. Returns
    `folder`. UserError, one line with files, sizes, sources and folder, when there is no network or no room, for a set
    that is only to be had by hand, or when a file does not have the published hash: it is not unpacked then."""
    if entry.by_hand:
        raise UserError(f"{entry.name} is {missing_files_text(entry, folder)}")
    work = folder / f".{entry.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.file_lock(folder / f".{entry.name}.lock", entry.name):  # several rows start at a time
            try:
                for file in entry.files:
                    if not _has_content(folder / (file.folder or file.name)):
                        shutil.rmtree(work, ignore_errors=True)  # left by a killed process
                        work.mkdir()
                        _get(file, folder, work)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except (OSError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        why = f"it could not be fetched: {cause_of(error)}"
        raise UserError(f"{entry.name} is {missing_files_text(entry, folder)} ({why})") from error
    if find_parts(entry, folder) is None:
        incomplete = f"in place of the incomplete {entry.files[0].folder}/"
        raise UserError(f"{entry.name} is {missing_files_text(entry, folder)}, {incomplete}")
    return folder


def _get(file: File, folder: Path, work: Path) -> None:
    """Put one file or, for an archive, the folder that it holds into `folder`; `work` holds what is not whole yet."""
    archive = folder / file.name
    if missing := not archive.is_file():
        free, needed = shutil.disk_usage(folder).free, file.bytes * (3 if file.folder else 1)
        if free < needed:
            raise ValueError(f"{format_bytes(needed)} are needed and {format_bytes(free)} are free")
        to_stderr(f"fetching {file.name} ({file.size}) from {file.url} to {folder}")
        archive = work / file.name
        _download(file, archive)
    with open(archive, "rb") as opened:
        if hashlib.file_digest(opened, "md5").hexdigest() != file.md5:
            remedy = f"what {urlsplit(file.url).hostname} sent: try again" if missing else "delete it"
            raise ValueError(f"{archive} is truncated or altered: {remedy}")
    if file.folder:
        if missing:  # unpacking may be cut short: then it need not be fetched again
            move(archive, folder / file.name)
            archive = folder / file.name
        _unpack(archive, work)
    move(work / (file.folder or file.name), folder / (file.folder or file.name))
    if file.folder and missing:
        archive.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip or .tar.gz. What would lie outside `folder` is left out of a .zip; in a .tar.gz it is a ValueError,
    as is a link or device."""
    if ".tar" not in archive.name:
        shutil.unpack_archive(archive, folder)
        return
    with tarfile.open(archive) as members:  # by hand: Python has filters from 3.11.4 on
        for member in members:
            path = folder / member.name
            if ".." in path.parts or not path.is_relative_to(folder) or not (member.isfile() or member.isdir()):
                raise ValueError(f"{archive} holds {member.name!r}, no plain file in a folder")
            (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
            if content := members.extractfile(member):
                with content, path.open("wb") as copy:
                    shutil.copyfileobj(content, copy)


def _download(file: File, target: Path) -> None:
    if file.url.startswith(GDRIVE):  # it asks before it hands out large files, and has quotas
        from torchvision.datasets.utils import download_file_from_google_drive

        try:
            download_file_from_google_drive(file.url.removeprefix(GDRIVE), target.parent, file.name)
        except Exception as error:  # gdown's own: over the quota, moved
            raise ValueError(f"Google Drive: {one_line(error)[:200]}") from error
        return
    import pooch

    try:
        bar = sys.stderr.isatty()
        pooch.HTTPDownloader(progressbar=bar, timeout=(CONNECT, READ), chunk_size=2**20)(file.url, target, None)
    except OSError as error:
        if error.errno is not None:  # an error of the disk; those of the network have no number
            raise
        host, status = urlsplit(file.url).hostname, getattr(getattr(error, "response", None), "status_code", None)
        why = f"{host} answered {status}" if status else f"no connection to {host}, or it broke off"
        raise ValueError(why) from error
