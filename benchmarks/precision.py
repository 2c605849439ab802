"""What bf16 does to the claims of Table 1, for docs/performance.md: runs in bf16 beside runs of the same rows and seeds
in fp32, from records of both, of one recipe, that are kept for it: those of the tables are renewed with their
recipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cqlib.experiments import paper
from cqlib.experiments.record import Record, load_records
from cqlib.report.claim_cards import Card, cards
from cqlib.report.run_sets import mean_of, run_sets
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import markdown_table, named

OPPOSITE = ({"holds", "does not hold"}, {"seen once, as claimed", "seen once, contrary"})


def precision(folder: Path = PUBLISHED) -> str:
    """The claims of Table 1 from runs in fp32 beside those of the same rows and seeds in bf16, for each run set."""
    exact, fast = (load_records(folder / "precision" / name)[0] for name in ("fp32", "bf16"))
    parts = [_precision(runs.records, fast) for runs in run_sets([], exact)]
    return "\n\n".join(part for part in parts if part) or "Not measured yet."


def _precision(exact: Sequence[Record], records: Sequence[Record]) -> str:
    def run(r: Record) -> tuple:
        return r.variant, r.seed, r.profile, r.data

    both = {*map(run, exact)} & {*map(run, records)}
    alone = [f"{r.row}, seed {r.seed}" for r in exact if run(r) not in both]
    fast, exact = ([r for r in side if run(r) in both] for side in (records, exact))
    if not both:
        return ""
    found = [{card.claim.id: card for card in cards(run_sets([], runs), "table1")} for runs in (fast, exact)]
    pairs = [(found[0][claim], found[1][claim]) for claim in found[0] if found[0][claim].tests]
    same = sum(a.verdict == b.verdict for a, b in pairs)
    turned = sum({a.verdict, b.verdict} in OPPOSITE for a, b in pairs)
    rows = dict.fromkeys(r.row for r in exact)
    seeds = {row: named("seed", sorted({r.seed for r in exact if r.row == row})) for row in rows}
    bpd = ", ".join(f"{paper.ROWS[row].label} {_mean(fast, row):.2f} and {_mean(exact, row):.2f} ({of_row})"
                    for row, of_row in seeds.items())  # fmt: skip
    at_fast, at_exact = ({r.git.commit for r in side} for side in (fast, exact))
    commits = "" if at_fast == at_exact else ", and at other commits"
    verdicts = f"{same} of {len(pairs)} verdicts are the same, {turned} turned round. " if pairs else ""
    head = (
        f"Table 1, {_label(exact)}, trained in bf16 and in fp32: {verdicts}"
        f"BPD in bf16 and in fp32: {bpd}. "
        f"(bf16: {_devices(fast)}; fp32: {_devices(exact)}{commits}.)"
        + (f" Left out, in fp32 alone: {'; '.join(alone)}." if alone else "")
    )
    if not pairs:
        return head
    lines = [[a.claim.sentence, a.verdict, _effects(a), b.verdict, _effects(b)] for a, b in pairs]
    return f"{head}\n\n{markdown_table(['claim', 'bf16', 'effect', 'fp32', 'effect'], lines)}"


def _mean(records: Sequence[Record], row: str) -> float:
    return mean_of([r.metrics["BPD"] for r in records if r.row == row]).value


def _label(records: Sequence[Record]) -> str:
    return " and ".join(dict.fromkeys(runs.label for runs in run_sets([], records)))


def _devices(records: Sequence[Record]) -> str:
    return " and ".join(sorted({r.device for r in records}))


def _effects(card: Card) -> str:
    """ "T = 1: +23.8 %; T = 0: −8.2 %"; a GAN, which has no noise to leave out, has one for both."""
    found = {r.text: r.at for results in card.tests for r in reversed(results)}
    effects = [f"{at}: {effect}" if at and len(found) > 1 else effect for effect, at in found.items()]
    return "; ".join(reversed(effects))
