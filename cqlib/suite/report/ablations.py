"""What the ablations (`cqlib.suite.experiments.ablations`) did to the scores of each row that they change, question by
question."""

from dataclasses import dataclass
from typing import Any

from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments.ablations import ABLATIONS, CQ_F, PROFILE, QUESTIONS, Ablation
from cqlib.suite.experiments.claims import Claim
from cqlib.suite.experiments.rows import default_data, short_label
from cqlib.suite.experiments.variants import in_words, row_and_changes, value_in_words, variant
from cqlib.suite.report.groups import Group, latest
from cqlib.suite.report.table import Table, joined
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


def group(tables: Table, changed: Table) -> Group:
    """The runs of the `tables` that are unchanged or an ablation's, and those in the folders of ablations, which
    replace others of the same name, as one group: a changed row is a row of its own beside the plain one, under the
    name that `variants.variant` gives it. Of a row with several recipes the runs of the latest are taken."""
    (data,) = default_data(CQ_F, PROFILE)
    tried = {variant(row, changes) for ablation in ABLATIONS for row, changes in ablation.runs}
    kept = [lines for lines in tables.by_run if not lines.records[0].changes or lines.records[0].variant in tried]
    own = {lines.values[0].file: lines for lines in (*kept, *changed.by_run)}
    comparable = {"data": data, "profile": PROFILE, "precision": "fp32"}
    runs = latest(joined(own.values()).select(**comparable))
    return Group(runs.values, "published", data, runs.values[0].size if runs else 0, PROFILE)


def effect(ablation: Ablation, row: str, runs: Group) -> Effect:
    """What an ablation did to one of the rows that it changes, against that row as it is, or the row that it names."""
    changed, plain = ablation.variant(row), ablation.against.get(row, row)
    claims = (Claim(f"ablations/{metric}", changed, QUANTITIES[metric].better, plain, metric, "", runs.data)
              for metric in REPORTED)  # fmt: skip
    words = f"{short_label(row)}: {_change(ablation, row, plain, runs)}"
    words += f", against {short_label(plain)}" * (plain != row)
    return Effect(ablation.name, words, tuple(claim_result(claim, runs) for claim in claims))


def effect_table(runs: Group) -> dict[str, Any]:
    """What the ablations of each question did to each row that they change, for the macro `effect_table`; with the
    names of the columns."""
    asked = []
    for question in QUESTIONS:
        every = [effect(ablation, row, runs) for ablation in question.ablations for row in ablation.changes]
        asked.append((question, list({each.words: each for each in every}.values())))  # two may share a run
    columns = zip(*(effect.results for _, effects in asked for effect in effects), strict=True)
    names = [next((r.metric_name for r in column if r.metric_name), QUANTITIES[metric].name)
             for metric, column in zip(REPORTED, columns, strict=True)]  # fmt: skip
    return {"names": names, "groups": asked, "label": runs.label}


def _change(ablation: Ablation, row: str, plain: str, runs: Group) -> str:
    """ "λ 25 instead of 100": the settings in which the changed row differs from `plain`, and, where there are runs
    that have them, the values that it replaces."""
    changes = []
    in_both = row_and_changes(plain)[1].items()
    for path, value in (item for item in ablation.changes[row].items() if item not in in_both):
        replaced = [run.setting("recipe", *path.split(".")) for run in runs.records_of(row)[:1]]
        words = (f"“{old}”" if isinstance(old, str) else value_in_words(old) for old in replaced)
        changes.append(" instead of ".join([in_words({path: value}), *words]))
    return "; ".join(changes)
