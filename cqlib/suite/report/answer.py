"""The answer in a few sentences: what the paper's model is, what f does to the trade-off, and which of the paper's
chief claims came out here, data set by data set."""

from collections.abc import Sequence

from cqlib.suite.experiments.paper import TABLE1
from cqlib.suite.report import fronts
from cqlib.suite.report.claim_cards import cards
from cqlib.suite.report.run_sets import RunSet, data_title
from cqlib.suite.report.verdicts import ClaimResult
from cqlib.util.text import count_of

MODEL = (
    "CQ-F is an image model trained with two losses: a likelihood loss, measured in bits, which makes it cover the "
    "data, and a critic’s quality loss, which makes its samples look real. An invertible network f in its decoder is "
    "meant to improve both."
)
CHIEF_CLAIMS = {
    "f saves bits with and without the critic": ("table1/f-bpd", "table1/f-quality-bpd"),
    "the critic makes samples look more real with and without f": (
        "table1/quality-loss-fid", "table1/quality-loss-f-fid"),
    "CQ-F needs fewer bits than a GAN": ("table1/cq-f-gan-bpd",),
    "without f the critic costs no bits": ("table1/quality-loss-bpd",),
    "CQ-F’s samples look better than those of CQ, which has no f": ("table1/f-quality-fid",),
    "CQ-F’s samples look better than a GAN’s": ("table1/cq-f-gan-fid",),
    "CQ-F’s samples cover more of the real images than a GAN’s, by this project’s own score": (
        "table1/cq-f-gan-coverage",),
}  # fmt: skip
"""What the paper says (of coverage in words alone) -> the claims that test it."""
OUTCOMES = {
    "contradicted": "the opposite was measured",
    "equal": "no difference was measured",
    "undecided": "undecided",
    "seen once, not as claimed": "not so in the one seed that was run",
    "seen once, as claimed": "in the one seed that was run",
    "holds": "",
}
"""Verdict on a claim, what speaks against the paper first, and of one seed last -> in words."""


def finding(text: str, results: Sequence[ClaimResult]) -> str:
    """A chief claim that was tested, with the outcome that speaks most against it: "f saves bits (undecided)"."""
    result = min(results, key=_severity)
    weak = result.verdict == "contradicted" and result.weak
    outcome = "weak evidence for the opposite" if weak else OUTCOMES[result.verdict]
    return f"{text} ({outcome})" if outcome else text


def as_claimed(results: Sequence[ClaimResult]) -> bool:
    """Whether a claim came out in all its tests."""
    return bool(results) and min(results, key=_severity).verdict in ("holds", "seen once, as claimed")


def _severity(result: ClaimResult) -> int:
    return list(OUTCOMES).index(result.verdict)


def sentences(sets: Sequence[RunSet]) -> list[str]:
    """The answer that the records of `sets` give: what f does to the trade-off, then the paper's chief claims, data set
    by data set."""
    if not any(runs.done(row.id) for runs in sets for row in TABLE1.rows):
        return [MODEL, "None of the models of Table 1 has been trained yet: ./run_all.sh trains them."]
    along = [(runs, found) for runs in sets if (found := fronts.results(runs))]
    return [MODEL, *(trade_off(runs, found) for runs, found in along), *map(of_data_set, sets)]


def trade_off(runs: RunSet, found: Sequence[fronts.FrontResult]) -> str:
    """What the fronts say in one sentence."""
    told = (f"{each.sentence[0].lower()}{each.sentence[1:]} ({each.text}: {each.label})" for each in found)
    return f"The trade-off along λ, the critic’s weight, on {place(runs, found[0].seeds)}: {'; '.join(told)}."


def of_data_set(runs: RunSet) -> str:
    """Which of the paper's chief claims came out on a data set, and which did not."""
    by_id = {card.claim.id: card for card in cards([runs], "table1/")}
    results = {text: [result for id in ids for result in by_id[id].tests] for text, ids in CHIEF_CLAIMS.items()}
    came_out = "; ".join(finding(text, of) for text, of in results.items() if as_claimed(of))
    did_not = "; ".join(f"that {finding(text, of)}" for text, of in results.items() if of and not as_claimed(of))
    not_tested = "; ".join(text for text, of in results.items() if not of)
    degree = "partly confirmed" if came_out and did_not else "confirmed" if came_out else "not confirmed"
    seeds = max(len(runs.done(row.id)) for row in TABLE1.rows)
    told = f"The paper’s claims on {place(runs, seeds)}, {degree}{f': {came_out}' if came_out else ''}."
    told += f" Not confirmed: {did_not}." if did_not else ""
    return f"{told} Not tested there yet: {not_tested}." if not_tested else told


def place(runs: RunSet, seeds: int) -> str:
    """ "“Tiny ImageNet”, 32×32 pixels, 3 seeds"."""
    return f"“{data_title(runs.data)}”, {runs.size}×{runs.size} pixels, {count_of(seeds, 'seed')}"
