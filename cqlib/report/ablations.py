"""What the ablations (`cqlib.experiments.ablations`) did: to the scores of each row that they change, question by
question, and to the claims that compare such rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from cqlib.experiments.ablations import ABLATIONS, CQ_F, PROFILE, QUESTIONS, Ablation, Question
from cqlib.experiments.changes import leaves
from cqlib.experiments.claims import CLAIMS, Claim
from cqlib.experiments.experiment import experiment, image_size
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record
from cqlib.experiments.rows import default_data, short_label
from cqlib.experiments.variants import in_words, value_in_words
from cqlib.metrics.quantities import QUANTITIES, temperatures
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import ClaimResult, Results, claim_result

SCORES = ("bpd", "fid", "kid", "is", "recall")
"""What `effects` tells."""
BETTER = {"holds": "better", "does not hold": "worse", "equal": "no difference"}
"""Labels of `claim_result` where a claim is that a change makes a row better."""


@dataclass(frozen=True)
class Effect:
    """What a change did to a row: a result for each of `SCORES`, positive where it is better; how runs `failed`."""

    ablation: str
    words: str
    results: Results
    failed: str

    @property
    def has_results(self) -> bool:
        """Whether there is any result."""
        return any(result.effect is not None for result in self.results)


def run_set(records: Sequence[Record]) -> RunSet:
    """The runs of ablations; changed rows in it are rows beside the plain ones, by the name of `variants.variant`."""
    (data,) = default_data(CQ_F, PROFILE)
    runs = tuple(run for run in records if (run.data.name, run.profile) == (data, PROFILE))
    return RunSet("published", data, image_size(data, PROFILE), PROFILE, runs)


def tried(runs: RunSet) -> dict[str, list[tuple[str, Results]]]:
    """Claim that an ablation was run for -> what was changed, "as it is" first, and the claim between such rows."""
    lines_by_claim: dict[str, list[tuple[str, Results]]] = {}
    for claim in CLAIMS:
        bears = {_change(a, (claim.row_a, claim.row_b)): a.claim(claim) for a in ABLATIONS if claim.id in a.claims}
        lines = [(words, tuple(claim_result(changed, runs, t) for t in temperatures(claim.metric)))
                 for words, changed in {"as it is": claim, **bears}.items()]  # fmt: skip
        lines = [(words, results) for words, results in lines if results[0].label != "not run"]
        if any(words != "as it is" for words, _ in lines):
            lines_by_claim[claim.id] = lines
    return lines_by_claim


def effects(runs: RunSet, temperature: float) -> list[tuple[Question, list[Effect]]]:
    """What the ablations of each question did to each row that they change, against that row as it is."""
    groups = []
    for question in QUESTIONS:
        every = chain.from_iterable(effects_of(ablation, runs, temperature) for ablation in question.ablations)
        groups.append((question, list({effect.words: effect for effect in every}.values())))  # two may share a run
    return groups


def effects_of(ablation: Ablation, runs: RunSet, temperature: float) -> list[Effect]:
    """What an ablation did to each row that it changes, against that row as it is."""
    return [_effect(ablation, row, runs, temperature) for row in ablation.changes]


def _effect(ablation: Ablation, row: str, runs: RunSet, temperature: float) -> Effect:
    changed, results = ablation.variant(row), []
    for metric in SCORES:
        claim = Claim(f"ablations/{metric}", "", runs.data, metric, changed, row, QUANTITIES[metric].better)
        results.append(claim_result(claim, runs, temperature if temperature in temperatures(metric) else None))
    failed = ", ".join(sorted({run.status for run in runs.records_of(changed) if not run.done}))
    return Effect(ablation.name, f"{short_label(row)}: {_change(ablation, (row,))}", tuple(results), failed)


def effect_table(records: Sequence[Record], temperature: float) -> dict[str, Any]:
    """`effects` for the macro `effect_table`, with names of columns and how far the pictures of each reach."""
    groups = effects(run_set(records), temperature)
    columns: list[Results] = list(zip(*(effect.results for _, group in groups for effect in group), strict=True))
    names = [next((r.score for r in column if r.metric_name), QUANTITIES[metric].name)
             for metric, column in zip(SCORES, columns, strict=True)]  # fmt: skip
    return {"names": names, "reach": list(map(reach, columns)), "groups": groups,
            "at": f"T = {temperature:g}", "label": run_set(records).label}  # fmt: skip


def reach(results: Sequence[ClaimResult]) -> float:
    """How far from 0 a picture of these results goes: to every effect, and to the margin of equality at least."""
    return 1.1 * max(abs(end) for r in results for end in (r.effect or 0, QUANTITIES[r.claim.metric].equal))


def _change(ablation: Ablation, rows: Sequence[str]) -> str:
    """ "λ 25 instead of 100": the settings that it changes of any of `rows`, and what they are."""
    changes: dict[str, None] = {}
    for row in map(canonical, rows):
        plain = dict(leaves(experiment(row, PROFILE).recipe))
        for path, value in ablation.changes.get(row, {}).items():
            changes[f"{in_words({path: value})} instead of {value_in_words(plain[path])}"] = None
    return "; ".join(changes)
