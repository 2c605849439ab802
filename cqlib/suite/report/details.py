"""What stands around the tables, from groups: digits counted, the decoder's two regimes, costs, baselines, protocols;
what ran, what is missing, provenance."""

import itertools
import json
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from cqlib.data import WITH_PIP
from cqlib.data.photographs import CREDITS
from cqlib.data.sets import ENTRIES
from cqlib.metrics.metric import sentence
from cqlib.metrics.quantities import DRAWN, ENCODED, QUANTITIES, SHARE
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import label_of, short_label
from cqlib.suite.report.groups import Cell, Group, data_title, local_first
from cqlib.suite.report.table import source_of
from cqlib.suite.report.verdicts import COMPARABLE, count_numbers
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import count_of, duration, numbered

# --- digits

READ, SHARES = "Digits-read", tuple(f"Digit-{digit}" for digit in range(10))
"""Metrics: the share of samples that the classifier reads with confidence, and that of each digit."""
BY_EYE = PUBLISHED / "read_by_eye.json"
"""{"how": who read what, in words; the published runs whose samples were read, as `Group.name`: {row: {"legible": 41,
"of": 64}}}: written by hand, after reading the samples."""


class DigitLine(NamedTuple):
    """A row's means over seeds, shares in [0, 1]; of real images `row` is empty. `by_eye` is "41 of 64", or empty;
    `source`: the records."""

    row: str
    label: str
    read: float
    by_eye: str
    shares: tuple[float, ...]
    source: str


def digit_lines(sets: Sequence[Group], rows: Sequence[str]) -> list[DigitLine]:
    """Real images, then each of `rows`, by the nearest of `sets` that has counted its digits; empty where none has."""
    found = {}
    for runs in reversed(local_first(sets)):
        for row in rows:
            read, *shares = (runs.mean(row, name) for name in (READ, *SHARES))
            if read and all(shares):
                values = tuple(share.value for share in shares if share)
                found[row] = DigitLine(row, short_label(row), read.value, _by_eye(row, runs), values, read.source)
    of_real = [f"{name}-real" for name in (READ, *SHARES)]
    counted = ((runs, run) for runs in sets for run in runs.finished if run.metrics.keys() >= set(of_real))
    first_counted = next(counted, None)
    if not found or not first_counted:
        return []
    runs, run = first_counted
    read_real, *real = (run.metrics[name].number for name in of_real)
    first = DigitLine("", "Real images", read_real, _by_eye("real", runs), tuple(real), f"{run.folder}.json")
    return [first, *(found[row] for row in rows if row in found)]


def how_read() -> str:
    """How samples were read by eye, in words; empty where the file does not say so."""
    return str(_read_by_eye().get("how", ""))


def _by_eye(row: str, runs: Group) -> str:
    counts = _read_by_eye().get(runs.name, {}) if runs.origin == "published" else {}
    return "{legible} of {of}".format(**counts[row]) if row in counts else ""


def _read_by_eye() -> dict[str, Any]:
    return dict(json.loads(BY_EYE.read_text(encoding="utf-8"))) if BY_EYE.is_file() else {}


# --- two regimes

REGIMES = ("Model", "σ at codes of test images", "σ at drawn codes", "drawn codes like encoded ones", "Seeds")
REGIMES_MEAN = (
    "BPD is measured at codes z that the encoder finds for held-out images. Samples are decoded from codes that are "
    "drawn from p(z). One decoder serves both, and its σ depends on z. L_C wants σ as wide as the details that μ "
    "misses; a critic wants samples without noise. A model with a critic can please both, with a wide σ at the codes "
    "of images and a narrow one at drawn codes. Its bits are then those of one part of the model, and its samples "
    "those of another. With one σ for all codes, an ablation, bits and samples must come from the same noise."
)


def regime_lines(runs: Group, rows: Sequence[str]) -> list[tuple[str | Cell, ...]]:
    """Of each of `rows` that has the numbers, for the macro `plain_table`: the medians of sigma (exp of that of ln
    sigma), means over seeds; the share of drawn codes whose mean ln sigma is as usual for encoded ones."""
    found: list[tuple[str | Cell, ...]] = []
    for row in rows:
        encoded, drawn, share = (runs.mean(row, name) for name in (ENCODED, DRAWN, SHARE))
        if encoded and drawn and share:
            sigmas = (Cell(f"{math.exp(mean.value):.3f}", source=mean.source) for mean in (encoded, drawn))
            percent = Cell(f"{100 * share.value:.1f} %", source=share.source)
            found.append((short_label(row), *sigmas, percent, Cell(str(len(share.values)))))
    return found


# --- costs, baselines, protocols


def _rows_with_runs(sets: Sequence[Group], rows: Collection[str] | None) -> Iterator[tuple[Group, str]]:
    """(group, row) for every one of `rows`, or of the group's own, that has a finished run in it."""
    ran = ((runs, row) for runs in sets for row in rows or runs.rows if paper.canonical(row) in runs.rows)
    return ((runs, row) for runs, row in ran if runs.done(row))


def most_common(values: Iterable[str]) -> str:
    """The most frequent value; of equally frequent ones the first by name."""
    return statistics.mode(sorted(values))


