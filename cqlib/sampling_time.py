"""How long it takes to draw: a batch from any system, and pixel by pixel with and without caches."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from cqlib.metrics.features import full_fp32
from cqlib.models.base import System
from cqlib.nets.raster import LogitsAt, raster_sample


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


def cached_against_naive(
    cached: Callable[[], LogitsAt], naive: LogitsAt, u: Tensor, *, positions: int = 20
) -> tuple[float, float]:
    """Seconds to draw the images of the noise u (n, C, H, W) with the caches that `cached` makes, and by full passes:
    of these `positions` are timed, after a first one, and the rest is extrapolated, since all cost the same."""
    _, colours, height, width = u.shape
    with torch.no_grad():
        fast = seconds(lambda: raster_sample(cached(), u), u.device)
        x = torch.zeros(u.shape, dtype=torch.int64, device=u.device)
        naive(x, 0, 0)
        slow = seconds(lambda: [naive(x, k % height, k // height % width) for k in range(positions)], u.device)
    return fast, slow / positions * colours * height * width
