"""Where a claim of the paper does not hold: what was tried, and what it did to the claim.

A remedy is a named change of `quick` recipes. It is trained on seeds that no table reports, beside the same seeds
unchanged, and its records are published whatever came out: `python -m cqlib.remedies RUNS_DIR [NAME …]` trains, then
`python -m cqlib.publish RUNS_DIR` copies what is finished.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cqlib.claim_cards import finding
from cqlib.claims import BY_ID
from cqlib.errors import UsageError, unknown
from cqlib.guard import guarded
from cqlib.names import ROOT
from cqlib.number_verdicts import TEMPERATURES
from cqlib.records import Record, load_records
from cqlib.tables import run_sets
from cqlib.verdicts import claim_result

if TYPE_CHECKING:
    from cqlib.experiments import Experiment

PROFILE = "quick"
SEEDS = (100,)
FOLDER = "remedies"
"""In a folder of runs; in it a folder for each name, as in `PUBLISHED`."""
PUBLISHED = ROOT / "reports" / "published" / FOLDER
UNCHANGED = "unchanged"

VAE, VAE_F, CQ = "table1/vae", "table1/vae-f", "table1/cq"
TWO_SCALES, VAE_IAF = "table3/cqf-2-scales", "table3/vae-iaf"


@dataclass(frozen=True)
class Remedy:
    """`changes`: row -> {"system.critic.penalty_weight": 10.0, …}, places in its recipe and what stands there."""

    name: str
    claims: tuple[str, ...]
    words: str
    changes: Mapping[str, Mapping[str, Any]]


COSTS_BPD, LOWERS_FID = "table1/quality-loss-bpd", "table1/f-fid"
NVP, IAF = "table3/nvp-bpd", "table3/vae-iaf-bpd"
STEPS = "training.steps"

REMEDIES: tuple[Remedy, ...] = (
    Remedy("lambda-25", (COSTS_BPD,), "λ = 25: L_C is in nats per image, and at 16×16 λ = 100 weighs four times as "
           "much against it as at 32×32", {CQ: {"system.quality_weight": 25.0}}),
    Remedy("penalty-10", (COSTS_BPD,), "gradient penalty 10 instead of 1, a smoother critic",
           {CQ: {"system.critic.penalty_weight": 10.0}}),
    Remedy("critic-sees-mean", (COSTS_BPD,), "the critic sees the decoder's mean instead of a sample",
           {CQ: {"system.critic_input": "mean"}}),
    Remedy("twice-the-steps", (COSTS_BPD, LOWERS_FID), "3,000 steps instead of 1,500",
           {row: {STEPS: 3000} for row in (VAE, VAE_F, CQ)}),
    Remedy("six-couplings", (LOWERS_FID,), "f of six couplings instead of three",
           {VAE_F: {"system.flow.couplings": 6}}),
    Remedy("f-of-two-scales", (LOWERS_FID,), "f of two scales", {VAE_F: {"system.flow.scales": 2}}),
    Remedy("two-scales-lambda-25", (NVP,), "λ = 25, as above", {TWO_SCALES: {"system.quality_weight": 25.0}}),
    Remedy("two-scales-wide-f", (NVP,), "f twice as wide", {TWO_SCALES: {"system.flow.width": 32}}),
    Remedy("two-scales-steps", (NVP,), "3,000 steps instead of 1,500", {TWO_SCALES: {STEPS: 3000}}),
    Remedy("iaf-steps", (IAF,), "3,000 steps instead of 1,500", {VAE_IAF: {STEPS: 3000}}),
    Remedy("iaf-latents", (IAF,), "32 latent channels a layer instead of 16", {VAE_IAF: {"system.latent": 32}}),
    Remedy("iaf-layers", (IAF,), "four layers a resolution instead of two", {VAE_IAF: {"system.blocks": 4}}),
)  # fmt: skip
BY_NAME = {remedy.name: remedy for remedy in REMEDIES}


def changed(config: Any, path: str, value: Any) -> Any:
    """`config` with another value at a dotted path; ValueError where there is nothing, or the same already."""
    name, _, rest = path.partition(".")
    if not is_dataclass(config) or name not in {field.name for field in fields(config)}:
        raise ValueError(f"there is no '{path}' in {type(config).__name__}")
    if not rest and getattr(config, name) == value:
        raise ValueError(f"'{path}' is {value!r} already")
    return replace(config, **{name: changed(getattr(config, name), rest, value) if rest else value})


def experiments(name: str, seed: int) -> list[Experiment]:
    """The runs of a remedy, or of `UNCHANGED`: each row that any remedy's claim compares, as it is."""
    from cqlib.experiments import experiment

    if name == UNCHANGED:
        claims = [BY_ID[claim] for remedy in REMEDIES for claim in remedy.claims]
        rows = dict.fromkeys(row for claim in claims for row in (claim.row_b, claim.row_a))
        return [experiment(row, PROFILE, seed=seed) for row in rows]
    found = []
    for row, changes in BY_NAME[name].changes.items():
        e = experiment(row, PROFILE, seed=seed)
        for path, value in changes.items():
            e = replace(e, recipe=changed(e.recipe, path, value))
        found.append(e)
    return found


