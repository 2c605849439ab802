"""Claims as cards to show: what every run set says about a claim, the verdict on it in all, and a matrix of both."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from cqlib.experiments.claims import CLAIMS, Claim
from cqlib.experiments.paper import published_effect
from cqlib.metrics.quantities import QUANTITIES, temperatures
from cqlib.report.inference import holm
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import DIGITS, ClaimResult, claim_result, effect_text


class Verdict(NamedTuple):
    """How a verdict is shown: a sign and a tone that go with its words."""

    sign: str
    tone: str  # CSS class: good, bad (contrary to the claim) or plain


VERDICTS = {
    "does not hold": Verdict("✗", "bad"),
    "depends on the temperature": Verdict("±", "bad"),
    "seen once, contrary": Verdict("(✗)", "bad"),
    "undecided": Verdict("?", "plain"),
    "seen once, depends on the temperature": Verdict("(±)", "plain"),
    "equal": Verdict("=", "plain"),
    "holds": Verdict("✓", "good"),
    "seen once, as claimed": Verdict("(✓)", "good"),
    "not run": Verdict("–", "plain"),
}
"""In the order of the report: what speaks against the paper first."""
WIDTH = 200  # of the picture of an interval, in its own units

Results = tuple[ClaimResult, ...]
"""Of one claim and run set, one for each temperature, T = 0 first."""


@dataclass(frozen=True)
class Card:
    """A claim, its results in each run set that tests it (the one that decides first); or why there are none."""

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
        return at_temperatures([(result.verdict, result.at) for result in self.tests[0]]) if self.tests else "not run"

    @property
    def published(self) -> str:
        """The paper's own effect in words; empty where the slides print none."""
        effect = published_effect(self.claim)
        return "" if effect is None else effect_text(effect, self.claim.unit)

    @property
    def spread(self) -> str:
        """For what was seen once: how far one seed's effect is from another's, where a run set has several."""
        once = any(results[0].label == "seen once" for results in self.tests)
        several = next((results[0] for results in self.tests if results[0].spread is not None), None)
        if not once or several is None or several.spread is None:
            return ""
        deviation = f"{several.spread:.{DIGITS[self.claim.unit]}f} {self.claim.unit}"
        where = ", ".join(filter(None, (several.runs.title, several.at)))
        return f"The effect of one seed of each model has a standard deviation of {deviation} over seeds ({where})."

    @property
    def reach(self) -> float:
        """How far from 0 the pictures of all its intervals go, in the claim's unit: to every effect, and to the ends of
        the intervals that decide."""
        results = list(itertools.chain(*self.tests))
        ends = [r.effect for r in results] + [end for r in self.tests[0] for end in (r.low, r.high)] if results else []
        margin = QUANTITIES[self.claim.metric].equal
        return 1.1 * max([margin, *(abs(end) for end in ends if end is not None)])

    @property
    def cut(self) -> bool:
        """Whether an interval goes further."""
        ends = [end for r in itertools.chain(*self.tests) for end in (r.low, r.high) if end is not None]
        return any(abs(end) > self.reach for end in ends)

    def bar(self, result: ClaimResult) -> dict[str, float]:
        """Positions of effect, interval and band of equality on a line of WIDTH with 0 in its middle."""
        return bar(result, self.reach)


def bar(result: ClaimResult, reach: float) -> dict[str, float]:
    """Positions of effect, interval and band of equality on a line of WIDTH from -reach to reach."""
    margin = QUANTITIES[result.claim.metric].equal
    ends = {"effect": result.effect, "low": result.low, "high": result.high, "left": -margin, "right": margin}
    return {name: round(WIDTH / 2 * (1 + end / reach), 1) for name, end in ends.items() if end is not None}


def cards(sets: Sequence[RunSet], prefix: str = "") -> list[Card]:
    """One card per claim (whose id begins with `prefix`), in the order of `VERDICTS`, then of the slides. The run set
    with most seeds decides; one of the paper's recipes on the claim's data goes before all others, smoke runs last."""
    sets = sets or [RunSet("local", "", 0, "", ())]
    tables = dict.fromkeys(claim.table for claim in CLAIMS if claim.id.startswith(prefix))
    tested = [result for table in tables for runs in sets for result in _table(table, runs)]
    all_cards = []
    for claim in (claim for claim in CLAIMS if claim.id.startswith(prefix)):
        own = (result for result in tested if result.claim is claim)
        by_set = [tuple(results) for _, results in itertools.groupby(own, key=lambda result: id(result.runs))]
        all_cards.append(_card(claim, by_set))
    return sorted(all_cards, key=lambda card: list(VERDICTS).index(card.verdict))


