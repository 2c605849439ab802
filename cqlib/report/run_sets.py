"""Run sets: the finished runs that may be averaged and compared with each other."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cqlib.experiments import paper
from cqlib.experiments.record import Record
from cqlib.experiments.rows import ROWS
from cqlib.metrics.metric import STARRED
from cqlib.util.text import decimal, digits

PLACES = {"published": "Published", "here": "This machine"}


FEATURES = {"inception": ("IS", "FID", "KID"), "lite0": ("IS-lite0", "FD-lite0", "KD-lite0")}


AT = ("T1", "T0")


@dataclass(frozen=True)
class RunSet:
    """Runs of any rows that may be compared with each other; `place` is "published" or "here"."""

    place: str
    data: str
    size: int
    profile: str
    records: tuple[Record, ...] = field(repr=False)
    images: str = ""
    """Tells it from another run set of the same names whose images are not the same; else empty."""

    @property
    def label(self) -> str:
        """ "photos10 16×16, quick"."""
        images = f", images {self.images}" if self.images else ""
        return f"{self.data} {self.size}×{self.size}{images}, {self.profile}"

    def of(self, row: str) -> list[Record]:
        """The records of `row`, or of the same model under another id, in the order of seeds."""
        mine = (r for r in self.records if paper.canonical(r.row) == paper.canonical(row))
        return sorted(mine, key=lambda record: record.seed)


@dataclass(frozen=True)
class Cell:
    """One number to print: `text`, its spread over seeds, the slide's footnote mark, columns it spans."""

    text: str
    std: str = ""
    mark: str = ""
    span: int = 1


def run_sets(local: Sequence[Record], published: Sequence[Record]) -> list[RunSet]:
    """The run sets of both places, published first, each in the paper's order of rows, then by seed.

    Of two records of one run the first counts.
    """
    order = {row: place for place, row in enumerate(ROWS)}
    found: dict[tuple, dict[tuple, Record]] = {}
    for place, records in (("published", published), ("here", local)):
        for record in records:
            key = (place, record.data.name, record.data.shape[-1], record.profile, record.data.fingerprint)
            found.setdefault(key, {}).setdefault((paper.canonical(record.row), record.seed), record)
    named = Counter(key[:-1] for key in found)  # the files behind a name may have changed
    return [
        RunSet(*key, tuple(runs[run] for run in sorted(runs, key=lambda run: (order.get(run[0], 99), run))),
               fingerprint[:8] if named[tuple(key)] > 1 else "")
        for (*key, fingerprint), runs in found.items()
    ]  # fmt: skip


def commonest(values: Iterable[str]) -> str:
    """The value that stands there most often; of equals the first by name."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds (n - 1 in the denominator); None for a single seed."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def measured(name: str, runs: Sequence[Record]) -> Cell:
    """The mean of metric `name` over the finished `runs`, its std over seeds; a dash where none has it. A star marks
    what the starred recipe gave."""
    found = [run.metrics[name] for run in runs if run.status == "done" and name in run.metrics]
    if not found:
        return Cell("—")
    mean, std = mean_and_std([metric.value for metric in found])
    mark = "*" if any(metric.protocol.startswith(STARRED) for metric in found) else ""
    return Cell(decimal(name, mean), "" if std is None else decimal(name, std, digits(name, mean)), mark)
