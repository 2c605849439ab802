"""The description of a published data set: its files, sizes, hashes and terms. Standard library only."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray"
Images: TypeAlias = tuple[Sequence[int], Iterable[Array]]
"""One split in the order in which it is stored: labels, and images uint8 (3, S, S), read as they are asked for."""
GDRIVE = "https://drive.google.com/uc?id="


@dataclass(frozen=True)
class File:
    """One file as its publisher gives it out: its size (a round number is an estimate), an address that can be
    downloaded, or a page on which one agrees to terms first, and the `folder` that it holds if it is an archive."""

    name: str
    bytes: int
    url: str
    md5: str | None = None
    folder: str = ""

    @property
    def size(self) -> str:
        """The size in words: "170 MB", "about 2.4 GB"."""
        unit, power = ("GB", 9) if self.bytes >= 10**9 else ("MB", 6)
        value = self.bytes / 10**power
        text = f"{value:.0f}" if value >= 20 else f"{value:.1f}".removesuffix(".0")
        return f"{'' if self.bytes % 10**5 else 'about '}{text} {unit}"


@dataclass(frozen=True)
class DecodedSplits:
    """Both splits of a data set: label k means `classes[k]`, `how` is the preprocessing in words. A reader whose source
    is sorted (by class, by name) gives each split in `dataset.fixed_order`, so that any first part of it is fair."""

    classes: tuple[str, ...]
    train: Images
    test: Images
    how: str


@dataclass(frozen=True)
class PublishedDataset:
    """A data set as its publisher describes it.

    `sizes` are the sides in pixels that can be asked for; the first is the paper's, or the set's own. `train` and
    `test` count images, `classes` the classes that labels name. `parts` are the files and folders that are read, after
    unpacking. `by_hand` says why the set is not downloaded and what to do; it is empty where the set is, which takes
    https and a published hash. `read(folder, side)` makes both splits from the folder that holds the parts; it may
    raise an error of `reading.READ_ERRORS`, and its images a UserError, for what is missing or damaged.
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    train: int
    test: int
    files: tuple[File, ...]
    parts: tuple[str, ...]
    terms: str
    by_hand: str = ""
    classes: int = field(kw_only=True)
    read: Callable[[Path, int], DecodedSplits] = field(kw_only=True)

    @property
    def about(self) -> str:
        """One line for `--list`."""
        return f"{self.title}: {self.train:,} + {self.test:,} images, {self.sizes[0]} x {self.sizes[0]}"

    @property
    def how(self) -> str:
        """How it comes, in a few words."""
        return f"by hand: {self.by_hand}" if self.by_hand else "fetched when first used"

    @property
    def sources(self) -> str:
        """The files with their sizes and addresses, in one line."""
        if len({file.url for file in self.files}) == 1:
            return f"{' and '.join(f'{file.name} ({file.size})' for file in self.files)} from {self.files[0].url}"
        return " and ".join(f"{file.name} ({file.size}) from {file.url}" for file in self.files)
