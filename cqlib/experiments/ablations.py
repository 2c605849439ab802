"""Ablations: named changes of `quick` recipes, tried where a claim of the paper does not hold.

An ablation is trained on seeds that no table reports, beside the same seeds of the unchanged recipe. `python -m cqlib
ablations RUNS_DIR [NAME …]` trains, `python -m cqlib publish RUNS_DIR` copies what is finished, whatever the result,
and `cqlib.report.ablations` shows the effect on the claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cqlib.experiments.claims import BY_ID
from cqlib.experiments.paper import canonical
from cqlib.util.errors import unknown
from cqlib.util.paths import ROOT

if TYPE_CHECKING:
    from cqlib.experiments.experiment import Experiment
    from cqlib.experiments.record import Record

PROFILE = "quick"
SEEDS = (100, 101)
FOLDER = "ablations"
"""In a folder of runs; in it a folder for each name, as in `PUBLISHED`."""
PUBLISHED = ROOT / "reports" / "published" / FOLDER
BASELINE = "baseline"
"""Name of the unchanged recipes."""


@dataclass(frozen=True)
class Ablation:
    """`changes`: row -> {"system.critic.penalty_weight": 10.0, …}, fields of its recipe and their values."""

    name: str
    claims: tuple[str, ...]
    changes: Mapping[str, Mapping[str, Any]]
    why: str = ""


VAE, VAE_F, CQ, CQ_F = "table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f"
RESIDUAL, TWO_SCALES, VAE_IAF = "table2/cqf-residual", "table3/cqf-2-scales", "table3/vae-iaf"
COSTS_BPD, LOWERS_FID, BEATS_GAN = "table1/quality-loss-bpd", "table1/f-fid", "table1/cq-f-gan-is"
RESIDUAL_FID = "table2/residual-fid"
NVP, IAF = "table3/nvp-bpd", "table3/vae-iaf-bpd"
LAMBDA, STEPS = "system.quality_weight", "training.steps"
NATS = "L_C is in nats per image: at 16×16 λ = 100 weighs four times as much against it as at 32×32"

ABLATIONS = (
    Ablation("lambda-25", (COSTS_BPD,), {CQ: {LAMBDA: 25.0}}, NATS),
    Ablation("penalty-10", (COSTS_BPD,), {CQ: {"system.critic.penalty_weight": 10.0}}),
    Ablation("critic-sees-mean", (COSTS_BPD,), {CQ: {"system.critic_input": "mean"}}),
    Ablation("twice-the-steps", (COSTS_BPD, LOWERS_FID), {row: {STEPS: 3000} for row in (VAE, VAE_F, CQ)}),
    Ablation("six-couplings", (LOWERS_FID,), {VAE_F: {"system.flow.couplings": 6}}),
    Ablation("f-of-two-scales", (LOWERS_FID,), {VAE_F: {"system.flow.scales": 2}}),
    Ablation("cq-f-lambda-200", (BEATS_GAN, RESIDUAL_FID), {row: {LAMBDA: 200.0} for row in (CQ_F, RESIDUAL)}),
    Ablation("cq-f-critic-sees-mean", (BEATS_GAN, RESIDUAL_FID),
             {row: {"system.critic_input": "mean"} for row in (CQ_F, RESIDUAL)}),
    Ablation("cq-f-f-by-coverage", (BEATS_GAN,), {CQ_F: {"system.flow_updated_by": "coverage"}}),
    Ablation("residual-large-critic", (RESIDUAL_FID,),
             {RESIDUAL: {"system.critic.widths": (40, 80, 160), "system.critic.blocks": 2}}),
    Ablation("two-scales-lambda-25", (NVP,), {TWO_SCALES: {LAMBDA: 25.0}}, NATS),
    Ablation("two-scales-wide-f", (NVP,), {TWO_SCALES: {"system.flow.width": 32}}),
    Ablation("two-scales-steps", (NVP,), {TWO_SCALES: {STEPS: 3000}}),
    Ablation("iaf-steps", (IAF,), {VAE_IAF: {STEPS: 3000}}),
    Ablation("iaf-latents", (IAF,), {VAE_IAF: {"system.latent": 32}}),
    Ablation("iaf-layers", (IAF,), {VAE_IAF: {"system.blocks": 4}}),
)  # fmt: skip
BY_NAME = {ablation.name: ablation for ablation in ABLATIONS}


def compared(claims: Sequence[str]) -> tuple[str, ...]:
    """The rows that these claims compare, by the names that their runs have."""
    rows = (row for claim in claims for row in (BY_ID[claim].row_b, BY_ID[claim].row_a))
    return tuple(dict.fromkeys(map(canonical, rows)))


def experiments(name: str, seed: int) -> list[Experiment]:
    """The runs of an ablation; or of `BASELINE`: every row that a claim with ablations compares, unchanged."""
    from cqlib.experiments.experiment import experiment

    if name == BASELINE:
        rows = compared([claim for ablation in ABLATIONS for claim in ablation.claims])
        return [experiment(row, PROFILE, seed=seed) for row in rows]
    return [experiment(row, PROFILE, seed=seed).with_changes(changes) for row, changes in BY_NAME[name].changes.items()]


def train(runs_dir: Path, names: Sequence[str]) -> Iterator[tuple[str, Record]]:
    """Train the ablations of those names, or all, each beside the unchanged rows that it needs: (name, record) of each
    run as it ends."""
    from cqlib.experiments.run import run_experiment

    for name in names:
        if name not in BY_NAME:
            raise unknown("ablation", name, BY_NAME)
    ablations = [BY_NAME[name] for name in names] or ABLATIONS
    rows = compared([claim for ablation in ablations for claim in ablation.claims])
    for seed in SEEDS:
        runs = [(BASELINE, e) for e in experiments(BASELINE, seed) if e.row in rows]
        runs += [(ablation.name, e) for ablation in ablations for e in experiments(ablation.name, seed)]
        for name, e in runs:
            yield name, run_experiment(e, runs_dir=runs_dir / FOLDER / name)
