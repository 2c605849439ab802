"""Ablations: named sets of changes to recipes of `quick`, with the claims that they bear on.

`./run_all.sh --only NAME`, or `ablations` for all, trains the changed rows and, beside them, the plain ones. Those of a
claim are trained on seeds that no table reports (`--seeds 100,101 --runs-dir runs/ablations`); `python -m cqlib publish
runs` copies what is finished, whatever came out, and `cqlib.report.ablations` shows the effect on the claim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cqlib.experiments.claims import BY_ID
from cqlib.experiments.paper import canonical
from cqlib.experiments.trade_off import CQ, CQ_F, LAMBDA
from cqlib.experiments.variants import Changes, variant
from cqlib.util.paths import ROOT

PROFILE = "quick"
SEEDS = (100, 101)
FOLDER = "ablations"
"""In a folder of runs, and of published records: apart, for their seeds enter no table."""
PUBLISHED = ROOT / "reports" / "published" / FOLDER


@dataclass(frozen=True)
class Ablation:
    """`changes`: row -> {"system.critic.penalty_weight": 10.0, …}, paths in its recipe and their values."""

    name: str
    claims: tuple[str, ...]
    changes: Mapping[str, Changes]
    why: str = ""
    words: str = ""
    """What it is called; else its changes are told one by one."""

    def variant(self, row: str) -> str:
        """The row as this ablation has it, changed or not."""
        return variant(row, self.changes.get(row, {}))

    @property
    def runs(self) -> list[tuple[str, Changes]]:
        """Rows and their changes: those that are changed, and the plain ones that they are compared with."""
        plain = [*self.changes, *compared(self.claims)]
        return [*self.changes.items(), *((row, {}) for row in dict.fromkeys(plain))]


VAE, VAE_F = "table1/vae", "table1/vae-f"
RESIDUAL, TWO_SCALES, VAE_IAF = "table2/cqf-residual", "table3/cqf-2-scales", "table3/vae-iaf"
COSTS_BPD, LOWERS_FID, BEATS_GAN = "table1/quality-loss-bpd", "table1/f-fid", "table1/cq-f-gan-is"
F_RAISES_IS, REACHES_CLASSES, RESIDUAL_FID = "table1/f-is", "table1/cq-gan-classes", "table2/residual-fid"
NVP, IAF = "table3/nvp-bpd", "table3/vae-iaf-bpd"
STEPS = "training.steps"
NATS = "L_C is in nats per image: at 16×16 λ = 100 weighs four times as much against it as at 32×32"

ABLATIONS = (
    Ablation("lambda-25", (COSTS_BPD, REACHES_CLASSES, BEATS_GAN), {row: {LAMBDA: 25.0} for row in (CQ, CQ_F)}, NATS),
    Ablation("penalty-10", (COSTS_BPD, REACHES_CLASSES), {CQ: {"system.critic.penalty_weight": 10.0}}),
    Ablation("critic-sees-samples", (COSTS_BPD, REACHES_CLASSES, BEATS_GAN, RESIDUAL_FID),
             {row: {"system.critic_input": "sample"} for row in (CQ, CQ_F, RESIDUAL)}),
    Ablation("f-by-both-losses", (BEATS_GAN, RESIDUAL_FID),
             {row: {"system.flow_updated_by": "both"} for row in (CQ_F, RESIDUAL)}),
    Ablation("twice-the-steps", (COSTS_BPD, LOWERS_FID, F_RAISES_IS), {row: {STEPS: 9000} for row in (VAE, VAE_F, CQ)}),
    Ablation("six-couplings", (LOWERS_FID, F_RAISES_IS), {VAE_F: {"system.flow.couplings": 6}}),
    Ablation("f-of-two-scales", (LOWERS_FID, F_RAISES_IS), {VAE_F: {"system.flow.scales": 2}}),
    Ablation("cq-f-wide-f", (BEATS_GAN,), {CQ_F: {"system.flow.width": 32}}),
    Ablation("cq-f-lambda-400", (BEATS_GAN, RESIDUAL_FID), {row: {LAMBDA: 400.0} for row in (CQ_F, RESIDUAL)}),
    Ablation("residual-small-critic", (RESIDUAL_FID,), {RESIDUAL: {"system.critic.widths": [32, 64, 128]}}),
    Ablation("two-scales-lambda-25", (NVP,), {TWO_SCALES: {LAMBDA: 25.0}}, NATS),
    Ablation("two-scales-wide-f", (NVP,), {TWO_SCALES: {"system.flow.width": 32}}),
    Ablation("two-scales-steps", (NVP,), {TWO_SCALES: {STEPS: 9000}}),
    Ablation("iaf-one-scale", (IAF,), {VAE_IAF: {"system.pixel_scales": False, "system.log_scale": -4.0}}),
    Ablation("iaf-latents", (IAF,), {VAE_IAF: {"system.latent": 32}}),
    Ablation("iaf-layers", (IAF,), {VAE_IAF: {"system.blocks": 4}}),
    Ablation("fp32", (), {CQ_F: {"training.autocast": "off"}}),
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What some ablations ask together, and the words of the slides that the answer bears on."""

    title: str
    slides: str
    ablations: tuple[str, ...]


