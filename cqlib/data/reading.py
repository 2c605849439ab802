"""What the loader of a published data set hands over, and what loaders share: squares, chunks, safe pickles.

A loader is a module with `VERSION`, `find(folder) -> Path | None` (the local copy that it reads) and
`read(path, size) -> Reading`; `cqlib.data.converted` turns a Reading into two cached splits. Where a copy is more
than the one file or folder `path`, `sources(path) -> tuple[Path, ...]` names all that is read: the cache is keyed
by their content. Every fault is one line that names the file and the remedy.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
from PIL import Image, ImageOps

from cqlib.util.errors import UserError, printable

Array = np.ndarray
T = TypeVar("T")

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""Of pictures; Pillow knows others, and hands some of them (EPS) to programs of the system."""
CHUNK = 2048
"""Images that are held at a time: 25 MB at 64 x 64."""
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, MemoryError, struct.error, zlib.error, KeyError, IndexError,
          zipfile.BadZipFile, tarfile.TarError, NotImplementedError, Image.DecompressionBombError)  # fmt: skip
"""What numpy, zipfile, tarfile and Pillow raise on damaged files."""


@dataclass(frozen=True)
class Chunk:
    """A few images of one split, in the source's order."""

    split: Literal["train", "test"]
    images: Array
    """uint8 (k, 3, S, S)."""
    labels: Array
    """int64 (k,)."""


@dataclass(frozen=True)
class Reading:
    """A source that is about to be read."""

    classes: tuple[str, ...]
    """Label k means classes[k]."""
    counts: dict[str, int]
    """Images per split, known before reading; the chunks add up to them."""
    chunks: Callable[[], Iterator[Chunk]]
    """Starts reading from the beginning; holds at most a few chunks of CHUNK images in memory."""
    shuffle: bool
    """The source is sorted (by class, by name), so each split is stored in a fixed random order."""
    how: str
    """The preprocessing in words, for the protocol: "centre crop 148, area-averaged to 64"."""


def fault(path: Path, what: str, remedy: str) -> UserError:
    """One line, whatever the file's name holds: "PATH is too small: give it more"."""
    return UserError(f"{printable(os.fspath(path))} {what}: {remedy}")


def damaged(path: Path, error: BaseException, remedy: str = "delete it and fetch it again") -> UserError:
    """One line about a file that cannot be read for `error` (one of DAMAGE)."""
    if isinstance(error, PermissionError):
        return fault(path, "may not be read", "change its permissions")
    reason = (str(error).splitlines() or [""])[0].replace(os.fspath(path), "the file")[:120]
    return fault(path, f"is damaged ({reason or type(error).__name__})", remedy)


def picture(source: Path | BinaryIO) -> Image.Image:
    """The picture in a file, its first frame, upright, in its own mode. OSError or ValueError for whatever is none:
    Pillow raises errors of many kinds on damaged files, and warns where it goes on all the same."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source, formats=FORMATS) as opened:
                return ImageOps.exif_transpose(opened)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def decoded(path: Path, name: str, data: bytes, side: int, size: int) -> Array:
    """`square` of a picture of `side` x `side` pixels whose file `name`, below `path`, holds `data`; UserError for
    another."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.size != (side, side):
                raise ValueError(f"{image.width}x{image.height} pixels instead of {side}x{side}")
            return square(image, size)
    except DAMAGE as error:
        raise damaged(path / name, error) from error


def square(image: Image.Image, size: int, crop: int | None = None) -> Array:
    """The middle square of `image` as uint8 (3, size, size), grey turned into RGB.

    The square has `crop` pixels a side (default: the shorter side) and is averaged down by a box filter,
    each output pixel the mean of the area it covers. ValueError when the image is too small for that.
    """
    side = min(image.size) if crop is None else crop
    if min(image.size) < side or side < size:
        raise ValueError(f"{image.width}x{image.height} pixels where at least {max(side, size)} a side are needed")
    image = image.convert("RGB")
    if image.size != (size, size):
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.crop(box) if side == size else image.resize((size, size), Image.Resampling.BOX, box=box)
    return np.asarray(image).transpose(2, 0, 1)


def in_chunks(split: Literal["train", "test"], items: Iterable[tuple[T, int]],
              decode: Callable[[T], Array]) -> Iterator[Chunk]:  # fmt: skip
    """`decode` of every (item, label), in order, as chunks of CHUNK images.

    Decoding is spread over threads (Pillow works without the interpreter's lock); `items` is drawn from in the
    calling thread and never more than a chunk ahead.
    """
    items = iter(items)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(threads, 16)) as pool:
        while batch := list(itertools.islice(items, CHUNK)):
            images = np.stack(list(pool.map(decode, (item for item, _ in batch))))
            yield Chunk(split, images, np.array([label for _, label in batch], np.int64))


# ---- pickles ----------------------------------------------------------------------------------------------


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """The one use that pickled arrays make of `_codecs.encode`: bytes written as text."""
    if encoding != "latin1":
        raise ValueError(f"a pickle with text in {encoding}")
    return text.encode(encoding)


def _arrays_only() -> dict[tuple[str, str], Any]:
    """(module, name) -> object: all that a pickle of arrays, numbers, strings and lists of them asks for."""
    allowed: dict[tuple[str, str], Any] = {("_codecs", "encode"): _latin1}
    allowed |= {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
    for module in ("builtins", "__builtin__"):
        allowed |= {(module, kind.__name__): kind for kind in (dict, list, tuple, str, bytes, int)}
    for core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
        allowed[f"{core}.multiarray", "_reconstruct"] = np._core.multiarray._reconstruct
        allowed[f"{core}.multiarray", "scalar"] = np._core.multiarray.scalar
        allowed[f"{core}.numeric", "_frombuffer"] = np._core.numeric._frombuffer
    return allowed


class _ArrayUnpickler(pickle.Unpickler):
    allowed = _arrays_only()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.allowed[module, name]


def unpickle_arrays(data: bytes, path: Path = Path("a pickle")) -> dict[str, Any]:
    """The dict that was pickled, by Python 2 or 3; keys become strings.

    A pickle can run any code. Only numpy arrays, numbers, strings, lists and dicts are built here: UserError,
    before anything is called, when it asks for more, or when it is damaged. `path` is for that message.
    """
    try:
        content = _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        if str(error).startswith("it asks for"):
            raise fault(path, f"is not a file of arrays ({error}; nothing was run)",
                        "fetch it again from its official source") from error  # fmt: skip
        raise damaged(path, error) from error
    except (*DAMAGE, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise damaged(path, error) from error
    if not isinstance(content, dict):
        raise fault(path, f"holds a {type(content).__name__} where a dict of arrays is due", "fetch it again")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}
