"""docs/performance.md, rendered from `reports/published/bench/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from benchmarks import table
from benchmarks.comparison import Ratio
from benchmarks.cost import Growth, exponent
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT
from cqlib.util.text import fill_sections, format_bytes, markdown_table

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "reports" / "published" / "bench"
DEFAULT = RESULTS / "default_run.json"
SAME_WORK = 0.05
"""Sides whose multiply-adds differ by less do the same work."""
SHARES = ("of the peak", "in convolutions", "at best")
NOT_YET = "Not measured yet with today's recipes."


def write() -> None:
    """Render the page anew."""
    write_atomic(PAGE, render(PAGE.read_text(encoding="utf-8"), entries()))


def entries() -> list[table.Entry]:
    """All that has been measured and published, but for the default command."""
    return [entry for path in sorted(RESULTS.glob("*.json")) if path != DEFAULT for entry in table.read(path)]


def render(text: str, found: Sequence[table.Entry]) -> str:
    """The page's `text` with its parts rendered anew."""
    parts = {
        "ratios": ratios([e for e in found if isinstance(e, Ratio)]),
        "default": default_run(json.loads(DEFAULT.read_text())),
        "cost": cost([e for e in found if isinstance(e, Growth)]),
    }
    return fill_sections(text, parts)


def ratios(found: Sequence[Ratio]) -> str:
    """How many targets are missed, and a table for each machine, those that are missed first."""
    if not found:
        return NOT_YET
    missed = sum(not r.holds for r in found)
    parts = [f"{missed} of {len(found)} targets are missed; they come first." if missed else "All targets are met."]
    header = ("row", "against", "ours", "other", "ratio (least to most)", "target", *SHARES)
    for device in dict.fromkeys(r.device for r in found):
        of_device = sorted((r for r in found if r.device == device), key=lambda r: r.holds)
        parts.append(f"{device} ({_commits(of_device)}):\n\n{markdown_table(header, map(_cells, of_device))}")
    return "\n\n".join(parts)


def _cells(r: Ratio) -> list[str]:
    spread = f"{r.ratio_low:.3g} to {r.ratio_high:.3g}" if r.n > 1 else "one round"
    other, work = r.other, r.work_ratio or 1
    if abs(work - 1) > SAME_WORK:
        other += f" ({1 / work:.2f} times our multiply-adds)"
    shares = ["" if share is None else f"{share:.0%}" for share in (r.peak_share, r.convolution_share)]
    at_best = f"{r.ratio / r.convolution_share:.2f}" if r.convolution_share else ""
    name = f"`{r.name}`" + (f", {r.ours}" if r.ours else "")
    target = f"{r.target:.3g}" if r.holds else f"{r.target:.3g}, missed"
    return [name, other, _seconds(r.ours_s), _seconds(r.other_s), f"{r.ratio:.3g} ({spread})", target, *shares, at_best]


def default_run(runs: Sequence[dict]) -> str:
    """What `benchmarks/default_run.py` measured of the default command, a line per run, and where the time of the last
    one went."""
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
        lines = markdown_table(("phase", "time"), [[name, f"{seconds:,} s"] for name, seconds in phases.items()])
        parts.append(f"Where the time of the last line went; rows overlap, and so do notebooks:\n\n{lines}")
    return "\n\n".join(parts)


def cost(growths: Sequence[Growth]) -> str:
    """The exponents for each thing that grows, and the seconds and bytes at each of its values."""
    if not growths:
        return NOT_YET
    rows = []
    for g in growths:
        for what, y, unit in (("time", g.seconds, _seconds), ("memory", g.bytes, format_bytes)):
            p, error = exponent(g.values, y)
            values = ", ".join(f"{x}: {unit(value)}" for x, value in zip(g.values, y, strict=True))
            rows.append([g.device, g.over, what, f"{p:.2f} ± {error:.2f}", values])
    header = ("machine", "what grows", "cost", "exponent", "cost at each value")
    return f"Measured at {_commits(growths)}.\n\n{markdown_table(header, rows)}"


def _commits(found: Iterable[table.Entry]) -> str:
    """ "commit 0123456", or "commits 0123456, 89abcde+"; a plus: with changes."""
    commits = (e.commit or "unknown" for e in found)
    names = dict.fromkeys(commit[:7] + "+" * commit.endswith("+") for commit in commits)
    return f"commit{'s' * (len(names) > 1)} {', '.join(names)}"


def _seconds(value: float) -> str:
    unit, factor = ("s", 1) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("µs", 1e6)
    return f"{value * factor:,.0f} {unit}" if value * factor >= 100 else f"{value * factor:.3g} {unit}"
