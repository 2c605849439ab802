"""Groups: the lines of the flat table that may be compared and averaged. A group holds the runs of one origin on the
same images, of one size, with one profile, in one precision, of one recipe for each row and scored in one way, of any
seeds. Every run that ended counts in every mean; one that diverged is shown and has no numbers.

Which group is taken:

    local_first       samples and curves
    most_complete_by    the pictures of a notebook
    side_by_side        those that stand side by side in a table; the first of them in README and docs
    findings.cards      the one that decides a claim
    findings.scales     the columns of the claims
"""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cqlib.metrics.quantities import Quantity, decimal, digits, real_name
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import ROWS, training_command
from cqlib.suite.experiments.trade_off import WITHOUT_L_Q, front
from cqlib.suite.experiments.variants import Changes, in_words, variant
from cqlib.suite.report.table import ORIGINS, STEPS, Mean, Table, Value, joined, mean_of, of
from cqlib.util.errors import UserError
from cqlib.util.files import canonical_json, sha256
from cqlib.util.text import without_paths

ROW_ORDER = {row: i for i, row in enumerate(ROWS)}
NAMES = {
    "photodigits": "Digits on photographs",
    "tiny-imagenet": "Tiny ImageNet",
    "npz:cifar10-jpeg": "CIFAR-10 from JPEG",
    **{name: data.label for name, data in paper.DATA_SETS.items()},
}
"""Data set, without paths -> what readers call it; others go by their own name."""


def data_title(data: str) -> str:
    """What readers call a data set: "CIFAR-10"; of someone's own images the last part of the path: "npz:cats.npz"."""
    name = without_paths(data)
    return NAMES.get(name) or NAMES.get(name.partition(":")[0], name)


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


@dataclass(frozen=True, eq=False)
class Group(Table):
    """Lines of runs of any rows that may be compared with each other; `origin` is one of `ORIGINS`.

    A row goes by its id. A run whose recipe has other changes than the group's counts as a row of its own, under its
    `variants.variant`.
    """

    origin: str = "published"
    data: str = ""
    size: int = 0
    profile: str = ""
    distinguished_by: str = ""
    """Suffix that distinguishes it from another group of the same name: "images 01234567", "bf16"."""
    changes: Changes = field(default_factory=dict)
    """The changes to the recipes of all its rows."""
    unaffected: Table = field(default=Table(), repr=False)
    """Unchanged runs of rows that do not have what is changed, as VAE has no colours of f: the rows of this group may
    be compared with them."""

    @property
    def name(self) -> str:
        """ "photodigits 16×16, quick, λ 25": with the data set's name on the command line; of a path its last part."""
        return self._named(without_paths(self.data))

    @property
    def images(self) -> str:
        """ "Digits on photographs 16×16"."""
        return f"{data_title(self.data)} {self.size}×{self.size}"

    @property
    def label(self) -> str:
        """ "Digits on photographs 16×16, quick, λ 25"."""
        return self._named(data_title(self.data))

    def _named(self, data: str) -> str:
        parts = f"{data} {self.size}×{self.size}", self.profile, self.distinguished_by, in_words(self.changes)
        return ", ".join(filter(None, parts))

    @property
    def title(self) -> str:
        """ "Published: Digits on photographs 16×16, quick"."""
        return f"{ORIGINS[self.origin]}: {self.label}"

    @property
    def short_title(self) -> str:
        """The title, without whose runs they are where they are this project's."""
        return self.label if self.origin == "published" else self.title

    @cached_property
    def rows(self) -> dict[str, Table]:
        """Row -> its lines by seed: each model once, in the order of the group's lines."""
        return _by_row(self, self.changes)

    @cached_property
    def _of_row(self) -> Mapping[str, Table]:
        return {**_by_row(self.unaffected, {}), **self.rows}

    def lines_of(self, row: str) -> Table:
        """The lines of `row`, or of the same model under another id, in the order of seeds; `unaffected` ones if it is
        none of `rows`."""
        return self._of_row.get(paper.canonical(row), Table())

    def records_of(self, row: str) -> list[Record]:
        """The records of the row's runs, in the order of seeds."""
        return list(self.lines_of(row).records)

    def done(self, row: str) -> list[Record]:
        """The records of the row's runs that ended, in the order of seeds."""
        return [run for run in self.records_of(row) if run.done]

    def diverged(self, row: str) -> str:
        """ "1 of 5 diverged", "diverged" where the row has one run; empty where none did."""
        runs = self.records_of(row)
        count = len(runs) - len(self.done(row))
        return "" if not count else "diverged" if len(runs) == 1 else f"{count} of {len(runs)} diverged"

    def metrics_of(self, row: str) -> list[str]:
        """The names of all metrics that finished runs of `row` have measured."""
        return self.lines_of(row).metrics

    def numbers(self, row: str, metric: str) -> tuple[Value, ...]:
        """The values of a row's metric, one per seed, of the runs that ended."""
        return self.lines_of(row).select(metric=metric, status="done").values

    def score_name(self, quantity: Quantity, rows: Sequence[str]) -> str:
        """The name of a score by which `rows` are compared: on the features that most seeds of all of them have been
        scored on, of equals on the paper's."""
        return max(quantity.names, key=lambda name: min(len(self.numbers(row, name)) for row in rows))

    def mean(self, row: str, metric: str) -> Mean | None:
        """The metric's mean over the row's runs that ended and have it; None where none does."""
        values = self.numbers(row, metric)
        return mean_of(values) if values else None

    def cell(self, row: str, metric: str) -> Cell:
        """`mean`, to print."""
        return cell_of(metric, self.mean(row, metric))

    def real_cell(self, name: str) -> Cell:
        """The score or share `name` of real images, the same in all runs, to print; empty if unknown."""
        real = self.select(metric=real_name(name) or f"{name}-real").values
        return Cell(decimal(name, real[0].value), source=real[0].file) if real else Cell("")

    def command(self, only: str, rows: Iterable[str]) -> str:
        """The command that trains `only` with as many seeds as that of its `rows` which has most here."""
        seeds = max(len(self.done(row)) for row in rows)
        several = f" --seeds 0-{seeds - 1}" if seeds > 1 else ""
        return training_command(only, self.profile, self.data, changes=self.changes) + several