# --- what came out ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """A line under a claim: what was done, and the claim's effect then, at each temperature."""

    words: str
    effects: tuple[str, ...]
    """ "T = 1: −3.0 %", …"""


def tried(folder: Path = PUBLISHED) -> dict[str, list[Tried]]:
    """Claim -> what its remedies did, the unchanged recipes first, from the records below `folder`. A row that a remedy
    leaves alone is the unchanged one of the same seed."""
    records = {name: load_records(folder / name)[0] for name in (UNCHANGED, *BY_NAME)}
    found: dict[str, list[Tried]] = {}
    for remedy in (Remedy(UNCHANGED, tuple(dict.fromkeys(c for r in REMEDIES for c in r.claims)), "As it is", {}),
                   *REMEDIES):  # fmt: skip
        for claim in remedy.claims:
            runs = [r for r in records[UNCHANGED] if r.row not in remedy.changes]
            if remedy.changes:
                runs += records[remedy.name]
            if effects := _effects(claim, runs):
                found.setdefault(claim, []).append(Tried(remedy.words, effects))
    return {claim: lines for claim, lines in found.items() if len(lines) > 1}


def _effects(claim_id: str, records: Sequence[Record]) -> tuple[str, ...]:
    claim = BY_ID[claim_id]
    found = []
    for runs in run_sets([], records):
        for temperature in TEMPERATURES if claim.metric in ("is", "fid") else (None,):
            result = claim_result(claim, runs.records, temperature=temperature)
            if result.effect is not None:
                at = "" if temperature is None else f"T = {temperature:g}: "
                found.append(at + finding(runs, result).effect)
    return tuple(found)


# --- the command -----------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Train the remedies of those names, or all, each beside the unchanged rows that it needs; the exit code."""
    from cqlib.run import run_experiment

    with guarded("python -m cqlib.remedies"):
        if not argv or argv[0].startswith("-"):
            raise UsageError("give a folder for the runs, perhaps names: python -m cqlib.remedies RUNS_DIR [NAME …]")
        for name in argv[1:]:
            if name not in BY_NAME:
                raise unknown("remedy", name, list(BY_NAME))
        chosen = [BY_NAME[name] for name in argv[1:]] or REMEDIES
        needed = {row for remedy in chosen for c in remedy.claims for row in (BY_ID[c].row_a, BY_ID[c].row_b)}
        for seed in SEEDS:
            plain = [e for e in experiments(UNCHANGED, seed) if e.row in needed]
            for name, found in ((UNCHANGED, plain), *((r.name, experiments(r.name, seed)) for r in chosen)):
                for e in found:
                    record = run_experiment(e, runs_dir=Path(argv[0]) / FOLDER / name)
                    print(f"{name}: {e.row}, seed {seed}: {record.status}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
