"""Ablations: named sets of changes to recipes of `quick`, grouped by question; and one beside the runs of a table.

`./run_all.sh --only NAME`, or `ablations` for all, trains the changed rows and, beside them, the plain ones, on seeds
that no table reports (`--seeds 100,101 --runs-dir runs/ablations`); `python -m cqlib publish runs` copies what is
finished, whatever came out, and `cqlib.report.ablations` shows the effects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cqlib.experiments.claims import BY_ID, Claim
from cqlib.experiments.paper import canonical
from cqlib.experiments.trade_off import CQ, CQ_F, GAN, VARIANTS
from cqlib.experiments.variants import Changes, variant
from cqlib.util import paths

PROFILE = "quick"
SEEDS = (100, 101)
FOLDER = "ablations"
"""Name of the sub-folder, of runs and of published records, that keeps ablations apart: their seeds enter no table."""
PUBLISHED = paths.PUBLISHED / FOLDER


@dataclass(frozen=True)
class Ablation:
    """`changes`: row -> {"system.critic.penalty_weight": 10.0, …}, paths in its recipe of `profile` and their values;
    `claims`, by id, are those that it bears on."""

    name: str
    changes: Mapping[str, Changes]
    claims: tuple[str, ...] = ()
    profile: str = PROFILE

    def variant(self, row: str) -> str:
        """The row as this ablation has it, changed or not, by the name that its runs have."""
        return variant(canonical(row), self.changes.get(canonical(row), {}))

    def claim(self, claim: Claim) -> Claim:
        """The claim about the rows as this ablation has them."""
        return replace(claim, row_a=self.variant(claim.row_a), row_b=self.variant(claim.row_b))

    @property
    def runs(self) -> list[tuple[str, Changes]]:
        """(row, changes) of all runs it needs: each changed row, the same rows unchanged, and, unchanged, the rows that
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
    """What some ablations ask together, and the words of the slides that the answer bears on."""

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
        Ablation("wide-f", {row: {"system.flow.width": 32} for row in (VAE_F, CQ_F)}, F + F_QUALITY),
    )),
)  # fmt: skip
ABLATIONS = tuple(ablation for question in QUESTIONS for ablation in question.ablations)
LONG_RUNS = Ablation("long-runs", {row: {STEPS: 18_000} for row in (CQ, CQ_F, GAN)}, profile="study")
"""Is the order of the three rows settled? They get three times the steps of `study`, on a seed of the tables, and stand
beside the tables' runs: `./run_all.sh --profile study --only long-runs --data tiny-imagenet`."""
BESIDE_TABLES = (LONG_RUNS,)
BY_NAME = {ablation.name: ablation for ablation in (*ABLATIONS, *BESIDE_TABLES)}
GROUPS = {"ablations": ABLATIONS, **{name: (ablation,) for name, ablation in BY_NAME.items()}}
"""Name that `--only` takes -> its ablations."""
PUBLISHED_CHANGES = VARIANTS | {beside.variant(row) for beside in BESIDE_TABLES for row in beside.changes}
"""Names of the changed rows whose runs, on the seeds of the tables, are published beside the tables' runs."""
