"""How long a call takes on a device, and drawing a batch from any system."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from cqlib.metrics.library import full_fp32
from cqlib.models.base import System


def seconds(action: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def seconds_to_draw(
    system: System, n: int, *, repeats: int = 5, on_batch: Callable[[], None] = lambda: None
) -> list[float]:
    """Of n samples, as the critic's step of adversarial training needs them anew every time, without their graph:
    `repeats` times after a first one, in fp32. `on_batch` is called after each and may raise to stop. The state of
    random numbers stays as it was."""
    device = next(system.parameters()).device
    times = []
    with full_fp32(), torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for _ in range(repeats + 1):
            times.append(seconds(lambda: system.sample(n), device))
            on_batch()
    return times[1:]
