"""The provenance of a number: commit, versions of libraries, device and memory. Only functions import torch, since
processes that run notebooks need none."""

from __future__ import annotations

import ctypes
import functools
import gc
import hashlib
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
from pydantic.dataclasses import dataclass

from cqlib.util import VERSION
from cqlib.util.paths import ROOT
from cqlib.util.schema import STRICT, Flag, Text

if TYPE_CHECKING:
    import torch

LIBRARIES = ("torch", "torchvision", "torch-fidelity", "numpy", "scikit-image", "scikit-learn", "pillow")


@dataclass(frozen=True, config=STRICT)
class GitInfo:
    """The state of the code: its commit, and whether files differed from it. Both are None outside a repository."""

    commit: Text | None
    dirty: Flag | None

    def __str__(self) -> str:
        if self.commit is None:
            return "no repository"
        return self.commit + (" with uncommitted changes" if self.dirty else "")

    def after(self, *others: Self) -> GitInfo:
        """This commit, dirty if the code was dirty here or in any of the others; None if that is not known."""
        states = {self.dirty, *(other.dirty for other in others)}
        return GitInfo(self.commit, True if True in states else None if None in states else False)


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_info(*more: str) -> GitInfo:
    """The commit of the repository that contains this package, and whether the package, or a file at one of the paths
    `more`, differs from it. Outside a repository, what $CQLIB_COMMIT says in an image that was built from one
    (the commit, perhaps with "-dirty" after it), else None."""
    if _ask_git("ls-files", "--error-unmatch", "cqlib/__init__.py") is None:  # installed within another repository
        built = os.environ.get("CQLIB_COMMIT")
        return GitInfo(built.removesuffix("-dirty"), built.endswith("-dirty")) if built else GitInfo(None, None)
    status = _ask_git("status", "--porcelain", "--", "cqlib", "pyproject.toml", *more)
    return GitInfo(_ask_git("rev-parse", "HEAD"), None if status is None else bool(status))


def _ask_git(*words: str) -> str | None:
    """The output of a git command on the repository; None if the command fails."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Versions of Python, cqlib and the libraries that numbers depend on, without local build tags ("+cpu")."""
    numbers = {"python": platform.python_version(), "cqlib": VERSION}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            numbers[name] = metadata.version(name).split("+")[0]
    return numbers


@functools.cache
def code_hash() -> str:
    """Hex digest over the code, templates and weights of this package; equal for equal copies of it."""
    package, digest = Path(__file__).parent.parent, hashlib.sha256()
    more = ("suite/*/templates/**/*.*", "metrics/*.safetensors")
    for path in sorted([*package.rglob("*.py"), *(path for pattern in more for path in package.glob(pattern))]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def hardware_name(device: torch.device, threads: int | None = None) -> str:
    """The name of the GPU, or of the processor with its number of threads (default: this process's)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple {_processor()} GPU, operators that MPS lacks on the CPU"
    threads = threads or torch.get_num_threads()
    return f"CPU {_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def device_name(device: torch.device, threads: int | None = None) -> str:
    """`hardware_name` and the precision in which times are measured: "CPU …, 1 thread, fp32"."""
    return f"{hardware_name(device, threads)}, fp32"


def _processor() -> str:
    with suppress(OSError):
        if model := re.search(r"^model name.*?:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return model[1].strip()
    return platform.machine()


def reset_peak_memory(device: torch.device) -> None:
    """Start the measurement of `peak_memory_bytes`. Memory that earlier work has freed is returned to the system first,
    so that it is not counted. On other systems than Linux a CPU's peak is that of the whole process."""
    import torch

    if device.type == "cuda":
        torch.cuda.init()  # which the next call leaves out for a card that has a number
        torch.cuda.reset_peak_memory_stats(device)
        return
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None:
        trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): sets VmHWM to the memory in use now


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory in bytes since `reset_peak_memory`: what PyTorch allocated on a CUDA device, else the resident memory
    of this process."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        if kilobytes := re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE):
            return 1024 * int(kilobytes[1])
    try:
        import resource
    except ImportError:  # on Windows
        memory = psutil.Process().memory_info()
        return getattr(memory, "peak_wset", memory.rss)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
