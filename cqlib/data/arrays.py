"""Arrays on disk: written row by row, mapped into memory when they are used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cqlib.data.reading import Array

BLOCK = 1 << 24
"""Bytes that are read back at a time."""


def mapped(path: Path, shape: tuple[int, ...], dtype: type) -> Array:
    """The array at `path`, copy on write: whatever is done to it in memory, the file stays."""
    array = np.load(path, mmap_mode="c")
    if array.shape != shape or array.dtype != dtype or path.stat().st_size != array.offset + array.nbytes:
        raise ValueError(f"{path} is not whole")
    return array


class RowFile:
    """A .npy file that is filled row by row, in order or at given places."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self.file = open(path, "wb")
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)
        self.start = self.file.tell()
        self.row = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def put(self, rows: Array, where: Array | None) -> None:
        """Write `rows` behind the last ones, or row i as number where[i]."""
        if where is None:
            self.file.write(np.ascontiguousarray(rows).data)
            return
        for row, place in zip(rows, where.tolist(), strict=True):
            self.file.seek(self.start + place * self.row)
            self.file.write(np.ascontiguousarray(row).data)

    def finish(self) -> None:
        """On the disk, not in its cache."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def parts(self) -> tuple[tuple[int, ...], str, Iterator[bytes]]:
        """Shape, type and content, for `fingerprint_of`."""
        return self.shape, str(self.dtype), self._blocks()

    def _blocks(self) -> Iterator[bytes]:
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.start)
            while block := file.read(BLOCK):
                yield block
