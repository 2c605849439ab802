"""All rows, and the files that keep their results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import sampling, scores, steps, time_to_quality
from benchmarks.comparison import Ratio
from cqlib.util import provenance
from cqlib.util.device import select_device
from cqlib.util.errors import unknown_name
from cqlib.util.files import write_atomic

MODULES = (time_to_quality, steps, scores, sampling)
ROWS: dict[str, Any] = {row.name: row for module in MODULES for row in module.ROWS}
"""Name -> row; its `results(device)` measures it and returns ratios."""


def read(path: Path) -> list[Ratio]:
    """The ratios of `ROWS` in a file; none where there is no file."""
    found = json.loads(path.read_text())["ratios"] if path.exists() else []
    return [Ratio(**values) for values in found if values["name"] in ROWS]


def write(path: Path, ratios: Iterable[Ratio]) -> None:
    """Put ratios into a file, in the order of `ROWS`, in place of those of the same rows."""
    new, order = list(ratios), list(ROWS)
    kept = [r for r in read(path) if r.name not in {one.name for one in new}]
    every = sorted([*kept, *new], key=lambda r: order.index(r.name))
    write_atomic(path, json.dumps({"ratios": [asdict(r) for r in every]}, indent=1) + "\n")


def in_words(r: Ratio) -> str:
    """The line that is printed of a ratio."""
    times = f"{r.ours or 'ours'} {r.ours_s:.3g} s, {r.other} {r.other_s:.3g} s"
    ratio = f"{r.ratio:.3g} ({r.ratio_low:.3g} to {r.ratio_high:.3g})"
    return f"{r.name:<20} {times}: ratio {ratio}, target {r.target:.3g} {'met' if r.holds else 'missed'}"


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
        ratios = [replace(ratio, commit=commit) for ratio in ROWS[name].results(device)]
        for ratio in ratios:
            print(in_words(ratio), flush=True)
        if file is not None:
            write(file, ratios)
