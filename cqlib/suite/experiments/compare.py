"""What differs between two records, most important first, and whether their numbers differ by more than those of two
seeds."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from cqlib.metrics.quantities import decimal
from cqlib.suite.experiments import ablations
from cqlib.suite.experiments.model_file import RECORD
from cqlib.suite.experiments.record import Record, load_records, read_record
from cqlib.suite.experiments.variants import as_hashed
from cqlib.util.errors import UserError, unknown_name
from cqlib.util.paths import RECORDS, RUNS
from cqlib.util.text import columns, count_of

PUBLISHED_FOLDERS = (ablations.PUBLISHED, RECORDS)
FACTS = ("row", "status", "data", "measured", "profile", "config", "steps", "seed", "precision", "device", "git",
         "versions")  # fmt: skip
"""What a number may depend on, most important first."""
NOT_OF_THE_MODEL = ("-real", "-floor", "seconds")
"""Ends of the names of metrics that do not judge a model: scores of real images, and seconds."""


def pair(first: str, second: str | None = None, runs_dir: Path | str = RUNS) -> tuple[Record, Record]:
    """The records that two names stand for: a record's file, a run's folder, or the name of such a folder, of a run in
    `runs_dir`, else of a published one. Without `second` it is the published run of the same name. UserError where
    there is none, or it is damaged."""
    published = by_folder(PUBLISHED_FOLDERS)
    runs = by_folder((Path(runs_dir) / ablations.FOLDER, Path(runs_dir)))

    def found(name: str) -> Record:
        if file := next(filter(Path.is_file, (Path(name), Path(name) / RECORD, Path(runs_dir) / name / RECORD)), None):
            return read_record(file)
        known = published | runs
        if name not in known:
            raise UserError(str(unknown_name("record", name, sorted(known))))
        return known[name]

    record = found(first)
    other = published.get(record.folder) if second is None else found(second)
    if other is None or other is record:
        raise UserError(f"{first} has no published run of its name beside it: name the record to compare it with")
    return record, other


def by_folder(places: Sequence[Path]) -> dict[str, Record]:
    """Name of a run's folder -> its record, of all records in `places`; of two with one name the latter."""
    return {record.folder: record for place in places for record in load_records(place)[0]}


def shared_metrics(first: Record, second: Record) -> list[str]:
    """The names of the metrics that both records have, without those of `NOT_OF_THE_MODEL`."""
    return [name for name in first.metrics if name in second.metrics and not name.endswith(NOT_OF_THE_MODEL)]


def differences(first: Record, second: Record) -> list[tuple[str, str, str]]:
    """All that differs between two records and can change a number, most important first: (what, its value in the
    first, its value in the second)."""
    metrics = shared_metrics(first, second)
    a, b = _facts(first, metrics), _facts(second, metrics)
    names = sorted({**a, **b}, key=lambda name: FACTS.index(name.split(".")[0]))
    return [(name, a.get(name, "—"), b.get(name, "—")) for name in names if a.get(name) != b.get(name)]


def _facts(record: Record, metrics: list[str]) -> dict[str, str]:
    """All that the `metrics` of a record may depend on, by its place in the record, such as "data.fingerprint"."""
    values = record.to_dict() | {"config": as_hashed(record.config)}
    measured = {name: values["metrics"][name] for name in metrics}
    values["measured"] = {name: {"n": metric["n"], **metric["protocol"]} for name, metric in measured.items()}
    for repeated in ("row", "data", "profile", "seed", "evaluation"):
        values["config"].pop(repeated, None)
    return _flat({name: values[name] for name in FACTS})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, whose names are joined by dots."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = str(value)
    return found


def seed_spread(record: Record, metric: str, published: list[Record]) -> tuple[float, int] | None:
    """How far two seeds of the record's recipe differ in 95 % of cases, as estimated from published ones, and from how
    many; None where there are fewer than two, or one is infinite."""
    recipe = (as_hashed(record.config) | {"seed": 0}, record.data)
    values = [r.metrics[metric].number for r in published
              if r.done and metric in r.metrics and (as_hashed(r.config) | {"seed": 0}, r.data) == recipe]  # fmt: skip
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    return float(student.ppf(0.975, len(values) - 1)) * 2**0.5 * statistics.stdev(values), len(values)


def lines(first: Record, second: Record) -> Iterator[str]:
    """The answer in words, a line each."""
    yield f"A: {first.title}"
    yield f"B: {second.title}"
    different = differences(first, second)
    yield "\nwhat differs, most important first" if different else "\nnothing differs that can change a number"
    yield from columns(different)
    published = list(by_folder(PUBLISHED_FOLDERS).values())
    metrics = shared_metrics(first, second)
    yield ""
    if not metrics:
        yield "  no metric is in both"
        return
    table = [("metric", "A", "B", "")]
    for name in metrics:
        a, b = first.metrics[name].number, second.metrics[name].number
        spread = seed_spread(second, name, published) or seed_spread(first, name, published)
        table.append((name, decimal(name, a), decimal(name, b), _verdict(name, 0.0 if a == b else abs(b - a), spread)))
    yield from columns(table)


def _verdict(metric: str, difference: float, spread: tuple[float, int] | None) -> str:
    if difference == 0:
        return "equal"
    if spread is None:
        return "the spread over seeds is not known"
    width, seeds = spread
    how = "within" if difference <= width else "beyond"
    return f"{how} what two seeds differ by ({decimal(metric, width)}, from {count_of(seeds, 'seed')})"
