"""CelebA, aligned and cropped (Liu et al. 2015): the middle 148 x 148 of each face, averaged down to 64 x 64.

Training and test are partitions 0 and 2 of list_eval_partition.txt; partition 1, for validation, is not used.
Read from img_align_celeba.zip or img_align_celeba/, with list_eval_partition.txt (or .csv) beside it.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from PIL import Image

from cqlib.data.reading import DAMAGE, FORMATS, Array, Chunk, Reading, damaged, fault, in_chunks, square

VERSION = 1
CROP = 148
"""Of the 178 x 218 pixels; the side that is usual since Larsen et al. (2016)."""
IMAGES = "img_align_celeba"
PARTITION = "list_eval_partition.txt"
SPLITS: dict[str, Literal["train", "test"]] = {"0": "train", "2": "test"}


def find(folder: Path) -> Path | None:
    """img_align_celeba.zip or img_align_celeba/ in `folder` or its sub-folder celeba, or in an Img/ of theirs."""
    for home in (folder, folder / "celeba", folder / "Img", folder / "celeba" / "Img"):
        for path, exists in ((home / f"{IMAGES}.zip", Path.is_file), (home / IMAGES, Path.is_dir)):
            if exists(path):
                return path
    return None


def sources(path: Path) -> tuple[Path, ...]:
    """The images and the list of the partitions. UserError when the list is missing."""
    homes = (path.parent, path.parent.parent / "Eval", path)
    for file in (home / name for name in (PARTITION, PARTITION.replace(".txt", ".csv")) for home in homes):
        if file.is_file():
            return path, file
    raise fault(path.parent / PARTITION, "does not exist", f"put CelebA's {PARTITION} beside {path.name}")


def read(path: Path, size: int) -> Reading:
    """What find() has found, at `size` pixels a side. UserError when images are missing or damaged."""
    _, partition = sources(path)
    names = _partition(partition)
    files = _Files(path)
    lacking = [name for split in names.values() for name in split if name not in files.paths]
    if lacking:
        raise fault(path, f"lacks {len(lacking):,} of the images of {partition.name} (such as {min(lacking)})",
                    "delete it and fetch it again")  # fmt: skip

    def chunks() -> Iterator[Chunk]:
        for split, members in names.items():
            items = (((name, data), 0) for name, data in files.contents(members))
            yield from in_chunks(split, items, lambda item: _decode(path, item, size))

    how = f"centre crop {CROP}, area-averaged to {size}x{size}"
    return Reading(("all",), {split: len(members) for split, members in names.items()}, chunks, shuffle=True, how=how)


class _Files:
    """The images of the archive or folder, by name."""

    def __init__(self, path: Path):
        self.path = path
        try:
            if path.is_dir():
                inner = path / IMAGES if (path / IMAGES).is_dir() else path
                self.paths = {name: os.path.join(inner, name) for name in os.listdir(inner)}
            else:
                with zipfile.ZipFile(path) as archive:
                    self.paths = {os.path.basename(name): name for name in archive.namelist()}
        except DAMAGE as error:
            raise damaged(path, error) from error

    def contents(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of each, read when it is asked for."""
        try:
            if self.path.is_dir():
                for name in names:
                    yield name, Path(self.paths[name]).read_bytes()
            else:
                with zipfile.ZipFile(self.path) as archive:
                    for name in names:
                        yield name, archive.read(self.paths[name])
        except DAMAGE as error:
            raise damaged(self.path, error) from error


def _partition(file: Path) -> dict[Literal["train", "test"], list[str]]:
    """Split -> names, from lines such as "000001.jpg 0"."""
    names: dict[Literal["train", "test"], list[str]] = {"train": [], "test": []}
    try:
        lines = file.read_text("ascii").replace(",", " ").splitlines()
    except DAMAGE as error:
        raise damaged(file, error) from error
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or (number == 1 and fields[0] == "image_id"):  # the heading of the .csv
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise fault(file, f"has no name and partition (0, 1 or 2) in line {number}", "fetch it again")
        if fields[1] in SPLITS:
            names[SPLITS[fields[1]]].append(fields[0])
    for split, members in names.items():
        if not members:
            raise fault(file, f"names no {split} images", "fetch it again")
    return names


def _decode(path: Path, item: tuple[str, bytes], size: int) -> Array:
    """uint8 (3, size, size) of one encoded image; UserError that names it when it is damaged."""
    name, data = item
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return square(image, size, CROP)
    except DAMAGE as error:
        raise damaged(path / name, error) from error
