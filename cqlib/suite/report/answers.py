"""The two tables of docs/results.md: eight questions with their answers, and the claims with their verdicts; a column
for digits, the smallest scale at which Table 1 was trained, and one for natural images, the largest.

An answer is the verdict of a claim in other words. That the critic costs bits is asked, where the paper claims that
without f it costs none: such a claim of equality is turned round.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from cqlib.suite.experiments import paper
from cqlib.suite.experiments.claims import BY_ID, CLAIMS, Claim
from cqlib.suite.experiments.paper import published_effect
from cqlib.suite.experiments.variants import in_words
from cqlib.suite.report.findings import VERDICTS, cards, scales
from cqlib.suite.report.groups import Group, data_title
from cqlib.suite.report.trade_off import FrontResult, front_results
from cqlib.suite.report.verdicts import ClaimResult, effect_text
from cqlib.util.text import count_of, markdown_table

QUESTIONS = {
    "Does f save bits?": {"without critic": "table1/f-bpd", "with critic": "table1/f-quality-bpd"},
    "Does f bring samples nearer to real images, by FD?": {
        "without critic": "table1/f-fid", "with critic": "table1/f-quality-fid"},
    "Does f help, whatever the critic’s weight λ?": {
        "FD at equal bits": "front/equal-bits", "bits at equal FD": "front/equal-distance"},
    "Does the critic bring samples nearer, by FD?": {
        "without f": "table1/quality-loss-fid", "with f": "table1/quality-loss-f-fid"},
    "Does the critic cost bits?": {
        "without f": "table1/quality-loss-bpd", "with f": "table1/quality-loss-f-bpd"},
    "Are CQ-F’s samples nearer than a GAN’s, by FD?": {"": "table1/cq-f-gan-fid"},
    "Does CQ-F cover more than a GAN, by coverage?": {"": "table1/cq-f-gan-coverage"},
    "Do larger models help?": {
        "residual nets, FD": "table2/residual-fid", "a larger critic, FD": "table2/large-d-fid",
        "two scales, bits": "table3/scales-bpd"},
}  # fmt: skip
"""Question -> what is compared -> the claim, of the paper's tables or of the fronts, whose verdict answers it."""
ANSWERS = {
    "holds": "**yes**", "contradicted": "**no, the opposite**", "equal": "**no difference**", "undecided": "undecided",
    "seen once, as claimed": "yes, seen once", "seen once, not as claimed": "no, seen once",
    "sketch": "too few seeds", "not reached": "undecided",
}  # fmt: skip
NOT_TESTED = "not tested yet"
CHANGED = "‡"
"""Marks results of changed recipes."""


class Column(NamedTuple):
    """A scale, and the results there of claims and of fronts, by id."""

    place: Group
    claims: dict[str, ClaimResult]
    fronts: dict[str, FrontResult]

    @property
    def heading(self) -> str:
        """ "Digits on photographs, 16×16"."""
        return f"{data_title(self.place.data)}, {self.place.size}×{self.place.size}"

    @property
    def seeds(self) -> int:
        """The most seeds of any row of Table 1."""
        return max(len(self.place.done(row.id)) for row in paper.TABLE1.rows)


def columns(sets: Sequence[Group]) -> list[Column]:
    """The smallest and the largest scale of Table 1. Its claims are told of unchanged recipes; all others of whichever
    recipes have most seeds at that scale."""
    where, found = attrgetter("origin", "data", "size", "profile"), []
    for place in scales(sets, [row.id for row in paper.TABLE1.rows]):
        results = {}
        for card in cards([runs for runs in sets if where(runs) == where(place)]):
            own = [test for test in card.tests if card.claim.table != "table1" or test.runs is place]
            if own:
                results[card.claim.id] = max(own, key=lambda test: min(map(len, test.seeds)))
        found.append(Column(place, results, {result.id: result for result in front_results(place)}))
    return found


