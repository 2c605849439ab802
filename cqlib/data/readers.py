"""Readers of the published data sets: folder and size in pixels -> labels and pixels of both splits."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from cqlib.data.catalogue import ENTRIES
from cqlib.data.reading import AGAIN, DAMAGE, FORMATS, Array, damaged, fault, npz, square, threaded
from cqlib.util.errors import UserError

if TYPE_CHECKING:
    import lmdb


Images = tuple[Array, Iterable[Array]]
"""One split in the order of its source: labels int64 (N,), and images uint8 (3, S, S), read as they are asked for."""


@dataclass(frozen=True)
class Reading:
    """Both splits of a data set: label k means `classes[k]`, `how` is the preprocessing in words, and `shuffle` whether
    the source is sorted (by class, by name), so that each split is stored in a fixed random order."""

    classes: tuple[str, ...]
    train: Images
    test: Images
    how: str
    shuffle: bool = True


def averaged(side: int, size: int) -> str:
    """How images of `side` pixels were brought to `size`, in words."""
    return "pixels as published" if side == size else f"{side}x{side} area-averaged to {size}x{size}"


def _verify(folder: Path, files: Iterable[Iterable[str]]) -> None:
    """UserError unless every (name, MD5) is a file of `folder` with this content."""
    for name, md5 in files:
        if not check_integrity(folder / name, md5):
            what = "is truncated or altered (another MD5 than published)" if (folder / name).is_file() else "is missing"
            raise fault(folder / name, what, f"delete {folder.name} and fetch it again")


def _decode(file: Path, content: BinaryIO | None = None, *, size: int, crop: int | None = None, side: int = 0) -> Array:
    """`square` of an image file (or of its `content`, read already), of `side` x `side` pixels if that is known."""
    try:
        with Image.open(content or file, formats=FORMATS) as image:
            if side and image.size != (side, side):
                raise ValueError(f"{image.width}x{image.height} pixels instead of {side}x{side}")
            return square(image, size, crop)
    except DAMAGE as error:
        raise damaged(file, error) from error


def cifar10(folder: Path, size: int) -> Reading:
    """CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32 x 32, in the official order. The batches
    are pickles, which can run any code: torchvision unpickles them once their MD5 is the published one."""
    kind = datasets.CIFAR10
    meta = (kind.meta["filename"], kind.meta["md5"])
    _verify(folder / kind.base_folder, [*kind.train_list, *kind.test_list, meta])

    def split(train: bool) -> Images:
        batches = kind(folder, train=train)
        return np.array(batches.targets, np.int64), batches.data.transpose(0, 3, 1, 2)

    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    return Reading(classes, split(True), split(False), averaged(32, size), shuffle=False)


def stl10(folder: Path, size: int) -> Reading:
    """STL-10 (Coates, Ng and Lee 2011): 96 x 96 images, averaged down to the 48 x 48 of the paper. Training: the 5,000
    labelled images and the 100,000 unlabelled ones, with a label of their own, as in SNGAN (Miyato et al. 2018)."""
    root = folder / datasets.STL10.base_folder
    _verify(root, datasets.STL10.train_list + datasets.STL10.test_list)
    classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck", "unlabelled")

    def pixels(name: str) -> Array:  # stored as (channel, column, row)
        return np.memmap(root / f"{name}_X.bin", np.uint8, "r").reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)

    def labels(name: str) -> Array:
        return np.fromfile(root / f"{name}_y.bin", np.uint8).astype(np.int64) - 1

    def split(labels: Array, *parts: Array) -> Images:
        images = (Image.fromarray(image) for image in itertools.chain(*parts))
        return labels, threaded(partial(square, size=size), images)

    unlabelled = pixels("unlabeled")
    train = np.concatenate([labels("train"), np.full(len(unlabelled), len(classes) - 1)])
    how = f"{averaged(96, size)}; training with the unlabelled images"
    return Reading(classes, split(train, pixels("train"), unlabelled), split(labels("test"), pixels("test")), how)


def celeba(folder: Path, size: int) -> Reading:
    """CelebA (Liu et al. 2015): the middle 148 x 148 of each aligned face, the usual crop since Larsen et al. (2016),
    averaged down to 64 x 64. Training and test are partitions 0 and 2 of the list; 1, for validation, is not used."""
    images, partition = folder / "img_align_celeba", folder / "list_eval_partition.txt"
    _verify(folder, [(file.name, file.md5 or "") for file in ENTRIES["celeba"].files if not file.folder])
    names: dict[str, list[str]] = {"0": [], "1": [], "2": []}
    for line in partition.read_text("ascii").splitlines():
        name, number = line.split()
        names[number].append(name)
    if lacking := {*names["0"], *names["2"]}.difference(os.listdir(images)):
        what = f"lacks {len(lacking):,} of the images of {partition.name} (such as {min(lacking)})"
        raise fault(images, what, AGAIN)

    def split(names: list[str]) -> Images:
        decode = partial(_decode, size=size, crop=148)
        return np.zeros(len(names), np.int64), threaded(decode, (images / name for name in names))

    how = f"centre crop 148, area-averaged to {size}x{size}"
    return Reading(("all",), split(names["0"]), split(names["2"]), how)


def lsun(folder: Path, size: int, category: str) -> Reading:
    """A category of LSUN (Yu et al. 2015): the middle square of each image, averaged down to 64 x 64.

    The test split is the 300 validation images of the category, then, to have 10,000, h of the n training images,
    evenly spaced in the order of the keys (hashes: a random order): number i is held out where
    floor((i + 1) h / n) > floor(i h / n). In smaller copies h is at most n / 10.
    """
    training, validation = (folder / f"{category}_{part}_lmdb" for part in ("train", "val"))
    with _database(training) as (n, _), _database(validation) as (n_validation, _):
        h = min(max(0, 10_000 - n_validation), n // 10)

    def images(database: Path, keep: Callable[[int], bool]) -> Iterator[Array]:
        with _database(database) as (_, transaction):
            cursor = transaction.cursor()
            items = ((database / bytes(key).decode(errors="replace"), io.BytesIO(cursor.value()))
                     for i, key in enumerate(cursor.iternext(values=False)) if keep(i))  # fmt: skip
            yield from threaded(lambda item: _decode(*item, size=size), items)

    def held_out(i: int) -> bool:
        return (i + 1) * h // n > i * h // n

    train = np.zeros(n - h, np.int64), images(training, lambda i: not held_out(i))
    tested = itertools.chain(images(validation, lambda i: True), images(training, held_out))
    how = f"middle square, area-averaged to {size}x{size}; test: {n_validation:,} validation images and {h:,} held out"
    test = np.zeros(n_validation + h, np.int64), tested
    return Reading(("all",), train, test, f"{how} from training", shuffle=False)


@contextmanager
def _database(path: Path) -> Iterator[tuple[int, lmdb.Transaction]]:
    """Number of entries and a transaction of an LMDB folder. UserError for whatever is wrong with it."""
    try:
        import lmdb
    except ImportError:
        raise UserError(f"{path} needs the package lmdb: pip install -e '.[data]'") from None
    file = path / "data.mdb"
    try:
        # read by one process in the order of the keys, perhaps from a read-only disk
        with lmdb.open(os.fspath(path), readonly=True, lock=False, readahead=False, max_readers=1) as environment:
            needed = environment.stat()["psize"] * (environment.info()["last_pgno"] + 1)
            if file.stat().st_size < needed:  # reading a page that is not there would kill the process
                raise EOFError(f"{file.stat().st_size:,} of {needed:,} bytes")
            with environment.begin() as transaction:
                yield environment.stat()["entries"], transaction
    except (*DAMAGE, lmdb.Error) as error:
        raise damaged(file, error, "unzip its archive again, or fetch it again") from error


def imagenet64(folder: Path, size: int) -> Reading:
    """ImageNet at 64 x 64, the official batches of Chrabaszcz, Loshchilov and Hutter (2017) as .npz: 1,281,167 + 50,000
    images; the classes are numbered from 1, in an order of their own, and not named."""

    def images(names: Sequence[str]) -> Iterator[Array]:
        for name in names:
            with npz(folder / name) as arrays:
                yield from arrays["data"].reshape(-1, 3, 64, 64)

    def split(*names: str) -> Images:
        labels = []
        for name in names:
            with npz(folder / name) as arrays:
                labels.append(arrays["labels"].astype(np.int64) - 1)
        return np.concatenate(labels), images(names)

    *train, test = ENTRIES["imagenet64"].parts
    classes = tuple(f"class {number}" for number in range(1, 1001))
    return Reading(classes, split(*train), split(test), "official 64x64 batches (Chrabaszcz et al.)", shuffle=False)


def tiny_imagenet(folder: Path, size: int) -> Reading:
    """Tiny ImageNet: 200 classes of ImageNet at 64 x 64, or averaged down to 32 x 32, or fewer in the same layout. Its
    validation images are the test, as those of test/ have no labels."""
    root = folder / "tiny-imagenet-200"
    wnids = (root / "wnids.txt").read_text().split()
    names = root / "words.txt"
    lines = names.read_text("utf-8", "replace").splitlines() if names.is_file() else []
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    train, test = [], []
    folders = {path.name: path / "images" for path in (root / "train").iterdir()}
    for label, wnid in enumerate(wnids):
        files = sorted(folders[wnid].glob("*.JPEG")) if wnid in folders else []
        if not files:
            raise fault(root, f"has no images in train/{wnid}/images", AGAIN)
        train += [(file, label) for file in files]
    validation = {file.name: file for file in (root / "val" / "images").glob("*")}
    annotations = root / "val" / "val_annotations.txt"  # lines of file, wnid and a box
    for number, line in enumerate(annotations.read_text("utf-8", "replace").splitlines(), 1):
        name, wnid = (*line.split("\t"), "", "")[:2]
        if name not in validation or wnid not in wnids:
            raise fault(annotations, f"names no image and class that exist in line {number}", AGAIN)
        test.append((validation[name], wnids.index(wnid)))

    def split(members: list[tuple[Path, int]]) -> Images:
        labels = np.array([label for _, label in members], np.int64)
        return labels, threaded(partial(_decode, size=size, side=64), (file for file, _ in members))

    return Reading(tuple(words.get(wnid, wnid) for wnid in wnids), split(train), split(test), averaged(64, size))


READERS: dict[str, Callable[[Path, int], Reading]] = {
    "cifar10": cifar10,
    "stl10": stl10,
    "celeba": celeba,
    "lsun-bedroom": partial(lsun, category="bedroom"),
    "lsun-tower": partial(lsun, category="tower"),
    "lsun-church": partial(lsun, category="church_outdoor"),
    "imagenet64": imagenet64,
    "tiny-imagenet": tiny_imagenet,
}
"""Name -> (folder that holds the parts of its entry, size in pixels) -> what is read. UserError for what is missing; an
error of `reading.DAMAGE` for what is damaged in another way."""
