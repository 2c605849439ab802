"""A published data set is decoded once to uint8 arrays on disk, which are then mapped into memory, not loaded.

    converted/<name>-<size>/
        train-images.npy  train-labels.npy  test-images.npy  test-labels.npy
        meta.json         state of the source, classes, fingerprints, how; written last

The copy is used as long as the names, sizes and times of the source's files stay the same. A lock makes a second
process wait for the first.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cqlib.data.catalogue import DecodedSplits
from cqlib.data.dataset import Dataset, Split
from cqlib.data.reading import file_error, naming_damage, progress
from cqlib.util.errors import cause_of, to_stderr
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.locks import file_lock

VERSION = 3
"""The version of the folder above, and of what readers make of a source; a change converts everything again."""
REPAIR = "replace the files of this data set, or delete them and fetch them again"


def load(name: str, size: int, sources: Sequence[Path], read: Callable[[], DecodedSplits], cache: Path) -> Dataset:
    """The data set that `read` makes of the files and folders `sources`, from its copy in the folder `cache`. UserError
    for a damaged source, a full disk, or a folder that cannot be written to."""
    folder, state = cache / f"{name}-{size}", _state(sources)
    if data := _open(folder, name, size, state):
        return data
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with file_lock(cache / f"{folder.name}.lock", folder.name):
            # another process may have made it meanwhile
            return _open(folder, name, size, state) or _convert(folder, name, size, state, sources[0].parent, read)
    except OSError as error:
        remedy = "make room there, or give another --data-dir"
        raise file_error(folder, f"cannot be written ({cause_of(error)})", remedy) from error


def _state(paths: Sequence[Path]) -> str:
    """A hash over names, sizes and times of the files in `paths`, hidden ones and the lock of a database excepted."""
    root = os.fspath(paths[0].parent)
    files = [os.fspath(path) for path in paths if path.is_file()]
    files += [os.path.join(home, name) for path in paths for home, _, names in os.walk(path) for name in names
              if not name.startswith(".") and name != "lock.mdb"]  # fmt: skip
    states = ((file.removeprefix(root), os.stat(file)) for file in sorted(files))
    return sha256(canonical_json([VERSION, *((name, s.st_size, s.st_mtime_ns) for name, s in states)]).encode())


def _open(folder: Path, name: str, size: int, state: str) -> Dataset | None:
    """The copy in `folder`; None where it is absent, not whole, or of another state of its source."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        return _mapped(folder, name, size, meta) if meta["source"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(folder: Path, name: str, size: int, meta: dict[str, Any]) -> Dataset:
    """The arrays in `folder`, mapped copy-on-write: whatever is done to the tensors, the files stay as they are."""

    def split(name: str) -> Split:
        images, labels = (np.load(folder / f"{name}-{kind}.npy", mmap_mode="c") for kind in ("images", "labels"))
        return Split.stored(name, torch.from_numpy(images), torch.from_numpy(labels), meta.get(name))

    return Dataset(name, size, tuple(meta["classes"]), split("train"), split("test"), how=meta["how"])


def _convert(
    folder: Path, name: str, size: int, state: str, source: Path, read: Callable[[], DecodedSplits]
) -> Dataset:
    """Build `folder` from what `read` makes of the files in `source`. OSError where it cannot be written."""
    with naming_damage(source, REPAIR):
        decoded = read()
    to_stderr(f"converting {len(decoded.train[0]) + len(decoded.test[0]):,} images to {folder}, once")
    shutil.rmtree(folder, ignore_errors=True)  # not whole, or of another state; whoever has mapped it keeps its files
    folder.mkdir(exist_ok=True)
    for split, (labels, images) in (("train", decoded.train), ("test", decoded.test)):
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(labels), 3, size, size)}
        # written image by image: a full disk is an error then, and in a mapped file it would kill the process
        with open(folder / f"{split}-images.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for image in progress(images, f"converting {split} images", len(labels)):
                file.write(image.tobytes())
        np.save(folder / f"{split}-labels.npy", np.asarray(labels, np.int64))
    meta = {"source": state, "classes": decoded.classes, "how": decoded.how}
    with naming_damage(source, REPAIR):  # fewer images than labels, labels of no class
        data = _mapped(folder, name, size, meta)
    fingerprints = {split.name: split.fingerprint for split in (data.train, data.test)}
    write_atomic(folder / "meta.json", json.dumps(meta | fingerprints, indent=1))
    return data
