"""Why two runs have different numbers: in what their records differ, the weightiest first, and whether their numbers
differ by more than those of two seeds of one recipe do."""

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import t as student

from cqlib.experiments import ablations
from cqlib.experiments.load import RECORD, RUNS
from cqlib.experiments.record import Record, load_records, undamaged_record
from cqlib.metrics.quantities import FEATURES, decimal, score_of
from cqlib.util.errors import UserError, unknown_name
from cqlib.util.paths import RECORDS
from cqlib.util.text import columns, count_of

KEYS_COMPARED_ELSEWHERE = ("row", "data", "profile", "seed", "size", "evaluation")
"""Entries of a config that are not compared there, since the record has them outside its config or in protocols."""
THREADS, NUMBER_OF = r", (\d+) threads?", r"\b(n\w* = )+\d+"
"""Patterns: of the threads in the name of a device, and of a number of images in a protocol ("n_real = 1000")."""
ASIDE = ("-real", "-floor", "seconds")
"""Ends of the names of metrics that do not judge a model: scores of real images, and seconds."""
Difference = tuple[str, str, str]
"""(what may differ in two records, its value in the first, its value in the second)."""


class MetricPair(NamedTuple):
    """A metric that two records have. Two seeds differ by at most `spread` in 95 % of cases, as estimated from `seeds`
    published ones; None where these are too few."""

    name: str
    first: float
    second: float
    spread: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """Whether seeds alone explain the difference."""
        if self.first == self.second:
            return "equal"
        if self.spread is None:
            return "the spread over seeds is not known"
        inside = abs(self.second - self.first) <= self.spread
        most = decimal(self.name, self.spread)
        return f"{'inside' if inside else 'outside'} what two of {count_of(self.seeds, 'seed')} differ by ({most})"


def pair(first: str, second: str | None = None, runs_dir: Path | str = RUNS) -> tuple[Record, Record]:
    """The records that two names stand for: a record's file, a run's folder, or the name of such a folder, of a run in
    `runs_dir`, else of a published one. Without `second`, or where it stands for the same file as `first` (a run here
    and a published one may have the same name), the published record of that run is the second. UserError where there
    is none, or it is damaged."""
    file = _find_file(first, runs_dir)
    other = file if second is None else _find_file(second, runs_dir)
    if other.samefile(file):
        other = next(filter(Path.is_file, _published_files(undamaged_record(file).folder)), file)
        if other.samefile(file):
            published = file.resolve() in map(Path.resolve, _published_files(file.stem))
            why = f"is published, and not in {runs_dir}" if published else "has no published run of its name"
            raise UserError(f"{first} {why}: add the record to compare it with")
    return undamaged_record(file), undamaged_record(other)


def _published_files(name: str) -> list[Path]:
    """Where the record of a run of this name is, if it is published."""
    return [folder / f"{name}.json" for folder in (RECORDS, ablations.PUBLISHED)]


def _find_file(name: str, runs_dir: Path | str) -> Path:
    path, folders = Path(name), (Path(runs_dir), Path(runs_dir) / ablations.FOLDER)
    places = [path, path / RECORD, *(folder / name / RECORD for folder in folders), *_published_files(name)]
    if file := next(filter(Path.is_file, places), None):
        return file
    names = [place.stem for folder in (RECORDS, ablations.PUBLISHED) for place in folder.glob("*.json")]
    names += [place.parent.name for folder in folders for place in folder.glob(f"*/{RECORD}")]
    raise UserError(str(unknown_name("record", name, sorted(names))))


def shared(first: Record, second: Record) -> list[str]:
    """The names of the metrics that both records have, without those of `ASIDE`."""
    return [name for name in first.metrics if name in second.metrics and not name.endswith(ASIDE)]


def differences(first: Record, second: Record) -> list[Difference]:
    """All that tells two records apart and can move a number, the weightiest first."""
    return [(name, a, b) for name, a, b in _pairs(first, second) if a != b]