def _by_row(table: Table, changes: Changes) -> dict[str, Table]:
    """Row -> its lines by seed; a run with other `changes` is of its `variant`."""
    own = canonical_json(changes)
    found: dict[str, list[Table]] = {}
    for (row, changed, _), lines in table.group("row", "changes", "seed").items():
        name = row if changed == own else variant(row, json.loads(changed))
        found.setdefault(name, []).append(lines)
    by_seed = {row: sorted(of_row, key=lambda lines: lines.values[0].seed) for row, of_row in found.items()}
    return {row: joined(of_row) for row, of_row in by_seed.items()}


Key = tuple[str, str, int, str, str, tuple[str, str, str, str, str]]
"""What runs must share to be averaged, in each of which a group is: origin, data set, size, profile, changes as
canonical JSON ("{}" for the rows' own recipes), and in words its images (the files behind a name may have changed), how
samples are scored, precision, and whether the row has been run by a later recipe since, or measured by a later
protocol."""


def groups(local: Sequence[Record], published: Sequence[Record]) -> list[Group]:
    """The groups of the table of these records."""
    return groups_of(of(local, published))


def groups_of(table: Table) -> list[Group]:
    """The groups of all `ORIGINS`. Within one, runs are in the paper's order of rows, then by seed; of two records of
    one run the first is taken. Runs with changes make a group of their own, but for the points of the trade-off, which
    join the group of unchanged runs, after all its rows, by row and lambda. Recipes change as the code does: runs of a
    row's earlier recipes, and those measured by an earlier protocol, make groups of their own, too."""
    found: dict[Key, dict[tuple[str, int], Table]] = {}
    for lines in table.group("origin").values():
        told = sorted(_told(lines), key=lambda pair: pair[0].values[0].changes != "{}")  # those without changes first
        for one, later in told:
            first, run = one.values[0], one.values[0].run
            details = (f"images {run.data.fingerprint}", _scoring(run), run.precision, *later)
            key = (first.origin, first.data, first.size, first.profile, first.changes, details)
            unchanged = (*key[:4], "{}", details)
            if on_front(run.variant, first.profile, first.data, first.size) and unchanged in found:
                key = unchanged
            found.setdefault(key, {}).setdefault((variant(first.row, run.changes), first.seed), one)
    return [_group(key, runs, found) for key, runs in found.items()]


def _told(table: Table) -> list[tuple[Table, tuple[str, str]]]:
    """(a run, what tells it from the latest one of any seed, of the same row, images and scoring): "earlier recipe
    01234567", "earlier protocol 01234567 of FID"; empty texts where nothing does."""
    last: dict[tuple[Any, ...], Value] = {}
    for value in sorted(table.values, key=lambda value: value.run.finished):
        last[_any_seed(value)] = value
    told = []
    for lines in table.by_run:
        pairs = [(value, last[_any_seed(value)]) for value in lines.values]
        recipes = {value.recipe for value, later in pairs if value.metric == STEPS and value.recipe != later.recipe}
        earlier = f"earlier recipe {recipes.pop()}" if recipes else ""
        other = {value.metric: str(value.measured_by) for value, later in pairs
                 if value.measured_by != later.measured_by and not earlier}  # fmt: skip
        ways = sha256(canonical_json(other).encode())[:8]
        told.append((lines, (earlier, f"earlier protocol {ways} of {', '.join(other)}" if other else "")))
    return told


