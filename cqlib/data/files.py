"""npz:PATH and folder:PATH: your own images. Errors name the file and how to fix it."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cqlib.data import IMAGE_SIZES, split_size
from cqlib.data.dataset import Dataset, Split, fixed_order
from cqlib.data.folders import find_local
from cqlib.data.reading import Array, file_error, naming_damage, npz, progress, require, rgb, square, threaded

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
WITHOUT_CLASSES = "all"
"""The one class of images that have none."""
TEST_EVERY = 10
"""Without a test split of their own, one image in ten is for testing."""
REPLACE = "give an .npz file that can be read, or a folder with train.npz and test.npz"
_SIZES = f"{', '.join(map(str, IMAGE_SIZES[:-1]))} or {IMAGE_SIZES[-1]}"
Part = tuple[Array, Array]
"""Images uint8 (N, 3, S, S) and labels (N,) of one split."""


def load(name: str, size: int | None, data_dir: Path | None) -> Dataset:
    """The images of "npz:PATH" or "folder:PATH", perhaps with ":SIZE" after it; a relative path is looked for under
    `data_dir` first. Each split is stored in `fixed_order`."""
    kind, _, argument = name.partition(":")
    argument, own_size = split_size(argument)
    path = find_local(argument, *filter(None, (data_dir, Path())))
    if path is None:
        also = "" if data_dir is None or os.path.isabs(argument) else f", nor under {data_dir}"
        raise file_error(Path(argument), f"does not exist{also}", "check the path")
    classes, parts = (_npz if kind == "npz" else _folder)(path, size or own_size)

    def split(kind: str, images: Array, labels: Array) -> Split:
        order = fixed_order(len(images))
        return Split(kind, torch.from_numpy(np.ascontiguousarray(images[order])), torch.from_numpy(labels[order]))

    train, test = (split(kind, *part) for kind, part in zip(("train", "test"), parts, strict=True))
    return Dataset(name, train.shape[-1], classes, train, test)


def _npz(path: Path, size: int | None) -> tuple[tuple[str, ...], list[Part]]:
    """The classes and both splits in a file, or in a folder with train.npz and test.npz. A file holds `images` and
    perhaps `labels`, of which a random tenth is the test split, or `train_images`, `test_images`, `train_labels`, …
    `size`, when given, must be the images' own. UserError otherwise."""
    if path.is_dir():
        given = [_arrays(path / f"{split}.npz") for split in ("train", "test")]
    else:
        with npz(path, REPLACE) as content:
            prefixes = ("train_", "test_") if "train_images" in content else ("",)
        given = [_arrays(path, prefix) for prefix in prefixes]
    without = [labels is None for _, labels in given]
    require(all(without) or not any(without), path, "has labels in one split alone", "give labels to both, or to none")
    parts = [(images, np.zeros(len(images), np.int64) if labels is None else labels) for images, labels in given]
    if len(parts) == 1:
        ((images, labels),) = parts
        n_train = len(images) - max(1, len(images) // TEST_EVERY)
        require(n_train, path, "holds one image", "give at least two, for training and for testing")
        parts = [(images[part], labels[part]) for part in np.split(fixed_order(len(images)), [n_train])]
    side, wanted = parts[0][0].shape[-1], size or parts[0][0].shape[-1]
    require(side == wanted, path, f"holds {side}x{side} images, not {wanted}x{wanted}", f"ask for npz:{path}:{side}")
    for images, _ in parts[1:]:
        other = images.shape[-1]
        require(other == side, path, f"holds {other}x{other} images, not {side}x{side}", "give both splits one size")
    values = np.unique(np.concatenate([labels for _, labels in parts]))
    classes = tuple(map(str, values)) if len(values) > 1 else (WITHOUT_CLASSES,)
    return classes, [(images, np.searchsorted(values, labels)) for images, labels in parts]


def _arrays(path: Path, prefix: str = "") -> tuple[Array, Array | None]:
    """Images and labels of one split in an archive: uint8 (N, S, S, 3), (N, 3, S, S) or, grey, without the 3 or with 1
    for it, and whole numbers (N,), None where there are no labels."""
    key = f"{prefix}images"
    with npz(path, REPLACE) as content:
        what = f"has no array '{key}' (it holds {', '.join(content) or 'nothing'})"
        require(key in content, path, what, f"save the images as '{key}'")
        images, labels = content[key], content.get(f"{prefix}labels")
    what = f"has '{key}' of type {images.dtype} and shape {'x'.join(map(str, images.shape))}"
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    n, channels, height, width = images.shape if images.ndim == 4 else (0, 0, 0, 0)
    usable = images.dtype == np.uint8 and n and channels in (1, 3) and height == width and width in IMAGE_SIZES
    require(usable, path, what, f"give uint8 images (N, S, S, 3) or (N, 3, S, S) where S is {_SIZES}")
    images = np.broadcast_to(images, (n, 3, height, width))
    if labels is None:
        return images, None
    whole = labels.shape == (n,) and labels.dtype.kind in "iu"
    require(whole, path, f"has other '{prefix}labels'", f"give one whole number for each of the {n} images")
    return images, labels.astype(np.int64)


def _folder(path: Path, size: int | None) -> tuple[tuple[str, ...], list[Part]]:
    """The classes and both splits in a folder of image files: as for torchvision's ImageFolder, sub-folders are the
    classes; without any there is one, "all".

    `train/` beside `test/` or `val/` are the splits; else every tenth file in sorted order is for testing. With `size`
    the middle square of every image is averaged down to it; without, all images must have one size of `IMAGE_SIZES`.
    UserError for the first file that cannot be used.
    """
    require(path.is_dir(), path, "is not a folder", "folder: takes a folder of images; for .npz files use npz:PATH")
    test = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    if test and (path / "train").is_dir():
        splits = (_images(path / "train"), _images(test))
        flat = [{name for name, _ in split} == {WITHOUT_CLASSES} for split in splits]
        remedy = "sort both into folders of classes, or neither"
        require(flat[0] == flat[1], path, "has folders of classes in one split alone", remedy)
    else:
        found = _images(path)
        require(len(found) > 1, path, "holds one image", "give at least two, for training and for testing")
        every = min(TEST_EVERY, len(found))
        splits = ([image for i, image in enumerate(found, 1) if i % every], found[every - 1 :: every])
    files = [file for split in splits for _, file in split]
    decoded = threaded(partial(_read, size=size), files)
    images = list(progress(decoded, f"reading {path.name}", len(files)))
    for file, image in zip(files, images, strict=True):
        what = f"is {image.shape[-1]} pixels wide, and {files[0].name} {images[0].shape[-1]}"
        require(image.shape == images[0].shape, file, what, f"make them equal, or ask for a size of {_SIZES}")
    classes = sorted({name for split in splits for name, _ in split})
    labels = np.array([classes.index(name) for split in splits for name, _ in split], np.int64)
    n_train = [len(splits[0])]
    return tuple(classes), list(zip(np.split(np.stack(images), n_train), np.split(labels, n_train), strict=True))


def _images(folder: Path) -> list[tuple[str, Path]]:
    """(class, file) of every image below `folder`, sorted by path. Hidden files are ignored."""
    found = (Path(home, name).relative_to(folder) for home, _, names in os.walk(folder, followlinks=True)
             for name in names if name.lower().endswith(EXTENSIONS))  # fmt: skip
    files = sorted(file for file in found if not any(part.startswith(".") for part in file.parts))
    require(files, folder, "holds no images", f"put files there ({', '.join(EXTENSIONS)})")
    loose = [file for file in files if len(file.parts) == 1]
    if loose and len(loose) < len(files):
        raise file_error(folder / loose[0], "lies beside folders with images", "move it into the folder of its class")
    return [(WITHOUT_CLASSES if loose else file.parts[0], folder / file) for file in files]


def _read(path: Path, size: int | None) -> Array:
    """uint8 (3, S, S). UserError where it cannot be read or is too small, or without `size` is of none of
    `IMAGE_SIZES`."""
    with naming_damage(path, "replace or remove it"):
        image = rgb(path)
    what = f"has {image.width}x{image.height} pixels"
    if size is None:
        fits = image.width == image.height and image.width in IMAGE_SIZES
        require(fits, path, f"{what}, not {_SIZES} a side", "ask for one of these sizes: folder:PATH:32")
    size = size or image.width
    require(min(image.size) >= size, path, f"{what}, fewer than {size}x{size}", "replace or remove it")
    return square(image, size)
