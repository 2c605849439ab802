"""What was measured of the suite itself, as README shows it: its speed (`python -m cqlib bench`) and what that does to
the claims, what it survives (`tests/faults.py`) and what it refuses (`tests/bad_input.py`). From the files of
`reports/published/` alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cqlib.claim_cards import Card, cards
from cqlib.names import ROOT
from cqlib.records import Record, load_records
from cqlib.tables import run_sets

PUBLISHED = ROOT / "reports" / "published"
SAME_WORK = 0.05
"""Sides of a bench row whose multiply-adds differ by less do the same work."""


def bench(folder: Path = PUBLISHED / "bench") -> str:
    """A table of ratios for each machine on which the bench was run, and what was missed."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        rows = json.loads(path.read_text())
        lines = [_line(["row", "against", "ours", "other", "ratio (least to most)", "target", ""]), _line(["---"] * 7)]
        for r in rows:
            memory = r["about"] == "memory"
            sides = [_bytes(r[f"{side}_bytes"]) if memory else _seconds(r[f"{side}_s"]) for side in ("ours", "other")]
            ratio = f"{r['ratio']:.3g} ({r['ratio_low']:.3g} to {r['ratio_high']:.3g})"
            holds = "holds" if r["holds"] else "**does not hold**"
            work = r.get("work_ratio") or 1
            other = r["other"]
            if abs(work - 1) > SAME_WORK:
                other += f" ({1 / work:.2f} times our multiply-adds, in convolutions and products)"
            lines.append(_line([f"`{r['name']}`", other, *sides, ratio, f"{r['target']:.3g}", holds]))
        parts += [f"{rows[0]['device']}:", "", *lines, "", _missed(rows), ""]
    return "\n".join(parts).strip() or "Not measured yet."


def _missed(rows: Sequence[dict[str, Any]]) -> str:
    """How many targets were met; and of steps that missed theirs, how near the machine's ceiling they run."""
    missed = list(dict.fromkeys(f"`{r['name']}`" for r in rows if not r["holds"]))
    if not missed:
        return f"All {len(rows)} targets are met."
    steps = _shares(rows, "flops_per_s", "peak_flops_per_s")
    within = _shares(rows, "convolutions_s", "ours_s")
    kept = sum(r["holds"] for r in rows)
    told = f"{kept} of {len(rows)} targets are met; missed by {', '.join(missed)}."
    told += f" Of what this machine reaches on large products, our steps reach {steps}." if steps else ""
    return told + (f" Convolutions, which both sides call, take of our time {within}." if within else "")


def _shares(rows: Sequence[dict[str, Any]], part: str, whole: str) -> str:
    shares = {r["name"]: r[part] / r[whole] for r in rows if r.get(part)}
    return ", ".join(f"{share:.0%} (`{name}`)" for name, share in shares.items())


def precision(folder: Path = PUBLISHED) -> str:
    """The claims of Table 1 from runs in fp32 beside those of the same seeds in bf16."""
    exact, _ = load_records(folder / "fp32")
    wanted = {(r.row, r.seed, r.profile, r.data.name) for r in exact}
    fast = [r for r in load_records(folder / "records")[0] if (r.row, r.seed, r.profile, r.data.name) in wanted]
    if not exact or len(fast) != len(exact):
        return "Not measured yet."
    found = [{card.claim.id: card for card in cards(run_sets([], runs), "table1")} for runs in (fast, exact)]
    pairs = [(found[0][claim], found[1][claim]) for claim in found[0] if found[0][claim].lines]
    same = sum(a.standing == b.standing for a, b in pairs)
    turned = sum({a.standing, b.standing} == {"holds", "does not hold"} for a, b in pairs)
    head = (
        f"Table 1, {_label(exact)}, trained in bf16 and in fp32, {_seeds(exact)}: {same} of {len(pairs)} "
        f"verdicts are the same, {turned} turned round. (bf16: {_devices(fast)}; fp32: {_devices(exact)}.)"
    )
    lines = [_line(["claim", "bf16", "effect", "fp32", "effect"]), _line(["---"] * 5)]
    lines += [_line([a.claim.sentence, *(cell for card in (a, b) for cell in (card.standing, _effects(card)))])
              for a, b in pairs]  # fmt: skip
    return "\n".join([head, "", *lines])


def _label(records: Sequence[Record]) -> str:
    return " and ".join(dict.fromkeys(runs.label for runs in run_sets([], records)))


def _seeds(records: Sequence[Record]) -> str:
    seeds = sorted({r.seed for r in records})
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _devices(records: Sequence[Record]) -> str:
    return " and ".join(sorted({r.device for r in records}))


def _effects(card: Card) -> str:
    return "; ".join(dict.fromkeys(finding.effect for line in card.lines for finding in line.findings))


def robustness(folder: Path = PUBLISHED) -> str:
    """The long versions of the fault table and of the bad inputs, in numbers."""
    faults, inputs = (_read(folder / f"robustness_{name}.json") for name in ("faults", "inputs"))
    return "\n\n".join([_faults(faults) if faults else "The fault table has not been run yet.",
                        _inputs(inputs) if inputs else "The bad inputs have not been run yet."])  # fmt: skip


def _faults(found: dict[str, Any]) -> str:
    struck = sum(one["struck"] for one in found["faults"].values())
    head = (
        f"`python tests/faults.py`, {struck:,} faults at random moments, {found['kills']:,} of them signals to a run: "
        f"{found['lost_finished_rows']} finished rows lost, {found['differing_records']} records that differ in "
        f"metrics, config or steps, {found['not_as_expected']} outcomes not as expected."
    )
    lines = [_line(["fault", "times", "what is kept", "what is said", "exit code"]), _line(["---"] * 5)]
    for name, one in found["faults"].items():
        times = f"{one['struck']:,}" if one["struck"] else next(iter(one["outcomes"]), "0")
        if one["not_as_expected"]:
            times += f", {one['not_as_expected']} not as expected"
        lines.append(_line([name, times, one["kept"], one["said"], str(one["exit_code"])]))
    return "\n".join([head, "", *lines])


def _inputs(found: dict[str, Any]) -> str:
    total = found["total"]
    names = [name for name in total if name not in ("inputs", "result", "one line")]
    wrong = ", ".join(f"{total[name]:,} {name}" for name in names)
    head = f"`python tests/bad_input.py`, {total['inputs']:,} inputs drawn by hypothesis: {wrong}."
    columns = ["inputs", "result", "one line"]
    lines = [_line(["kind", *columns, *names]), _line(["---"] * (4 + len(names)))]
    for one in found["kinds"].values():
        lines.append(_line([one["about"], *(f"{one[name]:,}" for name in (*columns, *names))]))
    return "\n".join([head, "", *lines])


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.is_file() else None


def _seconds(value: float) -> str:
    unit, factor = ("s", 1) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("µs", 1e6)
    return f"{value * factor:,.0f} {unit}" if value * factor >= 100 else f"{value * factor:.3g} {unit}"


def _bytes(value: int) -> str:
    return f"{value / 1e6:,.0f} MB"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