def _pairs(first: Record, second: Record) -> Iterator[Difference]:
    """Everything that numbers depend on, the weightiest first, with its value in each of two records."""

    def both(name: str, value_of: Callable[[Record], object]) -> Difference:
        return name, str(value_of(first)), str(value_of(second))

    yield both("model", lambda r: r.row)
    yield both("status", lambda r: r.status)
    yield both("data set", lambda r: r.data.name)
    yield both("size of its images", lambda r: "×".join(map(str, r.data.shape[-3:])))
    yield both("images (fingerprint)", lambda r: r.data.fingerprint)
    yield both("split", lambda r: r.data.split)
    for name in shared(first, second):
        yield f"n of {name}", str(first.metrics[name].n), str(second.metrics[name].n)
    yield both("features", _features)
    yield from _protocols(first, second)
    yield both("profile", lambda r: r.profile)
    configs = [dict(_leaves({key: value for key, value in r.config.items() if key not in KEYS_COMPARED_ELSEWHERE}))
               for r in (first, second)]  # fmt: skip
    paths = sorted(configs[0].keys() | configs[1].keys(), key=lambda path: (not path.startswith("recipe."), path))
    yield from ((p.removeprefix("recipe."), configs[0].get(p, "—"), configs[1].get(p, "—")) for p in paths)
    yield both("steps taken", lambda r: r.steps)
    yield both("seed", lambda r: r.seed)
    yield both("precision", lambda r: r.precision)
    yield both("device", lambda r: re.sub(THREADS, "", r.hardware))
    yield both("threads", lambda r: "".join(re.findall(THREADS, r.device)))
    yield both("commit", lambda r: f"{(r.git.commit or 'not known')[:12]}{' and changes' if r.git.dirty else ''}")
    for library in sorted(first.versions.keys() | second.versions.keys()):
        yield f"version of {library}", first.versions.get(library, "—"), second.versions.get(library, "—")


def _features(record: Record) -> str:
    scores = {*map(score_of, record.metrics)}
    return ", ".join(kind for kind, names in FEATURES.items() if scores.intersection(names))


def _protocols(first: Record, second: Record) -> Iterator[Difference]:
    """The parts of protocols that only one of the records has, apart from numbers of images. Metrics with the same
    difference share an entry."""
    together: dict[tuple[str, str], dict[str, None]] = {}
    for name in shared(first, second):
        a, b = (re.split(", |: ", re.sub(NUMBER_OF, "", r.metrics[name].protocol)) for r in (first, second))
        parts = (", ".join(part for part in a if part not in b), ", ".join(part for part in b if part not in a))
        together.setdefault(parts, {})[score_of(name)] = None
    yield from ((f"protocol of {', '.join(names)}", *parts) for parts, names in together.items())


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Paths of a config and their values as texts."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)


def shared_numbers(first: Record, second: Record, published: Sequence[Record]) -> list[MetricPair]:
    """The metrics that both have, with the spread over published seeds of the first one's recipe, else the second's."""
    pairs = []
    for name in shared(first, second):
        spread, seeds = None, 0
        for record in (second, first):
            values = [r.metrics[name].value for r in published if _same_recipe(r, record) and name in r.metrics]
            if len(values) > 1:
                quantile = float(student.ppf(0.975, len(values) - 1))
                spread, seeds = quantile * 2**0.5 * statistics.stdev(values), len(values)
        pairs.append(MetricPair(name, first.metrics[name].value, second.metrics[name].value, spread, seeds))
    return pairs


def _same_recipe(a: Record, b: Record) -> bool:
    return a.done and (a.config | {"seed": 0}, a.data) == (b.config | {"seed": 0}, b.data)


def lines(first: Record, second: Record) -> Iterator[str]:
    """The answer in words, a line each."""
    for letter, record in zip("AB", (first, second), strict=True):
        yield f"{letter}: {record.title}"
    different = differences(first, second)
    yield ""
    yield "what differs, the weightiest first" if different else "the records differ in nothing that moves a number"
    yield from columns(different)
    yield ""
    table = shared_numbers(first, second, [*load_records(RECORDS)[0], *load_records(ablations.PUBLISHED)[0]])
    cells = [(n.name, decimal(n.name, n.first), decimal(n.name, n.second), n.verdict) for n in table]
    yield from columns([("metric", "A", "B", ""), *cells] if cells else [("no metric is in both",)])
