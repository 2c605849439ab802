"""A published data set is converted once to uint8 arrays on disk, which are mapped into memory, not loaded.

    <cache>/<name>-<size>/
        train-images.npy  train-labels.npy  test-images.npy  test-labels.npy
        meta.json         state of the source and of the arrays, classes, fingerprints, how

The copy holds as long as names, sizes and times of the source's files do. It is built under a temporary name and
renamed when it is whole; a lock makes a second process wait and then use what the first has made.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from cqlib.data.dataset import Dataset, Split, fixed_order
from cqlib.data.readers import AGAIN, Images, Reading
from cqlib.data.reading import DAMAGE, Array, damaged, fault, progress_bar
from cqlib.util import locks
from cqlib.util.files import canonical_json, move, remove_leftovers, sha256, write_atomic

VERSION = 2
"""Of the folder above and of what readers make of a source; a change converts everything anew."""
QUICK = 10_000
"""Images that are converted in seconds."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def load(name: str, size: int, sources: Sequence[Path], read: Callable[[], Reading], caches: Sequence[Path]) -> Dataset:
    """The data set that `read` gives of the files and folders `sources`, from its copy in one of the folders `caches`.

    Where there is none it is made in the first of them that can be written to. UserError for a damaged source, a
    full disk, or no such folder.
    """
    stem = f"{name}-{size}"
    state = _state(sources)
    for cache in caches:
        if data := _open(cache / stem, name, size, state):
            return data
    cache = _writable(caches)
    with locks.held(cache / f"{stem}.lock", stem):
        data = _open(cache / stem, name, size, state)
        if data is None:
            _convert(name, size, sources[0].parent, state, read, cache / stem)
            data = _open(cache / stem, name, size, state)
    if data is None:
        raise fault(cache / stem, "cannot be read back", "delete it and try again")
    return data


def _state(sources: Sequence[Path]) -> str:
    """A hash that changes whenever a file of `sources` comes, goes, grows or is written; hidden files do not count,
    nor does the lock of a database, which reading alone changes."""
    root = os.fspath(sources[0].parent)
    files = [os.fspath(path) for path in sources if path.is_file()]
    files += [os.path.join(home, name) for path in sources for home, _, names in os.walk(path) for name in names
              if not name.startswith(".") and name != "lock.mdb"]  # fmt: skip
    return sha256(canonical_json([VERSION, sorted((file.removeprefix(root), *_mark(file)) for file in files)]).encode())


def _mark(file: Path | str) -> tuple[int, int]:
    """Size and time: they change when the file is written to."""
    state = os.stat(file)
    return state.st_size, state.st_mtime_ns


def _marks(folder: Path) -> dict[str, list[int]]:
    """Of each array's file: a copy that was written to since is not used."""
    return {file.name: list(_mark(file)) for file in sorted(folder.glob("*.npy"))}


def _open(folder: Path, name: str, size: int, state: str) -> Dataset | None:
    """The copy in `folder`; None when it is absent, not whole, or of another state of its source."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if (meta["state"], meta["marks"]) != (state, _marks(folder)):
            return None
        splits = []
        for split in ("train", "test"):  # mapped copy on write: whatever is done in memory, the files stay
            arrays = (np.load(folder / f"{split}-{kind}.npy", mmap_mode="c") for kind in ("images", "labels"))
            splits.append(Split.stored(split, *map(torch.from_numpy, arrays), meta["fingerprints"][split]))
        return Dataset(name, size, tuple(meta["classes"]), *splits, how=meta["how"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


# ---- writing ------------------------------------------------------------------------------------------------


def _convert(name: str, size: int, source: Path, state: str, read: Callable[[], Reading], folder: Path) -> None:
    """Build `folder`; under its lock, so what has a temporary name was left by a killed process."""
    cache = folder.parent
    for leftover in cache.glob(f".{folder.name}-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    remove_leftovers(cache, older=3600)
    try:
        reading = read()
    except DAMAGE as error:
        raise damaged(source, error) from error
    n = len(reading.train.labels) + len(reading.test.labels)
    needed = n * (3 * size * size + 8) + 10**6
    room = fault(cache, f"has no room for {name} at {size}x{size} ({needed / 1e6:,.0f} MB)", "free some and try again")
    if shutil.disk_usage(cache).free < needed:
        raise room
    if n > QUICK and not sys.stderr.isatty():
        print(f"{name}: converting {n:,} images to {folder}, once", file=sys.stderr, flush=True)
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".tmp", dir=cache))
        temporary.chmod(0o755)
        meta = {"state": state, "classes": reading.classes, "how": reading.how, "fingerprints": {}}
        for split, images in (("train", reading.train), ("test", reading.test)):
            meta["fingerprints"][split] = _write(split, images, source, temporary, size, reading)
        meta["marks"] = _marks(temporary)
        write_atomic(temporary / "meta.json", json.dumps(meta, indent=1))
        shutil.rmtree(folder, ignore_errors=True)  # of another state, or not whole
        move(temporary, folder)
    except OSError as error:
        if error.errno in FULL:
            raise room from error
        raise fault(cache, f"could not be written ({error.strerror or error})", "repair that and try again") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(split: str, images: Images, source: Path, folder: Path, size: int, reading: Reading) -> str:
    """The two arrays of a split; its fingerprint."""
    n, done = len(images.labels), 0
    if n == 0 or images.labels.min() < 0 or images.labels.max() >= len(reading.classes):
        raise fault(source, f"has no {split} images, or labels of no class", AGAIN)
    pixels = _array(folder / f"{split}-images.npy", (n, 3, size, size), np.uint8)
    labels = _array(folder / f"{split}-labels.npy", (n,), np.int64)
    places = np.argsort(fixed_order(n)) if reading.shuffle else np.arange(n)  # number i of the source goes to places[i]
    labels[places] = images.labels
    with progress_bar(f"converting {split} images", n) as bar:
        blocks = iter(images.blocks)
        while (block := _next(blocks, source)) is not None:
            if block.dtype != np.uint8 or block.shape[1:] != (3, size, size) or done + len(block) > n:
                raise fault(source, f"gives {block.dtype} {block.shape} after {done:,} of {n:,} {split} images", AGAIN)
            pixels[places[done : done + len(block)]] = block
            done += len(block)
            bar.update(len(block))
    if done != n:
        raise fault(source, f"has {done:,} {split} images for {n:,} labels", AGAIN)
    for array in (pixels, labels):
        array.flush()
    return Split(split, torch.from_numpy(pixels), torch.from_numpy(labels)).fingerprint


def _next(blocks: Iterator[Array], source: Path) -> Array | None:
    """The next block; what goes wrong in it is the source's fault, not the disk's."""
    try:
        return next(blocks, None)
    except DAMAGE as error:
        raise damaged(source, error) from error


def _array(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """A new .npy file to write to in memory; OSError now if the disk has no room for it, and not a signal later."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _writable(caches: Sequence[Path]) -> Path:
    """The first of `caches` that can be written to; made where it does not exist."""
    for cache in caches:
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(cache, os.W_OK | os.X_OK):
            return cache
    raise fault(caches[-1], "cannot be written to", "change its permissions, or give another --data-dir")
