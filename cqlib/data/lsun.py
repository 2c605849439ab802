"""LSUN bedrooms, towers and churches (Yu et al. 2015): the middle square of each image, averaged down to 64 x 64.

Read from the unzipped databases <category>_train_lmdb/ and <category>_val_lmdb/, which need the package lmdb, or
from folders of image files, <category>_train/ and <category>_val/.

The official test set has 300 images per category, the validation images. To have 10,000, images of the training
database are held out, evenly spaced in the order of the keys (hashes, so that this order is random): of n, number i
is held out where floor((i + 1) h / n) > floor(i h / n), h of them in all. In smaller copies h is at most n / 10.
The validation images come first in the test split, then the held-out ones.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from PIL import Image

from cqlib.data.files import EXTENSIONS
from cqlib.data.reading import DAMAGE, FORMATS, Array, Chunk, Reading, damaged, fault, in_chunks, square
from cqlib.util.errors import UserError

TEST = 10_000
HELD_OUT = 10
"""At most one training image in this many is held out."""


@dataclass(frozen=True)
class Category:
    """The loader of one category."""

    VERSION: ClassVar[int] = 1
    category: str
    """As its files are named: "church_outdoor"."""

    def find(self, folder: Path) -> Path | None:
        """The training database, or the folder of training images, in `folder` or its sub-folder lsun.

        An archive when there is nothing else: `sources` says to unzip it.
        """
        homes = (folder, folder / "lsun")
        for home in homes:
            for path in (home / f"{self.category}_train_lmdb", home / f"{self.category}_train"):
                if path.is_dir():
                    return path
        archives = (home / f"{self.category}_train_lmdb.zip" for home in homes)
        return next((path for path in archives if path.is_file()), None)

    def sources(self, path: Path) -> tuple[Path, ...]:
        """Training and validation images. UserError when the latter are missing or either is not unzipped."""
        name = path.name.removesuffix(".zip").replace(f"{self.category}_train", f"{self.category}_val")
        validation = path.with_name(name)
        for archive in (path, path.with_name(f"{name}.zip")):
            if archive.suffix == ".zip" and archive.is_file() and not archive.with_suffix("").is_dir():
                raise fault(archive, "is still packed, and a database is read unpacked only", "unzip it where it lies")
        if not validation.is_dir():
            raise fault(validation, "does not exist", f"put the validation images there, beside {path.name}")
        return path, validation

    def read(self, path: Path, size: int) -> Reading:
        """What `find` has found, at `size` pixels a side. UserError when it is damaged or lmdb is missing."""
        training, validation = self.sources(path)
        with _opened(training) as images:
            n = images.count()
        with _opened(validation) as images:
            n_validation = images.count()
        h = min(max(0, TEST - n_validation), n // HELD_OUT)

        def held(i: int) -> bool:
            return (i + 1) * h // n > i * h // n

        def chunks() -> Iterator[Chunk]:
            for source, split, chosen in ((validation, "test", lambda i: True), (training, "test", held),
                                          (training, "train", lambda i: not held(i))):  # fmt: skip
                with _opened(source) as images:
                    items = (((source, *item), 0) for item in images.pick(chosen))
                    yield from in_chunks(split, items, lambda item: _decode(*item, size))

        how = (f"middle square, area-averaged to {size}x{size}; test: {n_validation:,} validation images "
               f"and {h:,} held out from training")  # fmt: skip
        sorted_by_name = not (path / "data.mdb").is_file()
        return Reading(("all",), {"train": n - h, "test": n_validation + h}, chunks, shuffle=sorted_by_name, how=how)


LOADERS = {
    "lsun-bedroom": Category("bedroom"),
    "lsun-tower": Category("tower"),
    "lsun-church": Category("church_outdoor"),
}
"""Each with VERSION, find, sources and read."""


class _Images(Protocol):
    """Encoded images in a fixed order."""

    def count(self) -> int: ...

    def pick(self, chosen: Callable[[int], bool]) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of the images whose number is chosen, each read when it is asked for."""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Images]:
    """A database or a folder of files. UserError for whatever is wrong with it until it is closed."""
    if path.name.endswith("_lmdb"):
        with _database(path) as environment:
            yield _Database(environment)
    else:
        yield _Folder(path)


@contextlib.contextmanager
def _database(path: Path) -> Iterator[Any]:
    try:
        import lmdb
    except ImportError:
        raise UserError(f"{path} needs the package lmdb: pip install -e '.[data]'") from None
    file = path / "data.mdb"
    if not file.is_file():
        raise fault(path, "lacks data.mdb", "unzip its archive again")
    try:
        # read by one process in the order of the keys, from a disk that may be write-protected
        with lmdb.open(os.fspath(path), readonly=True, lock=False, readahead=False, max_readers=1) as environment:
            needed = environment.stat()["psize"] * (environment.info()["last_pgno"] + 1)
            if file.stat().st_size < needed:  # reading a page that is not there would kill the process
                raise EOFError(f"{file.stat().st_size:,} of {needed:,} bytes")
            yield environment
    except (*DAMAGE, lmdb.Error) as error:
        raise damaged(file, error, "unzip its archive again, or fetch it again") from error


class _Database:
    def __init__(self, environment: Any) -> None:
        self.environment = environment

    def count(self) -> int:
        return self.environment.stat()["entries"]

    def pick(self, chosen: Callable[[int], bool]) -> Iterator[tuple[str, bytes]]:
        with self.environment.begin() as transaction:
            cursor = transaction.cursor()
            for i, key in enumerate(cursor.iternext(values=False)):
                if chosen(i):
                    yield key.decode(errors="replace"), cursor.value()


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        found = (os.path.join(home, name) for home, _, names in os.walk(path) for name in names)
        self.files = sorted(os.path.relpath(file, path) for file in found if file.lower().endswith(EXTENSIONS)
                            and not os.path.basename(file).startswith("."))  # fmt: skip

    def count(self) -> int:
        return len(self.files)

    def pick(self, chosen: Callable[[int], bool]) -> Iterator[tuple[str, bytes]]:
        for i, file in enumerate(self.files):
            if chosen(i):
                try:
                    yield file, (self.path / file).read_bytes()
                except OSError as error:
                    raise damaged(self.path / file, error) from error


def _decode(path: Path, name: str, data: bytes, size: int) -> Array:
    """uint8 (3, size, size) of one encoded image; UserError that names it when it is damaged."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return square(image, size)
    except DAMAGE as error:
        raise damaged(path / name, error) from error
