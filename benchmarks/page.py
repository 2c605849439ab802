"""docs/performance.md, rendered from `reports/published/bench/`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks import results
from benchmarks.comparison import Ratio
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT
from cqlib.util.text import fill_sections, format_bytes, markdown_table

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "reports" / "published" / "bench"
DEFAULT = RESULTS / "default_run.json"
LONG = 30
"""Phases of the default command that take so many seconds are shown."""


def write() -> None:
    """Render the page anew."""
    write_atomic(PAGE, render(PAGE.read_text(encoding="utf-8")))


def render(text: str) -> str:
    """The page's `text` with its parts rendered anew from the published files."""
    found = [ratio for path in sorted(RESULTS.glob("*.json")) if path != DEFAULT for ratio in results.read(path)]
    return fill_sections(text, {"ratios": ratios(found), "default": default_run(json.loads(DEFAULT.read_text()))})


def ratios(found: Sequence[Ratio]) -> str:
    """How many targets are missed, and a table for each machine, those that are missed first."""
    missed = sum(not r.holds for r in found)
    parts = [f"{missed} of {len(found)} targets are missed; they come first." if missed else "All targets are met."]
    header = ("row", "against", "ours", "other", "ratio (least to most)", "target")
    for device in dict.fromkeys(r.device for r in found):
        of_device = sorted((r for r in found if r.device == device), key=lambda r: r.holds)
        commits = ", ".join(dict.fromkeys(_short(r.commit or "unknown") for r in of_device))
        parts.append(f"{device} (commit {commits}):\n\n{markdown_table(header, map(_cells, of_device))}")
    return "\n\n".join(parts)


def _cells(r: Ratio) -> list[str]:
    target = f"{r.target:.3g}" if r.holds else f"{r.target:.3g}, missed"
    times = (f"{1e3 * seconds:.3g} ms" for seconds in (r.ours_s, r.other_s))
    return [f"`{r.name}`", r.other, *times, f"{r.ratio:.3g} ({r.ratio_low:.3g} to {r.ratio_high:.3g})", target]


def _short(commit: str) -> str:
    return commit[:7] + "+" * commit.endswith("+")


def default_run(runs: Sequence[dict]) -> str:
    """What `benchmarks/default_run.py` measured of the default command, a line per run, and where most of the time of
    the last one went."""
    rows = []
    for r in runs:
        restricted = ", ".join(f"`{name}={value}`" for name, value in r["restricted to"].items())
        times = (f"{seconds:,} s" for seconds in (r["seconds"], r["seconds_again"]))
        rows.append(
            [r["machine"], restricted or "nothing", *times, format_bytes(1e6 * r["memory_mb"]), r["commit"][:7]]
        )
    header = ("machine", "restricted by", "from nothing", "again, all done", "memory at most", "commit")
    parts = [markdown_table(header, rows)]
    if phases := runs[-1].get("phases"):
        long = {name: seconds for name, seconds in phases.items() if seconds >= LONG}
        lines = markdown_table(("phase", "time"), [[name, f"{seconds:,} s"] for name, seconds in long.items()])
        parts.append(f"Phases of {LONG} s or more, which overlap:\n\n{lines}")
    return "\n\n".join(parts)
