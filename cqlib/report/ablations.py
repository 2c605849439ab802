"""What the ablations (`cqlib.experiments.ablations`) did: to the scores of each row that they change, question by
question, and to the claims that compare such rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cqlib.experiments.ablations import ABLATIONS, CQ_F, PROFILE, QUESTIONS, Ablation, Question
from cqlib.experiments.changes import leaves
from cqlib.experiments.claims import CLAIMS, Claim
from cqlib.experiments.experiment import experiment, image_size, is_current
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record
from cqlib.experiments.rows import default_data, short_label
from cqlib.experiments.variants import in_words, value_in_words
from cqlib.metrics.quantities import QUANTITIES, temperatures
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import ClaimResult, Results, claim_result, reach

REPORTED = ("bpd", "fid", "kid", "is", "recall")
"""The metrics on which `effects` reports."""
BETTER = {"holds": "better", "does not hold": "worse", "equal": "no difference"}
"""Label of `claim_result` -> words for it, where the claim is that a change makes a row better."""


@dataclass(frozen=True)
class Effect:
    """What a change did to a row: a result for each of `REPORTED`, positive where the changed row is better; `failed`
    says how its unfinished runs ended."""

    ablation: str
    words: str
    results: tuple[ClaimResult, ...]
    failed: str

    @property
    def has_results(self) -> bool:
        """Whether there is any result."""
        return any(result.effect is not None for result in self.results)


def run_set(records: Sequence[Record]) -> RunSet:
    """The runs of ablations as one run set, in which a changed row is a row of its own beside the plain one, under the
    name that `variants.variant` gives it. Those of former recipes are left out."""
    (data,) = default_data(CQ_F, PROFILE)
    runs = tuple(run for run in records if (run.data.name, run.profile) == (data, PROFILE) and is_current(run))
    return RunSet("published", data, image_size(data, PROFILE), PROFILE, runs)


def tried(runs: RunSet) -> dict[str, list[tuple[str, Results]]]:
    """Id of each claim that an ablation was run for -> what was changed, in words, and the results of the claim between
    the rows so changed; the first is "as it is", without a change."""
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
        changed = ((ablation, row) for ablation in question.ablations for row in ablation.changes)
        every = [effect(*each, runs, temperature) for each in changed]
        groups.append((question, list({each.words: each for each in every}.values())))  # two may share a run
    return groups


def effect(ablation: Ablation, row: str, runs: RunSet, temperature: float) -> Effect:
    """What an ablation did to one of the rows that it changes, against that row as it is."""
    changed, results = ablation.variant(row), []
    for metric in REPORTED:
        claim = Claim(f"ablations/{metric}", "", runs.data, metric, changed, row, QUANTITIES[metric].better)
        results.append(claim_result(claim, runs, temperature if temperature in temperatures(metric) else None))
    failed = ", ".join(sorted({run.ending for run in runs.records_of(changed) if run.ending}))
    return Effect(ablation.name, f"{short_label(row)}: {_change(ablation, (row,))}", tuple(results), failed)


def effect_table(runs: RunSet, temperature: float) -> dict[str, Any]:
    """`effects` as the macro `effect_table` takes them, with the names of the columns and the `reach` of the pictures
    in each column."""
    groups = effects(runs, temperature)
    columns = list(zip(*(effect.results for _, group in groups for effect in group), strict=True))
    names = [next((r.score for r in column if r.metric_name), QUANTITIES[metric].name)
             for metric, column in zip(REPORTED, columns, strict=True)]  # fmt: skip
    return {"names": names, "reach": list(map(reach, columns)), "groups": groups,
            "at": f"T = {temperature:g}", "label": runs.label}  # fmt: skip


def _change(ablation: Ablation, rows: Sequence[str]) -> str:
    """ "λ 25 instead of 100": the settings of `rows` that the ablation changes, and the values that it replaces."""
    changes: dict[str, None] = {}
    for row in map(canonical, rows):
        plain = dict(leaves(experiment(row, PROFILE).recipe))
        for path, value in ablation.changes.get(row, {}).items():
            changes[f"{in_words({path: value})} instead of {value_in_words(plain[path])}"] = None
    return "; ".join(changes)
