"""All rows, the files that keep their results, and the lines that are printed for these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import TypeAdapter

from benchmarks import cost, feeding, flow, memory, sampling, scores, steps, time_to_quality, workers
from benchmarks.comparison import SAME_WORK, Ratio
from benchmarks.cost import Growth, exponent
from benchmarks.time_to_quality import Learning
from cqlib.training.device import select_device
from cqlib.util import provenance
from cqlib.util.errors import unknown_name
from cqlib.util.files import write_atomic
from cqlib.util.text import format_bytes

Entry = Ratio | Growth | Learning
KINDS: dict[str, type] = {"ratios": Ratio, "growth": Growth, "learning": Learning}
"""Name of a group of entries in a file -> the class of the entries."""


class Row(Protocol):
    """What is measured under a name, on some kinds of devices ("cpu", "cuda")."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> tuple[str, ...]: ...

    def results(self, device: torch.device) -> Sequence[Entry]:
        """Measure it."""
        ...


MODULES = (time_to_quality, steps, flow, scores, feeding, sampling, memory, cost, workers)
ROWS: dict[str, Any] = {row.name: row for module in MODULES for row in module.ROWS}
"""Name -> `Row`."""


def select(names: Sequence[str], kind: str) -> list[Row]:
    """The rows of those names, by default all that a kind of device has; UsageError for another."""
    found = [row for row in ROWS.values() if kind in row.kinds]
    for name in names:
        if name not in {row.name for row in found}:
            raise unknown_name("row", name, [row.name for row in found])
    return [row for row in found if not names or row.name in names]


def read(path: Path) -> list[Entry]:
    """The entries of a file; none where there is no file."""
    if not path.exists():
        return []
    groups = json.loads(path.read_text())
    return [entry for kind, of in groups.items() for entry in TypeAdapter(list[KINDS[kind]]).validate_python(of)]


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Put entries into a file, in the order of `ROWS`. They replace those of the same rows; those of rows that exist no
    longer are dropped."""
    new, order = list(entries), list(ROWS)
    kept = [e for e in read(path) if e.name in ROWS and e.name not in {one.name for one in new}]
    every = sorted([*kept, *new], key=lambda e: order.index(e.name))
    groups = {kind: [asdict(e) for e in every if isinstance(e, of)] for kind, of in KINDS.items()}
    write_atomic(path, json.dumps(groups, indent=1) + "\n")


def lines(entry: Entry) -> list[str]:
    """An entry as lines of text; for a comparison the ratio, and under it what else is known of our side."""
    if isinstance(entry, Learning):
        return [f"{entry.name:<20} {entry.side}: {entry.steps[-1]} steps in {entry.seconds[-1]:.0f} s, {entry.last}"]
    if isinstance(entry, Growth):
        times, memory = exponent(entry.values, entry.medians), exponent(entry.values, entry.bytes)
        return [f"{entry.name:<20} exponent of seconds {times[0]:.2f} ± {times[1]:.2f}, of memory {memory[0]:.2f} ± "
                f"{memory[1]:.2f}"]  # fmt: skip
    r = entry
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
        more.append(f"memory {format_bytes(r.ours_bytes)}, other {format_bytes(r.other_bytes or 0)}")
    words = f"{r.other}; ours: {r.ours}" if r.ours else r.other
    return [f"{first}{verdict:<13}  {r.n}  {words}", *([f"{'':<20}   {'; '.join(more)}"] if more else [])]


HEADER = f"{'':<20} {'ours':>11} {'other':>11} {'ratio':>7} {'(least, most)':^17} {'target':>6}  {'':<13}  n  other"


def measure_rows(names: Sequence[str] = (), json_path: Path | None = None) -> int:
    """Measure the named rows, or all; print each as it is done, and put it into `json_path`. A row that is there with
    this commit is not measured again. Returns the exit code, which is 0: a missed target is a result, no failure.
    UsageError for an unknown name."""
    device = select_device()
    rows = select(names, device.type)
    print(f"{provenance.device_name(device, bf16=False)}\n{HEADER}", flush=True)
    git = provenance.git_info("benchmarks")
    commit = git.commit and git.commit + "+" * bool(git.dirty)
    done = {e.name for e in read(json_path) if e.commit == commit} if json_path and commit and not git.dirty else {}
    for row in rows:
        if row.name in done:
            print(f"{row.name:<20} was measured at this commit", flush=True)
            continue
        entries = [replace(entry, commit=commit) for entry in row.results(device)]
        print("\n".join(line for entry in entries for line in lines(entry)), flush=True)
        if json_path is not None:
            write(json_path, entries)
    return 0
