"""All rows, and the files that keep their results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import cost, sampling, scores, steps, time_to_quality, workers
from benchmarks.comparison import Ratio
from benchmarks.cost import Growth
from cqlib.util import provenance
from cqlib.util.device import select_device
from cqlib.util.errors import unknown_name
from cqlib.util.files import write_atomic

Entry = Ratio | Growth
KINDS: dict[str, type] = {"ratios": Ratio, "growth": Growth}
"""Name of a group of entries in a file -> the class of the entries."""
MODULES = (time_to_quality, steps, scores, sampling, cost, workers)
ROWS: dict[str, Any] = {row.name: row for module in MODULES for row in module.ROWS}
"""Name -> row; its `results(device)` measures it and returns entries."""


def read(path: Path) -> list[Entry]:
    """The entries of a file; none where there is no file."""
    groups = json.loads(path.read_text()) if path.exists() else {}
    return [KINDS[kind](**values) for kind, entries in groups.items() for values in entries]


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Put entries into a file, in the order of `ROWS`, in place of those of the same rows."""
    new, order = list(entries), list(ROWS)
    kept = [e for e in read(path) if e.name in ROWS and e.name not in {one.name for one in new}]
    every = sorted([*kept, *new], key=lambda e: order.index(e.name))
    groups = {kind: [asdict(e) for e in every if isinstance(e, of)] for kind, of in KINDS.items()}
    write_atomic(path, json.dumps(groups, indent=1) + "\n")


def in_words(entry: Entry) -> str:
    """The line that is printed of an entry."""
    if isinstance(entry, Growth):
        (time, _), (memory, _) = (cost.exponent(entry.values, y) for y in (entry.seconds, entry.bytes))
        return f"{entry.name:<20} {entry.over}: exponent of seconds {time:.2f}, of memory {memory:.2f}"
    return (f"{entry.name:<20} {entry.ours or 'ours'} {entry.ours_s:.3g} s, {entry.other} {entry.other_s:.3g} s: ratio "
            f"{entry.ratio:.3g} ({entry.ratio_low:.3g} to {entry.ratio_high:.3g}), target {entry.target:.3g} "
            f"{'met' if entry.holds else 'missed'}")  # fmt: skip


def measure_rows(names: Sequence[str] = (), file: Path | None = None) -> None:
    """Measure the named rows, or all; print each as it is done, and put it into `file`. UsageError for an unknown
    name."""
    for name in names:
        if name not in ROWS:
            raise unknown_name("row", name, ROWS)
    device = select_device()
    git = provenance.git_info("benchmarks")
    commit = git.commit and git.commit + "+" * bool(git.dirty)
    print(provenance.device_name(device, bf16=False), flush=True)
    for name in names or ROWS:
        entries = [replace(entry, commit=commit) for entry in ROWS[name].results(device)]
        for entry in entries:
            print(in_words(entry), flush=True)
        if file is not None:
            write(file, entries)
