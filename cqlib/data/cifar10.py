"""CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32 x 32, in the official order.

Read from the binary version, cifar-10-binary.tar.gz or cifar-10-batches-bin/, or from the Python version,
cifar-10-python.tar.gz or cifar-10-batches-py/, with the same result.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from cqlib.data.reading import CHUNK, DAMAGE, Array, Chunk, Reading, damaged, fault, unpickle_arrays

VERSION = 1
SIZE = 32
PIXELS = 3 * SIZE * SIZE
PER_BATCH = 10_000
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES: tuple[tuple[str, Literal["train", "test"]], ...] = (
    *((f"data_batch_{i}", "train") for i in range(1, 6)),
    ("test_batch", "test"),
)
COPIES = ("cifar-10-binary.tar.gz", "cifar-10-batches-bin", "cifar-10-python.tar.gz", "cifar-10-batches-py")


def find(folder: Path) -> Path | None:
    """The first of COPIES in `folder` or its sub-folder cifar10."""
    for home in (folder, folder / "cifar10"):
        for path in (home / name for name in COPIES):
            if path.is_file() if path.suffix == ".gz" else path.is_dir():
                return path
    return None


def read(path: Path, size: int) -> Reading:
    """What find() has found; `size` is 32. UserError when a batch is missing or damaged."""
    binary = path.name in COPIES[:2]
    names = [f"{name}.bin" if binary else name for name, _ in BATCHES]
    if path.is_dir():
        _complete(path, names, {name for name in names if (path / name).is_file()})

    def chunks() -> Iterator[Chunk]:
        contents = _unpacked(path, names) if path.is_file() else None
        for name, (_, split) in zip(names, BATCHES, strict=True):
            file = path / name
            try:
                data = file.read_bytes() if contents is None else contents.pop(name)
            except OSError as error:
                raise damaged(file, error) from error
            images, labels = _binary(file, data) if binary else _pickled(file, data)
            for begin in range(0, len(images), CHUNK):
                yield Chunk(split, images[begin : begin + CHUNK], labels[begin : begin + CHUNK])

    train = sum(split == "train" for _, split in BATCHES) * PER_BATCH
    return Reading(CLASSES, {"train": train, "test": PER_BATCH}, chunks, shuffle=False, how="pixels as published")


def _complete(path: Path, names: list[str], found: Collection[str]) -> None:
    for name in names:
        if name not in found:
            raise fault(path, f"lacks {name}", "delete it and fetch it again")


def _unpacked(path: Path, names: list[str]) -> dict[str, bytes]:
    """The batches in the archive, 184 MB: gzip can only be read forwards, and their order in it is another."""
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in names and member.isfile():
                    found[name] = archive.extractfile(member).read()
    except DAMAGE as error:
        raise damaged(path, error) from error
    _complete(path, names, found)
    return found


def _binary(file: Path, data: bytes) -> tuple[Array, Array]:
    """Images (PER_BATCH, 3, 32, 32) and labels: per image a byte of label, then 1024 of red, green and blue each."""
    if len(data) != PER_BATCH * (1 + PIXELS):
        error = ValueError(f"{len(data):,} bytes instead of {PER_BATCH * (1 + PIXELS):,}")
        raise damaged(file, error)
    rows = np.frombuffer(data, np.uint8).reshape(PER_BATCH, 1 + PIXELS)
    return rows[:, 1:].reshape(-1, 3, SIZE, SIZE), rows[:, 0].astype(np.int64)


def _pickled(file: Path, data: bytes) -> tuple[Array, Array]:
    """The same from a pickled dict of `data` (PER_BATCH, 3072) and `labels`."""
    batch = unpickle_arrays(data, file)
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or images.shape != (PER_BATCH, PIXELS) or images.dtype != np.uint8:
        raise damaged(file, ValueError(f"no array 'data' of {PER_BATCH:,} x {PIXELS} bytes"))
    if not isinstance(labels, list) or len(labels) != PER_BATCH or not all(type(label) is int for label in labels):
        raise damaged(file, ValueError(f"no list 'labels' of {PER_BATCH:,} numbers"))
    if not all(0 <= label < len(CLASSES) for label in labels):
        raise damaged(file, ValueError("labels outside 0 to 9"))
    return images.reshape(-1, 3, SIZE, SIZE), np.array(labels, np.int64)
