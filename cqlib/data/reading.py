"""Reading image files and data sets, and the one-line errors of files that cannot be read."""

import itertools
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from cqlib.util.errors import UserError, out_of_memory, printable

Array = np.ndarray
FETCH_AGAIN = "delete it and fetch it again"
S = TypeVar("S")
T = TypeVar("T")

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""Formats of images that are read. Pillow knows others, and hands some of them (EPS) to programs of the system."""
BLOCK = 2048
"""Images that are held in memory at a time: 25 MB at 64 x 64."""
READ_ERRORS = (OSError, ValueError, SyntaxError, EOFError, MemoryError, struct.error, zlib.error, LookupError,
          zipfile.BadZipFile, NotImplementedError, Image.DecompressionBombError)  # fmt: skip
"""What numpy, zipfile and Pillow raise on damaged files."""
progress = partial(tqdm, unit="image", leave=False, disable=None)
"""(items, what is done, how many) -> the items, with a bar on stderr, on a terminal only."""


def file_error(path: Path, what: str, remedy: str) -> UserError:
    """One line, whatever the file's name holds: "PATH is too small: give it more"."""
    return UserError(f"{printable(os.fspath(path))} {what}: {remedy}")


def require(good: object, path: Path, what: str, remedy: str) -> None:
    """Raise the `file_error` unless `good`."""
    if not good:
        raise file_error(path, what, remedy)


def damage_in_words(path: Path, error: BaseException) -> str:
    """Why `path` cannot be read, for an `error` that is one of READ_ERRORS."""
    if isinstance(error, PermissionError):
        return "may not be read"
    if out_of_memory(error):
        return "does not fit into memory, or is damaged"
    words = (str(error).splitlines() or [""])[0].replace(os.fspath(path), "the file")[:120]
    return f"is damaged ({printable(words) or type(error).__name__})"


def damaged_file_error(path: Path, error: BaseException, remedy: str = FETCH_AGAIN) -> UserError:
    """One line about a file that cannot be read for `error`, one of READ_ERRORS."""
    if out_of_memory(error):
        remedy = f"free some memory, or {remedy}"
    return file_error(path, damage_in_words(path, error), remedy)


@contextmanager
def npz(path: Path, remedy: str = FETCH_AGAIN) -> Iterator[np.lib.npyio.NpzFile]:
    """An .npz archive, whose arrays are read as they are asked for. UserError for whatever is wrong with it."""
    require(path.is_file(), path, "is not a file", "give an .npz file")  # reading a pipe would wait for ever
    try:
        with open(path, "rb") as file:
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                raise ValueError("not an .npz archive")
        with np.load(path, allow_pickle=False) as content:  # a pickle could run any code
            yield content
    except UserError:
        raise
    except Exception as error:  # numpy parses headers as Python: errors of many kinds
        raise damaged_file_error(path, error, remedy) from error


def rgb(source: Path | BinaryIO) -> tuple[Image.Image, list[str]]:
    """The first frame of an image file, upright and in 8-bit RGB, and what was converted ("grey", "rotated by EXIF").
    Of 16 bits the upper 8 are kept; what is transparent shows white. OSError or ValueError where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source, formats=FORMATS) as opened:
                deep = ";16" in str(opened.tile)  # of 16-bit colours Pillow itself keeps the upper 8 bits
                rotated = opened.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
                image = ImageOps.exif_transpose(opened)
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow raises errors of many kinds on damaged files
        raise ValueError(str(error) or type(error).__name__) from error
    mode = image.mode
    if mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    if mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8))
    transparent = False
    if image.has_transparency_data:
        image = image.convert("RGBA")
        transparent = bool(np.asarray(image)[..., 3].min() < 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    kind = "grey" if mode[0] in "1IL" and mode != "LAB" else "palette" if mode[0] == "P" else mode
    kinds = {kind: not kind.startswith("RGB"), "16-bit": deep or mode[0] == "I", "transparent": transparent}
    return image.convert("RGB"), [name for name, is_so in {**kinds, "rotated by EXIF": rotated}.items() if is_so]


def square(image: Image.Image, size: int, crop: int | None = None, top: int | None = None) -> Array:
    """The middle square of `image`, of `crop` pixels a side (default: the shorter side), or that which begins `top`
    pixels below its upper edge, as uint8 (3, size, size): each pixel is the mean of the area it covers. ValueError when
    the image is too small for that."""
    side = min(image.size) if crop is None else crop
    if min(image.width, image.height - (top or 0)) < side or side < size:
        raise ValueError(f"{image.width}x{image.height} pixels where at least {max(side, size)} a side are needed")
    left, top = (image.width - side) // 2, (image.height - side) // 2 if top is None else top
    image = image.convert("RGB").resize((size, size), Image.Resampling.BOX, (left, top, left + side, top + side))
    return np.asarray(image).transpose(2, 0, 1)


def threaded(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """`map` by threads (Pillow decodes without the interpreter's lock), never more than BLOCK items ahead."""
    items = iter(items)
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        while batch := list(itertools.islice(items, BLOCK)):
            yield from pool.map(function, batch)


def averaged(side: int, size: int) -> str:
    """How images of `side` pixels were brought to `size`, in words."""
    return "pixels as published" if side == size else f"{side}x{side} area-averaged to {size}x{size}"


def verify(folder: Path, files: Iterable[Iterable[str]], remedy: str = "") -> None:
    """UserError unless every (name, MD5) is a file of `folder` with this hash; `remedy` is what to do then, by default
    to fetch the folder again."""
    from torchvision.datasets.utils import check_integrity  # which takes seconds

    for name, md5 in files:
        if not check_integrity(folder / name, md5):
            what = "is truncated or altered (another MD5 than published)" if (folder / name).is_file() else "is missing"
            raise file_error(folder / name, what, remedy or f"delete {folder.name} and fetch it again")


def decode(
    file: Path, content: BinaryIO | None = None, *, size: int, crop: int | None = None, top: int | None = None,
    side: int = 0,
) -> Array:  # fmt: skip
    """`square` of an image file (or of its `content`, if already read). UserError if it cannot be read, or is not of
    `side` x `side` pixels where `side` is given."""
    try:
        with Image.open(content or file, formats=FORMATS) as image:
            if side and image.size != (side, side):
                raise ValueError(f"{image.width}x{image.height} pixels instead of {side}x{side}")
            return square(image, size, crop, top)
    except READ_ERRORS as error:
        raise damaged_file_error(file, error) from error
