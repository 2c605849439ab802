"""Claims as cards for the report: what every run set says about a claim, and the verdict of the one that decides."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from cqlib.experiments.claims import CLAIMS, Claim
from cqlib.experiments.paper import published_effect
from cqlib.metrics.quantities import TEMPERATURES, temperatures
from cqlib.report.growth import growth
from cqlib.report.inference import holm
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import DIGITS, ClaimResult, Results, claim_result, effect_text, reach


class Look(NamedTuple):
    """How a verdict is shown: a sign and a tone that go with its words."""

    sign: str
    tone: str  # CSS class: good, bad (contrary to the claim) or plain


VERDICTS = {
    "does not hold": Look("✗", "bad"),
    "depends on the temperature": Look("✗/…", "bad"),
    "seen once, contrary": Look("(✗)", "bad"),
    "undecided": Look("?", "plain"),
    "seen once, depends on the temperature": Look("(✗/…)", "plain"),
    "seen once, undecided": Look("(?)", "plain"),
    "equal": Look("=", "plain"),
    "holds": Look("✓", "good"),
    "seen once, as claimed": Look("(✓)", "good"),
    "not run": Look("–", "plain"),
}
"""In the order of the report: what speaks against the paper first."""


@dataclass(frozen=True)
class Card:
    """A claim and its results in each run set that tests it, the run set that decides first. Where `tests` is empty,
    `reason` says why."""

    claim: Claim
    tests: tuple[Results, ...]
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict of the run set that decides."""
        return verdict(self.tests[0]) if self.tests else "not run"

    @property
    def words(self) -> str:
        """The verdict with its temperatures: "holds at T = 0, undecided at T = 1"."""
        return spelled(self.tests[0]) if self.tests else "not run"

    @property
    def published(self) -> str:
        """The paper's own effect in words; empty where the slides print none."""
        effect = published_effect(self.claim)
        return "" if effect is None else effect_text(effect, self.claim.unit)

    @property
    def spread(self) -> str:
        """A sentence for a claim that some run set has seen once and another has tested on several seeds: the standard
        deviation over seeds of the effect of one seed of each model. Else empty."""
        once = any(results[0].label == "seen once" for results in self.tests)
        several = next((results[0] for results in self.tests if results[0].spread is not None), None)
        if not once or several is None:
            return ""
        deviation = f"{several.spread:.{DIGITS[self.claim.unit]}f} {self.claim.unit}"
        where = ", ".join(filter(None, (several.runs.title, several.at)))
        return f"The effect of one seed of each model has a standard deviation of {deviation} over seeds ({where})."

    @property
    def growth(self) -> tuple[str, ...]:
        """How its effect changes with size and training, see `growth.growth`."""
        return growth(self.tests)

    @property
    def reach(self) -> float:
        """Where the axis of its pictures of intervals ends, in the claim's unit: it covers the intervals of the run set
        that decides."""
        return reach([*chain(*self.tests)], covered=self.tests[0])

    def on(self, runs: RunSet) -> Results:
        """Its results in that run set; empty where it was not tested."""
        return next((results for results in self.tests if results[0].runs is runs), ())


def cards(sets: Sequence[RunSet], prefix: str = "") -> list[Card]:
    """One card per claim whose id begins with `prefix`, in the order of `VERDICTS`, then of the slides. Which run set
    decides: one under profile `paper` on the claim's data before others, then one made here or published before
    contributed ones, then the one with most seeds. Changed recipes come after all these, then former ones, then smoke
    runs."""
    claims = [claim for claim in CLAIMS if claim.id.startswith(prefix)]
    tables = dict.fromkeys(claim.table for claim in claims)
    tested = [_tested(table, runs) for runs in sets for table in tables]
    all_cards = [_card(claim, [of_table[claim.id] for of_table in tested if claim.id in of_table]) for claim in claims]
    return sorted(all_cards, key=lambda card: list(VERDICTS).index(card.verdict))


def _tested(table: str, runs: RunSet) -> dict[str, Results]:
    """Id of each claim of a table -> its results in a run set."""
    claims = [claim for claim in CLAIMS if claim.table == table]
    results = corrected([claim_result(claim, runs, t) for claim in claims for t in temperatures(claim.metric)])
    return {claim.id: tuple(result for result in results if result.claim is claim) for claim in claims}


