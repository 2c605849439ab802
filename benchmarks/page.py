"""docs/performance.md and its pictures, rendered from `reports/published/bench/` and the published records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import pictures, table
from benchmarks.comparison import SAME_WORK, Ratio
from benchmarks.cost import Growth, exponent
from benchmarks.time_to_quality import Learning
from cqlib.metrics.quantities import heading
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT
from cqlib.util.text import fill_sections, format_bytes, markdown_table

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "reports" / "published" / "bench"
DEFAULT = RESULTS / "default_run.json"
HEADER = ("row", "against", "ours", "other", "ratio (least to most)", "target", "of the peak", "in convolutions")
NOT_YET = "Not measured yet with today's recipes."


def write() -> None:
    """Render the page and its pictures anew."""
    found = entries()
    write_atomic(PAGE, render(PAGE.read_text(encoding="utf-8"), found))
    for name, (_, draw) in pictures.PICTURES.items():
        if svg := draw(found):  # else the page does not show it
            write_atomic(PAGE.parent / "performance" / f"{name}.svg", svg)


def entries(folder: Path = RESULTS) -> list[table.Entry]:
    """All that has been measured, but for the default command."""
    return [entry for path in sorted(folder.glob("*.json")) if path.name != DEFAULT.name for entry in table.read(path)]


def render(text: str, found: Sequence[table.Entry]) -> str:
    """The page's `text` with its parts rendered anew."""
    ratios = [e for e in found if isinstance(e, Ratio)]
    parts = {
        "missed": missed(ratios),
        "default": default_run(),
        "quality": quality([e for e in found if isinstance(e, Learning)]),
        "cost": cost([e for e in found if isinstance(e, Growth)]),
        "workers": efficiency(ratios),
        "met": met(ratios),
    }
    return fill_sections(text, parts)


def missed(ratios: Sequence[Ratio]) -> str:
    """How many targets are missed, and a table of those."""
    bad = [r for r in ratios if not r.holds]
    if not bad:
        return f"All {len(ratios)} targets are met."
    rows = [[f"{r.device} ({_commits([r])})", *_cells(r)] for r in bad]
    return f"{len(bad)} of {len(ratios)} targets are missed:\n\n{markdown_table(('machine', *HEADER), rows)}"


def met(ratios: Sequence[Ratio]) -> str:
    """A table for each machine of the targets that are met."""
    good = [r for r in ratios if r.holds]
    parts = []
    for device in dict.fromkeys(r.device for r in good):
        of = [r for r in good if r.device == device]
        parts.append(f"{device} ({_commits(of)}):\n\n{markdown_table(HEADER, map(_cells, of))}")
    return "\n\n".join(parts) or NOT_YET


def default_run() -> str:
    """What `benchmarks/default_run.py` measured of the default command, a line per measurement."""
    rows = []
    for r in json.loads(DEFAULT.read_text()):
        restricted = ", ".join(f"`{name}={value}`" for name, value in r["restricted to"].items())
        times = (f"{seconds:,} s" for seconds in (r["seconds"], r["seconds_again"]))
        memory = format_bytes(1e6 * r["memory_mb"])
        rows.append([r["machine"], restricted or "nothing", *times, memory, r["commit"][:7]])
    header = ("machine", "restricted by", "from nothing", "again, all done", "memory at most", "commit")
    return markdown_table(header, rows) if rows else NOT_YET


def quality(sides: Sequence[Learning]) -> str:
    """The bounds, when each side was within them, and the picture."""
    if not sides:
        return NOT_YET
    first = sides[0]
    bounds = ", ".join(f"{name} at most {bound:.4g}" for name, bound in first.bounds.items())
    rows = []
    for side in sides:
        reached = "not reached" if side.reached is None else f"{side.reached:,.0f} s"
        ends = [f"{values[-1]:.4g}" for values in side.qualities.values()]
        rows.append([side.side, reached, f"{side.steps[-1]:,}", f"{side.seconds[-1]:,.0f} s", *ends])
    header = ("training by", "bounds reached after", "steps until the end", "seconds until the end",
              *map(heading, first.qualities))  # fmt: skip
    words = f"{first.device}, seed {first.seed}, {_commits(sides)}; bounds: {bounds}."
    return f"{words}\n\n{markdown_table(header, rows)}\n\n{_picture('time_to_quality')}"


