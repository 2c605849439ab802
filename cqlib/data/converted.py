"""A published data set is converted once to uint8 arrays on disk, which are mapped into memory, not loaded.

    <cache>/<name>-<size>-<key>/
        train-images.npy  train-labels.npy  test-images.npy  test-labels.npy
        meta.json         counts, classes, fingerprints, how; written last

The key is a hash of the source's content, the loader's version and the size. The folder is built under a temporary
name and renamed when it is whole; a lock makes a second process wait and then read what the first has made.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from cqlib.data import digest, files, photos10
from cqlib.data.arrays import RowFile, mapped
from cqlib.data.catalogue import Entry
from cqlib.data.counter import Counter
from cqlib.data.dataset import Dataset, Split, fingerprint_of
from cqlib.data.reading import Array, Chunk, Reading, fault
from cqlib.util import locks
from cqlib.util.errors import UserError
from cqlib.util.files import canonical_json, move, remove_leftovers, sha256, write_atomic

LAYOUT = 1
"""Of the folder above; a change converts everything anew."""
SPLITS = ("train", "test")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Loader(Protocol):
    """What `cqlib.data.reading` says of a loader."""

    VERSION: int

    def find(self, folder: Path) -> Path | None: ...

    def read(self, path: Path, size: int) -> Reading: ...


def load(entry: Entry, loader: Loader, path: Path, size: int, caches: Sequence[Path]) -> Dataset:
    """The data set that `loader` reads from `path`, from its converted copy in one of the folders `caches`.

    When there is none it is made in the first of them that can be written to. UserError for a damaged source, a
    full disk, or no such folder.
    """
    sources = getattr(loader, "sources", lambda path: (path,))(path)
    parts = {"content": digest.content(entry, sources, caches), "version": loader.VERSION, "layout": LAYOUT}
    stem = f"{entry.name}-{size}"
    folder = f"{stem}-{sha256(canonical_json(parts).encode())[:16]}"
    for cache in caches:
        if found := _open(cache / folder, entry.name, size):
            return found
    cache = _writable(caches)
    with locks.held(cache / f"{stem}.lock", stem):
        found = _open(cache / folder, entry.name, size)
        if not found:
            _convert(entry.name, loader, path, size, cache, folder)
            found = _open(cache / folder, entry.name, size)
    if not found:
        raise fault(cache / folder, "cannot be read back", "delete it and try again")
    return found


def _open(folder: Path, name: str, size: int) -> Dataset | None:
    """The converted copy in `folder`; None when it is absent or not whole."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        splits = []
        for split in SPLITS:
            n = meta["counts"][split]
            images = mapped(folder / f"{split}-images.npy", (n, 3, size, size), np.uint8)
            labels = mapped(folder / f"{split}-labels.npy", (n,), np.int64)
            splits.append(Split.stored(split, torch.from_numpy(images), torch.from_numpy(labels),
                                       meta["fingerprints"][split]))  # fmt: skip
        found = Dataset(name, size, tuple(meta["classes"]), *splits, how=meta["how"])
        return found if meta.get("marks") == _marks(folder) or _verified(found, folder, meta) else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _marks(folder: Path) -> dict[str, list[int]]:
    """Size and time of each array's file: what has been written to since is not believed unread."""
    states = {path.name: path.stat() for path in sorted(folder.glob("*.npy"))}
    return {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()}


def _verified(found: Dataset, folder: Path, meta: dict[str, Any]) -> bool:
    """Whether the arrays are those that were written; noted, so that nobody reads them for this again."""
    if any(replace(split).fingerprint != split.fingerprint for split in (found.train, found.test)):
        return False
    with suppress(OSError):  # a folder that is read only
        write_atomic(folder / "meta.json", json.dumps(meta | {"marks": _marks(folder)}, indent=1))
    return True