def questions(sets: Sequence[Group]) -> str:
    """The answers to `QUESTIONS`, by the paper and at each scale."""
    found = columns(sets)
    lines = []
    for question, parts in QUESTIONS.items():
        cells = [[_named(words, answer(column.claims.get(id) or column.fronts.get(id))) for words, id in parts.items()]
                 for column in found]  # fmt: skip
        papers = [_named(words, papers_answer(BY_ID[id])) for words, id in parts.items() if id in BY_ID]
        lines.append([question, *("<br>".join(cell) for cell in [*cells, papers])])
    headings = (f"{column.heading}, up to {count_of(column.seeds, 'seed')}" for column in found)
    table = markdown_table(["question", *headings, "paper"], lines)
    changed = {column.heading: in_words(result.runs.changes) for column in found
               for result in column.claims.values() if result.runs.changes}  # fmt: skip
    told = "; ".join(f"{words} ({heading})" for heading, words in changed.items())
    return f"{table}\n\n{CHANGED}: with changed recipes, {told}." if told else table


def _named(words: str, text: str) -> str:
    return f"{words}: {text}" if words else text


def answer(result: ClaimResult | FrontResult | None) -> str:
    """ "**yes**, +0.79 bpd [+0.76, +0.83]": a verdict as an answer, with effect and 95 % interval, positive for yes."""
    if result is None:
        return NOT_TESTED
    if isinstance(result, FrontResult):
        return f"{ANSWERS[result.label]}, {result.text}"
    asked = worse(result) if result.claim.kind == "equal" else result
    return f"{ANSWERS[asked.verdict]}, {asked.reason or asked.text}{_changed(result)}"


def worse(result: ClaimResult) -> ClaimResult:
    """The result of a claim that two rows are equal, as one of whether row_a is worse."""
    of_kind = replace(result.claim, kind="cost")
    if result.effect is None:
        return replace(result, claim=of_kind)
    label = {"holds": "equal", "contradicted": "holds" if result.effect < 0 else "contradicted"}
    low, high = (None if end is None else -end for end in (result.high, result.low))
    return replace(result, claim=of_kind, label=label.get(result.label, result.label), effect=-result.effect, low=low,
                   high=high, as_claimed=not result.as_claimed and result.effect < 0)  # fmt: skip


def papers_answer(claim: Claim) -> str:
    """The paper's own difference; a dash where it prints none."""
    effect = published_effect(claim)
    return "—" if effect is None else effect_text(effect, claim.unit)


def claims(sets: Sequence[Group]) -> str:
    """Every claim of Tables 1 to 3 that several seeds test at any scale, with verdict and effect at each; and how many
    were seen once only."""
    found = columns(sets)
    of_tables = [claim for claim in CLAIMS if claim.table in (table.id for table in paper.TABLES)]
    results = {claim: [column.claims.get(claim.id) for column in found] for claim in of_tables}
    lines, once = [], Counter[str]()
    for claim, of_claim in results.items():
        tested = list(filter(None, of_claim))
        if all(result.label == "seen once" for result in tested):
            once.update(result.verdict for result in tested)
            continue
        cells = (_verdict(result) if result else "—" for result in of_claim)
        lines.append([claim.sentence + " (ours)" * claim.own, papers_answer(claim), *cells])
    table = markdown_table(["claim", "paper", *(column.heading for column in found)], lines)
    told = "; ".join(f"{verdict}: {count}" for verdict, count in sorted(once.items()))
    return f"{table}\n\nTests of other claims, by one seed each: {told}." if once else table


def _verdict(result: ClaimResult) -> str:
    """ "holds, +0.79 bpd †"; where one seed was run, the verdict's sign: "(✓) +0.79 bpd"."""
    words = VERDICTS[result.verdict].sign if result.label == "seen once" else f"{result.label},"
    return f"{words} {result.size or result.reason}{' †' * result.survives_holm}{_changed(result)}"


def _changed(result: ClaimResult) -> str:
    return f" {CHANGED}" * bool(result.runs.changes)
