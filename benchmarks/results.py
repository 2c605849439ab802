"""What rows give: measured, printed, and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.comparison import Ratio
from benchmarks.steps import ROWS
from cqlib.util import provenance
from cqlib.util.device import select_device
from cqlib.util.errors import unknown_name
from cqlib.util.files import write_atomic


def read(path: Path) -> list[Ratio]:
    """The ratios of a file; none where there is no file."""
    return [Ratio(**values) for values in json.loads(path.read_text())] if path.exists() else []


def write(path: Path, new: Iterable[Ratio]) -> None:
    """Put ratios into a file, in place of those of the same rows."""
    new = list(new)
    measured = {r.name for r in new}
    kept = [r for r in read(path) if r.name not in measured]
    write_atomic(path, json.dumps([asdict(r) for r in [*kept, *new]], indent=1) + "\n")


def measure(names: Sequence[str] = (), file: Path | None = None) -> None:
    """Measure the named rows, or all; print each as it is done, and put it into `file`. UsageError for an unknown
    name."""
    for name in names:
        if name not in ROWS:
            raise unknown_name("row", name, ROWS)
    device = select_device()
    git = provenance.git_info("benchmarks")
    commit = git.commit and git.commit + "+" * bool(git.dirty)
    print(provenance.device_name(device), flush=True)
    for name in names or ROWS:
        found = [replace(ratio, commit=commit) for ratio in ROWS[name].results(device)]
        for r in found:
            print(f"{r.name:<9} ours {r.ours_s:.3g} s, {r.other} {r.other_s:.3g} s: ratio {r.ratio:.3g} "
                  f"({r.ratio_low:.3g} to {r.ratio_high:.3g}), target {r.target:.3g} {'met' if r.holds else 'missed'}",
                  flush=True)  # fmt: skip
        if file is not None:
            write(file, found)
