"""What the report says around its tables: what ran, what is missing, provenance."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from cqlib.data import WITH_PIP
from cqlib.data.photographs import CREDITS
from cqlib.data.sets import ENTRIES
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import label_of
from cqlib.suite.report.numbers import COMPARABLE, count_numbers
from cqlib.suite.report.run_sets import RunSet, data_title
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import count_of, duration, numbered

GPU_HOURS = PUBLISHED / "gpu_hours.json"


def summary(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """(title, what it holds in words) of each run set."""
    return [(runs.title, _summary(runs.records)) for runs in sets]


def _summary(runs: Sequence[Record]) -> str:
    done = sum(run.done for run in runs)
    count = count_of(len(runs), "run") + f", {done} finished" * (done < len(runs))
    images = sorted({n for run in runs if (n := run.n_train) is not None})
    trained_on = f"{' or '.join(f'{n:,}' for n in images)} training images" if images else ""
    seeds = numbered("seed", sorted({run.seed for run in runs}))
    time = duration(sum(run.seconds for run in runs))
    devices = Counter(run.machine for run in runs).most_common()
    machines = "; ".join(f"{count_of(n, 'run')} on {name}" for name, n in devices)
    return ", ".join(filter(None, (count, seeds, trained_on, time, machines)))


def gpu_hours(part: str = "") -> float:
    """Estimated hours on one A100 to train one seed of all runs of a part of the paper ("Table 1"), by default of all
    parts."""
    return sum(run["hours"] for run in json.loads(GPU_HOURS.read_text())["runs"] if part in run["part"])


def missing_rows(sets: Sequence[RunSet]) -> list[str]:
    """The models of the paper's tables that never ran."""
    ran = {row for runs in sets if not runs.changes for row in runs.rows}
    return [label_of(row) for row in paper.ROWS if paper.canonical(row) == row and row not in ran]


def missing_data(sets: Sequence[RunSet]) -> list[str]:
    """The slides' data sets of which no finished run was trained on the whole training split."""
    whole = {(run.data.name, run.n_train) for runs in sets for run in runs.finished}
    return [data.label for name, data in paper.DATA_SETS.items() if (name, ENTRIES[name].train) not in whole]


def any_number_comparable(sets: Sequence[RunSet]) -> bool:
    """Can any of the paper's numbers be compared with a run?"""
    counts = count_numbers(sets)
    return any(counts[label] for label in COMPARABLE)


def provenance(sets: Iterable[RunSet]) -> list[tuple[str, str]]:
    """Commits, versions, data fingerprints and devices of all runs, and whose the photographs are."""
    runs = [run for runs_of_set in sets for run in runs_of_set.records]
    values = {
        "Code": {commit(run, 40) for run in runs},
        "Versions": {f"{name} {version}" for run in runs for name, version in run.versions.items()},
        "Data": {f"{data_title(run.data.name)} {run.data.split} {'×'.join(map(str, run.data.shape))}: "
                 f"{run.data.fingerprint}" for run in runs},
        "Photographs": {*CREDITS} if any(run.data.name in WITH_PIP for run in runs) else set(),
        "Devices": {run.machine for run in runs},
    }  # fmt: skip
    return [(name, "; ".join(sorted(texts))) for name, texts in values.items() if texts]


def commit(run: Record, digits: int) -> str:
    """The first `digits` of the commit that a run was made from, and whether its code was committed."""
    if run.git.commit is None:
        return "no repository"
    return run.git.commit[:digits] + (" with uncommitted changes" if run.git.dirty else "")
