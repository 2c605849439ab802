"""What the report says around its tables: facts, shortfalls, plots, costs, protocols, provenance."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from cqlib import names, paper
from cqlib.claim_cards import Card
from cqlib.critic_cost import multiply_adds
from cqlib.metrics.protocols import PROTOCOLS, split_name, with_protocol
from cqlib.records import Record
from cqlib.tables import FEATURES, PLACES, Cell, RunSet, measured

GPU_HOURS = names.ROOT / "reports" / "published" / "gpu_hours.json"
TWO_SCALES = "table3/cqf-2-scales"
SHORT = {TWO_SCALES: "CQF, 2 scales", "table3/cqf-large-d": "CQF (large Discr.)"}


def label_of(row: str) -> str:
    """A row's name on the slides, told apart where the slides use one name twice ("CQF + Residual")."""
    if row not in paper.ROWS:
        return row
    found = paper.ROWS[row]
    extra = [] if row.startswith("table1/") or "(" in found.label else found.ticks
    return " + ".join([found.label, *extra])


def short_label(row: str) -> str:
    """`label_of` where there is little room."""
    return SHORT.get(row) or label_of(row)


def marks(rows: Collection[str]) -> dict[str, int]:
    """Short label -> its number in `plots.mark`: one system has one colour and marker everywhere, whatever it is called
    in a table."""
    systems = dict.fromkeys(map(paper.canonical, names.ROWS))
    place = {row: i for i, row in enumerate(systems)}
    return {short_label(row): place.get(paper.canonical(row), len(place)) for row in rows}


def facts(sets: Sequence[RunSet], alone: bool = False) -> list[tuple[str, str]]:
    """The first screen: what ran here, on what, when; and what was published beside it, or `alone`."""
    found = []
    here = [run for runs in sets if runs.place == "here" for run in runs.records]
    if here:
        done = sum(run.status == "done" for run in here)
        rows = sorted({label_of(run.row) for run in here})
        start, end = min(run.started for run in here)[:16], max(run.finished for run in here)[:16]
        found += [
            ("Run on this machine", f"{done} of {len(here)} runs finished: {', '.join(rows)}"),
            ("Data and profile", "; ".join(runs.label for runs in sets if runs.place == "here")),
            ("Seeds", _seeds(here)),
            ("Device", ", ".join(sorted({run.device for run in here}))),
            ("When (UTC)", f"{start.replace('T', ' ')} to {end.replace('T', ' ')}"),
            ("Training time, all runs", duration(sum(run.seconds for run in here))),
        ]
    elif not alone:
        found.append(("Run on this machine", "nothing yet"))
    published = [runs for runs in sets if runs.place == "published"]
    for runs in published:
        seeds = _seeds(runs.records)
        images = sorted({n for run in runs.records if isinstance(n := run.config.get("n_train"), int)})
        trained_on = f" ({' or '.join(f'{n:,}' for n in images)} training images)" if images else ""
        count = _count(len(runs.records), "run")
        text = f"{count} on {runs.label}{trained_on}, seed{'s' * (' ' in seeds)} {seeds}"
        found.append(("Published" if alone else "Published beside it", text))
    if alone:
        every = [run for runs in published for run in runs.records]
        found += [("Device", ", ".join(sorted({run.device for run in every}))),
                  ("Time, all runs", duration(sum(run.seconds for run in every)))]  # fmt: skip
    return found


