"""What this machine has and lacks for the reproduction, in plain lines."""

import os
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cqlib.cli.options import DATA_SETS
from cqlib.cli.tasks import cores
from cqlib.data.sets import ENTRIES, entry_of
from cqlib.util.errors import UserError
from cqlib.util.text import count_of, format_bytes


def report(runs_dir: Path, data_dir: Path | None = None) -> Iterator[str]:
    """The lines of `python -m cqlib doctor`; "-" begins what is missing, "+" what is there."""
    yield from _device()
    yield from _data(data_dir)
    yield from _features(data_dir)
    yield from _disk(runs_dir)


def _variable(name: str) -> str:
    """A variable of the environment as text, "not set" where it is not, or is empty."""
    return os.environ.get(name) or "not set"


def _device() -> Iterator[str]:
    import torch

    from cqlib.training.device import available_devices, select_device

    try:
        yield f"+ device: {select_device()} ($CQLIB_DEVICE is {_variable('CQLIB_DEVICE')}; --device NAME does the same)"
    except UserError as error:
        yield f"- device: $CQLIB_DEVICE: {error}"
    cards = [name for name in available_devices() if ":" in name]
    for name in cards:
        memory = format_bytes(torch.cuda.get_device_properties(name).total_memory)
        yield f"+   {name}: {torch.cuda.get_device_name(name)}, {memory}"
    if "mps" in available_devices():
        yield "+   mps: Apple's GPU, on which nothing was tried; used by --device mps alone"
    no_gpu = "" if cards else " (no CUDA GPU: profiles smoke, quick and study are made for this)"
    yield f"+   cpu: {count_of(cores(), 'core')}{no_gpu}"
    yield f"+ torch {torch.__version__}, torchvision {metadata.version('torchvision')}"


def _data(data_dir: Path | None) -> Iterator[str]:
    from cqlib.data import published

    yield f"  data sets ($CQLIB_DATA is {_variable('CQLIB_DATA')}; --data-dir DIR does the same)"
    for name, about in DATA_SETS.items():
        if entry_of(name) is None:
            yield f"+   {name}: {about}"
    try:
        folder = published.data_folder(data_dir)
    except UserError as error:
        yield f"-   {error}"
        folder = Path(os.path.expanduser(data_dir or os.environ.get("CQLIB_DATA", ""))).absolute()
    for entry in ENTRIES.values():
        yield from published.describe(entry, folder)
    if os.path.isdir(cache := published.converted_folder(folder)):
        size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
        yield f"+   converted copies in {cache}: {format_bytes(size)}; they may be deleted"


def _features(data_dir: Path | None) -> Iterator[str]:
    from cqlib.data import published
    from cqlib.metrics import features

    def verified(kind: features.Features) -> str:
        size = format_bytes(kind.weights.stat().st_size)
        return f"{kind.weights} ({size}, SHA-256 {kind.weights_sha256[:16]}… as published); Apache 2.0"

    try:
        yield f"+ lite0 features: {verified(features.lite0(features.FULL_SIDE))}, comes with pip"
    except UserError as error:
        yield f"- lite0 features: {error}"
    try:
        if path := features.local_inception(data_dir):  # a damaged file is refused
            yield f"+ Inception features: {verified(features.inception(path))}; profile paper takes them"
            yield f"    by itself, other profiles with ./run_all.sh --feature-weights {path}"
            return
        yield f"- Inception features: not in {published.data_folder(data_dir)}, nor where torch-fidelity keeps it"
    except UserError as error:
        yield f"- Inception features: {error}"
    weights = f"{features.INCEPTION_FILE} (95 MB, SHA-256 {features.INCEPTION_SHA256[:8]}…)"
    yield f"    put there {weights} from {features.URL_INCEPTION_V3}"
    yield "    or give any file by --feature-weights; profile paper also fetches it by itself; Apache 2.0"


def _disk(runs_dir: Path) -> Iterator[str]:
    folder = runs_dir.absolute()
    folder = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    mark, problem = "+" if free > 2 * 2**30 and writable else "-", "" if writable else ", not writable"
    yield f"{mark} runs in {runs_dir.absolute()}: {format_bytes(free)} free{problem}"
