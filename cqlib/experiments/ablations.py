"""Where a claim of the paper does not hold: what is tried against it, as named changes of `quick` recipes.

A remedy is trained on seeds that no table reports, beside the same seeds unchanged. `python -m cqlib ablations
RUNS_DIR [NAME …]` trains, `python -m cqlib publish RUNS_DIR` copies what is
finished, whatever came out, and `cqlib.report.ablations` says what it did to the claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
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
FOLDER = "remedies"
"""In a folder of runs; in it a folder for each name, as in `PUBLISHED`."""
PUBLISHED = ROOT / "reports" / "published" / FOLDER
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Remedy:
    """`changes`: row -> {"system.critic.penalty_weight": 10.0, …}, places in its recipe and what stands there then."""

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

REMEDIES: tuple[Remedy, ...] = (
    Remedy("lambda-25", (COSTS_BPD,), {CQ: {LAMBDA: 25.0}}, NATS),
    Remedy("penalty-10", (COSTS_BPD,), {CQ: {"system.critic.penalty_weight": 10.0}}),
    Remedy("critic-sees-mean", (COSTS_BPD,), {CQ: {"system.critic_input": "mean"}}),
    Remedy("twice-the-steps", (COSTS_BPD, LOWERS_FID), {row: {STEPS: 3000} for row in (VAE, VAE_F, CQ)}),
    Remedy("six-couplings", (LOWERS_FID,), {VAE_F: {"system.flow.couplings": 6}}),
    Remedy("f-of-two-scales", (LOWERS_FID,), {VAE_F: {"system.flow.scales": 2}}),
    Remedy("cq-f-lambda-200", (BEATS_GAN, RESIDUAL_FID), {row: {LAMBDA: 200.0} for row in (CQ_F, RESIDUAL)}),
    Remedy(
        "cq-f-critic-sees-mean",
        (BEATS_GAN, RESIDUAL_FID),
        {row: {"system.critic_input": "mean"} for row in (CQ_F, RESIDUAL)},
    ),
    Remedy("cq-f-f-by-coverage", (BEATS_GAN,), {CQ_F: {"system.flow_updated_by": "coverage"}}),
    Remedy(
        "residual-large-critic",
        (RESIDUAL_FID,),
        {RESIDUAL: {"system.critic.widths": (40, 80, 160), "system.critic.blocks": 2}},
    ),
    Remedy("two-scales-lambda-25", (NVP,), {TWO_SCALES: {LAMBDA: 25.0}}, NATS),
    Remedy("two-scales-wide-f", (NVP,), {TWO_SCALES: {"system.flow.width": 32}}),
    Remedy("two-scales-steps", (NVP,), {TWO_SCALES: {STEPS: 3000}}),
    Remedy("iaf-steps", (IAF,), {VAE_IAF: {STEPS: 3000}}),
    Remedy("iaf-latents", (IAF,), {VAE_IAF: {"system.latent": 32}}),
    Remedy("iaf-layers", (IAF,), {VAE_IAF: {"system.blocks": 4}}),
)
BY_NAME = {remedy.name: remedy for remedy in REMEDIES}


def compared(claims: Sequence[str]) -> tuple[str, ...]:
    """The rows that these claims compare, by the names that their runs have."""
    rows = (row for claim in claims for row in (BY_ID[claim].row_b, BY_ID[claim].row_a))
    return tuple(dict.fromkeys(map(canonical, rows)))


def changed(config: Any, path: str, value: Any) -> Any:
    """`config` with another value at a dotted path; ValueError where there is nothing, or the same already."""
    name, _, rest = path.partition(".")
    if not is_dataclass(config) or name not in {field.name for field in fields(config)}:
        raise ValueError(f"there is no '{path}' in {type(config).__name__}")
    if not rest and getattr(config, name) == value:
        raise ValueError(f"'{path}' is {value!r} already")
    return replace(config, **{name: changed(getattr(config, name), rest, value) if rest else value})


def experiments(name: str, seed: int) -> list[Experiment]:
    """The runs of a remedy; or of `UNCHANGED`: every row that a claim with remedies compares, as it is."""
    from cqlib.experiments.experiment import experiment

    if name == UNCHANGED:
        rows = compared([claim for remedy in REMEDIES for claim in remedy.claims])
        return [experiment(row, PROFILE, seed=seed) for row in rows]
    found = []
    for row, changes in BY_NAME[name].changes.items():
        e = experiment(row, PROFILE, seed=seed)
        for path, value in changes.items():
            e = replace(e, recipe=changed(e.recipe, path, value))
        found.append(e)
    return found


def train(runs_dir: Path, names: Sequence[str]) -> Iterator[tuple[str, Record]]:
    """Train the remedies of those names, or all, each beside the unchanged rows that it needs: (name, record) of each
    run as it ends."""
    from cqlib.experiments.run import run_experiment

    for name in names:
        if name not in BY_NAME:
            raise unknown("remedy", name, list(BY_NAME))
    chosen = [BY_NAME[name] for name in names] or REMEDIES
    needed = compared([claim for remedy in chosen for claim in remedy.claims])
    for seed in SEEDS:
        plain = [e for e in experiments(UNCHANGED, seed) if e.row in needed]
        for name, found in ((UNCHANGED, plain), *((r.name, experiments(r.name, seed)) for r in chosen)):
            for e in found:
                yield name, run_experiment(e, runs_dir=runs_dir / FOLDER / name)
