"""npz:PATH and folder:PATH: anyone's images. Every fault is one line that names the file and the remedy.

Files and arrays are often sorted by class, so the images of each split are shuffled, with their labels and in
the same way everywhere: the first n of a split are a fair draw from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from psutil import virtual_memory

from cqlib.data import IMAGE_SIZES, photos10
from cqlib.data.dataset import Dataset, Split
from cqlib.data.reading import DAMAGE, damaged, fault, picture
from cqlib.util.errors import UserError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
TEST_EVERY = 10
"""Without a test split of their own, one image in ten is for testing."""
MAX_CLASSES = 2**16
SEED = 20
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_SIZES = f"{', '.join(map(str, IMAGE_SIZES[:-1]))} or {IMAGE_SIZES[-1]}"
REMEDY = "replace it by a good copy"

Array = np.ndarray


def locate(path: str, data_dir: Path | None) -> Path:
    """`path`, looked for under `data_dir` first when it is relative. UserError when it is nowhere."""
    wanted = Path(path)
    try:
        wanted = wanted.expanduser()
        if data_dir is not None and (data_dir / wanted).exists():
            return data_dir / wanted
        found = wanted.exists()
    except (OSError, RuntimeError, ValueError):  # too long a name, no such ~user, a NUL
        found = False
    if not found:
        also = "" if data_dir is None or wanted.is_absolute() else f", nor under {data_dir}"
        raise fault(wanted, f"does not exist{also}", "check the path or set --data-dir")
    return wanted


# ---- npz --------------------------------------------------------------------------------------------------


def load_npz(argument: str, size: int | None, data_dir: Path | None) -> Dataset:
    """Pixels as they are, in shuffled order: a file, or a folder with train.npz and test.npz (or val.npz).

    A file holds `images` uint8 (N, H, W, 3) or (N, 3, H, W) and perhaps `labels` (N,), integers from 0; a
    tenth, drawn from all over it, is the test split. Or it holds both splits: `train_images`, `test_images`,
    `train_labels`, ... Perhaps also `classes`, the names. `size`, when given, must be the images' own.
    UserError otherwise.
    """
    path = locate(argument, data_dir)
    if path.is_dir():
        test = next((path / f for f in ("test.npz", "val.npz") if (path / f).is_file()), path / "test.npz")
        sources = [(path / "train.npz", ""), (test, "")]
        for file, _ in sources:
            if not file.is_file():
                raise fault(file, "does not exist", "a folder for npz: holds train.npz and test.npz")
        contents = [_read_npz(file) for file, _ in sources]
    else:
        content = _read_npz(path)
        prefixes = ("train_", "test_") if "train_images" in content else ("", "")
        sources, contents = [(path, prefix) for prefix in prefixes], [content, content]
    images, labels = zip(
        *(_arrays(file, content, prefix) for (file, prefix), content in zip(sources, contents, strict=True)),
        strict=True,
    )
    if sources[0] == sources[1]:  # one file, one array: split it
        cut = len(images[0]) - max(1, len(images[0]) // TEST_EVERY)
        if cut == 0:
            raise fault(path, "holds one image", "give at least two, for training and for testing")
        order = _order(len(images[0]))
        images, labels = ((array[0][order[:cut]], array[0][order[cut:]]) for array in (images, labels))
    side = images[0].shape[-1]
    if size not in (None, side):
        raise fault(
            path,
            f"holds {side}x{side} images, not {size}x{size}",
            f"ask for size {side}, or give the images as files with folder:PATH",
        )
    if images[1].shape[-1] != side:
        raise fault(
            sources[1][0],
            f"holds {images[1].shape[-1]}x{images[1].shape[-1]} test images beside training images of {side}x{side}",
            "make them equal",
        )
    classes = _class_names(sources[0][0], contents[0], 1 + max(int(part.max()) for part in labels))
    return _dataset(f"npz:{argument}", classes, images, labels)


def _read_npz(path: Path) -> dict[str, Array]:
    if not path.is_file():  # reading a pipe would wait for ever
        raise fault(path, "is not a file", "give an .npz file, or a folder with train.npz and test.npz")
    try:
        with open(path, "rb") as file:
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06", b"\x93NUM"):
                raise ValueError("it is no .npz archive")
        content: Any = np.load(path, allow_pickle=False)  # a pickle could run code
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise fault(path, "is a single array, not an .npz archive", "save it by np.savez")
        with content:
            unpacked, free = sum(info.file_size for info in content.zip.infolist()), virtual_memory().available
            if unpacked > free:
                raise fault(path, f"takes {unpacked / 1e9:,.0f} GB of memory", f"{free / 1e9:,.0f} GB are free")
            arrays = {key: content[key] for key in content.files}
    except UserError:
        raise
    except Exception as error:  # numpy parses headers as Python: errors of many kinds
        raise damaged(path, error, REMEDY) from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy hands out the bytes of what is no .npy file
            raise fault(path, f"holds '{key}', which is no array", "save it by np.savez")
    return arrays


def _arrays(path: Path, content: dict[str, Array], prefix: str) -> tuple[Array, Array]:
    """Images uint8 (N, 3, S, S) and labels int64 (N,) of one split, checked."""
    key = f"{prefix}images"
    if key not in content:
        held = ", ".join(content) or "nothing"
        raise fault(path, f"has no array '{key}' (it holds {held})", f"save the images as '{key}'")
    images = content[key]
    shape = "x".join(map(str, images.shape))
    if images.dtype != np.uint8:
        raise fault(path, f"has '{key}' of type {images.dtype}", "convert them to uint8, 0 to 255")
    if images.ndim == 3 or (images.ndim == 4 and 1 in (images.shape[1], images.shape[3])):
        raise fault(path, f"holds grey images ({shape})", "colour is needed, three channels")
    if images.ndim == 4 and images.shape[3] == 3:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] != 3:
        raise fault(path, f"has '{key}' of shape {shape}", "save them as (N, H, W, 3) or (N, 3, H, W)")
    if len(images) == 0:
        raise fault(path, f"has no images in '{key}'", "give at least one")
    _check_side(path, images.shape[3], images.shape[2])
    key = f"{prefix}labels"
    labels = content.get(key, np.zeros(len(images), np.int64))
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise fault(
            path,
            f"has '{key}' of shape {'x'.join(map(str, labels.shape))} and type {labels.dtype}",
            f"one integer for each of the {len(images)} images is needed",
        )
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise fault(
            path,
            f"has '{key}' from {labels.min()} to {labels.max()}",
            f"count the classes from 0, {MAX_CLASSES:,} at most",
        )
    return images, labels.astype(np.int64)


def _class_names(path: Path, content: dict[str, Array], count: int) -> tuple[str, ...]:
    if "classes" not in content:
        return tuple(map(str, range(count))) if count > 1 else ("all",)
    classes = content["classes"]
    if classes.ndim != 1 or classes.dtype.kind != "U" or len(classes) < count:
        raise fault(path, "has 'classes' that do not fit its labels", f"give {count} names, as strings")
    try:
        return tuple(str(name).encode().decode() for name in classes)
    except ValueError as error:  # half characters, or numbers that are none
        raise fault(path, "has 'classes' that are no text", f"give {count} names, as strings") from error


# ---- folder -----------------------------------------------------------------------------------------------


def load_folder(argument: str, size: int | None, data_dir: Path | None) -> Dataset:
    """Image files: the sub-folders of a split are its classes; without any there is one class, "all".

    `train/` beside `test/` or `val/` are the splits; else every tenth file in sorted order is for testing.
    Each split is then shuffled. With `size` the middle square of every image is averaged down to it (box
    filter); without, the images must already have one size in 16, 32, 48 or 64. Hidden files and other file
    types are passed over.
    """
    path = locate(argument, data_dir)
    if not path.is_dir():
        raise fault(path, "is not a folder", "folder: wants a folder of images; for .npz files use npz:PATH")
    test = next((path / f for f in ("test", "val") if (path / f).is_dir()), None)
    if (path / "train").is_dir() and test is not None:
        parts = [_list(path / "train"), _list(test)]
        for folder, files in ((path / "train", parts[0]), (test, parts[1])):
            if not files:
                raise fault(folder, "holds no images", f"put files there ({', '.join(EXTENSIONS)})")
        classes = tuple(sorted({name for name, _ in parts[0]}))
        for name, file in parts[1]:
            if name not in classes:
                raise fault(
                    file,
                    f"is of class '{name}', which has no training images",
                    f"give the splits the same sub-folders ({', '.join(classes[:5])}, …)",
                )
    else:
        files = _list(path)
        if len(files) < 2:
            raise fault(
                path,
                f"holds {len(files) or 'no'} image{'s' * (not files)}",
                f"put at least two there ({', '.join(EXTENSIONS)})",
            )
        every = min(TEST_EVERY, len(files))
        parts = [[f for i, f in enumerate(files) if (i % every == every - 1) == tested] for tested in (0, 1)]
        classes = tuple(sorted({name for name, _ in files}))
    side = size
    images = []
    for part in parts:
        arrays = None
        for i, (_, file) in enumerate(part):
            image = _read_image(file, size)
            side = side or image.shape[-1]
            if image.shape[-1] != side:
                raise fault(
                    file,
                    f"is {image.shape[-1]}x{image.shape[-1]}, others are {side}x{side}",
                    f"make them equal or ask for a size of {_SIZES}",
                )
            if arrays is None:
                arrays = np.empty((len(part), *image.shape), np.uint8)
            arrays[i] = image
        images.append(arrays)
    labels = [np.array([classes.index(name) for name, _ in part], np.int64) for part in parts]
    return _dataset(f"folder:{argument}", classes, images, labels)


def _list(folder: Path) -> list[tuple[str, Path]]:
    """(class, file) of every image below `folder`, sorted by path."""
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in EXTENSIONS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    files.sort(key=lambda file: file.relative_to(folder).parts)
    loose = [file for file in files if file.parent == folder]
    if loose and len(loose) < len(files):
        raise fault(loose[0], "lies beside folders with images", "move it into the folder of its class")
    return [("all" if loose else file.relative_to(folder).parts[0], file) for file in files]


def _read_image(path: Path, size: int | None) -> Array:
    """uint8 (3, S, S). UserError for a damaged, grey or wrongly sized image."""
    try:
        found = picture(path)
        if found.mode in GREY_MODES:
            raise fault(path, "is a grey image", "convert it to colour (RGB) or take it away")
        image = found.convert("RGB")
    except DAMAGE as error:
        raise damaged(path, error, REMEDY) from error
    if size is None:
        _check_side(path, *image.size)
    elif min(image.size) < size:
        raise fault(
            path,
            f"is {image.width}x{image.height}, smaller than {size}x{size}",
            "ask for a smaller size or take it away",
        )
    elif image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BOX, box=square)
    return np.asarray(image).transpose(2, 0, 1)


# ---- both -------------------------------------------------------------------------------------------------


def _check_side(path: Path, width: int, height: int) -> None:
    if width != height or width not in IMAGE_SIZES:
        raise fault(
            path,
            f"has the size {width}x{height}",
            f"square images of {_SIZES} pixels are needed; folder:PATH with a size converts them",
        )


def _order(n: int) -> Array:
    """The fixed random order in which n images are taken; the same for every version of numpy."""
    return photos10.draw(np.arange(n), n, np.random.PCG64(SEED))


def _dataset(name: str, classes: tuple[str, ...], images: Sequence[Array], labels: Sequence[Array]) -> Dataset:
    """The two splits, each shuffled."""
    splits = []
    for split, x, y in zip(("train", "test"), images, labels, strict=True):
        order = _order(len(x))
        splits.append(Split(split, torch.from_numpy(np.ascontiguousarray(x[order])), torch.from_numpy(y[order])))
    return Dataset(name, images[0].shape[-1], classes, *splits)
