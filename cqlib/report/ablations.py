"""What the ablations (`cqlib.experiments.ablations`) did to the claims that do not hold: a small table for each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from cqlib.experiments import ablations
from cqlib.experiments.ablations import ABLATIONS, PROFILE, PUBLISHED, STEPS, Ablation
from cqlib.experiments.claims import BY_ID, Claim
from cqlib.experiments.experiment import experiment
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import default_data
from cqlib.experiments.variants import in_words, shown
from cqlib.metrics.quantities import temperatures
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import claim_result
from cqlib.util.text import named

BESIDE = {
    ablations.COSTS_BPD: "table1/quality-loss-fid",
    ablations.LOWERS_FID: "table1/f-bpd",
    ablations.BEATS_GAN: "table1/cq-f-gan-bpd",
    ablations.RESIDUAL_FID: "table2/residual-bpd",
}
"""The claim that the same two rows are there for: an ablation that gives it up is no improvement."""
Runs = Mapping[str, Mapping[int, Record]]
"""Row, with its changes -> seed -> its run."""


@dataclass(frozen=True)
class Table:
    """The ablations of a claim: a line for each, what was changed, then a cell for each column; effects as claimed."""

    where: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def tables(folder: Path = PUBLISHED) -> tuple[dict[str, Table], list[str]]:
    """Claim -> its table, all lines of the same seeds, from the records below `folder`; and a line for each record that
    cannot be read and each ablation whose runs pair with none. Rows that an ablation leaves are the baseline's."""
    records, problems = load_records(folder)
    claims = dict.fromkeys(claim for ablation in ABLATIONS for claim in ablation.claims)
    return {claim: t for claim in claims if (t := _table(BY_ID[claim], records, problems))}, problems


def _table(claim: Claim, records: Sequence[Record], problems: list[str]) -> Table | None:
    """The table of a claim; adds to `problems` the ablations that it leaves out."""
    rows = tuple(map(canonical, (claim.row_a, claim.row_b)))
    baseline = _by_seed(records, rows)
    seeds = _paired(baseline)
    lines: list[tuple[str, Runs]] = [("as it is", baseline)]
    for ablation in (ablation for ablation in ABLATIONS if claim.id in ablation.claims):
        tried = _by_seed(records, map(ablation.variant, rows))
        changed = any(tried[ablation.variant(row)] for row in rows if row in ablation.changes)
        if common := seeds & _paired(tried):
            seeds = common
            lines.append((_words(ablation, baseline), tried))
        elif seeds and changed:
            problems.append(f"{ablation.name}: {claim.row_a} and {claim.row_b} lack a run of the seeds and device that "
                            "the other tries have")  # fmt: skip
    if not seeds or len(lines) == 1:
        return None
    tests = [(c, t) for c in (claim, BY_ID.get(BESIDE.get(claim.id, ""))) if c for t in temperatures(c.metric)]
    columns = [("effect" if c is claim else c.sentence) + ("" if t is None else f", T = {t:g}") for c, t in tests]
    body = []
    for words, runs in lines:
        of_seeds = tuple(by_seed[seed] for by_seed in runs.values() for seed in sorted(seeds))
        # under the names of the plain rows, which the claim compares
        of_seeds = tuple(replace(run, changes={}) for run in of_seeds)
        run_set = RunSet("published", of_seeds[0].data.name, of_seeds[0].data.shape[-1], PROFILE, of_seeds)
        failed: list[str] = sorted({run.status for run in of_seeds if run.status != "done"})
        cells = failed[:1] * len(tests) or [claim_result(c, run_set, t).text or "not measured" for c, t in tests]
        totals = " and ".join(f"{next(iter(by_seed.values())).parameters['total']:,}" for by_seed in runs.values())
        body.append((words, *cells, totals))
    where = f"{run_set.label}, {named('seed', sorted(seeds))}"
    return Table(where, (*columns, "parameters of each"), tuple(body))


def _by_seed(records: Sequence[Record], variants: Iterable[str]) -> dict[str, dict[int, Record]]:
    def matches(record: Record, name: str) -> bool:
        place = (default_data(record.row, PROFILE)[0], PROFILE)
        return record.variant == name and (record.data.name, record.profile) == place

    return {name: {record.seed: record for record in records if matches(record, name)} for name in variants}


def _paired(runs: Runs) -> set[int]:
    """The seeds that all rows have, from one kind of device."""
    seeds = set.intersection(*(set(by_seed) for by_seed in runs.values()))
    return {seed for seed in seeds if len({by_seed[seed].device for by_seed in runs.values()}) == 1}


def _words(ablation: Ablation, baseline: Runs) -> str:
    """ "λ 25 instead of 100": the settings that differ from the baseline's, and the steps of a row that stays."""
    kept = [row for row in baseline if row not in ablation.changes]
    changes = []
    for row in (row for row in baseline if row in ablation.changes):
        for path, value in ablation.changes[row].items():
            change = f"{in_words({path: value})} instead of {_setting(baseline[row], path)}"
            if path == STEPS and kept:
                change += f" (the other row's stay {_setting(baseline[kept[0]], path)})"
            changes.append(change)
    return "; ".join(dict.fromkeys(changes)) + (f" ({ablation.why})" if ablation.why else "")


def _setting(runs: Mapping[int, Record], path: str) -> str:
    """What a setting was in the recipe of `runs`; today's where they are older than it."""
    run = next(iter(runs.values()))
    try:
        return shown(reduce(dict.__getitem__, path.split("."), run.config["recipe"]))
    except KeyError:
        return shown(reduce(getattr, path.split("."), experiment(run.row, PROFILE).recipe))
