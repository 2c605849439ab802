"""Claims as cards to show: what every run set says about a claim, and where the claim stands in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cqlib.experiments.claims import Claim
from cqlib.experiments.paper import EQUAL
from cqlib.report.run_sets import PLACES, RunSet
from cqlib.report.verdicts import ClaimResult, claims_table

# In the order of the report: what speaks against the paper first. Sign and tone go with the words.
STANDINGS = {
    "does not hold": ("✗", "bad"),
    "depends on the temperature": ("±", "bad"),
    "seen once, contrary": ("✗", "bad"),
    "undecided": ("?", "plain"),
    "seen once, depends on the temperature": ("?", "plain"),
    "equal": ("=", "plain"),
    "holds": ("✓", "good"),
    "seen once, as claimed": ("✓", "good"),
    "not run": ("–", "plain"),
}
DIGITS = {"bpd": 2, "%": 1}
WIDTH = 200  # of the picture of an interval, in its own units


@dataclass(frozen=True)
class Finding:
    """One result of a claim: its temperature, its words, its interval as a picture."""

    at: str  # "T = 1"; empty for BPD, which has no temperature
    standing: str
    effect: str
    bar: dict[str, float] | None

    @property
    def sign(self) -> str:
        """A character that goes with the words."""
        return STANDINGS[self.standing][0]

    @property
    def tone(self) -> str:
        """CSS class: good, bad or plain."""
        return STANDINGS[self.standing][1]


@dataclass(frozen=True)
class Line:
    """What one run set says about a claim, a finding for each temperature."""

    runs: str  # "photos10 16×16, quick"
    source: str  # "published, 5 seeds"
    score: str  # "FD-lite0": a score that is not FID says so
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Card:
    """A claim, where it stands, what each run set says (the one that decides first), the paper's own effect."""

    claim: Claim
    standing: str
    lines: tuple[Line, ...]
    reach: str  # "0.49 bpd": how far from 0 the pictures go
    published: str
    reason: str

    @property
    def scores(self) -> tuple[str, ...]:
        """What the claim was tested by."""
        return tuple(dict.fromkeys(line.score for line in self.lines))


def cards(sets: Sequence[RunSet], prefix: str = "") -> list[Card]:
    """One card per claim (whose id begins with `prefix`), in the order of STANDINGS, then of the slides.

    A claim stands where the run set with most seeds puts it, before all others one of the paper's recipes on the data
    of the claim; smoke runs, which only test the code, come last. The others are shown beside it.
    """
    results: dict[str, list[tuple[RunSet | None, ClaimResult]]] = {}
    tested = [(runs, claims_table(runs.records, runs.data, runs.profile)) for runs in sets]
    for runs, found in tested or [(None, claims_table([], "", ""))]:
        for result in found:
            if result.claim.id.startswith(prefix):
                results.setdefault(result.claim.id, []).append((runs, result))
    made = [_card(found) for found in results.values()]
    return sorted(made, key=lambda card: list(STANDINGS).index(card.standing))


def count_claims(made: Sequence[Card]) -> dict[str, int]:
    """How many cards stand where, in the order of STANDINGS, zeros included."""
    return {name: sum(card.standing == name for card in made) for name in STANDINGS}


def standing(results: Sequence[ClaimResult]) -> str:
    """Where the results of one claim in one run set, at the two temperatures, put it: what speaks against it at one of
    them is told; for it speaks only what holds wherever it was measured."""
    labels = {result.label for result in results}
    names = {_name(result) for result in results}
    if len(names) == 1:
        return names.pop()
    if labels == {"seen once"}:
        return "seen once, depends on the temperature"
    return "depends on the temperature" if "does not hold" in labels else "undecided"


def _name(result: ClaimResult) -> str:
    return f"seen once, {result.direction}" if result.label == "seen once" else result.label


def _card(found: list[tuple[RunSet | None, ClaimResult]]) -> Card:
    claim, published = found[0][1].claim, found[0][1].published
    paper = "" if published is None else effect_text(published, claim.unit)
    by_set: dict[int, tuple[RunSet, list[ClaimResult]]] = {}
    for runs, result in found:
        if runs is not None and result.label != "not run":
            by_set.setdefault(id(runs), (runs, []))[1].append(result)
    ran = sorted(by_set.values(), key=lambda pair: _rank(claim, *pair))
    where = standing(ran[0][1]) if ran else "not run"
    reach = _reach([result for _, results in ran for result in results])
    lines = tuple(_line(runs, results, reach) for runs, results in ran)
    reason = min((result for _, result in found), key=lambda result: result.lacks).reason
    return Card(claim, where, lines, f"{reach:.{DIGITS[claim.unit]}f} {claim.unit}", paper, reason)


def _rank(claim: Claim, runs: RunSet, results: Sequence[ClaimResult]) -> tuple:
    """The place of a run set among those that test a claim: the first decides."""
    papers_own = (runs.profile, runs.data) == ("paper", claim.data)
    return runs.profile == "smoke", not papers_own, -results[0].n_seeds, runs.place != "here"


def _line(runs: RunSet, results: Sequence[ClaimResult], reach: float) -> Line:
    seeds, alone = results[0].n_seeds, results[0].alone
    source = f"{PLACES[runs.place].lower()}, {seeds} seed{'s' if seeds > 1 else ''}"
    if alone:
        source += f"; without a comparable partner: seed{'s' if len(alone) > 1 else ''} {', '.join(map(str, alone))}"
    findings = [
        Finding("" if r.temperature is None else f"T = {r.temperature:.0f}", _name(r), result_text(r), _bar(r, reach))
        for r in results
    ]
    return Line(runs.label, source, results[0].metric_name.partition("@")[0], tuple(findings))


def result_text(result: ClaimResult) -> str:
    """ "−0.30 bpd [−0.45, −0.15]": effect and interval; empty where there is no effect."""
    if result.effect is None:
        return ""
    text, unit = effect_text(result.effect, result.claim.unit), result.claim.unit
    if result.low is None or result.high is None:
        return text
    return f"{text} [{number(result.low, unit)}, {number(result.high, unit)}]"


def effect_text(effect: float, unit: str) -> str:
    """ "+0.85 bpd" or "−12.3 %"."""
    return f"{number(effect, unit)} {unit}"


def number(value: float, unit: str) -> str:
    """A signed number with a real minus: two decimals for bits per dimension, one for percent."""
    return f"{value:+.{DIGITS[unit]}f}".replace("-", "−")


def _reach(results: Sequence[ClaimResult]) -> float:
    """How far from 0 the pictures of a claim reach: as far as the farthest of its effects, intervals and bands, so that
    all have one scale."""
    ends = [value for r in results for value in (r.effect, r.low, r.high, EQUAL[r.claim.metric]) if value is not None]
    return 1.1 * max(map(abs, ends), default=1.0)


def _bar(result: ClaimResult, reach: float) -> dict[str, float] | None:
    """Positions of effect, interval and band of equality on a line of WIDTH with 0 in its middle."""
    if result.effect is None:
        return None
    margin = EQUAL[result.claim.metric]
    ends = {"effect": result.effect, "low": result.low, "high": result.high, "left": -margin, "right": margin}
    known = {name: value for name, value in ends.items() if value is not None}
    return {name: round(WIDTH / 2 * (1 + value / reach), 1) for name, value in known.items()}