def cost(growths: Sequence[Growth]) -> str:
    """An exponent for each thing that grows, and the picture."""
    if not growths:
        return NOT_YET
    rows = []
    for g in growths:
        fits = [exponent(g.values, y) for y in (g.medians, g.bytes)]
        ends = [f"{_seconds(seconds)}, {format_bytes(size)}"
                for seconds, size in ((g.medians[0], g.bytes[0]), (g.medians[-1], g.bytes[-1]))]  # fmt: skip
        rows.append([g.over, f"{g.values[0]} to {g.values[-1]}", *(f"{p:.2f} ± {error:.2f}" for p, error in fits),
                     *ends])  # fmt: skip
    header = ("what grows", "from … to", "exponent of seconds", "exponent of memory", "at the first", "at the last")
    devices = "; ".join(dict.fromkeys(g.device for g in growths))
    return f"{devices}, {_commits(growths)}.\n\n{markdown_table(header, rows)}\n\n{_picture('cost')}"


def efficiency(ratios: Sequence[Ratio]) -> str:
    """How much faster each way of sharing work is than another, and the picture. Where it has twice as many workers as
    the other, its efficiency is given too, the ratio of times divided by 2."""
    ways = [r for r in ratios if r.name == "workers"]
    if not ways:
        return NOT_YET
    lines = [f"- {r.ours} against {r.other}: {r.ours_s:,.0f} s against {r.other_s:,.0f} s, {r.ratio:.2f} times as fast"
             + (f", efficiency {r.ratio / 2:.0%}" if r.target > 1 else "") for r in ways]  # fmt: skip
    return "\n".join([f"{ways[0].device}, {_commits(ways)}:", "", *lines, "", _picture("workers")])


def _picture(name: str) -> str:
    return f"![{pictures.PICTURES[name][0]}](performance/{name}.svg)"


def _commits(found: Iterable[table.Entry]) -> str:
    """ "commit 0123456", or "commits 0123456, 89abcde+"; a plus: with changes."""
    commits = (e.commit or "unknown" for e in found)
    names = dict.fromkeys(commit[:7] + "+" * commit.endswith("+") for commit in commits)
    return f"commit{'s' * (len(names) > 1)} {', '.join(names)}"


def _cells(r: Ratio) -> list[str]:
    memory = r.about == "memory"
    sides = [(r.ours_bytes, r.ours_s), (r.other_bytes, r.other_s)]
    values = [format_bytes(size or 0) if memory else _seconds(seconds) for size, seconds in sides]
    spread = f"{r.ratio_low:.3g} to {r.ratio_high:.3g}" if r.n > 1 else "one round"
    other, work = f"{r.other}; ours: {r.ours}" if r.ours else r.other, r.work_ratio or 1
    if abs(work - 1) > SAME_WORK:
        other += f" ({1 / work:.2f} times our multiply-adds, in convolutions and products)"
    peak = _share(r.flops_per_s, r.peak_flops_per_s)
    return [f"`{r.name}`", other, *values, f"{r.ratio:.3g} ({spread})", f"{r.target:.3g}", peak,
            _share(r.convolutions_s, r.ours_s)]  # fmt: skip


def _share(part: float | None, whole: float | None) -> str:
    return f"{part / whole:.0%}" if part and whole else ""


def _seconds(value: float) -> str:
    unit, factor = ("s", 1) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("µs", 1e6)
    return f"{value * factor:,.0f} {unit}" if value * factor >= 100 else f"{value * factor:.3g} {unit}"
