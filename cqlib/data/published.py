"""The published data sets of `cqlib.data.catalogue`: found, or fetched, and read from their converted copy."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path

from cqlib.data.catalogue import ENTRIES
from cqlib.data.converted import Loader, load
from cqlib.data.dataset import Dataset
from cqlib.util.errors import UserError
from cqlib.util.paths import ROOT


def home(data_dir: Path | None = None) -> Path:
    """The folder of local copies: `data_dir`, else $CQLIB_DATA, else data/ of the repository (made when needed).

    UserError when one was named and is not there.
    """
    named = data_dir or os.environ.get("CQLIB_DATA")
    if not named:
        return ROOT / "data"
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise UserError(f"--data-dir or $CQLIB_DATA: there is no folder {folder}")
    return folder


def caches(folder: Path) -> tuple[Path, ...]:
    """Where converted copies are looked for, and made in the first that can be written to."""
    return tuple(dict.fromkeys((folder / "converted", ROOT / "data" / "converted")))


def loader(name: str) -> Loader:
    """What finds and reads the copies of a data set: the module of its name, or for LSUN a category of its module."""
    module = importlib.import_module(f"cqlib.data.{'lsun' if name.startswith('lsun-') else name.replace('-', '_')}")
    return module.LOADERS[name] if name.startswith("lsun-") else module


def load_published(name: str, size: int | None, data_dir: Path | None) -> Dataset:
    """The data set `name` at `size` (default: its first), from a local copy; the smaller ones are fetched.

    UserError, one line that names file, size, source and folder, when there is none; or when it is damaged.
    """
    from cqlib.data import fetch

    entry, folder = ENTRIES[name], home(data_dir)
    reader = loader(name)
    path = reader.find(folder)
    if path is None:
        fetch.fetch(entry, folder)
        path = reader.find(folder)
        if path is None:
            raise UserError(f"{name} was fetched to {folder} and yet is not found: look there for {entry.unpacked}")
    found = load(entry, reader, path, size or entry.sizes[0], caches(folder))
    part = entry.partly(len(found.train), len(found.test))
    return replace(found, how=f"{found.how}; {part}") if part else found
