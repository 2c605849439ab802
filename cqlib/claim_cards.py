"""Claims as cards to show: what every run set says about a claim, and where the claim stands in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cqlib.claims import Claim
from cqlib.paper import EQUAL
from cqlib.tables import PLACES, RunSet
from cqlib.verdicts import ClaimResult, claims_table

# In the order of the report: what speaks against the paper first. Sign and tone go with the words.
STANDINGS = {
    "does not hold": ("✗", "bad"),
    "depends on the temperature": ("±", "bad"),
    "seen once, contrary": ("✗", "bad"),
    "undecided": ("?", "plain"),
    "equal": ("=", "plain"),
    "holds": ("✓", "good"),
    "seen once, as claimed": ("✓", "good"),
    "not run": ("–", "plain"),
}
WIDTH = 200  # of the picture of an interval, in its own units


@dataclass(frozen=True)
class Finding:
    """One result of a claim: where it comes from, its words, its interval as a picture."""

    source: str  # "T = 1, published, 5 seeds"
    runs: str  # "photos10 16×16, quick"
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
class Card:
    """A claim, where it stands, on which data, its findings by column, the paper's own effect."""

    claim: Claim
    standing: str
    measured: tuple[str, ...]  # "FD-lite0 on photos10 16×16, quick": a score that is not FID says so
    columns: tuple[tuple[Finding, ...], ...]
    published: str
    reason: str


def cards(sets: Sequence[RunSet], prefix: str = "") -> list[Card]:
    """One card per claim (whose id begins with `prefix`), in the order of STANDINGS, then of the slides.

    A claim stands where the run set with most seeds puts it (smoke runs, which only test the code, come after
    all others); the others are shown beside it.
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
    """Where the results of one claim in one run set, at the two temperatures, put it."""
    names = {_name(result) for result in results}
    return names.pop() if len(names) == 1 else "depends on the temperature"


def _name(result: ClaimResult) -> str:
    return f"seen once, {result.direction}" if result.label == "seen once" else result.label


def _card(found: list[tuple[RunSet | None, ClaimResult]]) -> Card:
    claim, published = found[0][1].claim, found[0][1].published
    ran = [(runs, result) for runs, result in found if runs is not None and result.label != "not run"]
    where, columns = "not run", ()
    scores = (f"{result.metric_name.partition('@')[0]} on {runs.label}" for runs, result in ran)
    measured = tuple(dict.fromkeys(scores))
    if ran:
        most = max(ran, key=lambda pair: (pair[0].profile != "smoke", pair[1].n_seeds))[0]
        where = standing([result for runs, result in ran if runs is most])
        by_column: dict[object, list[Finding]] = {}
        for runs, result in ran:  # BPD has no temperature: a column for each place
            column = runs.place if result.temperature is None else result.temperature
            by_column.setdefault(column, []).append(finding(runs, result))
        columns = tuple(map(tuple, by_column.values()))
    paper = "" if published is None else effect_text(published, claim.unit)
    return Card(claim, where, measured, columns, paper, found[-1][1].reason)


def finding(runs: RunSet, result: ClaimResult) -> Finding:
    """A claim's result on a run set, in words and as a bar."""
    seeds = "1 seed" if result.n_seeds == 1 else f"{result.n_seeds} seeds"
    at = [] if result.temperature is None else [f"T = {result.temperature:.0f}"]
    text, unit = "", result.claim.unit
    if result.effect is not None:
        text = effect_text(result.effect, unit)
        if result.low is not None and result.high is not None:
            text += f" [{number(result.low, unit)}, {number(result.high, unit)}]"
    source = ", ".join([*at, PLACES[runs.place].lower() if at else PLACES[runs.place], seeds])
    return Finding(source, runs.label, _name(result), text, _bar(result))


def effect_text(effect: float, unit: str) -> str:
    """ "+0.85 bpd" or "−12.3 %"."""
    return f"{number(effect, unit)} {unit}"


def number(value: float, unit: str) -> str:
    """A signed number with a real minus: two decimals for bits per dimension, one for percent."""
    return f"{value:+.{2 if unit == 'bpd' else 1}f}".replace("-", "−")


def _bar(result: ClaimResult) -> dict[str, float] | None:
    """Positions of effect, interval and band of equality on a line of WIDTH with 0 in its middle."""
    if result.effect is None:
        return None
    margin = EQUAL[result.claim.metric]
    ends = {"effect": result.effect, "low": result.low, "high": result.high, "left": -margin, "right": margin}
    known = {name: value for name, value in ends.items() if value is not None}
    reach = 1.1 * max(map(abs, known.values()))
    return {name: round(WIDTH / 2 * (1 + value / reach), 1) for name, value in known.items()}
