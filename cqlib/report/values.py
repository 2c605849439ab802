"""The flat table that all of the report is made of: a line for each number of each record; means and cells of it."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cqlib.experiments import paper
from cqlib.experiments.record import Record
from cqlib.experiments.variants import Changes
from cqlib.metrics.quantities import decimal, digits
from cqlib.util.text import count_of, without_paths


class Value(NamedTuple):
    """A line of the flat table: one number of one `record`, which is the name of its file."""

    row: str
    """Its model under its first id; a changed one by its `variant`."""
    changes: Changes
    data: str
    size: int
    profile: str
    metric: str
    seed: int
    value: float
    record: str
    starred: bool


def flat_table(records: Iterable[Record]) -> list[Value]:
    """A line for each number of each record, in their order."""
    return [
        Value(paper.canonical(r.variant), r.changes, r.data.name, r.data.shape[-1], r.profile, metric, r.seed, m.value,
              f"{r.folder}.json", m.protocol.starred)
        for r in records for metric, m in r.metrics.items()
    ]  # fmt: skip


@dataclass(frozen=True)
class Mean:
    """The mean of a metric over the seeds of `values` and its standard deviation (None for one seed). `starred`: it is
    a BPD that was obtained with a VAE around a frozen GAN."""

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
    """Which records a number is of, in words for a tooltip."""
    names = list(files)
    return f"{count_of(len(names), 'seed')}: {', '.join(map(without_paths, names))}" if names else ""


@dataclass(frozen=True)
class Cell:
    """One number to print: `text`, its spread over seeds, the slide's footnote mark, columns it spans, and its
    `source`, the records that it is of."""

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