def latest(table: Table) -> Table:
    """The runs of each row's latest recipe, measured by its latest protocols."""
    return joined(lines for lines, told in _told(table) if not any(told))


def _any_seed(value: Value) -> tuple[Any, ...]:
    """What numbers of one metric and row share that differ in seed, or in the recipe behind the row's name, or in the
    protocol behind the metric's."""
    scoring = "" if value.metric == STEPS else _scoring(value.run)
    return value.row, value.changes, value.run.data, value.profile, value.run.precision, scoring, value.metric


def trained_otherwise(sets: Iterable[Group], rows: Iterable[str]) -> list[str]:
    """Those of `rows` whose recipe here is not that of the published runs of the same name, with which they stand side
    by side."""
    recipes: dict[tuple[Any, ...], set[str]] = {}
    for runs, row in itertools.product(sets, rows):
        place = runs.data, runs.size, runs.profile, runs.distinguished_by, canonical_json(runs.changes), row
        recipes.setdefault(place, set()).update(value.recipe for value in runs.lines_of(row).values)
    return list(dict.fromkeys(row for (*_, row), of_row in recipes.items() if len(of_row) > 1))


def on_front(name: str, profile: str, data: str, size: int) -> bool:
    """Whether a row, or a changed one by its `variant`, is a point of the trade-off."""
    return any(name in front(row, profile, data, size).values() for row in WITHOUT_L_Q)


def _group(
    key: Key, runs: Mapping[tuple[str, int], Table], found: Mapping[Key, Mapping[tuple[str, int], Table]]
) -> Group:
    """The group of a key, with the details that tell it from others of the same name."""
    *name, details = key
    same_name = [others for *other, others in found if other == name]
    telling = [detail for detail, *others in zip(details, *same_name, strict=True) if len(set(others)) > 1]
    ordered = joined(runs[run] for run in sorted(runs, key=lambda run: _order(run, runs[run].values[0].run)))
    origin, data, size, profile, text, _ = key
    changes, unchanged = json.loads(text), found.get((origin, data, size, profile, "{}", details), {})
    unaffected = (one for one in unchanged.values() if changes and not any(map(one.records[0].has_setting, changes)))
    told = ", ".join(filter(None, telling))
    return Group(ordered.values, origin, data, size, profile, told, changes, joined(unaffected))


def _order(run: tuple[str, int], record: Record) -> tuple[int, int, list[float], tuple[str, int]]:
    """The paper's order of rows, then changed rows by their row and the numbers they change; then seeds."""
    numbers = [value for value in record.changes.values() if isinstance(value, int | float)]
    return ROW_ORDER.get(run[0], 99), ROW_ORDER.get(record.row, 99), numbers, run


def local_first(sets: Sequence[Group]) -> list[Group]:
    """In the order in which one of them is chosen to be shown: this machine's, then published ones; those of changed
    recipes last."""
    return sorted(sets, key=lambda runs: (bool(runs.changes), runs.origin != "local"))


def most_complete_by(sets: Sequence[Group], ran: Callable[[Group], float], profile: str = "") -> Group:
    """The group of which most `ran`; of equals one of `profile`, then the nearest. UserError if there is none."""
    if not sets:
        raise UserError("there are no records yet: ./run_all.sh makes them")
    return max(local_first(sets), key=lambda runs: (ran(runs), runs.profile == profile))


def side_by_side(sets: Iterable[Group], rows: Sequence[str], profile: str) -> list[list[Group]]:
    """The groups that have any of `rows`, in lists of those that a table shows side by side: of one data set, size and
    profile, in the order of `ORIGINS`; and apart from them those whose changes leave some rows as they are. The first
    list is what this machine ran under `profile`, if anything, else the one with most of `rows`."""
    found: dict[tuple[str, int, str, str], list[Group]] = {}
    for runs in (runs for runs in sets if any(paper.canonical(row) in runs.rows for row in rows)):
        apart = canonical_json(runs.changes) if runs.unaffected else ""
        found.setdefault((runs.data, runs.size, runs.profile, apart), []).append(runs)

    def rank(place: list[Group]) -> tuple[bool, int, bool, bool, int]:
        here, asked = any(runs.origin == "local" for runs in place), place[0].profile == profile
        ran = sum(any(runs.lines_of(row) for runs in place) for row in rows)
        count = sum(len(runs.rows.get(paper.canonical(row), Table()).records) for runs in place for row in rows)
        return here and asked, ran, asked, here, count

    return sorted(found.values(), key=rank, reverse=True)


def _scoring(record: Record) -> str:
    """How its samples were scored."""
    n, side = (record.setting("evaluation", name) for name in ("fidelity_images", "side"))
    return f"scores of {n} samples at side {side}"
