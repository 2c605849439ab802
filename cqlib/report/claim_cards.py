"""Claims as cards to show: what every run set says about a claim, and the verdict on it in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cqlib.experiments.claims import CLAIMS, Claim
from cqlib.experiments.paper import EQUAL, published_effect
from cqlib.report.run_sets import ORIGINS, RunSet
from cqlib.report.verdicts import ClaimResult, claim_result, temperatures
from cqlib.util.text import signed


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
DIGITS = {"bpd": 2, "%": 1}
WIDTH = 200  # of the picture of an interval, in its own units


@dataclass(frozen=True)
class Finding:
    """The result of a claim at one temperature: its verdict, its effect in words, its interval as a picture."""

    at: str  # "T = 1"; empty for BPD, which has no temperature
    verdict: str
    effect: str
    bar: dict[str, float] | None


@dataclass(frozen=True)
class Line:
    """What one run set says about a claim, a finding for each temperature."""

    runs: str  # "photos10 16×16, quick"
    source: str  # "published, 5 seeds"
    score: str  # "FD-lite0": a score that is not FID says so
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Card:
    """A claim, the verdict on it, what each run set says (the one that decides first), the paper's own effect."""

    claim: Claim
    verdict: str
    lines: tuple[Line, ...]
    reach: str  # "0.49 bpd": how far from 0 the pictures go
    published: str
    reason: str

    @property
    def scores(self) -> tuple[str, ...]:
        """What the claim was tested by."""
        return tuple(dict.fromkeys(line.score for line in self.lines))


def cards(sets: Sequence[RunSet], prefix: str = "") -> list[Card]:
    """One card per claim (whose id begins with `prefix`), in the order of `VERDICTS`, then of the slides.

    The run set with most seeds decides; one of the paper's recipes on the data of the claim goes before all others, and
    smoke runs, which only test the code, come last.
    """
    sets = sets or [RunSet("local", "", 0, "", ())]
    all_cards = [_card(claim, sets) for claim in CLAIMS if claim.id.startswith(prefix)]
    return sorted(all_cards, key=lambda card: list(VERDICTS).index(card.verdict))


def count_claims(all_cards: Sequence[Card]) -> dict[str, int]:
    """How many cards have each verdict, in the order of `VERDICTS`, zeros included."""
    return dict.fromkeys(VERDICTS, 0) | Counter(card.verdict for card in all_cards)


def verdict(results: Sequence[ClaimResult]) -> str:
    """The verdict on a claim from its results in one run set: it holds only where it holds at both temperatures."""
    labels = {result.label for result in results}
    names = {_name(result) for result in results}
    if len(names) == 1:
        return names.pop()
    if labels == {"seen once"}:
        return "seen once, depends on the temperature"
    return "depends on the temperature" if "does not hold" in labels else "undecided"


def _name(result: ClaimResult) -> str:
    return f"seen once, {result.direction}" if result.label == "seen once" else result.label


def _card(claim: Claim, sets: Sequence[RunSet]) -> Card:
    results = [(runs, [claim_result(claim, runs, t) for t in temperatures(claim.metric)]) for runs in sets]
    run = [(runs, ran) for runs, tested in results if (ran := [r for r in tested if r.label != "not run"])]
    run.sort(key=lambda pair: _rank(claim, *pair))
    ends = [end for _, ran in run for r in ran for end in (r.effect, r.low, r.high, EQUAL[claim.metric])]
    reach = 1.1 * max((abs(end) for end in ends if end is not None), default=1.0)  # all bars of a claim have one scale
    published = published_effect(claim)
    return Card(
        claim,
        verdict(run[0][1]) if run else "not run",
        tuple(_line(runs, ran, reach) for runs, ran in run),
        f"{reach:.{DIGITS[claim.unit]}f} {claim.unit}",
        "" if published is None else effect_text(published, claim.unit),
        min((r for _, tested in results for r in tested), key=lambda result: result.missing_kind).reason,
    )


def _rank(claim: Claim, runs: RunSet, results: Sequence[ClaimResult]) -> tuple[bool, bool, int, bool]:
    """The place of a run set among those that test a claim: the first decides."""
    papers_own = (runs.profile, runs.data) == ("paper", claim.data)
    return runs.profile == "smoke", not papers_own, -len(results[0].seeds), runs.origin != "local"


def _line(runs: RunSet, results: Sequence[ClaimResult], reach: float) -> Line:
    seeds, unpaired = len(results[0].seeds), results[0].unpaired_seeds
    source = f"{ORIGINS[runs.origin].lower()}, {seeds} seed{'s' * (seeds > 1)}"
    if unpaired:
        source += f"; without a comparable partner: seed{'s' * (len(unpaired) > 1)} {', '.join(map(str, unpaired))}"
    findings = tuple(
        Finding("" if r.temperature is None else f"T = {r.temperature:.0f}", _name(r), result_text(r), _bar(r, reach))
        for r in results
    )
    return Line(runs.label, source, results[0].metric_name.partition("@")[0], findings)


def result_text(result: ClaimResult) -> str:
    """ "−0.30 bpd [−0.45, −0.15]": effect and interval; empty where there is no effect."""
    if result.effect is None:
        return ""
    text, places = effect_text(result.effect, result.claim.unit), DIGITS[result.claim.unit]
    if result.low is None or result.high is None:
        return text
    return f"{text} [{signed(result.low, places)}, {signed(result.high, places)}]"


def effect_text(effect: float, unit: str) -> str:
    """ "+0.85 bpd" or "−12.3 %"."""
    return f"{signed(effect, DIGITS[unit])} {unit}"


def _bar(result: ClaimResult, reach: float) -> dict[str, float] | None:
    """Positions of effect, interval and band of equality on a line of WIDTH with 0 in its middle."""
    if result.effect is None:
        return None
    margin = EQUAL[result.claim.metric]
    ends = {"effect": result.effect, "low": result.low, "high": result.high, "left": -margin, "right": margin}
    return {name: round(WIDTH / 2 * (1 + end / reach), 1) for name, end in ends.items() if end is not None}
