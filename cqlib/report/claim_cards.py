"""Claims as cards to show: what every run set says about a claim, and the verdict on it in all."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cqlib.experiments.claims import CLAIMS, Claim
from cqlib.experiments.paper import published_effect
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import ClaimResult, claim_result, effect_text, temperatures


class Verdict(NamedTuple):
    """How a verdict is shown: a sign and a tone that go with its words, and the heading of the claims that have it."""

    sign: str
    tone: str  # CSS class: good, bad (contrary to the claim) or plain
    heading: str


VERDICTS = {
    "does not hold": Verdict("✗", "bad", "Claims that do not hold"),
    "depends on the temperature": Verdict("±", "bad", "Claims that depend on the temperature"),
    "seen once, contrary": Verdict("✗", "bad", "Seen once, and contrary to the claim"),
    "undecided": Verdict("?", "plain", "Undecided"),
    "seen once, depends on the temperature": Verdict("?", "plain", "Seen once, and depending on the temperature"),
    "equal": Verdict("=", "plain", "No difference"),
    "holds": Verdict("✓", "good", "Claims that hold"),
    "seen once, as claimed": Verdict("✓", "good", "Seen once, as claimed"),
    "not run": Verdict("–", "plain", "Not tested"),
}
"""In the order of the report: what speaks against the paper first."""
WIDTH = 200  # of the picture of an interval, in its own units


@dataclass(frozen=True)
class Card:
    """A claim, its results in each run set that tests it (the one that decides first), one for each temperature; or why
    there are none."""

    claim: Claim
    tests: tuple[tuple[ClaimResult, ...], ...]
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict of the run set that decides."""
        return verdict(self.tests[0]) if self.tests else "not run"

    @property
    def published(self) -> str:
        """The paper's own effect in words; empty where the slides print none."""
        effect = published_effect(self.claim)
        return "" if effect is None else effect_text(effect, self.claim.unit)

    @property
    def reach(self) -> float:
        """How far from 0 the pictures of all its intervals go, in the claim's unit."""
        ends = [end for results in self.tests for r in results for end in (r.effect, r.low, r.high) if end is not None]
        return 1.1 * max(map(abs, [*ends, QUANTITIES[self.claim.metric].equal]))

    def bar(self, result: ClaimResult) -> dict[str, float]:
        """Positions of effect, interval and band of equality on a line of WIDTH with 0 in its middle."""
        margin = QUANTITIES[self.claim.metric].equal
        ends = {"effect": result.effect, "low": result.low, "high": result.high, "left": -margin, "right": margin}
        return {name: round(WIDTH / 2 * (1 + end / self.reach), 1) for name, end in ends.items() if end is not None}


def cards(sets: Sequence[RunSet], prefix: str = "") -> list[Card]:
    """One card per claim (whose id begins with `prefix`), in the order of `VERDICTS`, then of the slides. The run set
    with most seeds decides; one of the paper's recipes on the claim's data goes before all others, smoke runs last."""
    sets = sets or [RunSet("local", "", 0, "", ())]
    all_cards = [_card(claim, sets) for claim in CLAIMS if claim.id.startswith(prefix)]
    return sorted(all_cards, key=lambda card: list(VERDICTS).index(card.verdict))


def count_claims(all_cards: Sequence[Card]) -> dict[str, int]:
    """How many cards have each verdict, in the order of `VERDICTS`, zeros included."""
    return dict.fromkeys(VERDICTS, 0) | Counter(card.verdict for card in all_cards)


def verdict(results: Sequence[ClaimResult]) -> str:
    """The verdict on a claim from its results in one run set: it holds only where it holds at both temperatures."""
    verdicts = {result.verdict for result in results}
    if len(verdicts) == 1:
        return verdicts.pop()
    if {result.label for result in results} == {"seen once"}:
        return "seen once, depends on the temperature"
    return "depends on the temperature" if "does not hold" in verdicts else "undecided"


def _card(claim: Claim, sets: Sequence[RunSet]) -> Card:
    def rank(results: Sequence[ClaimResult]) -> tuple[bool, bool, int, bool]:
        runs = results[0].runs
        papers_own = (runs.profile, runs.data) == ("paper", claim.data)
        return runs.profile == "smoke", not papers_own, -len(results[0].seeds), runs.origin != "local"

    results = [[claim_result(claim, runs, t) for t in temperatures(claim.metric)] for runs in sets]
    tests = [tuple(result for result in of_set if result.label != "not run") for of_set in results]
    lacks_least = min(itertools.chain(*results), key=lambda result: result.missing_kind)
    return Card(claim, tuple(sorted(filter(None, tests), key=rank)), lacks_least.reason)