def corrected(results: Sequence[ClaimResult]) -> list[ClaimResult]:
    """`results`, those of all claims of a table in one run set, with p values adjusted by Holm's procedure for the
    number of tests. The tests at one temperature are one family. A test without temperature (BPD) is in both families
    and takes the larger of its two adjusted p values."""
    adjusted: dict[int, list[tuple[float, int]]] = {}
    for temperature in TEMPERATURES:
        family = [i for i, r in enumerate(results) if r.p is not None and r.temperature in (None, temperature)]
        for i, p in zip(family, holm([p for i in family if (p := results[i].p) is not None]), strict=True):
            adjusted.setdefault(i, []).append((float(p), len(family)))
    best = {i: max(pairs) for i, pairs in adjusted.items()}
    return [replace(r, p_holm=best[i][0], n_tests=best[i][1]) if i in best else r for i, r in enumerate(results)]


def _card(claim: Claim, by_set: Sequence[Results]) -> Card:
    def rank(results: Results) -> tuple[bool, bool, bool, bool, bool, int, bool]:
        runs = results[0].runs
        changed = bool(runs.changes)
        papers_own = (runs.profile, runs.data) == ("paper", claim.data)
        seeds = min(map(len, results[0].seeds))
        contributed = runs.origin == "contributed"
        local = runs.origin == "local"
        return runs.profile == "smoke", runs.outdated, changed, not papers_own, contributed, -seeds, not local

    tests = [tuple(result for result in results if result.label != "not run") for results in by_set]
    lacks_least = min(chain(*by_set), key=lambda result: result.missing_kind, default=None)
    reason = lacks_least.reason if lacks_least else "nothing was run"
    return Card(claim, tuple(sorted(filter(None, tests), key=rank)), reason)


class Matrix(NamedTuple):
    """A table of claims by run sets: `columns` are the run sets, `groups` the tested claims under their headings."""

    columns: list[RunSet]
    groups: dict[str, list[Card]]


def matrix(all_cards: Iterable[Card]) -> Matrix:
    """The `Matrix` of the cards that were tested, table by table, this project's own claims last. Its columns: this
    machine's run sets, then those that test most claims, then those of former recipes."""
    tested = [card for card in all_cards if card.tests]
    counts = Counter(id(results[0].runs) for card in tested for results in card.tests)
    runs = {id(results[0].runs): results[0].runs for card in tested for results in card.tests}
    columns = sorted(runs.values(), key=lambda runs: (runs.origin != "local", runs.outdated, -counts[id(runs)]))
    groups: dict[str, list[Card]] = {}
    for card in sorted(tested, key=lambda card: (card.claim.own, card.claim.table)):
        heading = "Beside the paper: this project’s own claims" if card.claim.own else card.claim.heading.capitalize()
        groups.setdefault(heading, []).append(card)
    return Matrix(columns, groups)


def count_claims(all_cards: Iterable[Card]) -> dict[str, int]:
    """How many cards have each verdict, in the order of `VERDICTS`, zeros included."""
    return dict.fromkeys(VERDICTS, 0) | Counter(card.verdict for card in all_cards)


def verdict(results: Sequence[ClaimResult]) -> str:
    """The verdict on a claim from its results in one run set: the one at T = 0, or, where the claim fails at one
    temperature only, that it depends on the temperature."""
    verdicts = [result.verdict for result in results]
    if len({*verdicts}) == 1:
        return verdicts[0]
    if {result.label for result in results} == {"seen once"}:
        return "seen once, depends on the temperature" if "seen once, contrary" in verdicts else verdicts[0]
    return "depends on the temperature" if "does not hold" in verdicts else verdicts[0]


def look(results: Sequence[ClaimResult]) -> Look:
    """How the verdict on a claim from its results in one run set is shown: where it depends on the temperature with the
    signs of both, "✗/?", T = 0 first."""
    joint = VERDICTS[verdict(results)]
    signs = "/".join(VERDICTS[result.verdict].sign.strip("()") for result in results)
    return joint._replace(sign=joint.sign.replace("✗/…", signs))


def spelled(results: Sequence[ClaimResult]) -> str:
    """The verdicts on a claim from its results in one run set: "holds at T = 0, undecided at T = 1"."""
    return at_temperatures([(result.verdict, result.at) for result in results])


def at_temperatures(verdicts: Sequence[tuple[str, str]]) -> str:
    """(("holds", "T = 0"), ("undecided", "T = 1")) in words: "holds at T = 0, undecided at T = 1". A verdict that is
    the same at all temperatures is said once, without them."""
    if len({words for words, _ in verdicts}) == 1:
        return verdicts[0][0]
    return ", ".join(f"{words} at {at}" for words, at in verdicts)