QUESTIONS = (
    Question("What does the critic see?", "“Unlike MLE, discriminator is sensitive to model samples”: Eq. (1) shows it "
             "x ~ p_θ(x), Eq. (2) G_θ(z)", ("critic-sees-samples",)),
    Question("Who updates f?", "“Using NVP allows for non-factorial decoders in VAEs, improving likelihoods and sample "
             "quality”", ("f-by-both-losses",)),
    Question("How much does the quality loss weigh? (λ = 25 weighs as much at 16×16 as λ = 100 at 32×32)",
             "“We can have generative models with full support, and high quality samples”",
             ("lambda-25", "cq-f-lambda-400", "two-scales-lambda-25")),
    Question("How smooth must the critic be?", "“Adversarial loss is sensitive to mass off the train data, a "
             "“trainable” inductive bias beyond architecture design”", ("penalty-10",)),
    Question("How large must f be?", "“Non-factorial non-Gaussian conditional distribution p(x|z): better samples & "
             "likelihoods”", ("six-couplings", "f-of-two-scales", "cq-f-wide-f", "two-scales-wide-f")),
    Question("Is it the residual nets, or their critic?", "“Evaluation of more advanced architectures”: CQF with "
             "residual nets has 3.84 bpd and FID 26.0, without 3.90 and 28.0", ("residual-small-critic",)),
    Question("Were the models trained long enough?", "“Impact of training objectives and NVP decoder”: with the "
             "quality loss VAE keeps its 4.4 bpd, and f takes its FID from 171 to 112",
             ("twice-the-steps", "two-scales-steps")),
    Question("What does VAE-IAF lack?", "“Comparison to the state of the art”: VAE-IAF has 3.11 bpd, NVP 3.49",
             ("iaf-one-scale", "iaf-latents", "iaf-layers")),
    Question("What does bf16 cost?", "none: the precision is this project’s own choice", ("fp32",)),
)  # fmt: skip
"""All of `ABLATIONS`, each once."""

WIDTHS = {
    percent: Ablation(f"cq-f-width-{percent}", (), {CQ_F: {
        "system.widths": widths, "system.critic.widths": critic, "system.flow.width": flow}},
        words=f"width {percent} %")
    for percent, widths, critic, flow in (
        (50, [16, 30, 62], [16, 32, 64], 8),
        (75, [24, 46, 94], [24, 48, 96], 12),
        (150, [48, 94, 186], [48, 96, 192], 24),
    )
}  # fmt: skip
"""All nets of CQ-F at so many percent of their width: BPD and FD against size, on the seeds of the tables."""
ALL = (*ABLATIONS, *WIDTHS.values())
WORDS = {ablation.variant(row): ablation.words for ablation in ALL for row in ablation.changes if ablation.words}
BY_NAME = {ablation.name: ablation for ablation in ALL}


def compared(claims: Sequence[str]) -> tuple[str, ...]:
    """The rows that these claims compare, by the names that their runs have."""
    rows = (row for claim in claims for row in (BY_ID[claim].row_b, BY_ID[claim].row_a))
    return tuple(dict.fromkeys(map(canonical, rows)))
