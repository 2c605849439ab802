"""ImageNet at 64 x 64 pixels, from either official downsampled release; nothing is resized here.

- Batches of Chrabaszcz, Loshchilov and Hutter (2017): Imagenet64_train_part1, _part2 and _val, pickled or as _npz,
  zipped or not: train_data_batch_1 to 10 and val_data. 1,281,167 + 50,000 images of 1,000 classes.
- Pictures of van den Oord, Kalchbrenner and Kavukcuoglu (2016), as Real NVP and PixelRNN use them: train_64x64 and
  valid_64x64 as .tar, .zip or folder of PNG files. 1,281,149 + 49,999 images without classes.

The releases were averaged down in different ways: likelihoods compare within one only. Batches are preferred.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from cqlib.data import image_batches
from cqlib.data.counter import Counter
from cqlib.data.reading import DAMAGE, Array, Chunk, Reading, damaged, decoded, fault, in_chunks, square

VERSION = 1
SIDE = 64
CLASSES = tuple(f"class {number}" for number in range(1, 1001))
"""Batches number the classes from 1, in an order of their own, and do not name them."""
N_TRAIN_BATCHES = 10
FOLDERS = ("Imagenet64_train_part1", "Imagenet64_train_part2", "Imagenet64_val")
PICTURES: dict[Literal["train", "test"], str] = {"train": "train_64x64", "test": "valid_64x64"}


def find(folder: Path) -> Path | None:
    """The first part of the training images in `folder` or its sub-folder imagenet64."""
    for home in (folder, folder / "imagenet64"):
        for npz in (True, False):
            for place in _places(home, npz, 0):
                if place.is_file():
                    return place
        for suffix in (".tar", ".zip", ""):
            path = home / f"{PICTURES['train']}{suffix}"
            if path.is_file() if suffix else path.is_dir():
                return path
    return None


def sources(path: Path) -> tuple[Path, ...]:
    """Every file or folder that belongs to what find() has found. UserError when one is missing."""
    if path.name.startswith(PICTURES["train"]):
        return tuple(_pictures(path).values())
    return tuple(dict.fromkeys(batch.path for batches in _batches(path).values() for batch in batches))


def read(path: Path, size: int) -> Reading:
    """What find() has found, at `size` pixels a side. UserError when parts are missing or damaged."""
    if path.name.startswith(PICTURES["train"]):
        return _read_pictures(path, size)
    return _read_batches(path, size)


# ---- batches ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Batch:
    """A file of images, perhaps inside an archive."""

    path: Path
    member: str | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file, seekable; UserError for whatever is wrong with it until it is closed."""
        try:
            if self.member is None:
                with open(self.path, "rb") as file:
                    yield file
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                    yield io.BufferedReader(image_batches.Unpacked(file, archive.getinfo(self.member).file_size), 2**20)
        except DAMAGE as error:
            raise damaged(self.path, error) from error

    @property
    def form(self) -> image_batches.Form:
        """How its content is laid out."""
        return image_batches.npz if (self.member or self.path.name).endswith(".npz") else image_batches.pickled


def _places(home: Path, npz: bool, part: int) -> tuple[Path, ...]:
    """Where a part's batches may be: the first of its files, loose or in the part's folder, or its archive."""
    folder = FOLDERS[part] + ("_npz" if npz else "")
    name = ("train_data_batch_1", "train_data_batch_6", "val_data")[part] + (".npz" if npz else "")
    return home / name, home / folder / name, home / f"{folder}.zip"


def _batches(path: Path) -> dict[Literal["train", "test"], list[_Batch]]:
    """All batches beside `path`, the first part's place."""
    npz = path.suffix == ".npz" or path.stem.endswith("_npz")
    home = path.parent.parent if path.parent.name in (FOLDERS[0], f"{FOLDERS[0]}_npz") else path.parent
    held = {}
    for part in reversed(range(len(FOLDERS))):
        for place in reversed(_places(home, npz, part)):  # a loose file goes before one in an archive
            if place.suffix == ".zip" and place.is_file():
                try:
                    with zipfile.ZipFile(place) as archive:
                        held |= {os.path.basename(name): _Batch(place, name) for name in archive.namelist()}
                except DAMAGE as error:
                    raise damaged(place, error) from error
            elif place.parent.is_dir():
                held |= {file.name: _Batch(file) for file in place.parent.iterdir()}
    suffix = ".npz" if npz else ""
    names: dict[Literal["train", "test"], list[str]] = {
        "train": [f"train_data_batch_{i}{suffix}" for i in range(1, N_TRAIN_BATCHES + 1)],
        "test": [f"val_data{suffix}"],
    }
    for name in (name for split in names.values() for name in split):
        if name not in held:
            part = 2 if name.startswith("val") else (int(name.split("_")[-1].removesuffix(".npz")) - 1) // 5
            archive = _places(home, npz, part)[2].name
            raise fault(home / name, "is missing", f"put {archive} or what it holds into {home}")
    return {split: [held[name] for name in members] for split, members in names.items()}


