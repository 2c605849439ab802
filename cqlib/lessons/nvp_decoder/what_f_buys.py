"""Lesson 05, what f buys: Table 1 with and without f, from records, with the verdicts as they are."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.display import HTML

from cqlib.experiments.record import Record
from cqlib.experiments.rows import label_of
from cqlib.report import page as report
from cqlib.report.cells import table
from cqlib.report.claim_cards import cards
from cqlib.report.run_sets import FEATURES, RunSet, measured, run_sets

ROWS = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f")
CLAIMS = "table1/f-"
"""What the ids of the claims about f begin with."""


def numbers(runs: RunSet) -> HTML:
    """BPD, and the scores at temperature 1, of the four systems; means over seeds with their spread."""
    known = {name for row in ROWS for record in runs.of(row) for name in record.metrics}
    score, distance, _ = FEATURES["inception" if "FID@T1" in known else "lite0"]
    names = {"BPD": "BPD ↓", f"{score}@T1": f"{score} ↑", f"{distance}@T1": f"{distance} ↓"}
    lines = []
    for row in ROWS:
        done = runs.of(row)
        lines.append([label_of(row), *(measured(name, done) for name in names), str(len(done))])
    return table(f"With and without f, T = 1 ({runs.label}, {runs.place})", ["Model", *names.values(), "seeds"], lines)


def verdicts(records: Sequence[Record]) -> HTML:
    """The claims about f that have been tested, on the published records and on `records`; what does not hold first."""
    found = [
        card for card in cards(run_sets(records, report.published_records()), CLAIMS) if card.standing != "not run"
    ]
    return HTML(report.macro("claim_list", found)) if found else HTML("<p>No claim about f has been tested yet.</p>")
