"""Tiny ImageNet: 200 classes of ImageNet at 64 x 64, or averaged down to 32 x 32; its validation images are the test.

Read from tiny-imagenet-200/ or tiny-imagenet-200.zip:

    wnids.txt  words.txt  train/<wnid>/images/*.JPEG  val/images/*.JPEG  val/val_annotations.txt

A few images are grey and become RGB. Counts are as found: smaller trees of this layout are read as well. The images
of test/ have no labels and are not used.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cqlib.data.reading import DAMAGE, Chunk, Reading, damaged, decoded, fault, in_chunks

VERSION = 1
SIDE = 64
NAME = "tiny-imagenet-200"
AGAIN = "unpack or fetch it again"


def find(folder: Path) -> Path | None:
    """tiny-imagenet-200/ or tiny-imagenet-200.zip in `folder` or its sub-folder tiny-imagenet; or `folder` itself."""
    for home in (folder, folder / "tiny-imagenet"):
        if (home / NAME).is_dir():
            return home / NAME
        if (home / f"{NAME}.zip").is_file():
            return home / f"{NAME}.zip"
    return folder if (folder / "wnids.txt").is_file() and (folder / "val").is_dir() else None


def sources(path: Path) -> tuple[Path, ...]:
    """What is read of it: of a folder neither test/ nor anything else that lies there."""
    if path.is_file():
        return (path,)
    parts = tuple(path / part for part in ("wnids.txt", "words.txt", "train", "val"))
    for part in parts:
        if not part.exists() and part.name != "words.txt":
            raise fault(path, f"lacks {part.name}", AGAIN)
    return tuple(part for part in parts if part.exists())


def read(path: Path, size: int) -> Reading:
    """What find() has found, at 64 or 32 pixels a side. UserError when parts are missing or damaged."""
    files = _Folder(path) if path.is_dir() else _Archive(path)
    wnids = files.text("wnids.txt").split()
    words = {}
    if "words.txt" in files.names:
        words = dict(line.split("\t", 1) for line in files.text("words.txt").splitlines() if "\t" in line)
    train = []
    by_class: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for name in sorted(files.names):
        part, _, rest = name.partition("/")
        wnid = rest.partition("/")[0]
        if part == "train" and wnid in by_class and name.endswith(".JPEG"):
            by_class[wnid].append(name)
    for label, wnid in enumerate(wnids):
        if not by_class[wnid]:
            raise fault(path, f"has no images in train/{wnid}/images", AGAIN)
        train += [(name, label) for name in by_class[wnid]]
    splits = {"train": train, "test": _annotated(path, files, wnids)}

    def chunks() -> Iterator[Chunk]:
        for split, members in splits.items():
            items = (((name, data), label) for name, label, data in files.contents(members))
            yield from in_chunks(split, items, lambda item: decoded(path, *item, SIDE, size))

    how = "pixels as published" if size == SIDE else f"64x64 area-averaged to {size}x{size}"
    counts = {split: len(members) for split, members in splits.items()}
    return Reading(tuple(words.get(wnid, wnid) for wnid in wnids), counts, chunks, shuffle=True, how=how)


def _annotated(path: Path, files: _Folder | _Archive, wnids: list[str]) -> list[tuple[str, int]]:
    """(name, label) of the validation images, from lines of file, wnid and a box."""
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    found = []
    for number, line in enumerate(files.text("val/val_annotations.txt").splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in labels:
            raise fault(path, f"has no file and class in line {number} of val/val_annotations.txt", AGAIN)
        if f"val/images/{fields[0]}" not in files.names:
            raise fault(path, f"lacks val/images/{fields[0]}", AGAIN)
        found.append((f"val/images/{fields[0]}", labels[fields[1]]))
    return found


class _Files:
    """The files of the set by their path below it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.names = self._names()
        except DAMAGE as error:
            raise damaged(path, error) from error

    def text(self, name: str) -> str:
        """The content of a text file; UserError when it is missing."""
        if name not in self.names:
            raise fault(self.path, f"lacks {name}", AGAIN)
        (content,) = (data for *_, data in self.contents([(name, 0)]))
        return content.decode("utf-8", "replace")


class _Folder(_Files):
    def _names(self) -> set[str]:
        found = set(os.listdir(self.path))
        for part in ("train", "val"):
            for folder, _, files in os.walk(self.path / part):
                below = Path(folder).relative_to(self.path).as_posix()
                found |= {f"{below}/{name}" for name in files}
        return found

    def contents(self, members: list[tuple[str, int]]) -> Iterator[tuple[str, int, bytes]]:
        for name, label in members:
            try:
                yield name, label, (self.path / name).read_bytes()
            except OSError as error:
                raise damaged(self.path / name, error) from error


class _Archive(_Files):
    def _names(self) -> set[str]:
        with zipfile.ZipFile(self.path) as archive:
            return {name.removeprefix(f"{NAME}/") for name in archive.namelist()}

    def contents(self, members: list[tuple[str, int]]) -> Iterator[tuple[str, int, bytes]]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                prefix = f"{NAME}/" if f"{NAME}/wnids.txt" in archive.namelist() else ""
                for name, label in members:
                    yield name, label, archive.read(prefix + name)
        except DAMAGE as error:
            raise damaged(self.path, error) from error