def _read_batches(path: Path, size: int) -> Reading:
    batches = _batches(path)
    labels = {}
    with Counter("imagenet64: labels", N_TRAIN_BATCHES + 1, "file") as counter:
        for batch in (batch for members in batches.values() for batch in members):
            with batch.open() as file:
                labels[batch], n = batch.form.labels(file), batch.form.count(file)
                if len(labels[batch]) != n or ((labels[batch] < 1) | (labels[batch] > len(CLASSES))).any():
                    raise ValueError(f"not {n:,} labels from 1 to {len(CLASSES)}")
            counter.update(1)
    counts = {split: sum(len(labels[batch]) for batch in members) for split, members in batches.items()}

    def chunks() -> Iterator[Chunk]:
        for split, members in batches.items():
            for batch in members:
                with batch.open() as file:
                    items = zip(batch.form.images(file), (labels[batch] - 1).tolist(), strict=True)
                    yield from in_chunks(split, items, lambda row: _from_row(row, size))

    how = f"official 64x64 batches (Chrabaszcz et al.){_averaged(size)}"
    return Reading(CLASSES, counts, chunks, shuffle=False, how=how)


def _from_row(row: bytes, size: int) -> Array:
    return square(Image.fromarray(np.frombuffer(row, np.uint8).reshape(3, SIDE, SIDE).transpose(1, 2, 0)), size)


def _averaged(size: int) -> str:
    return "" if size == SIDE else f", area-averaged to {size}x{size}"


# ---- pictures ---------------------------------------------------------------------------------------------


def _pictures(path: Path) -> dict[Literal["train", "test"], Path]:
    """The two archives or folders; the second may be of another kind than the first."""
    for suffix in dict.fromkeys((path.suffix, ".tar", ".zip", "")):
        validation = path.with_name(f"{PICTURES['test']}{suffix}")
        if validation.is_file() if suffix else validation.is_dir():
            return {"train": path, "test": validation}
    raise fault(path.with_name(PICTURES["test"] + path.suffix), "is missing", f"put it beside {path.name}")


def _read_pictures(path: Path, size: int) -> Reading:
    paths = _pictures(path)
    counts = {split: sum(1 for _ in _files(part, contents=False)) for split, part in paths.items()}

    def chunks() -> Iterator[Chunk]:
        for split, part in paths.items():
            items = (((part, name, data), 0) for name, data in _files(part, contents=True))
            yield from in_chunks(split, items, lambda item: decoded(*item, SIDE, size))

    how = f"official 64x64 PNG files (van den Oord et al.){_averaged(size)}"
    return Reading(("all",), counts, chunks, shuffle=True, how=how)


def _files(path: Path, contents: bool) -> Iterator[tuple[str, bytes]]:
    """(name, bytes, or none without `contents`) of every PNG file; one at a time, in a fixed order."""
    try:
        if path.is_dir():
            found = (os.path.relpath(os.path.join(home, name), path) for home, _, names in os.walk(path)
                     for name in names)  # fmt: skip
            for name in sorted(filter(_is_png, found)):
                yield name, (path / name).read_bytes() if contents else b""
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in filter(_is_png, archive.namelist()):
                    yield name, archive.read(name) if contents else b""
        else:
            with tarfile.open(path) as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # or a million of them would be remembered
                    if member.isfile() and _is_png(member.name):
                        yield member.name, archive.extractfile(member).read() if contents else b""
                archive.fileobj.seek(archive.offset)
                if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                    raise EOFError("it ends too early")  # between two members tarfile does not complain
    except DAMAGE as error:
        raise damaged(path, error) from error


def _is_png(name: str) -> bool:
    return name.lower().endswith(".png") and not os.path.basename(name).startswith(".")
