"""The published data sets on this machine: where they are, fetching them, loading them."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cqlib.data.catalogue import GDRIVE, File, PublishedDataset
from cqlib.data.folders import local_folder, require_folder
from cqlib.data.sets import ENTRIES, entry_of
from cqlib.util import locks
from cqlib.util.errors import UserError, cause_of
from cqlib.util.files import move
from cqlib.util.paths import ROOT

if TYPE_CHECKING:
    from cqlib.data.dataset import Dataset

TIMEOUT = (5, 60)
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
    """The parts of a data set that are not in `folder`."""
    return [part for part in entry.parts if not (folder / part).exists()]


def missing_files(name: str, data_dir: Path | str | None = None) -> PublishedDataset | None:
    """The entry of `name` where that is a published data set whose files are not here; nothing is fetched."""
    entry = entry_of(name)
    try:
        return entry if entry and find_parts(entry, data_folder(data_dir)) is None else None
    except UserError:  # no such folder: loading the data set reports that
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
    yield f"      {missing_files_text(entry, folder)}; {entry.how}" if path is None else f"      in {path}"
    yield f"      terms: {entry.terms}"


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
    `folder`. UserError, one line with files, sizes, sources and folder, for a set that must be downloaded by
    hand, and for any failure. A file without the published hash is not unpacked."""
    if entry.by_hand:
        raise UserError(f"{entry.name} is {missing_files_text(entry, folder)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.file_lock(folder / f".{entry.name}.lock", entry.name):  # several rows start at a time
            for file in entry.files:
                if not (folder / (file.folder or file.name)).exists():
                    _fetch_file(file, folder)
    except UserError:  # stopped by the user, or already one line that says what to do
        raise
    except Exception as error:  # of the network, Google Drive, the archive, the disk, which alone numbers its errors
        host, of_network = urlsplit(entry.files[0].url).hostname, getattr(error, "errno", 0) is None
        why = f"{host} could not be reached, or refused" if of_network else cause_of(error)
        line = f"{entry.name} is {missing_files_text(entry, folder)} (it could not be fetched: {why})"
        raise UserError(line) from error
    if find_parts(entry, folder) is None:
        incomplete = f"in place of the incomplete {entry.files[0].folder}/"
        raise UserError(f"{entry.name} is {missing_files_text(entry, folder)}, {incomplete}")
    return folder


def _fetch_file(file: File, folder: Path) -> None:
    """Put one file or, for an archive, the folder that it holds into `folder`; the archive stays there too. pooch
    downloads what is missing or does not have the published hash."""
    import pooch

    web = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT, chunk_size=2**20)
    downloader = _from_google_drive if file.url.startswith(GDRIVE) else web
    work = folder / f".{file.name}.part"
    shutil.rmtree(work, ignore_errors=True)  # left by a killed process
    unpack = pooch.Unzip if file.name.endswith(".zip") else pooch.Untar
    processor = unpack(extract_dir=work.name) if file.folder else None
    pooch.retrieve(file.url, f"md5:{file.md5}", file.name, folder, processor, downloader)
    if file.folder:
        move(work / file.folder, folder / file.folder)
        shutil.rmtree(work, ignore_errors=True)


def _from_google_drive(url: str, target: str, _: object) -> None:
    """A downloader for pooch. Google Drive asks before it hands out large files, which gdown answers."""
    try:
        import gdown
    except ImportError:
        raise ValueError("Google Drive needs the package gdown: pip install -e '.[data]'") from None
    gdown.download(url, target)
