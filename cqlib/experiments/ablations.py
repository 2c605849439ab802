"""Ablations: named sets of changes to recipes of `quick`, grouped by question.

`./run_all.sh --only NAME`, or `ablations` for all, trains the changed rows and the unchanged ones (`--seeds 0-2
--runs-dir runs/ablations`); `python -m cqlib publish runs` copies what is finished, whatever the results are, and
`cqlib.report.ablations` compares the changed rows with the runs of Table 1. They decide no recipe: those are tuned on
other seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cqlib.experiments.claims import BY_ID
from cqlib.experiments.paper import canonical
from cqlib.experiments.trade_off import CQ, CQ_F
from cqlib.experiments.variants import Changes, variant
from cqlib.util import paths

PROFILE = "quick"
SEEDS = (0, 1, 2)
FOLDER = "ablations"
"""Name of the folder of ablations within the folders of runs and of published records: no table reads it."""
PUBLISHED = paths.PUBLISHED / FOLDER


@dataclass(frozen=True)
class Ablation:
    """`changes`: row -> {"system.critic.penalty_weight": 10.0, …}, changes to its recipe under `PROFILE`; `claims`: ids
    of the claims that they may affect."""

    name: str
    changes: Mapping[str, Changes]
    claims: tuple[str, ...] = ()

    def variant(self, row: str) -> str:
        """The name of the row's runs in this ablation, changed or not."""
        return variant(canonical(row), self.changes.get(canonical(row), {}))

    @property
    def runs(self) -> list[tuple[str, Changes]]:
        """(row, changes) of all runs that it needs: the changed rows, the same rows unchanged, and the rows that
        `claims` compare them with."""
        compared = (canonical(row) for id in self.claims for row in (BY_ID[id].row_b, BY_ID[id].row_a))
        return [*self.changes.items(), *((row, {}) for row in dict.fromkeys([*self.changes, *compared]))]


VAE, VAE_F = "table1/vae", "table1/vae-f"
STEPS, PENALTY = "training.steps", "system.critic.penalty_weight"
SEES, TRAINED_BY = "system.critic_input", "system.flow_updated_by"
QUALITY = ("table1/quality-loss-fid", "table1/quality-loss-f-fid", "table1/cq-f-gan-fid", "table1/cq-f-gan-coverage")
BPD = ("table1/quality-loss-bpd", "table1/quality-loss-f-bpd")
F_QUALITY = ("table1/f-quality-bpd", "table1/f-quality-fid")
F = ("table1/f-bpd", "table1/f-fid")


@dataclass(frozen=True)
class Question:
    """A question, the slides' words about it, and the ablations that answer it."""

    title: str
    slides: str
    ablations: tuple[Ablation, ...]


QUESTIONS = (
    Question("What does the critic see, and which losses train f?", "Eq. (1) shows the critic x ~ p_θ(x); by Eq. (2) "
             "L_Q trains all of θ; a formula remembered of a later version has the decoder’s mean f⁻¹(μ(z)) for x", (
        Ablation("critic-sees-mean", {row: {SEES: "mean"} for row in (CQ, CQ_F)}, QUALITY + BPD),
        Ablation("f-by-coverage", {CQ_F: {TRAINED_BY: "coverage"}}, F_QUALITY),
        Ablation("other-reading", {CQ: {SEES: "mean", "scores_of": "means"},
                                   CQ_F: {SEES: "mean", TRAINED_BY: "coverage", "scores_of": "means"}}, QUALITY + BPD),
    )),
    Question("How smooth must the critic be?", "“Adversarial loss is sensitive to mass off the train data, a "
             "“trainable” inductive bias beyond architecture design”", (
        Ablation("penalty-10", {row: {PENALTY: 10.0} for row in (CQ, CQ_F)}, QUALITY),
    )),
    Question("Were the models trained long enough?", "“Impact of training objectives and NVP decoder”: with the "
             "quality loss VAE keeps its 4.4 bpd, and f takes its FID from 171 to 112", (
        Ablation("twice-the-steps", {row: {STEPS: 8000} for row in (VAE, VAE_F, CQ, CQ_F)}, QUALITY + BPD + F),
    )),
    Question("How large must f be?", "“Non-factorial non-Gaussian conditional distribution p(x|z): better samples & "
             "likelihoods”", (
        Ablation("six-couplings", {row: {"system.flow.couplings": 6} for row in (VAE_F, CQ_F)}, F + F_QUALITY),
    )),
)  # fmt: skip
ABLATIONS = tuple(ablation for question in QUESTIONS for ablation in question.ablations)
BY_NAME = {ablation.name: ablation for ablation in ABLATIONS}
GROUPS = {"ablations": ABLATIONS, **{name: (ablation,) for name, ablation in BY_NAME.items()}}
"""Name for `--only` -> its ablations."""
