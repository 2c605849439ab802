"""What this machine has and lacks for the reproduction, in plain lines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cqlib.data import SOURCES
from cqlib.errors import UserError

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def report(runs_dir: Path) -> Iterator[str]:
    """The lines of `python -m cqlib doctor`; "-" begins what is missing, "+" what is there."""
    yield from _device()
    yield from _data()
    yield from _features()
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


def _data() -> Iterator[str]:
    folder = os.environ.get("CQLIB_DATA")
    yield f"  data sets ($CQLIB_DATA is {folder or 'not set'}; --data-dir DIR does the same)"
    for name, source in SOURCES.items():
        yield f"+   {name}: {source.about}"


def _features() -> Iterator[str]:
    import torch

    from cqlib.metrics.features import INCEPTION_FILE, URL_INCEPTION_V3, lite0

    try:
        yield f"+ lite0 features: {lite0().weights}"
    except UserError as error:
        yield f"- lite0 features: {error}"
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if path.is_file():
        yield f"+ Inception features: {path}; ./run_all.sh --feature-weights {path}"
    else:
        yield f"- Inception features: fetch {URL_INCEPTION_V3} (95 MB) to {path}, then"
        yield f"    ./run_all.sh --feature-weights {path}"


def _disk(runs_dir: Path) -> Iterator[str]:
    folder = runs_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    writable = os.access(folder, os.W_OK)
    yield f"{'+' if free > 2 and writable else '-'} runs in {runs_dir.absolute()}: {free:.0f} GiB free" + (
        "" if writable else ", not writable"
    )
