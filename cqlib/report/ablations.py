"""What the ablations (`cqlib.experiments.ablations`) did: to the claims that do not hold, a small table for each; and
to the scores of each row that they change, a line each."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from cqlib.experiments import ablations
from cqlib.experiments.ablations import (
    ABLATIONS,
    BY_NAME,
    FOLDER,
    PROFILE,
    PUBLISHED,
    QUESTIONS,
    SEEDS,
    STEPS,
    Ablation,
    Question,
)
from cqlib.experiments.claims import BY_ID, Claim
from cqlib.experiments.experiment import experiment
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import default_data, short_label
from cqlib.experiments.variants import in_words, shown
from cqlib.metrics.quantities import QUANTITIES, temperatures
from cqlib.report.claim_cards import bar
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import ClaimResult, claim_result
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
            why = f" ({ablation.why})" if ablation.why else ""
            lines.append((_words(ablation, baseline) + why, tried))
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


SCORES = ("bpd", "fid", "kid", "is", "recall")
"""What `effects` tells."""


@dataclass(frozen=True)
class Effect:
    """What a change did to a row: a result for each of `SCORES`, positive where the changed row is better."""

    ablation: str
    words: str
    row: str
    results: tuple[ClaimResult, ...]
    seeds: Sequence[int]
    failed: str
    """How those runs ended that are not done."""

    @property
    def measured(self) -> bool:
        """Whether there is any result."""
        return any(result.effect is not None for result in self.results)


def effects(records: Sequence[Record], temperature: float) -> dict[Question, list[Effect]]:
    """Question -> what its ablations did to each row that they change, against the row as it is on the same images."""
    asked = {question: [BY_NAME[name] for name in question.ablations] for question in QUESTIONS}
    return {
        question: [_effect(ablation, row, records, temperature) for ablation in tried for row in ablation.changes]
        for question, tried in asked.items()
    }


WORDS = {"holds": "better", "does not hold": "worse", "equal": "no difference"}
"""Labels of `claim_result` where a claim is that a change makes a row better."""


def effect_table(records: Sequence[Record], temperature: float) -> dict[str, Any]:
    """`effects` for the macro `effect_table`: names of columns; per question every result with its words, tone and
    picture, all of a column on one scale; and the command for what is not trained yet."""
    found = effects(records, temperature)
    columns = list(zip(*(effect.results for lines in found.values() for effect in lines), strict=True))
    margins = [QUANTITIES[metric].equal for metric in SCORES]
    reach = [1.1 * max(margin, *(abs(result.effect or 0) for result in column))
             for margin, column in zip(margins, columns, strict=True)]  # fmt: skip

    def cell(result: ClaimResult, reach: float) -> dict[str, Any]:
        tone = {"holds": "good", "does not hold": "bad"}.get(result.label, "plain")
        text, at = result.text, {} if result.effect is None else bar(result, reach)
        return {"word": WORDS.get(result.label, result.label), "tone": tone, "text": text, "at": at}

    groups = []
    for question, lines in found.items():
        missing = dict.fromkeys(effect.ablation for effect in lines if not effect.measured and not effect.failed)
        seeds = ",".join(map(str, SEEDS))
        command = f"./run_all.sh --only {','.join(missing)} --seeds {seeds} --runs-dir runs/{FOLDER}"
        cells = [(effect, list(map(cell, effect.results, reach))) for effect in lines]
        groups.append((question, cells, command if missing else ""))
    names = [next((result.score for result in column if result.metric_name), QUANTITIES[metric].name)
             for metric, column in zip(SCORES, columns, strict=True)]  # fmt: skip
    return {"names": names, "groups": groups, "at": f"T = {temperature:g}"}


def _effect(ablation: Ablation, row: str, records: Sequence[Record], temperature: float) -> Effect:
    """Of one row; `claim_result` sees to it that only runs of one protocol and precision are compared."""
    changed = ablation.variant(row)
    found = _by_seed(records, (changed, row))
    seeds = sorted(set.intersection(*map(set, found.values())))
    runs = tuple(by_seed[seed] for by_seed in found.values() for seed in seeds)
    run_set = RunSet("published", default_data(row, PROFILE)[0], runs[0].data.shape[-1] if runs else 0, PROFILE, runs)
    results = []
    for metric in SCORES:
        claim = Claim(f"ablations/{metric}", "", run_set.data, metric, changed, row, QUANTITIES[metric].better)
        results.append(claim_result(claim, run_set, temperature if temperature in temperatures(metric) else None))
    failed = ", ".join(sorted({run.status for run in runs if run.status != "done"}))
    return Effect(ablation.name, _words(ablation, {row: found[row]}), short_label(row), tuple(results), seeds, failed)


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
            change = f"{in_words({path: value})} instead of {_setting(row, baseline[row], path)}"
            if path == STEPS and kept:
                change += f" (the other row's stay {_setting(kept[0], baseline[kept[0]], path)})"
            changes.append(change)
    return "; ".join(dict.fromkeys(changes))


def _setting(row: str, runs: Mapping[int, Record], path: str) -> str:
    """What a setting was in the recipe of a row's `runs`; today's where there are none, or they are older than it."""
    for run in runs.values():
        with suppress(KeyError):
            return shown(reduce(dict.__getitem__, path.split("."), run.config["recipe"]))
    return shown(reduce(getattr, path.split("."), experiment(row, PROFILE).recipe))
