"""What was found: each claim as a card, with its test in every group and the verdict of the one that decides; the
answer in a few sentences; and all claims as data."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from cqlib.suite.experiments.claims import CLAIMS, Claim
from cqlib.suite.experiments.paper import TABLE1, published_effect
from cqlib.suite.experiments.rows import PROFILES
from cqlib.suite.report.groups import Group, side_by_side
from cqlib.suite.report.inference import holm
from cqlib.suite.report.trade_off import FrontResult, front_results
from cqlib.suite.report.verdicts import ClaimResult, claim_result, effect_text
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import count_of


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
    """A claim and its result in each group that tests it, the group that decides first. Where `tests` is empty,
    `reason` says why."""

    claim: Claim
    tests: tuple[ClaimResult, ...]
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict of the group that decides."""
        return self.tests[0].verdict if self.tests else "not run"

    @property
    def published(self) -> str:
        """The paper's own effect in words; empty where the slides print none."""
        effect = published_effect(self.claim)
        return "" if effect is None else effect_text(effect, self.claim.unit)

    def result_in(self, runs: Group) -> ClaimResult | None:
        """Its result in that group; None where it was not tested."""
        return next((result for result in self.tests if result.runs is runs), None)


def cards(sets: Sequence[Group], prefix: str = "") -> list[Card]:
    """One card per claim whose id begins with `prefix`, in the order of `VERDICTS`, then of the slides. Which group
    decides: one under profile `paper` on the claim's data before others, then the one with most seeds, then one made
    here. Changed recipes come after all these, then smoke runs."""
    claims = [claim for claim in CLAIMS if claim.id.startswith(prefix)]
    tables = dict.fromkeys(claim.table for claim in claims)
    by_set = [result for runs in sets for table in tables for result in _tested(table, runs)]
    all_cards = [_card(claim, [result for result in by_set if result.claim is claim]) for claim in claims]
    return sorted(all_cards, key=lambda card: list(VERDICTS).index(card.verdict))


def _tested(table: str, runs: Group) -> list[ClaimResult]:
    """The results of all claims of a table in a group, with p values adjusted by Holm's procedure for their
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
    """A table of claims by groups: `columns` are the groups, `groups` the tested claims under their headings."""

    columns: list[Group]
    groups: dict[str, list[Card]]


def matrix(all_cards: Iterable[Card], sets: Sequence[Group] = ()) -> Matrix:
    """The `Matrix` of the cards tested in its columns, table by table, this project's own claims last. The columns are
    those of `sets` that test any of them; without `sets`, or where none does, all that do, this machine's first."""
    tested = [card for card in all_cards if card.tests]
    tests = {id(result.runs): result.runs for card in tested for result in card.tests}
    columns = [runs for runs in sets if id(runs) in tests]
    columns = columns or sorted(tests.values(), key=lambda runs: runs.origin != "local")
    groups: dict[str, list[Card]] = {}
    tested = [card for card in tested if any(map(card.result_in, columns))]
    for card in sorted(tested, key=lambda card: (card.claim.own, card.claim.table)):
        heading = "This project’s own claims" if card.claim.own else card.claim.heading.capitalize()
        groups.setdefault(heading, []).append(card)
    return Matrix(columns, groups)


def scales(sets: Sequence[Group], rows: Sequence[str]) -> list[Group]:
    """Of the smallest and of the largest scale (size of the images, then profile) at which `rows` were trained, the run
    set with most seeds; of several data sets the one with most runs. Tests of the machine, profile `smoke`, and changed
    recipes do not count."""
    plain = [runs for runs in sets if runs.profile != "smoke" and not runs.changes]
    groups = side_by_side(plain, rows, "")

    def scale(group: Sequence[Group]) -> tuple[int, int]:
        return group[0].size, [*PROFILES, group[0].profile].index(group[0].profile)

    ends = (min(groups, key=scale), max(groups, key=scale)) if groups else ()
    found = [max(group, key=lambda runs: (sum(len(runs.done(row)) for row in rows), runs.origin == "local"))
             for group in ends]  # fmt: skip
    return found[:1] if len(found) == 2 and found[0] is found[1] else found


def against_the_paper(all_cards: Iterable[Card], verdict: str) -> list[tuple[str, list[ClaimResult]]]:
    """(label, the paper's claims that have this verdict) of each place where rows ran by their own recipes, on this
    machine or not."""
    found: dict[tuple[Any, ...], list[ClaimResult]] = {}
    for result in (result for card in all_cards if not card.claim.own for result in card.tests):
        runs = result.runs
        if result.verdict == verdict and not runs.changes and runs.profile != "smoke":
            found.setdefault((runs.data, runs.size, runs.profile, runs.distinguished_by), []).append(result)
    return [(results[0].runs.label, results) for results in found.values()]


