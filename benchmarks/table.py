"""All rows, and the table that is printed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from benchmarks import flow, images, memory, sampling, sides, steps
from benchmarks.measuring import SAME_WORK, Measurement, Result, measure
from benchmarks.two_workers import TwoWorkers
from cqlib.util import provenance
from cqlib.util.errors import unknown
from cqlib.util.files import write_atomic
from cqlib.util.text import megabytes

Row = Measurement | memory.Growth | memory.PaperMemory | TwoWorkers

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        *steps.MEASUREMENTS,
        *flow.MEASUREMENTS,
        *images.MEASUREMENTS,
        *sampling.MEASUREMENTS,
        memory.Growth(),
        memory.PaperMemory(),
        TwoWorkers(),
    )
}
"""Name -> what is measured under it."""


def select(names: Sequence[str], kind: str) -> list[Row]:
    """The rows of those names, by default all that a kind of device ("cpu", "cuda") has; UsageError for another."""
    found = [row for row in ROWS.values() if kind in row.kinds]
    for name in names:
        if name not in {row.name for row in found}:
            raise unknown("row", name, [row.name for row in found])
    return [row for row in found if not names or row.name in names]


def results(row: Row, device: torch.device) -> list[Result]:
    """A row measured, with the memory of its sides; sides whose package is not installed are left out and named."""
    if not isinstance(row, Measurement):
        return row.results(device) if _installed(row, getattr(row, "needs", "")) else []
    there = [k for k, other in enumerate(row.others) if _installed(row, other.needs)]
    numbers = [0, *(k + 1 for k in there)]
    with sides.turns(row.name, numbers) as turns:
        timed = measure(replace(row, others=tuple(row.others[k] for k in there)), device, turns)
    return sides.with_memory(row.name, numbers, timed)


def _installed(row: Row, package: str) -> bool:
    """Whether a package that may be missing is there; if not, it is named."""
    if not package or importlib.util.find_spec(package) is not None:
        return True
    print(f"{row.name:<20} {package} is not installed: pip install -e '.[test]'", flush=True)
    return False


def lines(r: Result) -> list[str]:
    """A result as text: the comparison, and under it what else is known of ours."""
    spread = f"{r.ratio_low:.3g} to {r.ratio_high:.3g}"
    verdict = "holds" if r.holds else "does not hold"
    first = f"{r.name:<20} {r.ours_s:9.3g} s {r.other_s:9.3g} s {r.ratio:7.3g} ({spread:^15}) {r.target:6.3g}  "
    more = []
    if r.images_per_s is not None:
        more.append(f"{r.images_per_s:,.0f} images/s")
    if r.flops_per_s is not None and r.peak_flops_per_s is not None:
        share = r.flops_per_s / r.peak_flops_per_s
        more.append(f"{r.flops_per_s / 1e9:,.0f} GFLOP/s of {r.peak_flops_per_s / 1e9:,.0f} at best, {share:.0%}")
    if r.convolutions_s is not None:
        more.append(f"convolutions {r.convolutions_s / r.ours_s:.0%} of the time")
    if r.work_ratio is not None and abs(r.work_ratio - 1) > SAME_WORK:
        more.append(f"{r.work_ratio:.2f} times the other's multiply-adds")
    if r.ours_bytes is not None:
        more.append(f"memory {megabytes(r.ours_bytes)}, other {megabytes(r.other_bytes or 0)}")
    return [f"{first}{verdict:<13}  {r.n}  {r.other}", *([f"{'':<20}   {'; '.join(more)}"] if more else [])]


HEADER = f"{'':<20} {'ours':>11} {'other':>11} {'ratio':>7} {'(least, most)':^17} {'target':>6}  {'':<13}  n  other"


def measure_rows(names: Sequence[str] = (), json_path: Path | None = None) -> int:
    """Measure the named rows, or all; print each as it is done, and write them to `json_path`; the exit code. A target
    that is missed is a result, no failure. UsageError for an unknown name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = select(names, device.type)
    print(f"{provenance.device_name(device, bf16=False)}\n{HEADER}", flush=True)
    measured: list[Result] = []
    git = provenance.git()
    commit = git.commit and git.commit + "+" * bool(git.dirty)
    for row in rows:
        for result in results(row, device):
            measured.append(replace(result, commit=commit))
            print("\n".join(lines(result)), flush=True)
        if json_path is not None:
            write_atomic(json_path, json.dumps([asdict(r) for r in measured], indent=1) + "\n")
    return 0
