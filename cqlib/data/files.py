"""npz:PATH and folder:PATH: anyone's images. Every fault is one line that names the file and the remedy. Each split is
shuffled, in the same way everywhere; `Dataset.notes` counts images that had to be converted to 8-bit RGB."""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from psutil import virtual_memory

from cqlib.data import IMAGE_SIZES, split_size
from cqlib.data.dataset import Dataset, Split, fixed_order
from cqlib.data.folders import find_local
from cqlib.data.reading import (
    READ_ERRORS,
    Array,
    damage_in_words,
    file_error,
    npz,
    progress,
    require,
    rgb,
    square,
    threaded,
)
from cqlib.util.errors import cause_of, printable
from cqlib.util.text import format_bytes

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
TEST_EVERY = 10
"""Without a test split of their own, one image in ten is for testing."""
MAX_CLASSES = 2**16
NAMES_ROOM = 350
"""How many of the 600 characters of an error may name files that cannot be used and say what is wrong with them."""
_SIZES = f"{', '.join(map(str, IMAGE_SIZES[:-1]))} or {IMAGE_SIZES[-1]}"


def load(name: str, size: int | None, data_dir: Path | None) -> Dataset:
    """The images of "npz:PATH" or "folder:PATH", perhaps with ":SIZE" after it; a relative path is looked for under
    `data_dir` first."""
    kind, _, argument = name.partition(":")
    argument, own_size = split_size(argument)
    size = size or own_size
    path = find_local(argument, *filter(None, (data_dir, Path())))
    if path is None:
        also = "" if data_dir is None or Path(argument).is_absolute() else f", nor under {data_dir}"
        raise file_error(Path(argument), f"does not exist{also}", "check the path or set --data-dir")
    return _npz(name, path, size) if kind == "npz" else _folder(name, path, size)


