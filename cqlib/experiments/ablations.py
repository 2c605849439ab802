"""Ablations: named sets of changes to recipes of `quick`, grouped by question; and two beside the runs of a table.

`./run_all.sh --only NAME`, or `ablations` for all, trains the changed rows and, beside them, the plain ones, on seeds
that no table reports (`--seeds 100,101 --runs-dir runs/ablations`); `python -m cqlib publish runs` copies what is
finished, whatever came out, and `cqlib.report.ablations` shows the effects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cqlib.experiments.claims import BY_ID, Claim
from cqlib.experiments.paper import canonical
from cqlib.experiments.trade_off import CQ, CQ_F, GAN, LAMBDA, VARIANTS
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
RESIDUAL, TWO_SCALES, VAE_IAF = "table2/cqf-residual", "table3/cqf-2-scales", "table3/vae-iaf"
COSTS_BPD, LOWERS_FID, BEATS_GAN = "table1/quality-loss-bpd", "table1/f-fid", "table1/cq-f-gan-is"
F_RAISES_IS, REACHES_CLASSES = "table1/f-is", "table1/cq-gan-classes"
RESIDUAL_IAF, LARGE_CRITIC, PIXELRNN = "table2/cqf-iaf-residual", "table2/cqf-iaf-residual-large-d", "table3/pixelrnn"
NVP_CLAIM, VAE_IAF_CLAIM, PIXELRNN_CLAIM = ("table3/nvp-bpd",), ("table3/vae-iaf-bpd",), ("table3/pixelrnn-bpd",)
IAF_POSTERIOR_CLAIM, QUALITY_FID = ("table2/iaf-bpd",), "table1/quality-loss-fid"
RESIDUAL_ROWS = ("table2/residual-fid", "table2/cqf-gan-residual-is", "table2/gan-cqf-residual-fid")
LARGE_CRITIC_ROWS = ("table2/large-d-fid", "table3/sngan-fid", "table3/sngan-resnet-hinge-is", "table3/prog-gan-is")
STEPS, PENALTY = "training.steps", "system.critic.penalty_weight"


def _width(percent: int, widths: list[int], critic: list[int], flow: int) -> Ablation:
    """All nets of CQ-F at so many percent of their width."""
    changes = {"system.widths": widths, "system.critic.widths": critic, "system.flow.width": flow}
    return Ablation(f"cq-f-width-{percent}", {CQ_F: changes})


@dataclass(frozen=True)
class Question:
    """What some ablations ask together, and the words of the slides that the answer bears on."""

    title: str
    slides: str
    ablations: tuple[Ablation, ...]


QUESTIONS = (
    Question("What does the critic see?", "“Unlike MLE, discriminator is sensitive to model samples”: Eq. (1) shows it "
             "x ~ p_θ(x), Eq. (2) G_θ(z)", (
        Ablation("critic-sees-samples", {row: {"system.critic_input": "sample"} for row in (CQ, CQ_F, RESIDUAL)},
                 (COSTS_BPD, QUALITY_FID, REACHES_CLASSES, BEATS_GAN, *RESIDUAL_ROWS)),
    )),
    Question("Who updates f?", "“Using NVP allows for non-factorial decoders in VAEs, improving likelihoods and sample "
             "quality”", (
        Ablation("f-by-both-losses", {row: {"system.flow_updated_by": "both"} for row in (CQ_F, RESIDUAL)},
                 (BEATS_GAN, *RESIDUAL_ROWS)),
    )),
    Question("How much does the quality loss weigh? (L_C is in nats per image: at 16×16 λ = 100 weighs four times as "
             "much against it as at 32×32)", "“We can have generative models with full support, and high quality "
             "samples”", (
        Ablation("lambda-25", {row: {LAMBDA: 25.0} for row in (CQ, CQ_F)},
                 (COSTS_BPD, QUALITY_FID, REACHES_CLASSES, BEATS_GAN)),
        Ablation("cq-f-lambda-400", {row: {LAMBDA: 400.0} for row in (CQ_F, RESIDUAL)}, (BEATS_GAN, *RESIDUAL_ROWS)),
        Ablation("two-scales-lambda-25", {TWO_SCALES: {LAMBDA: 25.0}}, NVP_CLAIM),
        Ablation("large-critic-lambda-400", {row: {LAMBDA: 400.0} for row in (RESIDUAL_IAF, LARGE_CRITIC)},
                 LARGE_CRITIC_ROWS),
    )),
    Question("How smooth must the critic be?", "“Adversarial loss is sensitive to mass off the train data, a "
             "“trainable” inductive bias beyond architecture design”", (
        Ablation("penalty-10", {CQ: {PENALTY: 10.0}}, (COSTS_BPD, QUALITY_FID, REACHES_CLASSES)),
        Ablation("large-critic-penalty-10", {LARGE_CRITIC: {PENALTY: 10.0}}, LARGE_CRITIC_ROWS),
    )),
    Question("How large must f be?", "“Non-factorial non-Gaussian conditional distribution p(x|z): better samples & "
             "likelihoods”", (
        Ablation("six-couplings", {VAE_F: {"system.flow.couplings": 6}}, (LOWERS_FID, F_RAISES_IS)),
        Ablation("f-of-two-scales", {VAE_F: {"system.flow.scales": 2}}, (LOWERS_FID, F_RAISES_IS)),
        Ablation("cq-f-wide-f", {CQ_F: {"system.flow.width": 32}}, (BEATS_GAN,)),
        Ablation("two-scales-wide-f", {TWO_SCALES: {"system.flow.width": 32}}, NVP_CLAIM),
    )),
    Question("Is it the residual nets, or their critic?", "“Evaluation of more advanced architectures”: CQF with "
             "residual nets has 3.84 bpd and FID 26.0, without 3.90 and 28.0", (
        Ablation("residual-small-critic", {RESIDUAL: {"system.critic.widths": [32, 64, 128]}}, RESIDUAL_ROWS),
    )),
    Question("Were the models trained long enough?", "“Impact of training objectives and NVP decoder”: with the "
             "quality loss VAE keeps its 4.4 bpd, and f takes its FID from 171 to 112", (
        Ablation("twice-the-steps", {row: {STEPS: 9000} for row in (VAE, VAE_F, CQ)},
                 (COSTS_BPD, QUALITY_FID, LOWERS_FID, F_RAISES_IS)),
        Ablation("two-scales-steps", {TWO_SCALES: {STEPS: 9000}}, NVP_CLAIM),
        Ablation("iaf-posterior-steps", {row: {STEPS: 9000} for row in (RESIDUAL, RESIDUAL_IAF)}, IAF_POSTERIOR_CLAIM),
        Ablation("large-critic-steps", {row: {STEPS: 9000} for row in (RESIDUAL_IAF, LARGE_CRITIC)}, LARGE_CRITIC_ROWS),
        Ablation("pixelrnn-steps", {PIXELRNN: {STEPS: 4000}}, PIXELRNN_CLAIM),
    )),
    Question("What does an IAF posterior need?", "“Evaluation of more advanced architectures”: IAF takes CQF with "
             "residual nets from 3.84 bpd to 3.77", (
        Ablation("iaf-posterior-width", {RESIDUAL_IAF: {"system.iaf_width": 64}}, IAF_POSTERIOR_CLAIM),
        Ablation("iaf-posterior-latents", {row: {"system.latent": 32} for row in (RESIDUAL, RESIDUAL_IAF)},
                 IAF_POSTERIOR_CLAIM),
    )),
    Question("How large must PixelRNN be?", "“Comparison to the state of the art”: PixelRNN has 3.00 bpd, VAE-IAF "
             "3.11", (
        Ablation("pixelrnn-hidden", {PIXELRNN: {"system.hidden": 64}}, PIXELRNN_CLAIM),
        Ablation("pixelrnn-layers", {PIXELRNN: {"system.layers": 6}}, PIXELRNN_CLAIM),
    )),
    Question("What does VAE-IAF lack?", "“Comparison to the state of the art”: VAE-IAF has 3.11 bpd, NVP 3.49", (
        Ablation("iaf-one-scale", {VAE_IAF: {"system.pixel_scales": False, "system.log_scale": -4.0}}, VAE_IAF_CLAIM),
        Ablation("iaf-latents", {VAE_IAF: {"system.latent": 32}}, VAE_IAF_CLAIM),
        Ablation("iaf-layers", {VAE_IAF: {"system.blocks": 4}}, VAE_IAF_CLAIM),
    )),
    Question("How wide must the nets be?", "none: their sizes are this project’s own choice", (
        _width(50, [16, 30, 62], [16, 32, 64], 8),
        _width(75, [24, 46, 94], [24, 48, 96], 12),
        _width(150, [48, 94, 186], [48, 96, 192], 24),
    )),
    Question("What does bf16 cost?", "none: the precision is this project’s own choice", (
        Ablation("fp32", {CQ_F: {"training.autocast": "off"}}),
    )),
)  # fmt: skip
ABLATIONS = tuple(ablation for question in QUESTIONS for ablation in question.ablations)
LONG_RUNS = Ablation("long-runs", {row: {STEPS: 18_000} for row in (CQ, CQ_F, GAN)}, profile="study")
"""Is the order of the three rows settled? They get three times the steps of `study`, on a seed of the tables, and stand
beside the tables' runs: `./run_all.sh --profile study --only long-runs --data tiny-imagenet`."""
IN_FP32 = Ablation("table1-in-fp32", {row: {"training.autocast": "off"} for row in (VAE, VAE_F, CQ, CQ_F, GAN)})
"""Do the verdicts on Table 1 depend on bf16? All its rows without: `./run_all.sh --only table1-in-fp32 --seeds 5`."""
BESIDE_TABLES = LONG_RUNS, IN_FP32
BY_NAME = {ablation.name: ablation for ablation in (*ABLATIONS, *BESIDE_TABLES)}
GROUPS = {"ablations": ABLATIONS, **{name: (ablation,) for name, ablation in BY_NAME.items()}}
"""Name that `--only` takes -> its ablations."""
PUBLISHED_CHANGES = VARIANTS | {beside.variant(row) for beside in BESIDE_TABLES for row in beside.changes}
"""Names of the changed rows whose runs, on the seeds of the tables, are published beside the tables' runs."""
