"""The flat table: a line for each number of each run, published or made here. All that the report shows is a group of
its lines.

    of, read     records -> table
    select       the lines that have given values in some columns
    group        the lines that share their values in some columns
    mean_of      the mean over seeds; of lines of two recipes or two protocols it is an error
    write_csv    what `python -m cqlib export` writes
"""

import csv
import io
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cqlib.metrics.metric import Protocol, sentence
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.ablations import FOLDER
from cqlib.suite.experiments.record import Record, load_records
from cqlib.util.files import canonical_json, write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import count_of, without_paths

ORIGINS = {"published": "This project", "local": "This machine"}
STEPS = "steps"
"""The metric of the line that every run has, whether anything was measured or not: how many steps it was trained."""
COLUMNS = ("origin", "row", "changes", "data", "size", "profile", "seed", "recipe", "metric", "value", "std", "n",
           "protocol", "status", "file", "steps", "seconds", "device", "precision", "commit", "dirty", "config_hash",
           "finished")  # fmt: skip
"""The columns of the table as CSV."""


@dataclass(frozen=True, eq=False)
class Value:
    """One number of one run: `value` of a `metric`, measured by `protocol` on `n` images. It may be infinite.

    `origin` is one of `ORIGINS`; `row` the paper's first id of the model; `changes` those to its recipe, as canonical
    JSON; `data` a data set, at `size` pixels a side; `recipe` eight hex digits, equal for runs that differ in their
    seed alone; `precision` that of its training; `status` "done" or "diverged"; `file` the name of its record; `run`
    the whole record.
    """

    origin: str
    row: str
    changes: str
    data: str
    size: int
    profile: str
    seed: int
    recipe: str
    precision: str
    protocol: Protocol
    n: int
    metric: str
    value: float
    status: str
    file: str
    run: Record = field(repr=False)

    @property
    def measured_by(self) -> tuple[Protocol, int]:
        """What the numbers in a mean share: protocol and n. Only times name a device; they may be of several."""
        return replace(self.protocol, device=None), self.n


