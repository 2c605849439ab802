"""What ablations (`cqlib.experiments.ablations`) did to the claims that do not hold: a small table for each, from
records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cqlib.experiments.ablations import (
    ABLATIONS,
    BASELINE,
    BEATS_GAN,
    BY_NAME,
    COSTS_BPD,
    LOWERS_FID,
    PROFILE,
    PUBLISHED,
    RESIDUAL_FID,
    STEPS,
    Ablation,
)
from cqlib.experiments.claims import BY_ID, Claim
from cqlib.experiments.experiment import experiment
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import default_data
from cqlib.report.claim_cards import result_text
from cqlib.report.number_verdicts import TEMPERATURES
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import claim_result

BESIDE = {
    COSTS_BPD: ("table1/quality-loss-fid",), LOWERS_FID: ("table1/f-bpd",), BEATS_GAN: ("table1/cq-f-gan-bpd",),
    RESIDUAL_FID: ("table2/residual-bpd",),
}  # fmt: skip
"""What the same two rows are there for: an ablation that gives it up is none."""
WORDS = {
    "system.quality_weight": "λ",
    "system.critic.penalty_weight": "gradient penalty",
    "system.critic_input": "critic input:",
    "system.critic.widths": "widths of the critic:",
    "system.critic.blocks": "blocks of the critic a resolution:",
    "system.flow_updated_by": "f updated by:",
    "system.flow.couplings": "couplings of f:",
    "system.flow.scales": "scales of f:",
    "system.flow.width": "width of f",
    "system.latent": "latent channels a layer:",
    "system.blocks": "layers a resolution:",
    "training.steps": "steps:",
}
"""Places in a recipe, as they are called."""

Runs = Mapping[str, Mapping[int, Record]]
"""Row -> seed -> its run."""


@dataclass(frozen=True)
class Tried:
    """A line: what was changed, and a cell for each column."""

    words: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Tries:
    """The table of a claim. Effects are the claim's, positive as claimed."""

    where: str
    columns: tuple[str, ...]
    lines: tuple[Tried, ...]


def tries(folder: Path = PUBLISHED) -> tuple[dict[str, Tries], list[str]]:
    """Claim -> its table, from the records below `folder`, and a line for what is left out: a record that cannot be
    read, an ablation whose runs pair with none.

    A row that an ablation leaves alone is the unchanged one of the same seed, trained on the same device. All lines of
    a table are of the same seeds; a claim without its unchanged pair has no table.
    """
    records: dict[str, list[Record]] = {}
    problems: list[str] = []
    for name in (BASELINE, *BY_NAME):
        records[name], wrong = load_records(folder / name)
        problems += [f"{name}/{line}" for line in wrong]
    claims = dict.fromkeys(claim for ablation in ABLATIONS for claim in ablation.claims)
    found = {claim: table for claim in claims if (table := _table(BY_ID[claim], records, problems))}
    return found, problems


def _table(claim: Claim, records: Mapping[str, Sequence[Record]], problems: list[str]) -> Tries | None:
    """The table of a claim; adds to `problems` the ablations that it leaves out."""
    rows = tuple(map(canonical, (claim.row_a, claim.row_b)))
    plain = _by_seed(records[BASELINE], rows)
    seeds = _paired(plain)
    lines: list[tuple[Ablation | None, Runs]] = [(None, plain)]
    for ablation in (ablation for ablation in ABLATIONS if claim.id in ablation.claims):
        own = _by_seed(records[ablation.name], [row for row in rows if row in ablation.changes])
        runs = {**plain, **own}
        if common := seeds & _paired(runs):
            seeds = common
            lines.append((ablation, runs))
        elif seeds and any(own.values()):
            problems.append(f"{ablation.name}: {claim.row_a} and {claim.row_b} lack a run of the seeds and device that "
                            "the other tries have")  # fmt: skip
    if not seeds or len(lines) == 1:
        return None
    tests = [(BY_ID[name], t) for name in (claim.id, *BESIDE.get(claim.id, ()))
             for t in (TEMPERATURES if BY_ID[name].metric in ("is", "fid") else (None,))]  # fmt: skip
    columns = [_column(other, t, own=other is claim) for other, t in tests]
    first = plain[rows[0]][min(seeds)].data
    place = RunSet("published", first.name, first.shape[-1], PROFILE, ()).label
    where = f"{place}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"
    return Tries(where, (*columns, "parameters of each"),
                 tuple(_line(ablation, runs, plain, seeds, tests) for ablation, runs in lines))  # fmt: skip


def _column(claim: Claim, temperature: float | None, own: bool) -> str:
    """What an effect is of: the claim itself, or one that stands beside it."""
    at = "" if temperature is None else f", T = {temperature:g}"
    return ("effect" if own else claim.sentence) + at


def _by_seed(records: Sequence[Record], rows: Sequence[str]) -> dict[str, dict[int, Record]]:
    def right(record: Record, row: str) -> bool:
        return (record.row, record.profile, record.data.name) == (row, PROFILE, default_data(row, PROFILE)[0])

    return {row: {record.seed: record for record in records if right(record, row)} for row in rows}


def _paired(runs: Runs) -> set[int]:
    """The seeds of which all rows are there, from one kind of device."""
    seeds = set.intersection(*(set(found) for found in runs.values()))
    return {seed for seed in seeds if len({found[seed].device for found in runs.values()}) == 1}


def _line(ablation: Ablation | None, runs: Runs, plain: Runs, seeds: set[int], tests: Sequence[tuple]) -> Tried:
    records = tuple(found[seed] for found in runs.values() for seed in sorted(seeds))
    words = "as it is" if ablation is None else _words(ablation, plain)
    if lost := sorted({r.status for r in records} - {"done"}):
        return Tried(words, (*[lost[0]] * len(tests), _totals(runs)))
    cells = [result_text(claim_result(claim, records, temperature=t)) or "not measured" for claim, t in tests]
    return Tried(words, (*cells, _totals(runs)))


def _words(ablation: Ablation, plain: Runs) -> str:
    """ "λ 25 instead of 100", of the rows at hand; what stood there is told by the unchanged records. Steps that one
    row alone was given are told so."""
    said = {}
    before = {row: next(iter(found.values())).config["recipe"] for row, found in plain.items()}
    kept = [row for row in plain if row not in ablation.changes]
    for row in (row for row in plain if row in ablation.changes):
        for path, value in ablation.changes[row].items():
            others = f" (the other row's stay {_was(before, kept[0], path)})" if path == STEPS and kept else ""
            said[f"{WORDS[path]} {_shown(value)} instead of {_was(before, row, path)}{others}"] = None
    return "; ".join(said) + (f" ({ablation.why})" if ablation.why else "")


def _was(before: Mapping[str, Any], row: str, path: str) -> str:
    """What stood in a row's unchanged record; a setting that is younger than the record had today's default."""
    try:
        return _shown(_at(before[row], path))
    except KeyError:
        return _shown(_at(asdict(experiment(row, PROFILE).recipe), path))


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = config[name]
    return config


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "-".join(map(_shown, value))
    return value if isinstance(value, str) else f"{value:,g}"


def _totals(runs: Runs) -> str:
    return " and ".join(f"{next(iter(found.values())).parameters['total']:,}" for found in runs.values())
