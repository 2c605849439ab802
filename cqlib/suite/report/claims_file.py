"""The claims as data: what the published records say of each, a plain list in JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cqlib.suite.experiments.paper import published_effect
from cqlib.suite.report.claim_cards import Card, cards
from cqlib.suite.report.run_sets import RunSet
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED

FILE = PUBLISHED / "claims.json"


def entry(card: Card) -> dict[str, Any]:
    """A claim: row_a is lower, higher or equal in `metric` than row_b, by `published` in the paper, with its tests, of
    which the first gives its verdict. Effects and 95 % intervals are in `unit`, positive as claimed; `seeds` are those
    of row_a and row_b; `p_holm` is p by Holm's procedure over the tests of the table."""
    claim = card.claim
    tests = [
        {"runs": r.runs.name, "score": r.metric_name, "verdict": r.verdict, "reason": r.reason,
         "effect": _rounded(r.effect), "interval": None if r.low is None else [_rounded(r.low), _rounded(r.high)],
         "seeds": r.seeds, "p": _rounded(r.p), "p_holm": _rounded(r.p_holm)}
        for r in card.tests
    ]  # fmt: skip
    return {
        "id": claim.id, "sentence": claim.sentence, "origin": "own" if claim.own else "paper", "metric": claim.metric,
        "kind": claim.kind, "row_a": claim.row_a, "row_b": claim.row_b, "unit": claim.unit,
        "published": _rounded(published_effect(claim)), "verdict": card.verdict, "tests": tests,
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    """`value` to four significant digits, on which machines agree; a zero has no sign."""
    return None if value is None else float(f"{value:.4g}") + 0.0


def write(sets: Sequence[RunSet]) -> Path:
    """Write all claims, tested on `sets`, by id, to `FILE`, a line each."""
    entries = [entry(card) for card in sorted(cards(sets), key=lambda card: card.claim.id)]
    lines = (json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in entries)
    return write_atomic(FILE, "[\n" + ",\n".join(lines) + "\n]\n")