def tally(sets: Sequence[Group], table: str = "table1") -> tuple[int, dict[str, int]]:
    """The number of the paper's claims of a table, and how many have which verdict in `sets`, in the order of
    `VERDICTS`."""
    counts = Counter(card.verdict for card in cards(sets, f"{table}/") if not card.claim.own)
    return counts.total(), {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


# --- the answer

MODEL = (
    "CQ-F is an image model trained with two losses: a likelihood loss, measured in bits, which makes it cover the "
    "data, and a critic’s quality loss, which makes its samples look real. A decoder that draws each pixel and colour "
    "by itself pays for every correlation between them in noise. An invertible network f lets them depend on each "
    "other."
)
RULE = "A claim holds if its 95 % interval lies on the paper’s side."
REMARKS = {"equal": "no difference", "sketch": "too few seeds", "seen once": "one seed"}
"""The label of a claim that is not decided -> a remark after its effect. An undecided claim is not told."""


class Clause(NamedTuple):
    """A claim in words: with the size of an effect as claimed, and of the opposite one."""

    id: str
    as_claimed: str
    opposite: str


TRADE_OFF = (
    Clause(
        "front/equal-distance",
        "at equal distance from real images f saves {:.2f} bits",
        "at equal distance from real images f costs {:.2f} bits",
    ),
    Clause(
        "front/equal-bits",
        "at equal bits its samples are {:.0f} % nearer",
        "at equal bits its samples are {:.0f} % further",
    ),
)
WITHOUT_FRONTS = (
    Clause("table1/f-quality-bpd", "with the critic f saves {:.2f} bits", "with the critic f costs {:.2f} bits"),
    Clause(
        "table1/f-quality-fid",
        "brings samples {:.0f} % nearer to real images",
        "takes samples {:.0f} % further from real images",
    ),
)
CRITIC = (
    Clause(
        "table1/quality-loss-f-fid",
        "the critic brings samples {:.0f} % nearer",
        "the critic takes samples {:.0f} % further away",
    ),
    Clause("table1/quality-loss-f-bpd", "costs {:.2f} bits", "saves {:.2f} bits"),
)
GAN = (
    Clause("table1/cq-f-gan-bpd", "CQ-F needs {:.2f} bits less than a GAN", "CQ-F needs {:.2f} bits more than a GAN"),
    Clause("table1/cq-f-gan-fid", "is {:.0f} % nearer to real images", "is {:.0f} % further from real images"),
)
"""What is told of f, of the critic, and of CQ-F against a GAN."""


class Finding(NamedTuple):
    """What was found in a group of runs."""

    place: str
    text: str


def answer(sets: Sequence[Group]) -> list[Finding]:
    """What the records of each of `sets` say: what f does, to the trade-off where there is one; what the critic does;
    how CQ-F compares with a GAN; and how many of the paper's claims hold. Empty before any claim was tested."""
    return [Finding(place(runs), told) for runs in sets if (told := of_group(runs))]


def of_group(runs: Group) -> str:
    """What was found in a group, in sentences; without those about models that have not been trained."""
    tested = {card.claim.id: card.tests[0] for card in cards([runs], "table1/") if card.tests}
    along = {result.id: result for result in front_results(runs)}
    told = [sentence(TRADE_OFF, along) or sentence(WITHOUT_FRONTS, tested), sentence(CRITIC, tested),
            sentence(GAN, tested)]  # fmt: skip
    if tested:
        count, counts = tally([runs])
        rest = ", ".join(f"{counts[each]} {each}" for each in ("contradicted", "equal", "undecided") if each in counts)
        holding = f"{counts.get('holds', 0)} of {count - counts.get('not run', 0)} tested claims hold"
        told.append(f"{holding} ({rest})." if rest else f"{holding}.")
    return " ".join(filter(None, told))


def sentence(clauses: Sequence[Clause], results: Mapping[str, ClaimResult | FrontResult]) -> str:
    """The clauses whose claims have an effect that is not undecided: "The critic brings samples 3 % nearer (one
    seed) and costs 0.81 bits." Empty without any."""
    told = []
    for clause in clauses:
        result = results.get(clause.id)
        if result and result.effect is not None and result.label != "undecided":
            words = (clause.as_claimed if result.effect >= 0 else clause.opposite).format(abs(result.effect))
            told.append(words + (f" ({REMARKS[result.label]})" if result.label in REMARKS else ""))
    text = " and ".join(told)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def place(runs: Group) -> str:
    """ "Tiny ImageNet 32×32, 3 seeds"; "up to 5 seeds" where rows of Table 1 have fewer."""
    counts = {len(done) for row in TABLE1.rows if (done := runs.done(row.id))}
    seeds = "up to " * (len(counts) > 1) + count_of(max(counts, default=0), "seed")
    return f"{runs.images}, {seeds}"


# --- claims as data

CLAIMS_FILE = PUBLISHED / "claims.json"


def claim_entry(card: Card) -> dict[str, Any]:
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


def write_claims(sets: Sequence[Group]) -> Path:
    """Write all claims, tested on `sets`, by id, to `CLAIMS_FILE`, a line each."""
    entries = [claim_entry(card) for card in sorted(cards(sets), key=lambda card: card.claim.id)]
    lines = (json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in entries)
    return write_atomic(CLAIMS_FILE, "[\n" + ",\n".join(lines) + "\n]\n")