def costs(sets: Sequence[Group], rows: Collection[str] | None = None) -> list[dict[str, Any]]:
    """What each of `rows`, by default all that ran, costs, by group: the finished runs on their most common device,
    and the numbers of parameters."""
    lines = []
    for runs, row in _rows_with_runs(sets, rows):
        device = most_common(run.machine for run in runs.done(row))
        done = [run for run in runs.done(row) if run.machine == device]
        source = source_of(f"{run.folder}.json" for run in done)
        lines.append({"label": short_label(row), "runs": runs.short_title, "device": device, "done": done,
                      "source": source, "counts": done[0].parameters})  # fmt: skip
    return lines


def baselines(sets: Sequence[Group], rows: Collection[str]) -> list[dict[str, Any]]:
    """For each of `rows`, by group and kind of features: the Fréchet distance, that of an untrained copy and of
    independent Gaussian pixels; the BPD and that of a histogram per pixel; and whether the model beats these
    baselines."""
    lines = []
    for (runs, row), distance in itertools.product(_rows_with_runs(sets, rows), QUANTITIES["fid"].names):
        names = [distance, f"{distance}-untrained", f"{distance}-gaussian", "BPD", "BPD-histogram"]
        last, untrained, gaussian, bpd, histogram = (runs.mean(row, name) for name in names)
        if last and (untrained or gaussian or histogram):
            races = ((last, untrained), (last, gaussian), (bpd, histogram))
            lines.append({
                "label": short_label(row), "runs": runs.short_title, "distance": distance, "seeds": len(runs.done(row)),
                "beats": all(a.value < b.value for a, b in races if a and b),
                "cells": [runs.cell(row, name) for name in names],
            })  # fmt: skip
    return lines


def all_numbers(runs: Group) -> tuple[list[str], list[str]]:
    """The names of all that was measured of models: scores and bits, and apart from them the shares of digits. Real
    images have a column of their own."""
    names = [name for name in runs.metrics if not name.endswith(("-real", "-floor"))]
    return [name for name in names if name not in SHARES], [name for name in names if name in SHARES]


def protocols(sets: Sequence[Group]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Metrics -> every way in which they were measured: (the models, the sentence). Models of a group that measured
    them in one way are not named; changes to their recipes are not either."""
    ways: dict[str, tuple[dict[str, None], dict[str, dict[str, None]]]] = {}
    for runs in sets:
        place = replace(runs, changes={}, distinguished_by="").label
        for row, run in ((row, run) for row, lines in runs.rows.items() for run in lines.records):
            for name, metric in run.metrics.items():
                names, models = ways.setdefault(sentence(name, metric), ({}, {}))
                names["Digits" if name.startswith("Digit") else name] = None
                models.setdefault(place, {})[short_label(row)] = None
    found: dict[str, list[tuple[str, dict[str, dict[str, None]]]]] = {}
    for way, (names, models) in ways.items():
        found.setdefault(", ".join(names), []).append((way, models))
    lines = []
    for together, told in found.items():
        ways_of = Counter(place for _, models in told for place in models)
        lines.append((together, [(_models(models, ways_of), way) for way, models in told]))
    return lines


def _models(models: dict[str, dict[str, None]], ways: Counter[str]) -> str:
    """Run sets, by their number of `ways`: the names of their models stand before those that have several."""
    named = {place: f"{', '.join(labels)} ({place})" for place, labels in models.items()}
    return "; ".join(place if ways[place] == 1 else name for place, name in named.items())


# --- what ran, what is missing

GPU_HOURS = PUBLISHED / "gpu_hours.json"


def summary(sets: Sequence[Group]) -> list[tuple[str, str]]:
    """(title, what it holds in words) of each group."""
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


def missing_rows(sets: Sequence[Group]) -> list[str]:
    """The models of the paper's tables that never ran."""
    ran = {row for runs in sets if not runs.changes for row in runs.rows}
    return [label_of(row) for row in paper.ROWS if paper.canonical(row) == row and row not in ran]


def missing_data(sets: Sequence[Group]) -> list[str]:
    """The slides' data sets of which no finished run was trained on the whole training split."""
    whole = {(run.data.name, run.n_train) for runs in sets for run in runs.finished}
    return [data.label for name, data in paper.DATA_SETS.items() if (name, ENTRIES[name].train) not in whole]


def any_number_comparable(sets: Sequence[Group]) -> bool:
    """Can any of the paper's numbers be compared with a run?"""
    counts = count_numbers(sets)
    return any(counts[label] for label in COMPARABLE)


def provenance(sets: Iterable[Group]) -> list[tuple[str, str]]:
    """Commits, versions, data fingerprints and devices of all runs, and whose the photographs are."""
    runs = [run for runs_of_set in sets for run in runs_of_set.records]
    values = {
        "Code": {str(run.git) for run in runs},
        "Versions": {f"{name} {version}" for run in runs for name, version in run.versions.items()},
        "Data": {f"{data_title(run.data.name)} {run.data.split} {'×'.join(map(str, run.data.shape))}: "
                 f"{run.data.fingerprint}" for run in runs},
        "Photographs": {*CREDITS} if any(run.data.name in WITH_PIP for run in runs) else set(),
        "Devices": {run.machine for run in runs},
    }  # fmt: skip
    return [(name, "; ".join(sorted(texts))) for name, texts in values.items() if texts]
