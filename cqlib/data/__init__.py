"""The data sets by name: `load("photos10")`, `load("folder:~/cats", size=32)`.

A published one is a file of `cqlib.data.sets`; any other a function (argument, size, data_dir) -> Dataset with an entry
in SOURCES. Importing this package needs the standard library only.
"""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cqlib.data.catalogue import ENTRIES, SIZED
from cqlib.util.errors import UsageError, unknown

if TYPE_CHECKING:
    from cqlib.data.dataset import Dataset

IMAGE_SIZES = (16, 32, 48, 64)
"""Side lengths in pixels that the nets support."""
TOY2D = ("eight-gaussians", "grid", "two-moons", "spiral", "checkerboard")
"""Densities of toy2d; the first is the default."""
Loader = Callable[[str, int | None, Path | None], "Dataset"]
"""(what follows the colon, size, folder of local copies) -> Dataset."""


class Source(NamedTuple):
    """An entry of the registry: one line about it, the sides in pixels that it can be asked for, and its loader."""

    about: str
    sizes: tuple[int, ...]
    load: Loader


def _in(module: str, function: str = "load", *, name: str = "", side: int | None = None) -> Loader:
    """`function` of `cqlib.data.<module>`, imported when it is called, of `name` if any, by default at `side`."""

    def load(argument: str, size: int | None, data_dir: Path | None) -> "Dataset":
        loader: Loader = getattr(importlib.import_module(f"cqlib.data.{module}"), function)
        return loader(name or argument, size or side, data_dir)

    return load


_POINTS = "points in the plane with a known density"
SOURCES: dict[str, Source] = {
    "photos10": Source("crops of ten photographs that come with the libraries it needs; no download",
                       IMAGE_SIZES, _in("photos10", side=IMAGE_SIZES[0])),
    "toy2d": Source(f"{_POINTS}: eight Gaussians", (1,), _in("toy2d", name=TOY2D[0])),
    **{f"toy2d:{name}": Source(f"{_POINTS}: {name}", (1,), _in("toy2d")) for name in TOY2D},
    **{name: Source(entry.about, entry.sizes, _in("published", name=name)) for name, entry in ENTRIES.items()},
    **{name: Source(f"{entry.title} at {size} x {size}", (size,), _in("published", name=entry.name, side=size))
       for name, (entry, size) in SIZED.items()},
    "npz:PATH": Source("your images: an .npz file, or a folder with train.npz and test.npz", IMAGE_SIZES,
                       _in("files", "load_npz")),
    "folder:PATH": Source("your images: a folder of PNG or JPEG files, sub-folders are classes", IMAGE_SIZES,
                          _in("files", "load_folder")),
}  # fmt: skip


def is_path(text: str) -> bool:
    """Whether a file can have the path `text`, and the path can be written in UTF-8 (into a record, a page)."""
    return "\0" not in text and text.encode(errors="ignore").decode() == text


def _source(name: str) -> tuple[Source, str]:
    """The entry of `name` and what follows its colon; UsageError with the nearest valid name."""
    head, _, argument = name.partition(":")
    key = f"{head}:PATH"
    if key in SOURCES:
        if not argument or argument == "PATH":
            raise UsageError(f"data set '{name}' lacks its path: write {key} with your path for PATH")
        if not is_path(argument):
            raise UsageError(f"data set '{name}' has no path that can be used: give it a name that is plain text")
        return SOURCES[key], argument
    if name not in SOURCES:
        raise unknown("data set", name, [valid.replace(":PATH", f":{argument or 'PATH'}") for valid in SOURCES])
    return SOURCES[name], argument


def sizes(name: str) -> tuple[int, ...]:
    """Sides in pixels that `name` can be asked for; UsageError with the nearest valid name."""
    return _source(name)[0].sizes


def check(name: str, size: int | None = None) -> None:
    """UsageError, with the nearest valid value, for an unknown data set or size. No file is read."""
    valid = sizes(name)
    if size is not None and size not in valid:
        best, every = min(valid, key=lambda other: abs(other - size)), ", ".join(map(str, valid))
        raise UsageError(f"data set '{name}' has no size {size}: did you mean {best}? (valid: {every})")


def load(name: str, *, size: int | None = None, data_dir: Path | str | None = None) -> "Dataset":
    """The data set `name` with images of `size` pixels a side (None: its own, for photos10 16).

    `data_dir` (default: $CQLIB_DATA) is where relative paths and local copies are looked for first; published data sets
    that are missing are fetched to it (default: data/ of the repository) unless they are huge. UsageError for an
    unknown name or size; UserError, naming the file, for missing or damaged data.
    """
    check(name, size)
    source, argument = _source(name)
    folder = data_dir or os.environ.get("CQLIB_DATA")
    return source.load(argument, size, Path(folder).expanduser() if folder else None)


def fetch(*names: str, data_dir: Path | None = None) -> Path:
    """Fetch published data sets that are missing in `data_dir` (default: $CQLIB_DATA, else data/ of the repository);
    that folder. UsageError for an unknown name, before anything is fetched; UserError where one cannot be fetched."""
    from cqlib.data import published

    for name in names:
        if name not in ENTRIES:
            raise unknown("data set", name, ENTRIES)
    folder = published.home(data_dir)
    for entry in map(ENTRIES.__getitem__, names):
        if published.find(entry, folder) is None:
            published.fetch(entry, folder)
    return folder
