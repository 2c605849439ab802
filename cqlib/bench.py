"""python -m cqlib bench: what this project says is fast, against what it replaces, timed side by side in one run.

Sides take turns, one repetition each, so that both see the same machine. A new row is a function that prepares both
sides on a device, and an entry in `MEASUREMENTS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from cqlib import provenance
from cqlib.files import write_atomic
from cqlib.metrics.features import full_fp32
from cqlib.sampling_time import cached_against_naive, seconds

Sides = tuple[Callable[[], float], Callable[[], float]]
"""Ours and the other one: each call is a repetition and returns its seconds."""


@dataclass(frozen=True)
class Measurement:
    """Two ways to the same result."""

    name: str
    other: str
    """What ours is compared with, in words."""
    target: float
    """Ours is to be so many times faster."""
    repetitions: int
    prepare: Callable[[torch.device], Sides]


@dataclass(frozen=True)
class Result:
    """Medians over n repetitions of each side, and the ratio of the medians, other / ours."""

    name: str
    ours_s: float
    other: str
    other_s: float
    ratio: float
    ratio_low: float
    """The smallest and the largest ratio of one repetition of each."""
    ratio_high: float
    target: float
    holds: bool
    n: int
    device: str


def measure(m: Measurement, device: torch.device) -> Result:
    """Prepare both sides and let them take turns, in fp32."""
    with full_fp32(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        ours, other = m.prepare(device)
        pairs = [(ours(), other()) for _ in range(m.repetitions)]
    ours_s, other_s = (median(side) for side in zip(*pairs, strict=True))
    ratios = [b / a for a, b in pairs]
    ratio, name = other_s / ours_s, provenance.device_name(device, bf16=False)
    return Result(m.name, ours_s, m.other, other_s, ratio, min(ratios), max(ratios), m.target, ratio >= m.target,
                  len(pairs), name)  # fmt: skip


# --- measurements --------------------------------------------------------------------------------------------


def pixelcnnpp_sampling(
    device: torch.device, *, size: int = 32, width: int = 160, blocks: int = 5, n: int = 16, positions: int = 5
) -> Sides:
    """A batch of images from PixelCNN++, by cached activations and by a full pass per pixel; the latter over
    `positions` pixels spread over the image, times what is left out."""
    from cqlib.experiments import build
    from cqlib.models.pixelcnnpp import PixelCNNPPConfig
    from cqlib.nets.pixelcnnpp_cache import full_pass
    from cqlib.placement import placed
    from cqlib.recipe import TrainingConfig

    system = placed(build(PixelCNNPPConfig(size, width, blocks, 10, 0.5)), TrainingConfig(steps=1), device).eval()
    step, x = full_pass(system.net), torch.zeros(n, 3, size, size, device=device)

    def naive() -> Tensor:
        with torch.inference_mode():
            for k in range(positions):
                r, c = divmod(k * size**2 // positions, size)
                out = step(x, r, c)
        return out

    with torch.inference_mode():
        step(x, 0, 0)  # kernels are chosen and memory is taken before the clock runs
    return (
        lambda: seconds(lambda: system.sample(n), device),
        lambda: seconds(naive, device) * size**2 / positions,
    )


def pixelrnn_sampling(device: torch.device, *, size: int = 16, n: int = 16, positions: int = 5) -> Sides:
    """A batch of images from the Diagonal BiLSTM of `quick`, by cached states and by a full pass per value; the latter
    over `positions` values, times what is left out."""
    from cqlib.experiments import RECIPES, build
    from cqlib.placement import placed

    recipe = RECIPES["table3/pixelrnn"]("table3/pixelrnn", "quick", size)
    system = placed(build(recipe.system), recipe.training, device).eval()
    u, naive = system.noise(n), system.naive_logits()
    times: list[tuple[float, float]] = []

    def cached() -> float:
        times.append(cached_against_naive(lambda: system.cached_logits(n), naive, u, positions=positions))
        return times[-1][0]

    return cached, lambda: times[-1][1]


MEASUREMENTS = (
    Measurement("pixelcnnpp-sampling", "a full pass per pixel (20 pixels timed)", 30, 4, pixelcnnpp_sampling),
    Measurement("pixelrnn-sampling", "a full pass per value (20 values timed)", 5, 4, pixelrnn_sampling),
)


# --- command -------------------------------------------------------------------------------------------------


def line(result: Result) -> str:
    """A result as one line of text."""
    r = result
    sides = f"{r.ours_s:9.3g} s {r.other_s:9.3g} s"
    spread = f"{r.ratio_low:.3g} to {r.ratio_high:.3g}"
    verdict = "holds" if r.holds else "does not hold"
    return f"{r.name:<24} {sides} {r.ratio:7.3g} ({spread:^15}) {r.target:7.3g}  {verdict:<13}  {r.n}  {r.other}"


HEADER = f"{'':<24} {'ours':>11} {'other':>11} {'ratio':>7} {'(least, most)':^17} {'target':>7}  {'':<13}  n  other"


def main(json_path: Path | None = None, measurements: Iterable[Measurement] = MEASUREMENTS) -> int:
    """Measure, print a line for each as it is done, and write them to `json_path`; the exit code. A target that is
    missed is a result, no failure."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{provenance.device_name(device, bf16=False)}\n{HEADER}", flush=True)
    results = []
    for m in measurements:
        results.append(measure(m, device))
        print(line(results[-1]), flush=True)
        if json_path is not None:
            write_atomic(json_path, json.dumps([asdict(r) for r in results], indent=1) + "\n")
    return 0
