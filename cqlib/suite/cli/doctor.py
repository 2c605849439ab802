"""What this machine has and lacks for the reproduction, a verdict first. Lines begin with "+" for what is there, "-"
for what is not."""

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch

from cqlib.data import WITH_PIP, published
from cqlib.data.sets import ENTRIES
from cqlib.metrics import features
from cqlib.suite.cli.tasks import cores
from cqlib.util.device import available_devices, select_device
from cqlib.util.errors import UserError
from cqlib.util.text import count_of, format_bytes

DISTRIBUTION = "cq-companion"
"""The name under which this package is installed; another project's distribution is called `cqlib`."""


def report(runs_dir: Path, data_dir: Path | None = None) -> Iterator[str]:
    """The lines of `python -m cqlib doctor`."""
    needed = [*devices(), *import_name(), *lite0(), *disk(runs_dir)]
    if any(line.startswith("-") for line in needed):
        yield 'not ready: mend what has a "-" under "needed"'
    else:
        yield 'ready for samples, fit and ./run_all.sh; what has a "-" below is for other images and scores'
    yield "needed:"
    yield from needed
    yield "for other images and scores:"
    yield from data_sets(data_dir)
    yield from inception(data_dir)


def devices() -> Iterator[str]:
    """The default device of this machine, and all devices."""
    try:
        yield f"+ device: {select_device()} (--device NAME or $CQLIB_DEVICE takes another)"
    except UserError as error:
        yield f"- device: $CQLIB_DEVICE: {error}"
    names = available_devices()
    for name in names:
        if ":" in name:
            memory = format_bytes(torch.cuda.get_device_properties(name).total_memory)
            yield f"+   {name}: {torch.cuda.get_device_name(name)}, {memory}"
    if "mps" in names:
        yield "+   mps: Apple's GPU, on which nothing was tried; used by --device mps alone"
    no_gpu = "" if "cuda" in names else " (no CUDA GPU: profiles smoke, quick and study are made for this)"
    yield f"+   cpu: {count_of(cores(), 'core')}{no_gpu}"
    yield f"+ torch {torch.__version__}, torchvision {metadata.version('torchvision')}"


def import_name() -> Iterator[str]:
    """Other distributions with the import name of this package: each overwrites files of the other."""
    for name in sorted({*metadata.packages_distributions().get("cqlib", ())} - {DISTRIBUTION}):
        yield f"- another project, {name} {metadata.version(name)}, has the import name cqlib and overwrites files of"
        yield f"    this one: pip uninstall {name} {DISTRIBUTION}, then install this one again"


def data_sets(data_dir: Path | None) -> Iterator[str]:
    """Each data set; for a missing one, its files and the folder to put them into."""
    folder = published.data_folder(data_dir)
    yield f"  data sets in {folder} (--data-dir DIR or $CQLIB_DATA takes another folder)"
    for name in WITH_PIP:
        yield f"+   {name}: comes with the libraries"
    for entry in ENTRIES.values():
        yield from published.describe(entry, folder)


def lite0() -> Iterator[str]:
    """The net whose features are used for scores by default. Its weights are verified."""
    try:
        yield f"+ lite0 features: {features.lite0(features.FULL_SIDE).weights}, comes with pip"
    except UserError as error:
        yield f"- lite0 features: {error}"


def inception(data_dir: Path | None) -> Iterator[str]:
    """The net whose features are used for FID, KID and IS. Its weights are verified."""
    try:
        if path := features.local_inception(data_dir):
            yield f"+ Inception features: {features.inception(path).weights}; profile paper takes them"
            yield f"    by itself, other profiles with ./run_all.sh --feature-weights {path}"
            return
        yield f"- Inception features: not in {published.data_folder(data_dir)}, nor where torch-fidelity keeps it"
    except UserError as error:
        yield f"- Inception features: {error}"
    weights = f"{features.INCEPTION_FILE} (95 MB, SHA-256 {features.INCEPTION_SHA256[:8]}…)"
    yield f"    put there {weights} from {features.URL_INCEPTION_V3}"
    yield "    or name that file by --feature-weights; profile paper downloads it if it is missing; Apache 2.0"


def disk(runs_dir: Path) -> Iterator[str]:
    """The free disk space for runs."""
    folder = next(place for place in (runs_dir, *runs_dir.parents) if place.exists())
    free, writable = shutil.disk_usage(folder).free, os.access(folder, os.W_OK)
    mark = "+" if free > 2 * 2**30 and writable else "-"
    yield f"{mark} runs in {runs_dir}: {format_bytes(free)} free{'' if writable else ', not writable'}"
