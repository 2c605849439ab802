"""The answer in three sentences: what the paper's model is, which of its chief claims came out here, and which did
not."""

from collections.abc import Sequence
from dataclasses import dataclass

from cqlib.experiments.paper import TABLE1
from cqlib.report.claim_cards import cards
from cqlib.report.run_sets import RunSet, data_title
from cqlib.report.verdicts import ClaimResult
from cqlib.util.text import count_of

MODEL = (
    "CQ-F is one image model with two losses: a likelihood, counted in bits, so that it covers the data, and a "
    "critic’s quality loss, so that its samples look real; f, an invertible network in its decoder, is to improve both."
)
CHIEF_CLAIMS = {
    "f saves bits with and without the critic": ("table1/f-bpd", "table1/f-quality-bpd"),
    "the critic makes samples look more real with and without f": (
        "table1/quality-loss-fid", "table1/quality-loss-f-fid"),
    "CQ-F needs fewer bits than a GAN": ("table1/cq-f-gan-bpd",),
    "without f the critic costs no bits": ("table1/quality-loss-bpd",),
    "with the critic f makes samples look better": ("table1/f-quality-fid",),
    "CQ-F’s samples look better than a GAN’s": ("table1/cq-f-gan-fid",),
    "CQ-F’s samples cover more of the real images than a GAN’s": ("table1/cq-f-gan-coverage",),
}  # fmt: skip
"""What the paper says (of coverage in words alone) -> the claims that test it."""
OUTCOMES = {
    "contradicted": "the opposite was measured",
    "seen once, not as claimed": "not so in the one seed that was run",
    "undecided": "undecided",
    "equal": "no difference was measured",
    "seen once, as claimed": "in the one seed that was run",
    "holds": "",
}
"""Verdict on a claim, what speaks against the paper first -> in words."""
AS_CLAIMED = ("holds", "seen once, as claimed")


@dataclass(frozen=True)
class Finding:
    """One of `CHIEF_CLAIMS`, and the verdict of each run set that tests it."""

    text: str
    verdicts: tuple[tuple[RunSet, str], ...]

    @property
    def as_claimed(self) -> bool:
        """Whether it came out wherever it was tested."""
        return bool(self.verdicts) and all(verdict in AS_CLAIMED for _, verdict in self.verdicts)

    def __str__(self) -> str:
        """ "f saves bits", "f saves bits (undecided)", or, where run sets differ, with what each says."""
        outcomes = {f"{data_title(runs.data)} {runs.size}×{runs.size}": OUTCOMES[verdict] or "as the paper says"
                    for runs, verdict in self.verdicts}  # fmt: skip
        if not outcomes:
            return f"{self.text} (not tested)"
        if len({*outcomes.values()}) > 1:
            return f"{self.text} ({'; '.join(f'{label}: {outcome}' for label, outcome in outcomes.items())})"
        return self.text + "".join(f" ({OUTCOMES[verdict]})" for _, verdict in self.verdicts[:1] if OUTCOMES[verdict])


def findings(sets: Sequence[RunSet]) -> list[Finding]:
    """What `sets` say of the paper's chief claims."""
    by_id = {card.claim.id: card for card in cards(sets, "table1/")}
    found = []
    for text, ids in CHIEF_CLAIMS.items():
        results = [(runs, [result for id in ids if (result := by_id[id].result_in(runs))]) for runs in sets]
        found.append(Finding(text, tuple((runs, worst(of)) for runs, of in results if len(of) == len(ids))))
    return found


def worst(results: Sequence[ClaimResult]) -> str:
    """The verdict among `results` that speaks most against the paper."""
    return min((result.verdict for result in results), key=list(OUTCOMES).index)


def sentences(sets: Sequence[RunSet]) -> list[str]:
    """The answer that the records of `sets` give."""
    if not any(runs.done(row.id) for runs in sets for row in TABLE1.rows):
        return [MODEL, "None of the models of Table 1 has been trained yet: ./run_all.sh trains them."]
    places = "; ".join(f"“{data_title(runs.data)}”, {runs.size}×{runs.size} pixels, {_seeds(runs)}" for runs in sets)
    found = findings(sets)
    came_out = "; ".join(str(finding) for finding in found if finding.as_claimed)
    did_not = "; ".join(str(finding) for finding in found if not finding.as_claimed)
    degree = "It came out in part" if came_out and did_not else "It came out" if came_out else "It did not come out"
    told = [MODEL, f"{degree}, in small versions ({places}){f': {came_out}' if came_out else ''}."]
    return [*told, f"What did not come out: {did_not}."] if did_not else told


def _seeds(runs: RunSet) -> str:
    return count_of(max(len(runs.done(row.id)) for row in TABLE1.rows), "seed")
