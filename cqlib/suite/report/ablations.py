"""What the ablations (`cqlib.suite.experiments.ablations`) did to the scores of each row that they change, question by
question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments.ablations import ABLATIONS, CQ_F, PROFILE, QUESTIONS, Ablation
from cqlib.suite.experiments.claims import Claim
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import default_data, short_label
from cqlib.suite.experiments.variants import in_words, row_and_changes, value_in_words, variant
from cqlib.suite.report.run_sets import RunSet
from cqlib.suite.report.verdicts import ClaimResult, claim_result

REPORTED = ("bpd", "fid", "kid", "coverage")
"""The metrics on which effects are reported; IS misleads on the digits that ablations are trained on."""
BETTER = {"holds": "better", "contradicted": "worse", "equal": "no difference"}
"""Label of `claim_result` -> words for it, where the claim is that a change makes a row better."""


@dataclass(frozen=True)
class Effect:
    """What a change did to a row: a result for each of `REPORTED`, positive where the changed row is better."""

    ablation: str
    words: str
    results: tuple[ClaimResult, ...]

    @property
    def tested(self) -> bool:
        """Whether there is any result."""
        return any(result.label != "not run" for result in self.results)


def run_set(tables: Sequence[Record], changed: Sequence[Record]) -> RunSet:
    """The runs of the `tables` that are unchanged or an ablation's, and those in the folder of ablations, which replace
    others of the same name, as one run set: a changed row is a row of its own beside the plain one, under the name that
    `variants.variant` gives it."""
    (data,) = default_data(CQ_F, PROFILE)
    tried = {variant(row, changes) for ablation in ABLATIONS for row, changes in ablation.runs}
    kept = (run for run in tables if not run.changes or run.variant in tried)
    own = {record.folder: record for record in (*kept, *changed)}
    comparable = (data, PROFILE, "fp32")
    runs = tuple(run for run in own.values() if (run.data.name, run.profile, run.precision) == comparable)
    return RunSet("published", data, runs[0].data.shape[-1] if runs else 0, PROFILE, runs)


def effect(ablation: Ablation, row: str, runs: RunSet) -> Effect:
    """What an ablation did to one of the rows that it changes, against that row as it is, or the row that it names."""
    changed, plain = ablation.variant(row), ablation.against.get(row, row)
    claims = (Claim(f"ablations/{metric}", changed, QUANTITIES[metric].better, plain, metric, "", runs.data)
              for metric in REPORTED)  # fmt: skip
    words = f"{short_label(row)}: {_change(ablation, row, plain, runs)}"
    words += f", against {short_label(plain)}" * (plain != row)
    return Effect(ablation.name, words, tuple(claim_result(claim, runs) for claim in claims))


def effect_table(runs: RunSet) -> dict[str, Any]:
    """What the ablations of each question did to each row that they change, for the macro `effect_table`; with the
    names of the columns."""
    groups = []
    for question in QUESTIONS:
        every = [effect(ablation, row, runs) for ablation in question.ablations for row in ablation.changes]
        groups.append((question, list({each.words: each for each in every}.values())))  # two may share a run
    columns = zip(*(effect.results for _, group in groups for effect in group), strict=True)
    names = [next((r.metric_name for r in column if r.metric_name), QUANTITIES[metric].name)
             for metric, column in zip(REPORTED, columns, strict=True)]  # fmt: skip
    return {"names": names, "groups": groups, "label": runs.label}


def _change(ablation: Ablation, row: str, plain: str, runs: RunSet) -> str:
    """ "λ 25 instead of 100": the settings in which the changed row differs from `plain`, and, where there are runs
    that have them, the values that it replaces."""
    changes = []
    in_both = row_and_changes(plain)[1].items()
    for path, value in (item for item in ablation.changes[row].items() if item not in in_both):
        replaced = [run.setting("recipe", *path.split(".")) for run in runs.records_of(row)[:1]]
        words = (f"“{old}”" if isinstance(old, str) else value_in_words(old) for old in replaced)
        changes.append(" instead of ".join([in_words({path: value}), *words]))
    return "; ".join(changes)
