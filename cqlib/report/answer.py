"""The answer in three sentences: what the paper's model is, which of its chief claims came out here, and which did
not."""

from collections.abc import Sequence

from cqlib.experiments.paper import TABLE1
from cqlib.report.claim_cards import cards
from cqlib.report.run_sets import RunSet, data_title
from cqlib.report.verdicts import ClaimResult
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
    """A chief claim with the outcome that speaks most against it, and where, if the outcomes differ: "f saves bits
    (undecided on “Tiny ImageNet” 32×32)"."""
    if not results:
        return f"{text} (not tested)"
    # one seed that agrees takes nothing from what more seeds have shown elsewhere
    results = [each for each in results if each.verdict != "seen once, as claimed"] or results
    result = min(results, key=_severity)
    differ = len({each.verdict for each in results}) > 1
    weak = result.verdict == "contradicted" and result.weak
    place = f" on “{data_title(result.runs.data)}” {result.runs.size}×{result.runs.size}" * differ
    outcome = "weak evidence for the opposite" if weak else OUTCOMES[result.verdict]
    return f"{text} ({outcome}{place})" if outcome else text


def as_claimed(results: Sequence[ClaimResult]) -> bool:
    """Whether a claim came out wherever it was tested."""
    return bool(results) and min(results, key=_severity).verdict in ("holds", "seen once, as claimed")


def _severity(result: ClaimResult) -> int:
    return list(OUTCOMES).index(result.verdict)


def sentences(sets: Sequence[RunSet]) -> list[str]:
    """The answer that the records of `sets` give."""
    if not any(runs.done(row.id) for runs in sets for row in TABLE1.rows):
        return [MODEL, "None of the models of Table 1 has been trained yet: ./run_all.sh trains them."]
    places = "; ".join(f"“{data_title(runs.data)}”, {runs.size}×{runs.size} pixels, {_seeds(runs)}" for runs in sets)
    by_id = {card.claim.id: card for card in cards(sets, "table1/")}
    results = {text: [result for id in ids for result in by_id[id].tests] for text, ids in CHIEF_CLAIMS.items()}
    came_out = "; ".join(finding(text, of_claim) for text, of_claim in results.items() if as_claimed(of_claim))
    did_not = "; ".join(f"that {finding(text, of)}" for text, of in results.items() if not as_claimed(of))
    degree = "Partly confirmed" if came_out and did_not else "Confirmed" if came_out else "Not confirmed"
    told = [MODEL, f"{degree} with small models ({places}){f': {came_out}' if came_out else ''}."]
    return [*told, f"Not confirmed: {did_not}."] if did_not else told


def _seeds(runs: RunSet) -> str:
    return count_of(max(len(runs.done(row.id)) for row in TABLE1.rows), "seed")
