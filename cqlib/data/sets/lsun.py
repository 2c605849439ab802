"""LSUN (Yu et al. 2015): bedrooms, towers and churches."""

import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cqlib.data.catalogue import Array, DecodedSplits, File, PublishedDataset
from cqlib.util.errors import UserError


def read(folder: Path, size: int, category: str) -> DecodedSplits:
    """A category of LSUN (Yu et al. 2015): the middle square of each image, averaged down to 64 x 64.

    The test split is the 300 validation images of the category, then, to have 10,000, h of the n training images,
    evenly spaced in the order of the keys (hashes: a random order): number i is held out where
    floor((i + 1) h / n) > floor(i h / n). In smaller copies h is at most n / 10.
    """
    from cqlib.data.reading import decode, threaded

    training, validation = (folder / f"{category}_{part}_lmdb" for part in ("train", "val"))
    with _database(training) as (n, _), _database(validation) as (n_validation, _):
        h = min(max(0, 10_000 - n_validation), n // 10)

    def images(database: Path, keep: Callable[[int], bool]) -> Iterator[Array]:
        with _database(database) as (_, transaction):
            cursor = transaction.cursor()
            items = ((database / bytes(key).decode(errors="replace"), io.BytesIO(cursor.value()))
                     for i, key in enumerate(cursor.iternext(values=False)) if keep(i))  # fmt: skip
            yield from threaded(lambda item: decode(*item, size=size), items)

    def held_out(i: int) -> bool:
        return (i + 1) * h // n > i * h // n

    train = [0] * (n - h), images(training, lambda i: not held_out(i))
    tested = itertools.chain(images(validation, lambda i: True), images(training, held_out))
    how = f"middle square, area-averaged to {size}x{size}; test: {n_validation:,} validation images and {h:,} held out"
    return DecodedSplits(("all",), train, ([0] * (n_validation + h), tested), f"{how} from training")


@contextmanager
def _database(path: Path) -> Iterator[tuple[int, Any]]:
    """Number of entries and a transaction of an LMDB folder. UserError for whatever is wrong with it."""
    from cqlib.data.reading import damaged_file_error

    try:
        import lmdb
    except ImportError:
        raise UserError(f"{path} needs the package lmdb: pip install -e '.[data]'") from None
    try:
        # read by one process in the order of the keys, perhaps from a read-only disk
        with lmdb.open(os.fspath(path), readonly=True, lock=False, readahead=False, max_readers=1) as environment:
            with environment.begin() as transaction:
                yield environment.stat()["entries"], transaction
    except (OSError, lmdb.Error) as error:
        raise damaged_file_error(path / "data.mdb", error, "unzip its archive again, or fetch it again") from error


def _entry(category: str, title: str, train: int, size: int) -> PublishedDataset:
    url = "https://dl.yf.io/lsun/scenes/"
    parts = (f"{category}_train_lmdb", f"{category}_val_lmdb")
    files = tuple(File(f"{part}.zip", n, f"{url}{part}.zip") for part, n in zip(parts, (size, 6_000_000), strict=True))
    name = f"lsun-{category.removesuffix('_outdoor')}"
    terms, by_hand = "no licence is stated; for research (Yu et al. 2015)", "no hash is published to check it by"
    reader = partial(read, category=category)
    return PublishedDataset(
        name, title, (64,), train - 9_700, 10_000, files, parts, terms, by_hand, classes=1, read=reader,
    )  # fmt: skip


ENTRIES = (
    _entry("bedroom", "LSUN bedrooms", 3_033_042, 42_800_000_000),
    _entry("tower", "LSUN towers", 708_264, 11_200_000_000),
    _entry("church_outdoor", "LSUN churches", 126_227, 2_300_000_000),
)
