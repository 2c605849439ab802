"""Reading images and archives, and the one-line errors of files that cannot be read."""

import itertools
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from cqlib.util.errors import UserError, printable

Array = np.ndarray
FETCH_AGAIN = "delete it and fetch it again"
S = TypeVar("S")
T = TypeVar("T")

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""Formats of images that are read. Pillow knows others, and hands some of them (EPS) to programs of the system."""
BLOCK = 2048
"""Images that are held in memory at a time: 25 MB at 64 x 64."""
READ_ERRORS = (OSError, ValueError, TypeError, SyntaxError, EOFError, LookupError, RuntimeError, struct.error,
               zlib.error, zipfile.BadZipFile, Image.DecompressionBombError)  # fmt: skip
"""What numpy, zipfile, torchvision and Pillow raise on damaged files."""
progress = partial(tqdm, unit="image", leave=False, disable=None)
"""(items, what is done, how many) -> the items, with a bar on stderr, on a terminal only."""


def file_error(path: Path, what: str, remedy: str) -> UserError:
    """One line, whatever the file's name holds: "PATH is too small: give it more"."""
    return UserError(f"{printable(os.fspath(path))} {what}: {remedy}")


def require(good: object, path: Path, what: str, remedy: str) -> None:
    """Raise the `file_error` unless `good`."""
    if not good:
        raise file_error(path, what, remedy)


def damaged_file_error(path: Path, error: BaseException, remedy: str = FETCH_AGAIN) -> UserError:
    """One line about a file whose reading raised `error`, one of READ_ERRORS; it names the error's own file, if it has
    one, in the place of `path`."""
    path = Path(getattr(error, "filename", None) or path)
    if isinstance(error, FileNotFoundError):
        return file_error(path, "is missing", remedy)
    if isinstance(error, PermissionError):
        return file_error(path, "may not be read", remedy)
    words = (str(error).splitlines() or [""])[0].replace(os.fspath(path), "the file")[:120]
    return file_error(path, f"is damaged ({printable(words) or type(error).__name__})", remedy)


@contextmanager
def naming_damage(path: Path, remedy: str = FETCH_AGAIN) -> Iterator[None]:
    """Turn the READ_ERRORS of what is done inside into one line that names `path`, a UserError."""
    try:
        yield
    except READ_ERRORS as error:
        raise damaged_file_error(path, error, remedy) from error


@contextmanager
def npz(path: Path, remedy: str = FETCH_AGAIN) -> Iterator[np.lib.npyio.NpzFile]:
    """An .npz archive, whose arrays are read as they are asked for. UserError for whatever is wrong with it."""
    with naming_damage(path, remedy), open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("not an .npz archive")
        with np.load(path, allow_pickle=False) as content:  # a pickle could run any code
            yield content


def rgb(source: Path | BinaryIO) -> Image.Image:
    """The first frame of an image file, upright and in 8-bit RGB. An error of READ_ERRORS where it cannot be read."""
    with Image.open(source, formats=FORMATS) as image:
        if image.mode[0] in "IF":  # Pillow would cut them off at 255
            raise ValueError("pixels of 16 bits or more, and 8 are needed")
        return ImageOps.exif_transpose(image).convert("RGB")


def square(image: Image.Image, size: int, crop: int | None = None, top: int | None = None) -> Array:
    """The middle square of an RGB `image`, of `crop` pixels a side (default: the shorter side), or that which begins
    `top` pixels below its upper edge, as uint8 (3, size, size): each pixel is the mean of the area it covers.
    ValueError when the image is too small for that."""
    side = min(image.size) if crop is None else crop
    if min(image.width, image.height - (top or 0)) < side or side < size:
        raise ValueError(f"{image.width}x{image.height} pixels where at least {max(side, size)} a side are needed")
    left, top = (image.width - side) // 2, (image.height - side) // 2 if top is None else top
    image = image.resize((size, size), Image.Resampling.BOX, (left, top, left + side, top + side))
    return np.asarray(image).transpose(2, 0, 1)


def decode(
    file: Path, content: BinaryIO | None = None, *, size: int, crop: int | None = None, top: int | None = None,
) -> Array:  # fmt: skip
    """`square` of an image file (or of its `content`, if already read). UserError if it cannot be read."""
    with naming_damage(file):
        return square(rgb(content or file), size, crop, top)


def threaded(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """`map` by threads (Pillow decodes without the interpreter's lock), never more than BLOCK items ahead."""
    items = iter(items)
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        while batch := list(itertools.islice(items, BLOCK)):
            yield from pool.map(function, batch)


def resizing_in_words(side: int, size: int) -> str:
    """How images of `side` pixels were brought to `size`, in words."""
    return "pixels as published" if side == size else f"{side}x{side} area-averaged to {size}x{size}"


def torchvision_set(kind: Any, folder: Path, **options: Any) -> Any:
    """A data set of torchvision whose files lie in `folder`; it checks their published MD5s before it reads, or
    unpickles, them. UserError where one is missing or has another MD5."""
    try:
        return kind(folder, **options)
    except RuntimeError as error:
        what = "is not whole or was altered (another MD5 than published)"
        raise file_error(folder / kind.base_folder, what, FETCH_AGAIN) from error
