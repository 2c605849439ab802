"""The device of a training: where systems and images are stored, which precision is fast there, how memory is kept."""

import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from cqlib.models.base import System
from cqlib.recipe import TrainingConfig
from cqlib.util.errors import UserError, to_stderr_once

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, as numbered in <malloc.h>."""


def available_devices() -> list[str]:
    """The devices here by name: "cpu", "mps", "cuda", "cuda:0", "cuda:1"."""
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = ["cuda"] * (cards > 0) + [f"cuda:{index}" for index in range(cards)]
    return ["cpu", *["mps"] * torch.backends.mps.is_available(), *cuda]


def select_device(name: torch.device | str | None = None) -> torch.device:
    """The device `name` ("cpu", "cuda", "cuda:1", "mps"; default: $CQLIB_DEVICE). If that is "auto" or not set, a CUDA
    GPU where there is one, else the CPU. UserError where there is no such device."""
    name = str(name or os.environ.get("CQLIB_DEVICE") or "auto")
    available = available_devices()
    if name == "auto":
        return torch.device("cuda" if "cuda" in available else "cpu")
    if name not in available:
        raise UserError(f"device {name} is not available (available: {', '.join(available)})")
    if name == "mps" and os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK") == "1":
        to_stderr_once("device mps: operators that it lacks run on the CPU (PYTORCH_ENABLE_MPS_FALLBACK)")
    return torch.device(name)


def to_device(system: System, config: TrainingConfig, device: torch.device) -> System:
    """`system` on the device, in the memory layout it is trained and evaluated in."""
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return system.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs do not know it


def images_to_device(images: Tensor, device: torch.device) -> Tensor:
    """`images` on the device, or on the host where they would take more than half of a GPU's free memory."""
    if device.type == "cuda" and 2 * images.nbytes > torch.cuda.mem_get_info(device)[0]:
        return images
    return images.to(device)


def fork_rng(device: torch.device) -> AbstractContextManager[None]:
    """Afterwards the random states of the host and, if that is a CUDA GPU, of this device are as before. What seeds all
    devices within, as `torch.manual_seed` does, is not undone for others."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def wall_clock(action: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call takes, the device's work included."""
    wait = {"cuda": lambda: torch.cuda.synchronize(device), "mps": torch.mps.synchronize}.get(device.type, lambda: None)
    wait()
    began = time.perf_counter()
    action()
    wait()
    return time.perf_counter() - began


@functools.cache
def keep_freed_memory() -> bool:
    """Make this process keep the memory that it frees, for the tensors of the next step. Returns whether that could be
    set, which is so on glibc only."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    limits = (1 << 30, 1 << 25)  # bytes; older versions of glibc refuse more than the second
    return mallopt is not None and any(mallopt(MMAP_THRESHOLD, n) and mallopt(TRIM_THRESHOLD, n) for n in limits)