class Square(NamedTuple):
    """What a run set says about a claim: verdict, effect in words (at T = 0, of those that have one), and whether it is
    the run set that decides."""

    verdict: str
    effect: str
    decides: bool


@dataclass(frozen=True)
class Matrix:
    """Claims by run sets: under a heading each tested claim with a square, or None, for each of `columns`."""

    columns: tuple[RunSet, ...]
    groups: dict[str, list[tuple[Card, list[Square | None]]]]


def matrix(all_cards: Iterable[Card]) -> Matrix:
    """The cards that were tested, table by table, this project's own claims last; this machine's run sets first, then
    those that test most."""
    tested = [card for card in all_cards if card.tests]
    counts = Counter(id(results[0].runs) for card in tested for results in card.tests)
    runs = {id(results[0].runs): results[0].runs for card in tested for results in card.tests}
    columns = sorted(runs.values(), key=lambda runs: (runs.origin != "local", -counts[id(runs)]))
    groups: dict[str, list[tuple[Card, list[Square | None]]]] = {}
    for card in sorted(tested, key=lambda card: (card.claim.own, card.claim.table)):
        squares = {id(results[0].runs): _square(results, results is card.tests[0]) for results in card.tests}
        groups.setdefault(_heading(card.claim), []).append((card, [squares.get(id(runs)) for runs in columns]))
    return Matrix(tuple(columns), groups)


def _heading(claim: Claim) -> str:
    if claim.own:
        return "Beside the paper: this project’s own claims"
    return f"Table {claim.table[-1]}" if claim.table[:-1] == "table" else claim.table.capitalize()


def _square(results: Results, decides: bool) -> Square:
    effect = results[0].effect
    return Square(verdict(results), "" if effect is None else effect_text(effect, results[0].claim.unit), decides)


def count_claims(all_cards: Iterable[Card]) -> dict[str, int]:
    """How many cards have each verdict, in the order of `VERDICTS`, zeros included."""
    return dict.fromkeys(VERDICTS, 0) | Counter(card.verdict for card in all_cards)


def verdict(results: Sequence[ClaimResult]) -> str:
    """The verdict on a claim from its results in one run set: that at T = 0, unless the claim does not hold at one
    temperature and is otherwise at the other."""
    verdicts = [result.verdict for result in results]
    if len({*verdicts}) == 1:
        return verdicts[0]
    if {result.label for result in results} == {"seen once"}:
        return "seen once, depends on the temperature"
    return "depends on the temperature" if "does not hold" in verdicts else verdicts[0]


def at_temperatures(verdicts: Sequence[tuple[str, str]]) -> str:
    """(("holds", "T = 0"), ("undecided", "T = 1")) in words: "holds at T = 0, undecided at T = 1"; those that are all
    equal once."""
    if len({words for words, _ in verdicts}) == 1:
        return verdicts[0][0]
    return ", ".join(f"{words} at {at}" for words, at in verdicts)


def corrected(results: Sequence[ClaimResult]) -> list[ClaimResult]:
    """The results of all claims of a table in one run set, with p values adjusted by Holm for their number: at each
    temperature apart, and those that have none (BPD) with either, by the larger."""
    adjusted: dict[int, list[tuple[float, int]]] = {}
    for temperature in (0.0, 1.0):
        family = [i for i, r in enumerate(results) if r.p is not None and r.temperature in (None, temperature)]
        for i, p in zip(family, holm([p for i in family if (p := results[i].p) is not None]), strict=True):
            adjusted.setdefault(i, []).append((float(p), len(family)))
    best = {i: max(found) for i, found in adjusted.items()}
    return [replace(r, adjusted=best[i][0], tests=best[i][1]) if i in best else r for i, r in enumerate(results)]


def _table(table: str, runs: RunSet) -> list[ClaimResult]:
    """The results of all claims of a table, the checks of each with it."""
    results = []
    for claim in (claim for claim in CLAIMS if claim.table == table):
        for t in temperatures(claim.metric):
            check = claim_result(claim.check, runs, t) if claim.check else None
            results.append(replace(claim_result(claim, runs, t), check=check))
    return corrected(results)


def _card(claim: Claim, by_set: Sequence[Results]) -> Card:
    def rank(results: Results) -> tuple[bool, bool, int, bool]:
        runs = results[0].runs
        papers_own = (runs.profile, runs.data) == ("paper", claim.data)
        seeds = min(map(len, results[0].seeds))
        return runs.profile == "smoke", not papers_own, -seeds, runs.origin != "local"

    tests = [tuple(result for result in results if result.label != "not run") for results in by_set]
    lacks_least = min(itertools.chain(*by_set), key=lambda result: result.missing_kind)
    return Card(claim, tuple(sorted(filter(None, tests), key=rank)), lacks_least.reason)
