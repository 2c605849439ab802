"""The devices of this machine: which there are, their random states, and the time that they work."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from cqlib.util.errors import UserError, to_stderr_once


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


def fork_rng(device: torch.device) -> AbstractContextManager[None]:
    """Restores the random states of the host and, if it is a CUDA GPU, of this device on exit. Those of other GPUs,
    which `torch.manual_seed` inside would set too, are not restored."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def wall_clock(action: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call takes, the device's work included."""
    wait = {"cuda": lambda: torch.cuda.synchronize(device), "mps": torch.mps.synchronize}.get(device.type, lambda: None)
    wait()
    began = time.perf_counter()
    action()
    wait()
    return time.perf_counter() - began
