"""What the report says around its tables, as short texts: what ran, what is missing, devices, provenance."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from cqlib.data.catalogue import ENTRIES
from cqlib.experiments import paper
from cqlib.experiments.record import Record
from cqlib.experiments.rows import label_of
from cqlib.report.claim_cards import Card
from cqlib.report.run_sets import ORIGINS, RunSet
from cqlib.report.tables import count_numbers
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import counted, duration

GPU_HOURS = PUBLISHED / "gpu_hours.json"


def summary(sets: Sequence[RunSet], alone: bool = False) -> list[tuple[str, str]]:
    """The first screen: what ran here, on what, when; and what was published beside it, or `alone`."""
    local, published = (_records(runs for runs in sets if runs.origin == origin) for origin in ("local", "published"))
    lines = []
    if local:
        done = sum(run.status == "done" for run in local)
        rows = sorted({label_of(run.variant) for run in local})
        start, end = min(run.started for run in local)[:16], max(run.finished for run in local)[:16]
        lines += [
            ("Run on this machine", f"{done} of {len(local)} runs finished: {'; '.join(rows)}"),
            ("Data and profile", "; ".join(runs.label for runs in sets if runs.origin == "local")),
            ("Seeds", _seeds(local)),
            ("Device", device_counts(local)),
            ("When (UTC)", f"{start.replace('T', ' ')} to {end.replace('T', ' ')}"),
            ("Time, all runs", _time(local)),
        ]
    elif not alone:
        lines.append(("Run on this machine", "nothing yet"))
    for runs in (runs for runs in sets if runs.origin == "published"):
        images = sorted({n for run in runs.records if isinstance(n := run.config.get("n_train"), int)})
        trained_on = f" ({' or '.join(f'{n:,}' for n in images)} training images)" if images else ""
        seeds, count = _seeds(runs.records), counted(len(runs.records), "run")
        text = f"{count} on {runs.label}{trained_on}, seed{'s' * (' ' in seeds)} {seeds}"
        lines.append(("Published" if alone else "Published beside it", text))
    if alone:
        lines += [("Device", device_counts(published)), ("Time, all runs", _time(published))]
    return lines


def towards_the_paper(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Where no run is of the paper's recipes on its data: commands that make some, with GPU-hours for one seed."""
    if _comparable_numbers(sets):
        return []
    missing = ", ".join(_data_not_run(sets))
    everything = "everything" + f", with the data sets that no run here took the whole of ({missing})" * bool(missing)
    hours = {(run["row"], run["data"]): run["hours"] for run in json.loads(GPU_HOURS.read_text())["runs"]}
    table1 = sum(hours.get((row.id, "cifar10"), 0.0) for row in paper.TABLE1.rows)
    command = "./run_all.sh --profile paper --only {} --data-dir DIR"
    return [
        (command.format("table1"), f"Table 1, about {table1:,.0f} GPU-hours"),
        (command.format("all"), f"{everything}, about {sum(hours.values()):,.0f} GPU-hours"),
    ]


def lacking(sets: Sequence[RunSet]) -> str:
    """What no run has of the three things that the paper's numbers need, in words."""
    whole = ("cifar10", ENTRIES["cifar10"].train)
    some = any(
        run.profile == "paper" or "FID@T1" in run.metrics or (run.data.name, run.config.get("n_train")) == whole
        for runs in sets for run in runs.finished
    )  # fmt: skip
    return "no run here has all three" if some else "no run here has any of them"