def copies(name: str, path: Path, caches: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What meta.json says of the copies of the data set `name` that were made from `path`."""
    for file in sorted(file for cache in caches for file in cache.glob(f"{name}-*/meta.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            meta = json.loads(file.read_text())
            if (meta["name"], meta["source"]) == (name, str(path.absolute())):
                yield meta


# ---- writing ----------------------------------------------------------------------------------------------


def _convert(name: str, loader: Loader, path: Path, size: int, cache: Path, folder: str) -> None:
    """Build `cache`/`folder`; under the lock, so whatever has a temporary name was left by a killed process."""
    for left in cache.glob(f".{name}-{size}-*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    remove_leftovers(cache, older=3600)
    reading = loader.read(path, size)
    for split in SPLITS:
        if reading.counts.get(split, 0) < 1:
            raise fault(path, f"holds no {split} images", "complete it, or fetch it again")
    needed = sum(reading.counts.values()) * (3 * size * size + 8) + 10**6
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise _full(cache, name, size, needed, f"{free / 1e6:,.0f} MB are free")
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-{size}-", suffix=".tmp", dir=cache))
        temporary.chmod(0o755)
        fingerprints = _write(name, path, size, reading, temporary)
        meta = {"name": name, "size": size, "source": str(path.absolute()), "counts": reading.counts}
        meta |= {"classes": reading.classes, "fingerprints": fingerprints, "how": reading.how}
        meta["marks"] = _marks(temporary)
        write_atomic(temporary / "meta.json", json.dumps(meta, indent=1))
        shutil.rmtree(cache / folder, ignore_errors=True)  # a copy that was not whole
        move(temporary, cache / folder)
        _remove_outdated(cache, folder, meta)
    except OSError as error:
        if error.errno in FULL:
            raise _full(cache, name, size, needed, "the disk is full") from error
        raise fault(cache, f"could not be written ({error.strerror or error})", "mend that and try again") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(name: str, path: Path, size: int, reading: Reading, folder: Path) -> dict[str, str]:
    """The four arrays; split -> fingerprint."""
    writers, places, done = {}, {}, dict.fromkeys(SPLITS, 0)
    try:
        for split in SPLITS:
            n = reading.counts[split]
            writers[split] = (RowFile(folder / f"{split}-images.npy", (n, 3, size, size), np.uint8),
                              RowFile(folder / f"{split}-labels.npy", (n,), np.int64))  # fmt: skip
            places[split] = _places(n) if reading.shuffle else None
        with Counter(f"{name}: converting", sum(reading.counts.values()), "image") as counter:
            for chunk in reading.chunks():
                begin, end = done[chunk.split], done[chunk.split] + len(chunk.images)
                _check(path, chunk, reading, size, end)
                where = None if places[chunk.split] is None else places[chunk.split][begin:end]
                for writer, rows in zip(writers[chunk.split], (chunk.images, chunk.labels), strict=True):
                    writer.put(rows, where)
                done[chunk.split] = end
                counter.update(len(chunk.images))
        for split in SPLITS:
            if done[split] != reading.counts[split]:
                raise _incomplete(path, split, done[split], reading)
            for writer in writers[split]:
                writer.finish()
    finally:
        for pair in writers.values():
            for writer in pair:
                writer.file.close()
    return {split: fingerprint_of(*(writer.parts() for writer in writers[split])) for split in SPLITS}


def _places(n: int) -> Array:
    """Where each of n images goes: the inverse of the order that folder: and npz: take."""
    order = photos10.draw(np.arange(n), n, np.random.PCG64(files.SEED))
    places = np.empty(n, np.int64)
    places[order] = np.arange(n)
    return places


def _check(path: Path, chunk: Chunk, reading: Reading, size: int, end: int) -> None:
    if chunk.images.dtype != np.uint8 or chunk.images.shape[1:] != (3, size, size):
        raise ValueError(f"a chunk of {chunk.images.dtype} {chunk.images.shape} at size {size}")
    if chunk.labels.dtype != np.int64 or chunk.labels.shape != chunk.images.shape[:1]:
        raise ValueError(f"labels {chunk.labels.dtype} {chunk.labels.shape} for {len(chunk.images)} images")
    if end > reading.counts[chunk.split]:
        raise _incomplete(path, chunk.split, end, reading)
    if chunk.labels.min() < 0 or chunk.labels.max() >= len(reading.classes):
        raise fault(path, f"has labels from {chunk.labels.min()} to {chunk.labels.max()} for {len(reading.classes)} "
                    "classes", "delete it and fetch it again")  # fmt: skip


def _incomplete(path: Path, split: str, got: int, reading: Reading) -> UserError:
    what = f"gave {got:,} {split} images where {reading.counts[split]:,} were announced"
    return fault(path, what, "delete it and fetch it again")


def _remove_outdated(cache: Path, folder: str, meta: dict[str, Any]) -> None:
    """Copies of the same source as it was before, or by an earlier loader."""
    for other in cache.glob(f"{meta['name']}-{meta['size']}-*"):
        try:
            same = json.loads((other / "meta.json").read_text())["source"] == meta["source"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if same and other.name != folder:
            shutil.rmtree(other, ignore_errors=True)


# ---- the cache folder -------------------------------------------------------------------------------------


def _full(cache: Path, name: str, size: int, needed: int, what: str) -> UserError:
    return fault(cache, f"has no room for {name} at {size}x{size} ({needed / 1e6:,.0f} MB needed, {what})",
                 "make room and try again, nothing half done is left")  # fmt: skip


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