@dataclass(frozen=True, eq=False)
class Table:
    """Lines of the flat table, in the order of their runs."""

    values: tuple[Value, ...] = field(default=(), repr=False)

    def select(self, **wanted: Any) -> "Table":
        """The lines that have these values in these columns: `select(row="table1/vae", metric="BPD")`."""
        return Table(tuple(v for v in self.values if all(getattr(v, name) == value for name, value in wanted.items())))

    def group(self, *columns: str) -> dict[tuple[Any, ...], "Table"]:
        """Values of these columns -> the lines that have them, in the order of the first line of each group."""
        found: dict[tuple[Any, ...], list[Value]] = {}
        for value in self.values:
            found.setdefault(tuple(getattr(value, column) for column in columns), []).append(value)
        return {key: Table(tuple(values)) for key, values in found.items()}

    def __bool__(self) -> bool:
        return bool(self.values)

    @cached_property
    def by_run(self) -> list["Table"]:
        """The lines of each run. Two records may have one name: an outdated run that was kept, and the one after it."""
        found: dict[int, list[Value]] = {}
        for value in self.values:
            found.setdefault(id(value.run), []).append(value)
        return [Table(tuple(values)) for values in found.values()]

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The record of each run."""
        return tuple(lines.values[0].run for lines in self.by_run)

    @cached_property
    def finished(self) -> list[Record]:
        """The records of all runs that ended."""
        return [run for run in self.records if run.done]

    @cached_property
    def metrics(self) -> list[str]:
        """The names of all that runs which ended have measured."""
        return list(dict.fromkeys(v.metric for v in self.values if v.status == "done" and v.metric != STEPS))


def joined(tables: Iterable[Table]) -> Table:
    """The lines of all `tables`."""
    return Table(tuple(value for table in tables for value in table.values))


@dataclass(frozen=True)
class Mean:
    """The mean of a metric over the seeds of `values` and its standard deviation (None for one seed). `starred`: a BPD
    that was obtained with a VAE around a frozen GAN."""

    value: float
    std: float | None
    starred: bool
    values: tuple[Value, ...]

    @property
    def source(self) -> str:
        """ "2 seeds: table1_vae--photos10--quick--0.json, table1_vae--photos10--quick--1.json"."""
        return source_of(value.file for value in self.values)


def mean_of(values: Sequence[Value]) -> Mean:
    """The mean over seeds; of one seed at least. One infinite number makes it infinite, without a standard deviation.
    ValueError for numbers of two recipes, or of two protocols."""
    for what in ("recipe", "measured_by"):
        if len(found := {getattr(value, what) for value in values}) > 1:
            files = source_of(value.file for value in values)
            raise ValueError(f"no mean over more than one {what}: {'; '.join(map(str, found))} ({files})")
    numbers = [value.value for value in values]
    std = statistics.stdev(numbers) if len(numbers) > 1 and all(map(math.isfinite, numbers)) else None
    return Mean(statistics.fmean(numbers), std, any(value.protocol.starred for value in values), tuple(values))


def source_of(files: Iterable[str]) -> str:
    """The records that a number comes from, for its tooltip."""
    names = list(files)
    return f"{count_of(len(names), 'seed')}: {', '.join(map(without_paths, names))}" if names else ""


def lines_of(origin: str, run: Record) -> list[Value]:
    """The lines of one run: that of `STEPS`, then one for each metric."""
    place = (origin, paper.canonical(run.row), canonical_json(run.changes), run.data.name, run.data.shape[-1],
             run.profile, run.seed, run.recipe, run.precision)  # fmt: skip
    end = (run.status, f"{run.folder}.json", run)
    measured = ((m.protocol, m.n, name, m.number) for name, m in run.metrics.items())
    return [Value(*place, *line, *end) for line in ((Protocol(), 0, STEPS, float(run.steps)), *measured)]


def of(local: Iterable[Record], published: Iterable[Record]) -> Table:
    """The table of these records, the published ones first."""
    origins = (("published", published), ("local", local))
    return Table(tuple(value for origin, runs in origins for run in runs for value in lines_of(origin, run)))


def read(runs_dir: Path | str) -> tuple[Table, Table, list[str]]:
    """The tables of all runs of rows, and of all ablations, of `runs_dir` and published; and "NAME: what is wrong" for
    each file that is no record. Where `runs_dir` is `PUBLISHED`, published runs alone."""
    tables, problems = [], []
    published_only = is_published(runs_dir)
    for folder in ("", FOLDER):
        here, wrong = ([], []) if published_only else load_records(Path(runs_dir) / folder)
        published, damaged = load_records(PUBLISHED / (folder or "records"))
        tables.append(of(here, published))
        problems += [*wrong, *damaged]
    return tables[0], tables[1], problems


def is_published(folder: Path | str) -> bool:
    """Whether a folder is that of what is published."""
    return os.path.realpath(folder) == os.path.realpath(PUBLISHED)  # a loop of links is no error


def write_csv(table: Table, file: Path) -> int:
    """Write all lines, with what else their records say of a run; returns how many there are."""
    text = io.StringIO()
    lines = [tuple(_cells(value)[column] for column in COLUMNS) for value in table.values if value.metric != STEPS]
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines])
    write_atomic(file, text.getvalue())
    return len(lines)


def _cells(value: Value) -> Mapping[str, object]:
    run, metric = value.run, value.run.metrics[value.metric]
    changes = " ".join(f"{path}={change}" for path, change in run.changes.items())
    return {
        **vars(value), "changes": changes, "protocol": sentence(value.metric, metric), "std": metric.std,
        "steps": run.steps, "seconds": run.seconds, "device": run.device,
        "commit": run.git.commit, "dirty": run.git.dirty, "config_hash": run.config_hash, "finished": run.finished,
    }  # fmt: skip
