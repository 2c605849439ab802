"""Claims as cards for the report: what every run set says about a claim, and the verdict of the one that decides."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from cqlib.suite.experiments.claims import CLAIMS, Claim
from cqlib.suite.experiments.paper import published_effect
from cqlib.suite.experiments.rows import PROFILES
from cqlib.suite.report.inference import holm
from cqlib.suite.report.run_sets import RunSet, display_groups
from cqlib.suite.report.verdicts import ClaimResult, claim_result, effect_text


class VerdictStyle(NamedTuple):
    """How a verdict is shown: a sign and a tone that go with its words."""

    sign: str
    tone: str  # CSS class: good, bad (contrary to the claim) or plain


VERDICTS = {
    "contradicted": VerdictStyle("✗", "bad"),
    "seen once, not as claimed": VerdictStyle("(✗)", "bad"),
    "undecided": VerdictStyle("?", "plain"),
    "equal": VerdictStyle("=", "plain"),
    "holds": VerdictStyle("✓", "good"),
    "seen once, as claimed": VerdictStyle("(✓)", "good"),
    "not run": VerdictStyle("–", "plain"),
}
"""In the order of the report: what speaks against the paper first."""


@dataclass(frozen=True)
class Card:
    """A claim and its result in each run set that tests it, the run set that decides first. Where `tests` is empty,
    `reason` says why."""

    claim: Claim
    tests: tuple[ClaimResult, ...]
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict of the run set that decides."""
        return self.tests[0].verdict if self.tests else "not run"

    @property
    def published(self) -> str:
        """The paper's own effect in words; empty where the slides print none."""
        effect = published_effect(self.claim)
        return "" if effect is None else effect_text(effect, self.claim.unit)

    def result_in(self, runs: RunSet) -> ClaimResult | None:
        """Its result in that run set; None where it was not tested."""
        return next((result for result in self.tests if result.runs is runs), None)


def cards(sets: Sequence[RunSet], prefix: str = "") -> list[Card]:
    """One card per claim whose id begins with `prefix`, in the order of `VERDICTS`, then of the slides. Which run set
    decides: one under profile `paper` on the claim's data before others, then the one with most seeds, then one made
    here. Changed recipes come after all these, then smoke runs."""
    claims = [claim for claim in CLAIMS if claim.id.startswith(prefix)]
    tables = dict.fromkeys(claim.table for claim in claims)
    by_set = [result for runs in sets for table in tables for result in _tested(table, runs)]
    all_cards = [_card(claim, [result for result in by_set if result.claim is claim]) for claim in claims]
    return sorted(all_cards, key=lambda card: list(VERDICTS).index(card.verdict))


def _tested(table: str, runs: RunSet) -> list[ClaimResult]:
    """The results of all claims of a table in a run set, with p values adjusted by Holm's procedure for their
    number."""
    results = [claim_result(claim, runs) for claim in CLAIMS if claim.table == table]
    family = [i for i, result in enumerate(results) if result.p is not None]
    adjusted = dict(zip(family, holm([p for result in results if (p := result.p) is not None]), strict=True))
    return [replace(result, p_holm=float(adjusted[i]), n_tests=len(family)) if i in adjusted else result
            for i, result in enumerate(results)]  # fmt: skip


def _card(claim: Claim, results: Sequence[ClaimResult]) -> Card:
    def rank(result: ClaimResult) -> tuple[bool, bool, bool, int, bool]:
        runs = result.runs
        papers_own = (runs.profile, runs.data) == ("paper", claim.data)
        seeds = min(map(len, result.seeds))
        return runs.profile == "smoke", bool(runs.changes), not papers_own, -seeds, runs.origin != "local"

    tests = [result for result in results if result.label != "not run"]
    lacks_least = min(results, key=lambda result: result.missing_kind, default=None)
    return Card(claim, tuple(sorted(tests, key=rank)), lacks_least.reason if lacks_least else "nothing was run")


class Matrix(NamedTuple):
    """A table of claims by run sets: `columns` are the run sets, `groups` the tested claims under their headings."""

    columns: list[RunSet]
    groups: dict[str, list[Card]]


def matrix(all_cards: Iterable[Card], sets: Sequence[RunSet] = ()) -> Matrix:
    """The `Matrix` of the cards tested in its columns, table by table, this project's own claims last. The columns are
    those of `sets` that test any of them; without `sets`, or where none does, all that do, this machine's first."""
    tested = [card for card in all_cards if card.tests]
    tests = {id(result.runs): result.runs for card in tested for result in card.tests}
    columns = [runs for runs in sets if id(runs) in tests]
    columns = columns or sorted(tests.values(), key=lambda runs: runs.origin != "local")
    groups: dict[str, list[Card]] = {}
    tested = [card for card in tested if any(map(card.result_in, columns))]
    for card in sorted(tested, key=lambda card: (card.claim.own, card.claim.table)):
        heading = "Beside the paper: this project’s own claims" if card.claim.own else card.claim.heading.capitalize()
        groups.setdefault(heading, []).append(card)
    return Matrix(columns, groups)


def scales(sets: Sequence[RunSet], rows: Sequence[str]) -> list[RunSet]:
    """Of the smallest and of the largest scale (size of the images, then profile) at which `rows` were trained, the run
    set with most seeds; of several data sets the one with most runs. Tests of the machine, profile `smoke`, and changed
    recipes do not count."""
    plain = [runs for runs in sets if runs.profile != "smoke" and not runs.changes]
    groups = display_groups(plain, rows, "")

    def scale(group: Sequence[RunSet]) -> tuple[int, int]:
        return group[0].size, [*PROFILES, group[0].profile].index(group[0].profile)

    ends = (min(groups, key=scale), max(groups, key=scale)) if groups else ()
    found = [max(group, key=lambda runs: (sum(len(runs.done(row)) for row in rows), runs.origin == "local"))
             for group in ends]  # fmt: skip
    return found[:1] if len(found) == 2 and found[0] is found[1] else found


def against_the_paper(all_cards: Iterable[Card], verdict: str) -> list[tuple[str, list[ClaimResult]]]:
    """Label of a run set of the rows' own recipes -> the paper's claims that have this verdict there."""
    found: dict[str, list[ClaimResult]] = {}
    for result in (result for card in all_cards if not card.claim.own for result in card.tests):
        if result.verdict == verdict and not result.runs.changes and result.runs.profile != "smoke":
            found.setdefault(result.runs.label, []).append(result)
    return list(found.items())


def tally(sets: Sequence[RunSet], table: str = "table1") -> tuple[int, dict[str, int]]:
    """The number of the paper's claims of a table, and how many have which verdict in `sets`, in the order of
    `VERDICTS`."""
    counts = Counter(card.verdict for card in cards(sets, f"{table}/") if not card.claim.own)
    return counts.total(), {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}