def shortfalls(sets: Sequence[RunSet], all_cards: Sequence[Card]) -> list[str]:
    """What the report cannot show, in sentences."""
    lines = []
    papers = [card for card in all_cards if not card.claim.own]
    if against := [card.claim.sentence for card in papers if card.verdict == "does not hold"]:
        lines.append(f"{counted(len(against), 'claim')} of the paper did not hold here: {'; '.join(against)}.")
    ran = {row for runs in sets for row in runs.rows}
    if missing := [label_of(row) for row in paper.ROWS if paper.canonical(row) == row and row not in ran]:
        lines.append(f"Not trained: {', '.join(missing)}; the tables name the commands.")
    if not _comparable_numbers(sets):
        lines.append("No run used the paper’s recipes on the paper’s data (profile “paper”), so none of the "
                     "paper’s numbers could be reproduced or contradicted; the claims were tested at a "
                     "smaller scale.")  # fmt: skip
    if data := _data_not_run(sets):
        lines.append("Of the slides’ seven data sets (LSUN tower and church are inferred) there is no run on the whole "
                     f"of {', '.join(data)}: ./run_all.sh --profile paper --only table4 --data-dir DIR.")  # fmt: skip
    lines.append("The slides leave open the exact nets, latent sizes, iterations, pixel scaling and how many "
                 "samples stand behind IS and FID; what was chosen is in each record’s config.")  # fmt: skip
    return lines


def unfinished(sets: Sequence[RunSet]) -> list[str]:
    """One line per run that stopped, diverged or failed, with its notes."""
    return [
        ": ".join([f"{label_of(run.variant)} on {runs.label}, seed {run.seed} ({ORIGINS[runs.origin].lower()})",
                   f"{run.status} at step {run.steps:,}", *run.notes])
        for runs in sets for run in runs.records if run.status != "done"
    ]  # fmt: skip


def devices(sets: Sequence[RunSet]) -> list[str]:
    """What the runs of either origin were trained on: "This machine: cpu"."""
    by_origin = {name: _records(runs for runs in sets if runs.origin == origin) for origin, name in ORIGINS.items()}
    return [f"{name}: {device_counts(records)}" for name, records in by_origin.items() if records]


def device_counts(runs: Sequence[Record]) -> str:
    """ "85 runs on CPU X, 1 thread, bf16 convolutions; 4 runs on …", or the one device of all."""
    counts = Counter(run.device for run in runs).most_common()
    return counts[0][0] if len(counts) == 1 else "; ".join(f"{counted(n, 'run')} on {name}" for name, n in counts)


def provenance(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """Commits, versions, data fingerprints and devices of all runs."""
    runs = _records(sets)
    data = {(run.data.name, run.data.split, "×".join(map(str, run.data.shape)), run.data.fingerprint) for run in runs}
    values = {
        "Code": {commit(run, 40) for run in runs},
        "Versions": {f"{name} {version}" for run in runs for name, version in run.versions.items()},
        "Data": {f"{name} {split} {shape}: {fingerprint}" for name, split, shape, fingerprint in data},
        "Devices": {run.device for run in runs},
    }
    return [(name, "; ".join(sorted(texts))) for name, texts in values.items() if texts]


def commit(run: Record, digits: int) -> str:
    """The first `digits` of the commit that a run was made from, and whether its code was committed."""
    if run.git.commit is None:
        return "no repository"
    return run.git.commit[:digits] + (" with uncommitted changes" if run.git.dirty else "")


def _records(sets: Iterable[RunSet]) -> list[Record]:
    return [run for runs in sets for run in runs.records]


def _data_not_run(sets: Sequence[RunSet]) -> list[str]:
    """Those of the slides' data sets that no run took the whole of."""
    whole = {(run.data.name, run.config.get("n_train")) for runs in sets for run in runs.finished}
    return [data.label for name, data in paper.DATA_SETS.items() if (name, ENTRIES[name].train) not in whole]


def _comparable_numbers(sets: Sequence[RunSet]) -> bool:
    """Can any of the paper's numbers be set against a run?"""
    return any(n for name, n in count_numbers(sets).items() if name not in ("not comparable", "not run"))


def _time(records: Sequence[Record]) -> str:
    return duration(sum(run.seconds for run in records))


def _seeds(records: Sequence[Record]) -> str:
    seeds = sorted({run.seed for run in records})
    whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))