def _npz(name: str, path: Path, size: int | None) -> Dataset:
    """The data set in a file, or in a folder with train.npz and test.npz. A file holds `images` uint8 (N, H, W, 3),
    (N, 3, H, W) or, grey, without the 3 or with 1 for it, and perhaps `labels` (N,), integers from 0; a random tenth is
    the test split. Or it holds both splits: `train_images`, `test_images`, `train_labels`, ... `size`, when given, must
    be the images' own. UserError otherwise."""
    if path.is_dir():
        files = (path / "train.npz", path / "test.npz")
        for file in files:
            require(file.is_file(), file, "does not exist", "a folder for npz: holds train.npz and test.npz")
        splits = [(file, _read_npz(file), "") for file in files]
    else:
        content = _read_npz(path)
        splits = [(path, content, prefix) for prefix in (("train_", "test_") if "train_images" in content else ("",))]
    labelled = {f"{prefix}labels" in content for _, content, prefix in splits}
    require(len(labelled) == 1, path, "has labels of one split alone", "give labels of both splits, or of none")
    images, labels, grey = zip(*(_arrays(*split) for split in splits), strict=True)
    if len(splits) == 1:  # one file, one array: split it
        cut = len(images[0]) - max(1, len(images[0]) // TEST_EVERY)
        require(cut, path, "holds one image", "give at least two, for training and for testing")
        order = fixed_order(len(images[0]))
        images, labels = ((array[0][order[:cut]], array[0][order[cut:]]) for array in (images, labels))
    side, other = images[0].shape[-1], images[1].shape[-1]
    remedy = f"write npz:PATH:{side} for their own size, or give files with folder:PATH"
    require(size in (None, side), path, f"holds {side}x{side} images, not {size}x{size}", remedy)
    what = f"holds {other}x{other} test images beside training images of {side}x{side}"
    require(other == side, splits[-1][0], what, "make them equal")
    count = 1 + max(int(part.max()) for part in labels)
    classes = tuple(map(str, range(count))) if count > 1 else ("all",)
    return _dataset(name, classes, images, labels, Counter(grey=sum(grey)), sum(grey))


def _read_npz(path: Path) -> dict[str, Array]:
    """All arrays of an archive. UserError where they do not fit into memory."""
    with npz(path, "replace it by a good copy") as content:
        members = content.zip.infolist() if content.zip else []
        needed = 3 * sum(member.file_size for member in members)  # as read, as split, as shuffled
        free = virtual_memory().available
        require(needed <= free, path, f"takes {format_bytes(needed)} of memory", f"{format_bytes(free)} are free")
        arrays = {key: content[key] for key in content.files}
    for key, array in arrays.items():  # numpy returns the bytes of a member that is no .npy file
        require(isinstance(array, np.ndarray), path, f"holds '{key}', which is no array", "save it by np.savez")
    return arrays


def _arrays(path: Path, content: dict[str, Array], prefix: str) -> tuple[Array, Array, int]:
    """Images uint8 (N, 3, S, S) and labels int64 (N,) of one split, checked; how many were grey."""
    key = f"{prefix}images"
    held = ", ".join(content) or "nothing"
    require(key in content, path, f"has no array '{key}' (it holds {held})", f"save the images as '{key}'")
    images = content[key]
    require(images.dtype == np.uint8, path, f"has '{key}' of type {images.dtype}", "convert them to uint8, 0 to 255")
    what = f"has '{key}' of shape {'x'.join(map(str, images.shape))}"
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    colours = images.ndim == 4 and images.shape[1] in (1, 3)
    require(colours, path, what, "save them as (N, H, W, 3) or (N, 3, H, W)")
    n, channels, height, width = images.shape
    require(n, path, f"has no images in '{key}'", "give at least one")
    what = _unsupported(width, height)
    require(not what, path, what, "give the images as files with folder:PATH, where a size converts them")
    key = f"{prefix}labels"
    labels = content.get(key, np.zeros(n, np.int64))
    what = f"has '{key}' of shape {'x'.join(map(str, labels.shape))} and type {labels.dtype}"
    whole = labels.shape == (n,) and labels.dtype.kind in "iu"
    require(whole, path, what, f"one integer for each of the {n} images is needed")
    what = f"has '{key}' from {labels.min()} to {labels.max()}"
    in_range = labels.min() >= 0 and labels.max() < MAX_CLASSES
    require(in_range, path, what, f"count the classes from 0, {MAX_CLASSES:,} at most")
    return np.broadcast_to(images, (n, 3, height, width)), labels.astype(np.int64), n if channels == 1 else 0


def _folder(name: str, path: Path, size: int | None) -> Dataset:
    """The data set in a folder of image files: sub-folders of a split are its classes; without any there is one, "all".

    `train/` beside `test/` or `val/` are the splits; else every tenth file in sorted order is for testing. With `size`
    the middle square of every image is averaged down to it; without, all images must have one size of `IMAGE_SIZES`.
    Hidden files and other file types are ignored. UserError where files cannot be used, naming as many as a line has
    room for.
    """
    require(path.is_dir(), path, "is not a folder", "folder: wants a folder of images; for .npz files use npz:PATH")
    splits = _splits(path)
    classes = tuple(sorted({name for split in splits for name, _ in split}))
    files = [file for split in splits for _, file in split]
    images: list[Array] = []
    faults, kinds, converted = [], Counter[str](), 0
    results = progress(threaded(lambda file: _read(file, size), files), f"reading {path.name}", len(files))
    for file, (image, how, what) in zip(files, results, strict=True):
        if image is not None:
            images.append(image)
            side, first = image.shape[-1], images[0].shape[-1]
            what = "" if side == first else f"is {side}x{side}, others are {first}x{first}"
        if what:
            faults.append(f"{printable(str(file.relative_to(path)))} {what}")
        kinds.update(how)
        converted += bool(how)
    ends = accumulate(len(fault) for fault in faults)
    named = [fault for fault, end in zip(faults, ends, strict=True) if end <= NAMES_ROOM] or faults[:1]
    what = f"has {len(faults):,} of {len(files):,} images that cannot be used ({'; '.join(named)}"
    what += "; …)" if len(faults) > len(named) else ")"
    remedy = "replace or remove them" + ("" if size else f", or ask for a size of {_SIZES}")
    require(not faults, path, what, remedy)
    labels = [np.array([classes.index(name) for name, _ in split], np.int64) for split in splits]
    arrays = np.split(np.stack(images), [len(splits[0])])
    return _dataset(name, classes, arrays, labels, kinds, converted)


def _splits(path: Path) -> list[list[tuple[str, Path]]]:
    """(class, file) of every image for training, and for testing."""
    test = next((path / f for f in ("test", "val") if (path / f).is_dir()), None)
    if test is None or not (path / "train").is_dir():
        files = _list(path)
        count = "1 image" if files else "no images"
        require(len(files) > 1, path, f"holds {count}", f"put at least two there ({', '.join(EXTENSIONS)})")
        every = min(TEST_EVERY, len(files))
        return [[file for i, file in enumerate(files, 1) if i % every], files[every - 1 :: every]]
    splits = [_list(path / "train"), _list(test)]
    for folder, files in zip((path / "train", test), splits, strict=True):
        require(files, folder, "holds no images", f"put files there ({', '.join(EXTENSIONS)})")
    classes = sorted({name for name, _ in splits[0]})
    remedy = f"give the splits the same sub-folders ({', '.join(classes[:5])}, …)"
    for name, file in splits[1]:
        require(name in classes, file, f"is of class '{name}', which has no training images", remedy)
    return splits


def _list(folder: Path) -> list[tuple[str, Path]]:
    """(class, file) of every image below `folder`, sorted by path. Links to folders are followed, to each folder once.
    UserError where a folder cannot be read."""

    def refuse(error: OSError) -> None:
        place = Path(str(error.filename))
        raise file_error(place, f"cannot be read ({cause_of(error)})", "make it readable, or move it elsewhere")

    paths, seen = [], set()
    for home, inside, names in os.walk(folder, followlinks=True, onerror=refuse):
        if (place := os.path.realpath(home)) in seen:  # a link to what was seen before
            inside.clear()
            continue
        seen.add(place)
        inside[:] = sorted(name for name in inside if name[0] != ".")
        images = [Path(home, name) for name in names if name[0] != "." and Path(name).suffix.lower() in EXTENSIONS]
        # a link to nothing, or a file in a closed folder, is an image that cannot be used, and is told so
        paths += [file.relative_to(folder) for file in images if os.path.isfile(file) or not os.path.exists(file)]
    paths.sort(key=lambda path: path.parts)
    loose = [path for path in paths if len(path.parts) == 1]
    if loose and len(loose) < len(paths):
        raise file_error(folder / loose[0], "lies beside folders with images", "move it into the folder of its class")
    return [("all" if loose else path.parts[0], folder / path) for path in paths]


def _read(path: Path, size: int | None) -> tuple[Array | None, list[str], str]:
    """uint8 (3, S, S) and how it was converted; or, instead of the image, why it cannot be used."""
    try:
        image, how = rgb(path)
    except READ_ERRORS as error:
        return None, [], damage_in_words(path, error)
    what = _unsupported(*image.size) if size is None else ""
    if size and min(image.size) < size:
        what = f"is {image.width}x{image.height}, smaller than {size}x{size}"
    return (None, [], what) if what else (square(image, size or image.width), how, "")


def _unsupported(width: int, height: int) -> str:
    """Why images of this size cannot be used as they are; empty where they can."""
    good = width == height and width in IMAGE_SIZES
    return "" if good else f"has the size {width}x{height} and not {_SIZES} pixels, square"


def _dataset(name: str, classes: tuple[str, ...], images: Sequence[Array], labels: Sequence[Array],
             kinds: Counter[str], converted: int) -> Dataset:  # fmt: skip
    """The two splits, each shuffled, and a note of how many images were converted."""

    def split(kind: str, x: Array, y: Array) -> Split:
        order = fixed_order(len(x))
        return Split(kind, torch.from_numpy(np.ascontiguousarray(x[order])), torch.from_numpy(y[order]))

    counts = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common())
    note = f"{converted:,} of {sum(map(len, images)):,} images were converted to RGB: {counts}"
    train, test = map(split, ("train", "test"), images, labels)
    return Dataset(name, images[0].shape[-1], classes, train, test, notes=(note,) if converted else ())
