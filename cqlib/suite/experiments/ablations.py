"""Ablations: named sets of changes to recipes of `quick`, grouped by question.

`./run_all.sh --only NAME`, or `ablations` for all, trains the changed rows and the unchanged ones (`--seeds 0-2
--runs-dir runs/ablations`); `python -m cqlib publish runs` copies what is finished, whatever the results are, and
`cqlib.suite.report.ablations` compares the changed rows with the runs of Table 1. They decide no recipe: those are
tuned on other seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cqlib.suite.experiments.claims import BY_ID
from cqlib.suite.experiments.paper import canonical
from cqlib.suite.experiments.trade_off import CQ, CQ_F, GAN, LAMBDA
from cqlib.suite.experiments.variants import Changes, row_and_changes, variant
from cqlib.util import paths

PROFILE = "quick"
SEEDS = (0, 1, 2)
FOLDER = "ablations"
"""Name of the folder of ablations within the folders of runs and of published records: no table reads it."""
PUBLISHED = paths.PUBLISHED / FOLDER


@dataclass(frozen=True)
class Ablation:
    """`changes`: row -> {"system.critic.penalty_weight": 10.0, …}, changes to its recipe under `PROFILE`; `claims`: ids
    of the claims that they may affect. A changed row is compared with the same row unchanged, or with the row, itself
    changed or not, that `against` names for it (`variants.variant`)."""

    name: str
    changes: Mapping[str, Changes]
    claims: tuple[str, ...] = ()
    against: Mapping[str, str] = field(default_factory=dict)

    def variant(self, row: str) -> str:
        """The name of the row's runs in this ablation, changed or not."""
        return variant(canonical(row), self.changes.get(canonical(row), {}))

    @property
    def runs(self) -> list[tuple[str, Changes]]:
        """(row, changes) of all runs that it needs: the changed rows, those that they are compared with, and the rows
        that `claims` compare."""
        compared = (canonical(row) for id in self.claims for row in (BY_ID[id].row_b, BY_ID[id].row_a))
        plain = dict.fromkeys([*(self.against.get(row, row) for row in self.changes), *compared])
        return [*self.changes.items(), *map(row_and_changes, plain)]


VAE, VAE_F = "table1/vae", "table1/vae-f"
COLOURS = "system.flow.colours"
ROTATION_ALONE = {COLOURS: "rotated", "system.flow.couplings": 0, "system.widths": [32, 64, 128]}
"""The rotation of colours without couplings, with the nets that `PROFILE` gives the rows without f."""
ONE_SIGMA, STRONGER = {"system.sigma": "shared"}, {LAMBDA: 400.0}
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
    Question("Is it f, or its mixing of the colours?", "“Non-factorial non-Gaussian conditional distribution p(x|z): "
             "better samples & likelihoods”", (
        Ablation("couplings-alone", dict.fromkeys((VAE_F, CQ_F), {COLOURS: "apart"}), F + F_QUALITY),
        Ablation("one-rotation", dict.fromkeys((VAE_F, CQ_F), {COLOURS: "rotated"}), F + F_QUALITY),
        Ablation("rotation-alone", dict.fromkeys((VAE_F, CQ_F), ROTATION_ALONE), against={VAE_F: VAE, CQ_F: CQ}),
    )),
    Question("One decoder in two regimes: what if bits and samples come from one noise?", "y ~ N(μ(z), σ(z)): σ is a "
             "function of z", (
        Ablation("one-sigma", dict.fromkeys((VAE, VAE_F, CQ, CQ_F), ONE_SIGMA), QUALITY + BPD + F + F_QUALITY),
        Ablation("one-sigma-stronger-critic", dict.fromkeys((CQ, CQ_F), {**ONE_SIGMA, **STRONGER}),
                 against={row: variant(row, STRONGER) for row in (CQ, CQ_F)}),
    )),
    Question("How smooth must the critic be?", "“Adversarial loss is sensitive to mass off the train data, a "
             "“trainable” inductive bias beyond architecture design”", (
        Ablation("penalty-10", {row: {PENALTY: 10.0} for row in (CQ, CQ_F)}, QUALITY),
    )),
    Question("Were the models trained long enough?", "“Impact of training objectives and NVP decoder”: with the "
             "quality loss VAE keeps its 4.4 bpd, and f takes its FID from 171 to 112", (
        Ablation("twice-the-steps", {row: {STEPS: 8000} for row in (VAE, VAE_F, CQ, CQ_F)}, QUALITY + BPD + F),
    )),
    Question("Are more, smaller steps a better use of the time?", "no size of batches is stated", (
        Ablation("batches-of-8", {row: {"training.batch_size": 8, STEPS: 8000} for row in (CQ, CQ_F, GAN)}, QUALITY),
    )),
    Question("Is the code large enough?", "no size of z is stated", (
        Ablation("latent-256", {row: {"system.latent": 256} for row in (VAE, VAE_F)}, F),
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
