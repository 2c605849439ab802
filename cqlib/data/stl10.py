"""STL-10 (Coates, Ng and Lee 2011): 96 x 96 images, averaged down to the 48 x 48 of the paper.

Training: the 5,000 labelled training images and the 100,000 unlabelled ones, as SNGAN (Miyato et al. 2018) does;
the unlabelled ones bear a label of their own. Test: 8,000. Read from stl10_binary.tar.gz or stl10_binary/.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from cqlib.data.reading import DAMAGE, Array, Chunk, Reading, damaged, fault, in_chunks, square

VERSION = 1
SIDE = 96
BYTES = 3 * SIDE * SIDE
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck", "unlabelled")
PARTS: tuple[tuple[str, str | None, Literal["train", "test"]], ...] = (
    ("test_X.bin", "test_y.bin", "test"),
    ("train_X.bin", "train_y.bin", "train"),
    ("unlabeled_X.bin", None, "train"),
)
"""(images, labels, split), in the archive's order: a compressed archive is best read forwards."""


def find(folder: Path) -> Path | None:
    """stl10_binary.tar.gz or stl10_binary/ in `folder` or its sub-folder stl10."""
    for home in (folder, folder / "stl10"):
        for path, exists in ((home / "stl10_binary.tar.gz", Path.is_file), (home / "stl10_binary", Path.is_dir)):
            if exists(path):
                return path
    return None


def read(path: Path, size: int) -> Reading:
    """What find() has found, at `size` pixels a side. UserError when files are missing or do not fit together."""
    try:
        with _files(path) as files:
            counts, labels = _survey(path, files)
    except DAMAGE as error:
        raise damaged(path, error) from error

    def chunks() -> Iterator[Chunk]:
        try:
            with _files(path) as files:
                for images, _, split in PARTS:
                    with files[images].open() as file:
                        items = ((file.read(BYTES), label) for label in labels[images].tolist())
                        yield from in_chunks(split, items, lambda data: _decode(data, size))
        except DAMAGE as error:
            raise damaged(path, error) from error

    how = f"96x96 area-averaged to {size}x{size}; training with the unlabelled images"
    return Reading(CLASSES, counts, chunks, shuffle=True, how=how)


class _File:
    """A file of the set: its size in bytes and how to open it."""

    def __init__(self, path: Path, archive: tarfile.TarFile | None = None, member: tarfile.TarInfo | None = None):
        self.path, self.archive, self.member = path, archive, member
        self.bytes = os.path.getsize(path) if member is None else member.size

    def open(self) -> BinaryIO:
        return open(self.path, "rb") if self.archive is None else self.archive.extractfile(self.member)


@contextlib.contextmanager
def _files(path: Path) -> Iterator[dict[str, _File]]:
    """Name -> file, of the folder or of the archive, which stays open."""
    if path.is_dir():
        yield {name: _File(path / name) for name in sorted(os.listdir(path)) if (path / name).is_file()}
        return
    with tarfile.open(path) as archive:
        yield {Path(member.name).name: _File(path, archive, member) for member in archive if member.isfile()}


def _survey(path: Path, files: dict[str, _File]) -> tuple[dict[str, int], dict[str, Array]]:
    """Images per split, and the labels, int64 from 0, of every file of images."""
    counts, labels = {"train": 0, "test": 0}, {}
    for images, targets, split in PARTS:
        for name in (images, targets):
            if name is not None and name not in files:
                raise fault(path, f"lacks {name}", "unpack stl10_binary.tar.gz again, or delete it and fetch it again")
        n, rest = divmod(files[images].bytes, BYTES)
        if rest or not n:
            raise ValueError(f"{images} has {files[images].bytes} bytes, no multiple of {BYTES}")
        if targets is None:
            labels[images] = np.full(n, len(CLASSES) - 1, np.int64)
        else:
            with files[targets].open() as file:
                labels[images] = np.frombuffer(file.read(), np.uint8).astype(np.int64) - 1
            found = labels[images]
            if len(found) != n or found.min() < 0 or found.max() >= len(CLASSES) - 1:
                raise ValueError(f"{targets} does not hold {n} labels from 1 to {len(CLASSES) - 1}")
        counts[split] += n
    return counts, labels


def _decode(data: bytes, size: int) -> Array:
    """uint8 (3, size, size) of one image, which is stored as (channel, column, row)."""
    if len(data) != BYTES:
        raise EOFError("it ends too early")
    return square(Image.fromarray(np.frombuffer(data, np.uint8).reshape(3, SIDE, SIDE).transpose(2, 1, 0)), size)