def towards_the_paper(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Where no run is of the paper's recipes on its data: the commands that make some, with the GPU-hours that one seed
    is estimated to take."""
    if any(runs.profile == "paper" for runs in sets):
        return []
    hours = {(run["row"], run["data"]): run["hours"] for run in json.loads(GPU_HOURS.read_text())["runs"]}
    table1 = sum(hours.get((row.id, "cifar10"), 0.0) for row in paper.TABLE1.rows)
    return [
        (f"./run_all.sh --profile paper --only {only} --data-dir DIR", f"{what}, about {took:,.0f} GPU-hours")
        for only, what, took in (("table1", "Table 1", table1), ("all", "everything", sum(hours.values())))
    ]


def _seeds(records: Sequence[Record]) -> str:
    seeds = sorted({run.seed for run in records})
    whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def duration(seconds: float) -> str:
    """ "3 h 05 min", "12 min", "40 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def shortfalls(sets: Sequence[RunSet], made: Sequence[Card], available: Collection[str]) -> list[str]:
    """What the report cannot show, in sentences."""
    lines = []
    against = [card.claim.sentence for card in made if card.standing == "does not hold"]
    if against:
        lines.append(f"{_count(len(against), 'claim')} of the paper did not hold here: {'; '.join(against)}.")
    known = {paper.canonical(row) for row in available}
    later = [label_of(row) for row in paper.ROWS if paper.canonical(row) == row and row not in known]
    if later:
        count = _count(len(later), "system")
        lines.append(f"{count} cannot be trained by this version yet: {', '.join(later)}.")
    ran = {paper.canonical(run.row) for runs in sets for run in runs.records}
    missing = [row for row in paper.ROWS if paper.canonical(row) == row and row in known - ran]
    if missing:
        lines.append(f"Not trained: {', '.join(map(label_of, missing))}; the tables name the commands.")
    if not any(runs.profile == "paper" for runs in sets):
        lines.append("No run used the paper’s recipes on the paper’s data (profile “paper”), so none of the "
                     "paper’s numbers could be reproduced or contradicted; the claims were tested at a "
                     "smaller scale.")  # fmt: skip
    lines.append("The slides leave open the exact nets, latent sizes, iterations, pixel scaling and how many "
                 "samples stand behind IS and FID; what was chosen is in each record’s config.")  # fmt: skip
    return lines


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def unfinished(sets: Sequence[RunSet]) -> list[str]:
    """One line per run that stopped, diverged or failed, with its notes."""
    return [
        ": ".join([f"{label_of(run.row)} on {runs.label}, seed {run.seed} ({PLACES[runs.place].lower()})",
                   f"{run.status} at step {run.steps:,}", *run.notes])
        for runs in sets for run in runs.records if run.status != "done"
    ]  # fmt: skip


def costs(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> list[list[str]]:
    """Model, runs, parameters and the flow's share, critic and its multiply-adds, steps, seconds, images/s, memory;
    of `rows`, by default of every row that ran."""
    lines = []
    for runs in sets:
        for row in rows or dict.fromkeys(paper.canonical(run.row) for run in runs.records):
            done = [run for run in runs.of(row) if run.status == "done"]
            if done:
                counts, mean = done[0].parameters, _mean_of(done)
                total, flow = counts.get("total"), counts.get("flow")
                share = f"{100 * flow / total:.1f} %" if total and flow else "—"
                lines.append([
                    short_label(row), f"{PLACES[runs.place]}: {runs.label}", _whole(total), share,
                    _whole(counts.get("critic")), _millions(multiply_adds(done[0])), _whole(mean("steps")),
                    _whole(mean("seconds")), _whole(mean("images_per_second")), _whole(mean("peak_memory_bytes", 1e6)),
                ])  # fmt: skip
    return lines


def baselines(sets: Sequence[RunSet], rows: Collection[str]) -> list[dict[str, Any]]:
    """What each of `rows` that was measured against baselines has to beat, and whether it does.

    One line per run set and kind of features: the distance of the last and of the best step, of an untrained copy
    and of independent Gaussian pixels; BPD and that of a histogram per pixel. Means over seeds.
    """
    lines = []
    for runs in sets:
        for row in rows:
            done = [run for run in runs.of(row) if run.status == "done"]
            known = {name for run in done for name in run.metrics}
            for _, distance, _ in FEATURES.values():
                last, best = f"{distance}@T1", f"{distance}-best@T1"
                bars = [f"{distance}-untrained@T1", f"{distance}-gaussian@T1"]
                if last not in known or not known & {*bars, "BPD-histogram"}:
                    continue
                beaten = [_mean(done, last) < _mean(done, bar) for bar in bars if bar in known]
                if "BPD-histogram" in known:
                    beaten.append(_mean(done, "BPD") < _mean(done, "BPD-histogram"))
                steps = sorted({run.best_step for run in done if best in run.metrics})
                cells = [measured(name, done) for name in (last, best, *bars, "BPD", "BPD-histogram")]
                lines.append({
                    "label": short_label(row), "runs": f"{PLACES[runs.place]}: {runs.label}", "distance": distance,
                    "cells": cells, "steps": ", ".join(f"{step:,}" for step in steps) or "—",
                    "seeds": len(done), "beats": all(beaten),
                })  # fmt: skip
    return lines


def _mean(done: Sequence[Record], name: str) -> float:
    values = [run.metrics[name].value for run in done if name in run.metrics]
    return sum(values) / len(values)


def devices(sets: Sequence[RunSet]) -> list[str]:
    """What the costs were measured on: "This machine: cpu"."""
    found: dict[str, set[str]] = {}
    for runs in sets:
        found.setdefault(PLACES[runs.place], set()).update(run.device for run in runs.records)
    return [f"{place}: {', '.join(sorted(names))}" for place, names in found.items()]


def _mean_of(done: Sequence[Record]):
    def mean(name: str, unit: float = 1.0) -> float | None:
        values = [getattr(run, name) for run in done if getattr(run, name) is not None]
        return sum(values) / len(values) / unit if values else None

    return mean


def _whole(value: float | None) -> str:
    return f"{value:,.0f}" if value else "—"


def _millions(value: int | None) -> str:
    return f"{value / 1e6:,.1f} M" if value else "—"


def protocols(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Every protocol once, with the metrics that were taken by it."""
    found: dict[str, list[str]] = {}
    for runs in sets:
        for run in runs.records:
            for name, metric in run.metrics.items():
                names = found.setdefault(metric.protocol, [])
                names += [] if name in names else [name]
    return [(", ".join(names), text) for text, names in found.items()]


def other_protocols(sets: Sequence[RunSet]) -> dict[str, Any]:
    """Scores under further protocols beside the main one's: their names, what each is, lines of cells.

    One line per row, run set and score; empty lists where no record has any. `notes` say what was left out.
    """
    done = [(runs, run) for runs in sets for run in runs.records if run.status == "done"]
    found = {split_name(metric)[1] for _, run in done for metric in run.metrics} - {""}
    names = sorted(found, key=lambda name: (list(PROTOCOLS).index(name) if name in PROTOCOLS else len(PROTOCOLS), name))
    about = [(name, PROTOCOLS[name].about) for name in ("paper", *names) if name in PROTOCOLS] if names else []
    lines = []
    for runs in sets:
        for row in dict.fromkeys(paper.canonical(run.row) for run in runs.records):
            mine = [run for run in runs.of(row) if run.status == "done"]
            scores = dict.fromkeys(plain for run in mine for plain, name in map(split_name, run.metrics) if name)
            for plain in scores:
                cells = [measured(key, mine) for key in (plain, *(with_protocol(plain, name) for name in names))]
                line = {"label": label_of(row), "runs": f"{PLACES[runs.place]}: {runs.label}", "metric": plain}
                lines.append({**line, "cells": cells})
    notes = dict.fromkeys(f"{runs.label}: {note}" for runs, run in done for note in run.notes
                          if note.startswith("protocol "))  # fmt: skip
    return {"names": names, "about": about, "lines": lines, "notes": list(notes)}


def all_numbers(sets: Sequence[RunSet]) -> list[dict[str, Any]]:
    """Every metric of every row and run set: mean, std over seeds, number of seeds."""
    lines = []
    for runs in sets:
        for row in dict.fromkeys(paper.canonical(run.row) for run in runs.records):
            done = [run for run in runs.of(row) if run.status == "done"]
            for name in dict.fromkeys(name for run in done for name in run.metrics):
                cell: Cell = measured(name, done)
                seeds = sum(name in run.metrics for run in done)
                line = {"label": label_of(row), "runs": f"{PLACES[runs.place]}: {runs.label}"}
                lines.append({**line, "metric": name, "cell": cell, "seeds": seeds})
    return lines


def provenance(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Commits, versions, data fingerprints and devices of all runs."""
    runs = [run for found in sets for run in found.records]
    commits = {_commit(run, 40) for run in runs}
    versions = {f"{name} {version}" for run in runs for name, version in run.versions.items()}
    data = {f"{run.data.name} {run.data.split} {_shape(run)}: {run.data.fingerprint}" for run in runs}
    devices = {run.device for run in runs}
    found = (("Code", commits), ("Versions", versions), ("Data", data), ("Devices", devices))
    return [(name, ", ".join(sorted(values))) for name, values in found if values]


def _shape(run: Record) -> str:
    return "×".join(map(str, run.data.shape))


def _commit(run: Record, digits: int) -> str:
    if run.git.commit is None:
        return "no repository"
    return run.git.commit[:digits] + (" with uncommitted changes" if run.git.dirty else "")


def runs(sets: Sequence[RunSet]) -> list[list[Any]]:
    """One line per run: what it was, how it ended, and the hashes that pin it down."""
    return [
        [run.row, PLACES[found.place], found.data, run.profile, run.seed, run.status, run.config_hash,
         run.data.fingerprint, _commit(run, 10), run.finished[:16].replace("T", " ")]
        for found in sets for run in found.records
    ]  # fmt: skip
