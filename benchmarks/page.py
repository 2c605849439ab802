"""docs/performance.md, whose tables are rendered from `reports/published/bench/` and the published records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import precision
from benchmarks.measuring import SAME_WORK
from cqlib.util.paths import ROOT
from cqlib.util.text import fill, markdown_table, megabytes

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "reports" / "published" / "bench"
DEFAULT = RESULTS / "default_run.json"
HEADER = ("row", "against", "ours", "other", "ratio (least to most)", "target", "")


def render(text: str) -> str:
    """The page's `text` with its parts rendered anew."""
    return fill(text, {"default": default_run(), "bench": tables(), "precision": precision.precision()})


def default_run(file: Path = DEFAULT) -> str:
    """What `benchmarks/default_run.py` measured of the default command, in a sentence."""
    r = json.loads(file.read_text())
    restricted = ", ".join(f"{name}={value}" for name, value in r["restricted to"].items())
    machine = f"{r['machine']}{f' (restricted by `{restricted}`)' if restricted else ''}"
    return (
        f"From nothing, on {machine}: {r['seconds']:,} s, at most {megabytes(1e6 * r['memory_mb'])} of memory. Run "
        f"again, when all is done: {r['seconds_again']} s. Commit {r['commit'][:7]}."
    )


def tables(folder: Path = RESULTS) -> str:
    """A Markdown table of ratios for each machine in `folder`, and what was missed."""
    parts = []
    for results in (json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))):
        if not isinstance(results, list):  # the time of the default command
            continue
        table = markdown_table(HEADER, map(_cells, results))
        parts += [f"{results[0]['device']}:", "", table, "", _missed(results), ""]
    return "\n".join(parts).strip() or "Not measured yet."


def _cells(r: dict[str, Any]) -> list[str]:
    memory = r["about"] == "memory"
    sides = [megabytes(r[f"{side}_bytes"]) if memory else _seconds(r[f"{side}_s"]) for side in ("ours", "other")]
    spread = f"{r['ratio_low']:.3g} to {r['ratio_high']:.3g}" if r["n"] > 1 else "one round"
    verdict = "holds" if r["holds"] else "**does not hold**"
    other, work = r["other"], r.get("work_ratio") or 1
    if abs(work - 1) > SAME_WORK:
        other += f" ({1 / work:.2f} times our multiply-adds, in convolutions and products)"
    return [f"`{r['name']}`", other, *sides, f"{r['ratio']:.3g} ({spread})", f"{r['target']:.3g}", verdict]


def _missed(results: Sequence[dict[str, Any]]) -> str:
    """How many targets were met; and for steps that missed theirs, how near the machine's ceiling they run."""
    missed = list(dict.fromkeys(f"`{r['name']}`" for r in results if not r["holds"]))
    if not missed:
        return f"All {len(results)} targets are met."
    steps = _shares(results, "flops_per_s", "peak_flops_per_s")
    convolutions = _shares(results, "convolutions_s", "ours_s")
    text = f"{sum(r['holds'] for r in results)} of {len(results)} targets are met; missed by {', '.join(missed)}."
    text += f" Of what this machine reaches on large products, our steps reach {steps}." if steps else ""
    return text + (f" Convolutions, which both sides call, take of our time {convolutions}." if convolutions else "")


def _shares(results: Sequence[dict[str, Any]], part: str, whole: str) -> str:
    shares = {r["name"]: r[part] / r[whole] for r in results if r.get(part)}
    return ", ".join(f"{share:.0%} (`{name}`)" for name, share in shares.items())


def _seconds(value: float) -> str:
    unit, factor = ("s", 1) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("µs", 1e6)
    return f"{value * factor:,.0f} {unit}" if value * factor >= 100 else f"{value * factor:.3g} {unit}"
