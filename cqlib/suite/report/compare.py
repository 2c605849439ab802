"""What differs between two records, most important first, and whether their numbers differ by more than those of two
seeds."""

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from cqlib.metrics.quantities import decimal
from cqlib.suite.experiments import ablations
from cqlib.suite.experiments.load import RECORD, RUNS
from cqlib.suite.experiments.record import Record, load_records, undamaged_record
from cqlib.util.errors import UserError, unknown_name
from cqlib.util.paths import RECORDS
from cqlib.util.text import columns, count_of

PUBLISHED_FOLDERS = (RECORDS, ablations.PUBLISHED)
FACTS = ("row", "status", "data", "measured", "profile", "config", "steps", "seed", "precision", "device", "git",
         "versions")  # fmt: skip
"""What a number may depend on, most important first."""
NOT_OF_THE_MODEL = ("-real", "-floor", "seconds")
"""Ends of the names of metrics that do not judge a model: scores of real images, and seconds."""


def pair(first: str, second: str | None = None, runs_dir: Path | str = RUNS) -> tuple[Record, Record]:
    """The records that two names stand for: a record's file, a run's folder, or the name of such a folder, of a run in
    `runs_dir`, else of a published one. Without `second` it is the published run of the same name. UserError where
    there is none, or it is damaged."""
    record = undamaged_record(file := _find_file(first, runs_dir))
    if second is not None:
        return record, undamaged_record(_find_file(second, runs_dir))
    published = [place for folder in PUBLISHED_FOLDERS if (place := folder / f"{record.folder}.json").is_file()]
    if not published or published[0].samefile(file):
        raise UserError(f"{first} has no published run of its name beside it: name the record to compare it with")
    return record, undamaged_record(published[0])


def _find_file(name: str, runs_dir: Path | str) -> Path:
    runs = (Path(runs_dir), Path(runs_dir) / ablations.FOLDER)
    places = [Path(name), Path(name) / RECORD, *(folder / name / RECORD for folder in runs)]
    places += [folder / f"{name}.json" for folder in PUBLISHED_FOLDERS]
    if file := next(filter(Path.is_file, places), None):
        return file
    names = [place.stem for folder in PUBLISHED_FOLDERS for place in folder.glob("*.json")]
    names += [place.parent.name for folder in runs for place in folder.glob(f"*/{RECORD}")]
    raise UserError(str(unknown_name("record", name, sorted(names))))


def shared_metrics(first: Record, second: Record) -> list[str]:
    """The names of the metrics that both records have, without those of `NOT_OF_THE_MODEL`."""
    return [name for name in first.metrics if name in second.metrics and not name.endswith(NOT_OF_THE_MODEL)]


def differences(first: Record, second: Record) -> list[tuple[str, str, str]]:
    """All that differs between two records and can change a number, most important first: (what, its value in the
    first, its value in the second)."""
    a, b = (dict(_facts(record, shared_metrics(first, second))) for record in (first, second))
    paths = sorted({**a, **b}, key=lambda path: FACTS.index(path[0]))
    return [(".".join(path), a.get(path, "—"), b.get(path, "—")) for path in paths if a.get(path) != b.get(path)]


def _facts(record: Record, metrics: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path in a record -> value, of all that its `metrics` may depend on."""
    values = record.to_dict()
    measured = {name: values["metrics"][name] for name in metrics}
    values["measured"] = {name: {"n": metric["n"], **metric["protocol"]} for name, metric in measured.items()}
    repeated = {"row", "data", "profile", "seed", "evaluation"}
    values["config"] = {name: value for name, value in values["config"].items() if name not in repeated}
    return _leaves({name: values[name] for name in FACTS})


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, str(value)


def seed_spread(record: Record, metric: str, published: list[Record]) -> tuple[float, int] | None:
    """How far two seeds of the record's recipe differ in 95 % of cases, as estimated from published ones, and from how
    many; None where there are fewer than two."""
    recipe = (record.config | {"seed": 0}, record.data)
    values = [r.metrics[metric].number for r in published
              if r.done and metric in r.metrics and (r.config | {"seed": 0}, r.data) == recipe]  # fmt: skip
    if len(values) < 2:
        return None
    return float(student.ppf(0.975, len(values) - 1)) * 2**0.5 * statistics.stdev(values), len(values)


def lines(first: Record, second: Record) -> Iterator[str]:
    """The answer in words, a line each."""
    yield f"A: {first.title}"
    yield f"B: {second.title}"
    different = differences(first, second)
    yield "\nwhat differs, most important first" if different else "\nnothing differs that can change a number"
    yield from columns(different)
    published = [record for folder in PUBLISHED_FOLDERS for record in load_records(folder)[0]]
    table = [("metric", "A", "B", "")]
    for name in shared_metrics(first, second):
        a, b = first.metrics[name].number, second.metrics[name].number
        spread = seed_spread(second, name, published) or seed_spread(first, name, published)
        if a == b:
            verdict = "equal"
        elif spread is None:
            verdict = "the spread over seeds is not known"
        else:
            how = "within" if abs(b - a) <= spread[0] else "beyond"
            verdict = f"{how} what two seeds differ by ({decimal(name, spread[0])}, from {count_of(spread[1], 'seed')})"
        table.append((name, decimal(name, a), decimal(name, b), verdict))
    yield ""
    yield from columns(table if len(table) > 1 else [("no metric is in both",)])
