"""Numbers of runs as the report prints them: a value per seed, means over seeds, cells of tables."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cqlib.metrics.quantities import decimal, digits
from cqlib.suite.experiments.record import Record
from cqlib.util.text import count_of, without_paths


class Value(NamedTuple):
    """A number of one run; `record` is the name of its record's file. `starred`: a BPD that was obtained with a VAE
    around a frozen GAN."""

    seed: int
    value: float
    record: str
    starred: bool


def values_of(records: Iterable[Record], metric: str) -> list[Value]:
    """The values of a metric in those of `records` that have it."""
    return [Value(run.seed, found.number, f"{run.folder}.json", found.protocol.starred)
            for run in records if (found := run.metrics.get(metric))]  # fmt: skip


@dataclass(frozen=True)
class Mean:
    """The mean of a metric over the seeds of `values` and its standard deviation (None for one seed)."""

    value: float
    std: float | None
    starred: bool
    values: tuple[Value, ...]

    @property
    def source(self) -> str:
        """ "2 seeds: table1_vae--photos10--quick--0.json, table1_vae--photos10--quick--1.json"."""
        return source_of(value.record for value in self.values)


def mean_of(values: Sequence[Value]) -> Mean:
    """The mean over seeds; of one seed at least."""
    numbers = [value.value for value in values]
    std = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Mean(statistics.fmean(numbers), std, any(value.starred for value in values), tuple(values))


def source_of(files: Iterable[str]) -> str:
    """The records that a number comes from, for its tooltip."""
    names = list(files)
    return f"{count_of(len(names), 'seed')}: {', '.join(map(without_paths, names))}" if names else ""


@dataclass(frozen=True)
class Cell:
    """A number to print: `text`, its spread over seeds, the slide's footnote mark, the columns it spans, and its
    `source`, the records that it comes from."""

    text: str
    std: str = ""
    mark: str = ""
    span: int = 1
    source: str = ""


def cell_of(metric: str, mean: Mean | None) -> Cell:
    """A mean, to print; a dash for none."""
    if mean is None:
        return Cell("—")
    std = "" if mean.std is None else decimal(metric, mean.std, digits(metric, mean.value))
    return Cell(decimal(metric, mean.value), std, "*" if mean.starred else "", source=mean.source)
