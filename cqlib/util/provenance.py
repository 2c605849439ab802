"""Where a number comes from: code, libraries, device, memory."""

import ctypes
import functools
import gc
import hashlib
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Self

import psutil
import torch
from pydantic.dataclasses import dataclass

from cqlib.util import VERSION
from cqlib.util.paths import ROOT
from cqlib.util.schema import STRICT, Flag, Text

LIBRARIES = ("torch", "torchvision", "torch-fidelity", "numpy", "scikit-image", "scikit-learn", "pillow")


@dataclass(frozen=True, config=STRICT)
class GitInfo:
    """The state of the code: commit and whether files differed from it; None where there is no repository."""

    commit: Text | None
    dirty: Flag | None

    def after(self, *others: Self) -> "GitInfo":
        """This commit; dirty: True if it or any of the others was, else None if that is unknown for one of them, else
        False."""
        states = {self.dirty, *(other.dirty for other in others)}
        return GitInfo(self.commit, True if True in states else None if None in states else False)


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_info(*more: str) -> GitInfo:
    """Commit of the repository that this package lies in, and whether the package, or what lies at the paths `more`,
    differs from it; None outside one."""
    if _ask_git("ls-files", "--error-unmatch", "cqlib/__init__.py") is None:  # installed inside another repository
        return GitInfo(None, None)
    status = _ask_git("status", "--porcelain", "--", "cqlib", "pyproject.toml", *more)
    return GitInfo(_ask_git("rev-parse", "HEAD"), None if status is None else bool(status))


def in_history(commit: str) -> bool:
    """Whether `commit`, 40 hex digits, is in the history of this checkout."""
    is_hash = re.fullmatch("[0-9a-f]{40}", commit)
    return bool(is_hash) and _ask_git("merge-base", "--is-ancestor", commit, "HEAD") is not None


def _ask_git(*words: str) -> str | None:
    """What git prints about the repository; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Python, cqlib and the libraries that numbers depend on; without local build tags."""
    numbers = {"python": platform.python_version(), "cqlib": VERSION}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            numbers[name] = metadata.version(name).split("+")[0]
    return numbers


@functools.cache
def code_hash() -> str:
    """Hex digest over the files of this package, to tell whether two copies of it are the same code."""
    package, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *package.glob("report/templates/**/*.*")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def hardware_name(device: torch.device, threads: int | None = None) -> str:
    """The name of the GPU, or of the processor with its number of threads (default: this process's)."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple {_processor()} GPU, operators that MPS lacks on the CPU"
    threads = threads or torch.get_num_threads()
    return f"CPU {_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def device_name(device: torch.device, *, bf16: bool, threads: int | None = None) -> str:
    """`hardware_name` with the precision of convolutions: "CPU …, 1 thread, fp32"."""
    return f"{hardware_name(device, threads)}, {'bf16 convolutions' if bf16 else 'fp32'}"


def _processor() -> str:
    with suppress(OSError):
        if model := re.search(r"^model name.*?:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return model[1].strip()
    return platform.machine()


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure what `peak_memory_bytes` returns. What earlier work has freed is given back to the system first;
    off Linux this cannot be done, and the peak of a CPU's run is that of its process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None:
        trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): sets VmHWM to the memory in use now


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used at a time since `reset_peak_memory`, in bytes: on a CUDA device what PyTorch allocated
    there, else by this process."""
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
