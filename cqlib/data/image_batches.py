"""Batches of images as CIFAR's descendants store them: `data` uint8 (N, 3 S S), `labels` N integers; row by row.

A batch may have more than a gigabyte, so its pixels are never loaded as a whole. A pickle is not even unpickled:
its instructions are listed, by pickletools, which runs none of them, and the pixels are read from where they lie.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import numpy as np

from cqlib.data.reading import Array

ROW = 3 * 64 * 64
"""Bytes of an image."""


class Form(Protocol):
    """How batches are written. `file` is seekable. ValueError, or what zipfile raises, for one that is damaged."""

    def count(self, file: BinaryIO) -> int:
        """N."""

    def labels(self, file: BinaryIO) -> Array:
        """int64 (N,), as they are written."""

    def images(self, file: BinaryIO) -> Iterator[bytes]:
        """Each image's ROW bytes."""


class Unpacked(io.RawIOBase):
    """A compressed file of `size` bytes in an archive, as one that can be read from any place.

    Going backwards means unpacking it from its beginning. An .npz is looked up from its end many times over, so
    the end is kept, and going anywhere costs nothing until something is read there.
    """

    END = 2**16

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.position, self.end = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = max(0, offset + (0, self.position, self.size)[whence])
        return self.position

    def readinto(self, buffer: memoryview) -> int:
        start = max(0, self.size - self.END)
        if self.position < start:
            self.file.seek(self.position)
            data = self.file.read(len(buffer))
        else:
            if not self.end:
                self.file.seek(start)
                self.end = self.file.read()
            data = self.end[self.position - start :][: len(buffer)]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


# ---- npz --------------------------------------------------------------------------------------------------


class _Npz:
    """Written by numpy.savez: an archive of arrays."""

    def count(self, file: BinaryIO) -> int:
        with self._data(file) as (n, _):
            return n

    def labels(self, file: BinaryIO) -> Array:
        with zipfile.ZipFile(file) as archive, archive.open("labels.npy") as member:
            labels = np.lib.format.read_array(member, allow_pickle=False)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"labels of shape {labels.shape} and type {labels.dtype}")
        return labels.astype(np.int64)

    def images(self, file: BinaryIO) -> Iterator[bytes]:
        with self._data(file) as (n, rows):
            yield from (rows.read(ROW) for _ in range(n))

    @contextmanager
    def _data(self, file: BinaryIO) -> Iterator[tuple[int, BinaryIO]]:
        """N and the pixels, after their header."""
        with zipfile.ZipFile(file) as archive, archive.open("data.npy") as member:
            version = np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, dtype = header(member)
            if by_column or dtype != np.uint8 or len(shape) != 2 or shape[1] != ROW:
                raise ValueError(f"data of shape {shape} and type {dtype}, not uint8 (N, {ROW})")
            yield shape[0], member


# ---- pickles ----------------------------------------------------------------------------------------------


class _Pickled:
    """Written by Python's pickle: a dict of `data`, an array in one string of bytes, and `labels`, a list."""

    def count(self, file: BinaryIO) -> int:
        return self._pixels(file)[1]

    def labels(self, file: BinaryIO) -> Array:
        labels = [arg for key, name, arg in _instructions(file) if key == "labels" and name in _INTEGERS]
        return np.array(labels, np.int64)

    def images(self, file: BinaryIO) -> Iterator[bytes]:
        start, n = self._pixels(file)
        file.seek(start)
        return (file.read(ROW) for _ in range(n))

    @staticmethod
    def _pixels(file: BinaryIO) -> tuple[int, int]:
        """Where they begin, and N."""
        seen = []
        for key, name, arg in _instructions(file):
            if key != "data":
                continue
            if isinstance(arg, _Span):
                n, rest = divmod(len(arg), ROW)
                if rest or "u1" not in seen or "NEWTRUE" in seen[-3:]:  # the flag before the bytes: by column
                    raise ValueError(f"data of {len(arg)} bytes, not uint8 (N, {ROW})")
                return arg.start, n
            seen.append(arg if isinstance(arg, str) else name)
        raise ValueError("no array 'data' in it")


_INTEGERS = ("BININT", "BININT1", "BININT2", "LONG1")
_LONG = 4096
"""Longer reads are strings of pixels."""


class _Span:
    """Stands for bytes of the file that have not been read."""

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length = start, length

    def __len__(self) -> int:
        return self.length


class _Skipping:
    """A file for pickletools whose long strings are passed over, when what follows them is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.position = file, 0
        self.readline = file.readline

    def read(self, n: int) -> bytes | _Span:
        if n > _LONG:
            start = self._tell()
            self.position = start + n
            return _Span(start, n)
        if self.position:
            self.file.seek(self.position)
            self.position = 0
        return self.file.read(n)

    def _tell(self) -> int:
        return self.position or self.file.tell()


def _instructions(file: BinaryIO) -> Iterator[tuple[str, str, object]]:
    """(key of the dict that was named last, name of the instruction, its argument)."""
    file.seek(0)
    key = ""
    try:
        for instruction, arg, _ in pickletools.genops(_Skipping(file)):
            if arg in ("data", "labels", "mean", "filenames"):
                key = arg
            yield key, instruction.name, arg
    except (AttributeError, TypeError, AssertionError) as error:  # a long string that is text, a negative length
        raise ValueError("not a pickle of arrays by protocol 3 or 4") from error


npz: Form = _Npz()
pickled: Form = _Pickled()
