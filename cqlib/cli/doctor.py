"""What this machine has and lacks for the reproduction, in plain lines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from cqlib.cli.tasks import cores
from cqlib.data import SOURCES
from cqlib.data.catalogue import ENTRIES, entry_of
from cqlib.util.errors import UserError
from cqlib.util.text import gibibytes, megabytes

if TYPE_CHECKING:
    from cqlib.metrics.features import Features

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def report(runs_dir: Path, data_dir: Path | None = None) -> Iterator[str]:
    """The lines of `python -m cqlib doctor`; "-" begins what is missing, "+" what is there."""
    yield from _device()
    yield from _data(data_dir)
    yield from _features(data_dir)
    browser = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if browser:
        yield f"+ browser for the tests: {browser}"
    else:
        yield "- browser for the tests: none (they skip); Debian, Ubuntu: apt-get install chromium"
    yield from _disk(runs_dir)


def _device() -> Iterator[str]:
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = gibibytes(torch.cuda.get_device_properties(index).total_memory, 0)
            yield f"+ device: {torch.cuda.get_device_name(index)}, {memory}"
    else:
        yield f"+ device: CPU, {cores()} cores (no GPU: profiles smoke, quick and study are made for this)"
    yield f"+ torch {torch.__version__}, torchvision {metadata.version('torchvision')}"


def _data(data_dir: Path | None) -> Iterator[str]:
    from cqlib.data import published

    chosen = os.environ.get("CQLIB_DATA")
    yield f"  data sets ($CQLIB_DATA is {chosen or 'not set'}; --data-dir DIR does the same)"
    for name, source in SOURCES.items():
        if entry_of(name) is None:
            yield f"+   {name}: {source.about}"
    try:
        folder = published.home(data_dir)
    except UserError as error:
        yield f"-   the published data sets: {error}"
        return
    for entry in ENTRIES.values():
        yield from published.describe(entry, folder)
    if (cache := published.cache(folder)).is_dir():
        yield f"+   converted copies in {cache}: {megabytes(_size(cache))}; they may be deleted"


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(os.path.join(home, name)) for home, _, names in os.walk(path) for name in names)


def _features(data_dir: Path | None) -> Iterator[str]:
    from cqlib.data import published
    from cqlib.metrics.features import (
        INCEPTION_FILE,
        INCEPTION_SHA256,
        URL_INCEPTION_V3,
        inception,
        lite0,
        local_inception,
    )

    try:
        found = lite0()
        yield f"+ lite0 features: {found.weights} ({_verified(found)}); Apache 2.0, comes with pip"
    except UserError as error:
        yield f"- lite0 features: {error}"
    try:
        path = local_inception(data_dir)
        if path is not None:
            about = _verified(inception(path))  # refuses a damaged file
            yield f"+ Inception features: {path} ({about}); Apache 2.0; profile paper takes them"
            yield f"    by itself, other profiles with ./run_all.sh --feature-weights {path}"
            return
        why = f"not in {published.home(data_dir)}, nor where torch-fidelity keeps it"
    except UserError as error:
        why = str(error)
    yield f"- Inception features: {why}"
    yield f"    put there {INCEPTION_FILE} (95 MB, SHA-256 {INCEPTION_SHA256[:8]}…) from {URL_INCEPTION_V3}"
    yield "    or give any file by --feature-weights; profile paper also fetches it by itself; Apache 2.0"


def _verified(features: Features) -> str:
    """Size and hash of a weights file, which has been found right."""
    size = megabytes(features.weights.stat().st_size)
    return f"{size}, SHA-256 {features.weights_sha256[:16]}… as published"


def _disk(runs_dir: Path) -> Iterator[str]:
    folder = runs_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    mark, problem = "+" if free > 2 * 2**30 and writable else "-", "" if writable else ", not writable"
    yield f"{mark} runs in {runs_dir.absolute()}: {gibibytes(free, 0)} free{problem}"
