"""What this machine has and lacks for the reproduction, in plain lines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cqlib.data import SOURCES
from cqlib.data.catalogue import ENTRIES, Entry
from cqlib.errors import UserError

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

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            yield f"+ device: {torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
    else:
        yield f"+ device: CPU, {cores} cores (no GPU: profiles smoke, quick and study are made for this)"
    yield f"+ torch {torch.__version__}, torchvision {metadata.version('torchvision')}"


def _data(data_dir: Path | None) -> Iterator[str]:
    from cqlib.data import published

    chosen = os.environ.get("CQLIB_DATA")
    yield f"  data sets ($CQLIB_DATA is {chosen or 'not set'}; --data-dir DIR does the same)"
    for name, source in SOURCES.items():
        if name not in ENTRIES:
            yield f"+   {name}: {source.about}"
    try:
        folder = published.home(data_dir)
    except UserError as error:
        yield f"-   the published data sets: {error}"
        return
    for entry in ENTRIES.values():
        yield from _published(entry, folder)
    for cache in published.caches(folder):
        if cache.is_dir():
            yield f"+   converted copies in {cache}: {_megabytes(_size(cache))}; they may be deleted"


def _published(entry: Entry, folder: Path) -> Iterator[str]:
    """A data set that has files: where they are and what is known of them, or how to get them; its terms."""
    from cqlib.data import digest, published

    loader = published.loader(entry.name)
    path = loader.find(folder)
    if path is None:
        yield f"-   {entry.name}: not in {folder}; {entry.about}"
        yield f"      put there {entry.wanted}; or {entry.unpacked}"
        if entry.fetched:
            yield "      it is fetched from there when it is first used"
        elif entry.direct:
            yield f"      python -m cqlib.data.fetch {entry.name} fetches it"
    else:
        try:
            paths = getattr(loader, "sources", lambda path: (path,))(path)
            known = digest.state(entry, path, published.caches(folder))
        except UserError as error:
            yield f"-   {entry.name}: {error}"
        else:
            words = {"verified": "MD5 verified", "not checked": "MD5 not checked yet", "wrong": "truncated or altered"}
            checked = "unpacked, no MD5" if path.is_dir() else words[known]
            about = f"{_megabytes(sum(map(_size, paths)))}, {checked}"
            yield f"{'-' if known == 'wrong' else '+'}   {entry.name}: {path} ({about}); {entry.about}"
    yield f"      terms: {entry.terms}"


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(os.path.join(home, name)) for home, _, names in os.walk(path) for name in names)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _features(data_dir: Path | None) -> Iterator[str]:
    from cqlib.data import published
    from cqlib.metrics.features import INCEPTION_FILE, URL_INCEPTION_V3, inception, lite0, local_inception

    try:
        found = lite0()
        size = _megabytes(found.weights.stat().st_size)
        yield f"+ lite0 features: {found.weights} ({size}, sha256 verified); Apache 2.0, comes with pip"
    except UserError as error:
        yield f"- lite0 features: {error}"
    path = local_inception(data_dir)
    try:
        if path is not None:
            inception(path)  # refuses a damaged file
            size = _megabytes(path.stat().st_size)
            yield f"+ Inception features: {path} ({size}, sha256 verified); Apache 2.0; profile paper takes them"
            yield f"    by itself, other profiles with ./run_all.sh --feature-weights {path}"
        else:
            yield f"- Inception features: not found; put {INCEPTION_FILE} (95 MB) from {URL_INCEPTION_V3}"
            yield f"    into {published.home(data_dir)}; profile paper also fetches it by itself"
    except UserError as error:
        yield f"- Inception features: {error}"


def _disk(runs_dir: Path) -> Iterator[str]:
    folder = runs_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    writable = os.access(folder, os.W_OK)
    yield f"{'+' if free > 2 and writable else '-'} runs in {runs_dir.absolute()}: {free:.0f} GiB free" + (
        "" if writable else ", not writable"
    )
