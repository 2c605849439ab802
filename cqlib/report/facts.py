"""What the report says around its tables, as short texts: what ran, what is missing, provenance."""

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
    """What each run set holds: runs, seeds, training images, time, devices, dates; that nothing ran here, unless the
    page is about published runs `alone`."""
    lines = [(runs.title, _summary(runs.records)) for runs in sets]
    if not alone and not any(runs.origin == "local" for runs in sets):
        lines.append((ORIGINS["local"], "nothing yet"))
    everything = [run for runs in sets for run in runs.records]
    return [*lines, ("In all", f"{counted(len(everything), 'run')}, {_time(everything)}")]


def _summary(runs: Sequence[Record]) -> str:
    done = sum(run.status == "done" for run in runs)
    count = counted(len(runs), "run") + f", {done} finished" * (done < len(runs))
    images = sorted({n for run in runs if isinstance(n := run.config.get("n_train"), int)})
    trained_on = f", {' or '.join(f'{n:,}' for n in images)} training images" if images else ""
    seeds = sorted({run.seed for run in runs})
    whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    named = f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))
    start, end = min(run.started for run in runs)[:10], max(run.finished for run in runs)[:10]
    return (f"{count}, seed{'s' * (len(seeds) > 1)} {named}{trained_on}; {_time(runs)}, {device_counts(runs)}; "
            f"{' to '.join(dict.fromkeys((start, end)))}")  # fmt: skip


def _time(records: Sequence[Record]) -> str:
    return duration(sum(run.seconds for run in records))


def device_counts(runs: Sequence[Record]) -> str:
    """ "85 runs on CPU X, 1 thread, bf16 convolutions; 4 runs on …", or the one device of all."""
    counts = Counter(run.device for run in runs).most_common()
    return counts[0][0] if len(counts) == 1 else "; ".join(f"{counted(n, 'run')} on {name}" for name, n in counts)


def gpu_hours(part: str = "") -> float:
    """Estimated hours of one seed of all runs of a part of the paper, "Table 1"; of everything by default."""
    return sum(run["hours"] for run in json.loads(GPU_HOURS.read_text())["runs"] if part in run["part"])


def shortfalls(sets: Sequence[RunSet], all_cards: Sequence[Card]) -> list[str]:
    """What the report cannot show, in sentences, with the commands that would."""
    lines = []
    papers = [card for card in all_cards if not card.claim.own]
    if against := [card.claim.sentence for card in papers if card.verdict == "does not hold"]:
        lines.append(f"{counted(len(against), 'claim')} of the paper did not hold here: {'; '.join(against)}.")
    ran = {row for runs in sets for row in runs.rows}
    if missing := [label_of(row) for row in paper.ROWS if paper.canonical(row) == row and row not in ran]:
        lines.append(f"Not trained: {', '.join(missing)}; the tables name the commands.")
    command = "./run_all.sh --profile paper --only {} --data-dir DIR"
    comparable = (n for name, n in count_numbers(sets).items() if name not in ("not comparable", "not run"))
    if not any(comparable):
        lines.append("None of the paper’s own numbers could be reproduced or contradicted: that takes its recipes, its "
                     "data as published and Inception features; claims were tested at a smaller scale. On an A100 "
                     f"(estimated, one seed) {command.format('table1')} takes about {gpu_hours('Table 1'):,.0f} hours, "
                     f"{command.format('all')} {gpu_hours():,.0f}.")  # fmt: skip
    whole = {(run.data.name, run.config.get("n_train")) for runs in sets for run in runs.finished}
    if data := [data.label for name, data in paper.DATA_SETS.items() if (name, ENTRIES[name].train) not in whole]:
        lines.append("Of the slides’ seven data sets (LSUN tower and church are inferred) no run here took the whole "
                     f"of {', '.join(data)}: {command.format('table4')}.")  # fmt: skip
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


def provenance(sets: Iterable[RunSet]) -> list[tuple[str, str]]:
    """Commits, versions, data fingerprints and devices of all runs."""
    runs = [run for of in sets for run in of.records]
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
