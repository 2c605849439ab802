"""A published data set is converted once to uint8 arrays on disk, which are mapped into memory, not loaded.

    converted/<name>-<size>/
        train-images.npy  train-labels.npy  test-images.npy  test-labels.npy
        meta.json         states of the source and of the arrays, classes, fingerprints, how

The copy is used as long as names, sizes and times of the source's files and of the arrays stay the same. It is built
under a temporary name; a lock makes a second process wait for it.
"""

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from cqlib.data.catalogue import DecodedSplits
from cqlib.data.dataset import Dataset, Split, fixed_order
from cqlib.data.reading import READ_ERRORS, damaged_file_error, file_error, progress, require
from cqlib.util import locks
from cqlib.util.errors import cause_of, out_of_memory, to_stderr
from cqlib.util.files import canonical_json, move, remove_leftovers, sha256, write_atomic

VERSION = 3
"""The version of the folder above, and of what readers make of a source; a change converts everything anew."""
ARRAYS = tuple(f"{split}-{kind}.npy" for split in ("train", "test") for kind in ("images", "labels"))
SILENT_UP_TO = 10_000
"""So many images are converted in seconds: nothing is said about them."""
REPAIR = "see to the files of this data set in it, or fetch them again"
"""What to do about a damaged source: its folder may hold other data sets too."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def load(name: str, size: int, sources: Sequence[Path], read: Callable[[], DecodedSplits], cache: Path) -> Dataset:
    """The data set that `read` makes of the files and folders `sources`, from its copy in the folder `cache`. UserError
    for a damaged source, a full disk, or a folder that cannot be written to."""
    folder, state = cache / f"{name}-{size}", _state(sources)
    if data := _open(folder, name, size, state):
        return data
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locks.file_lock(cache / f"{folder.name}.lock", folder.name):
            if _open(folder, name, size, state) is None:  # no other process has made it meanwhile
                _convert(folder, size, sources[0].parent, state, read)
    except OSError as error:
        if out_of_memory(error):
            raise MemoryError(str(error)) from error
        full = error.errno in FULL
        what = f"has no room for {name} at {size}x{size}" if full else f"cannot be written to ({cause_of(error)})"
        raise file_error(cache, what, "repair that or give another --data-dir, and try again") from error
    if data := _open(folder, name, size, state):
        return data
    raise file_error(folder, "cannot be read back", "delete it and try again")


def _state(paths: Sequence[Path]) -> str:
    """A hash over names, sizes and times of the files in `paths`, hidden ones and the lock of a database excepted."""
    root = os.fspath(paths[0].parent)
    files = [os.fspath(path) for path in paths if path.is_file()]
    files += [os.path.join(home, name) for path in paths for home, _, names in os.walk(path) for name in names
              if not name.startswith(".") and name != "lock.mdb"]  # fmt: skip
    states = ((file.removeprefix(root), os.stat(file)) for file in sorted(files))
    return sha256(canonical_json([VERSION, *((name, s.st_size, s.st_mtime_ns) for name, s in states)]).encode())


def _open(folder: Path, name: str, size: int, state: str) -> Dataset | None:
    """The copy in `folder`; None when it is absent, not whole, or of another state of its source."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if (meta["source"], meta["arrays"]) != (state, _state([folder / array for array in ARRAYS])):
            return None
        # mapped copy-on-write: whatever is done to the arrays in memory, the files stay as they are
        x, y, x_test, y_test = (torch.from_numpy(np.load(folder / array, mmap_mode="c")) for array in ARRAYS)
        splits = Split.stored("train", x, y, meta["train"]), Split.stored("test", x_test, y_test, meta["test"])
        return Dataset(name, size, tuple(meta["classes"]), *splits, how=meta["how"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _convert(folder: Path, size: int, source: Path, state: str, read: Callable[[], DecodedSplits]) -> None:
    """Build `folder`. The caller holds its lock, so whatever has a temporary name was left by a killed process. OSError
    if the disk is full or fails."""
    cache = folder.parent
    for leftover in cache.glob(f".{folder.name}-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    remove_leftovers(cache, older=3600)
    try:
        reading = read()
    except READ_ERRORS as error:
        raise damaged_file_error(source, error, REPAIR) from error
    n = len(reading.train[0]) + len(reading.test[0])
    if shutil.disk_usage(cache).free < n * (3 * size * size + 8) + 10**6:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if n > SILENT_UP_TO and not sys.stderr.isatty():
        to_stderr(f"converting {n:,} images to {folder}, once")
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".tmp", dir=cache))
    try:
        temporary.chmod(0o755)
        meta = {"source": state, "classes": reading.classes, "how": reading.how}
        for split in ("train", "test"):
            meta[split] = _write(split, reading, source, temporary, size)
        meta["arrays"] = _state([temporary / array for array in ARRAYS])
        write_atomic(temporary / "meta.json", json.dumps(meta, indent=1))
        shutil.rmtree(folder, ignore_errors=True)  # of another state, or not whole
        move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(split: str, reading: DecodedSplits, source: Path, folder: Path, size: int) -> str:
    """Write the two arrays of a split. Returns its fingerprint."""
    numbers, images = reading.train if split == "train" else reading.test
    n = len(numbers)
    usable = n > 0 and min(numbers) >= 0 and max(numbers) < len(reading.classes)
    require(usable, source, f"has no {split} images, or labels of no class", REPAIR)
    pixels = _array(folder / f"{split}-images.npy", (n, 3, size, size), np.uint8)
    labels = _array(folder / f"{split}-labels.npy", (n,), np.int64)
    places = np.argsort(fixed_order(n)) if reading.shuffle else np.arange(n)  # number i of the source goes to places[i]
    labels[places] = numbers
    done = 0
    try:
        for image in progress(images, f"converting {split} images", n):
            if image.dtype != np.uint8 or image.shape != (3, size, size) or done == n:
                raise ValueError(f"{image.dtype} {image.shape} as image {done + 1:,} of {n:,} in {split}")
            pixels[places[done]] = image
            done += 1
        if done < n:
            raise ValueError(f"{done:,} {split} images for {n:,} labels")
    except READ_ERRORS as error:
        raise damaged_file_error(source, error, REPAIR) from error
    pixels.flush()
    labels.flush()
    return Split(split, torch.from_numpy(pixels), torch.from_numpy(labels)).fingerprint


def _array(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """A new .npy file, mapped into memory to be written to. OSError now if the disk has no room for it, instead of a
    fatal signal later."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
