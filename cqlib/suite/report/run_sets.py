"""Run sets: the runs that may be averaged. A run set holds the runs of one origin (published with this project, or made
here) on the same images, of one size, with one profile, in one precision, of one recipe for each row, of any seeds.
Every run that ended counts in every mean; one that diverged is shown and has no numbers.

Which run set is taken:

    nearest_first       samples and curves
    most_complete_by    the pictures of a notebook
    display_groups      those that stand side by side in a table; the first of them in README and docs
    claim_cards.cards   the one that decides a claim
    claim_cards.scales  the columns of the claims
"""

import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cqlib.metrics.quantities import Quantity, decimal, real_name
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import ROWS, training_command
from cqlib.suite.experiments.trade_off import WITHOUT_L_Q, front
from cqlib.suite.experiments.variants import Changes, in_words
from cqlib.suite.report.values import Cell, Mean, Value, cell_of, mean_of, values_of
from cqlib.util.errors import UserError
from cqlib.util.files import canonical_json
from cqlib.util.text import without_paths

ROW_ORDER = {row: i for i, row in enumerate(ROWS)}
ORIGINS = {"published": "Published", "local": "This machine"}
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
class RunSet:
    """Runs of any rows that may be compared with each other; `origin` is one of `ORIGINS`."""

    origin: str
    data: str
    size: int
    profile: str
    records: tuple[Record, ...] = field(repr=False)
    distinguished_by: str = ""
    """Suffix that distinguishes it from another run set of the same name: "images 01234567", "bf16"."""
    changes: Changes = field(default_factory=dict)
    """The changes to the recipes of all its rows. Records with other changes count as rows of their own, under their
    `variant`."""
    unaffected: tuple[Record, ...] = field(default=(), repr=False)
    """Unchanged runs of rows that do not have what is changed, as VAE has no colours of f: the rows of `records` may be
    compared with them."""

    @property
    def name(self) -> str:
        """ "photodigits 16×16, quick, λ 25": with the data set's name on the command line; of a path its last part."""
        return self._named(without_paths(self.data))

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

    @cached_property
    def rows(self) -> dict[str, list[Record]]:
        """Row -> its records by seed: each model once, under its first id, in the order of `records`."""
        return _by_row(self.records, self.changes)

    def records_of(self, row: str) -> list[Record]:
        """The records of `row`, or of the same model under another id, in the order of seeds; `unaffected` ones if it
        is none of `rows`."""
        row = paper.canonical(row)
        return list(self.rows.get(row) or self._unaffected_rows.get(row) or [])

    @cached_property
    def _unaffected_rows(self) -> dict[str, list[Record]]:
        return _by_row(self.unaffected, {})

    def done(self, row: str) -> list[Record]:
        """The records of the row's runs that ended, in the order of seeds."""
        return [record for record in self.records_of(row) if record.done]

    def diverged(self, row: str) -> str:
        """ "1 of 5 diverged", "diverged" where the row has one run; empty where none did."""
        runs = self.records_of(row)
        count = len(runs) - len(self.done(row))
        return "" if not count else "diverged" if len(runs) == 1 else f"{count} of {len(runs)} diverged"

    @property
    def finished(self) -> list[Record]:
        """The records of all runs that ended."""
        return [record for record in self.records if record.done]

    def metrics_of(self, row: str) -> list[str]:
        """The names of all metrics that finished runs of `row` have measured."""
        return list(dict.fromkeys(name for run in self.done(row) for name in run.metrics))

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics that finished runs of any row have measured."""
        return list(dict.fromkeys(name for run in self.finished for name in run.metrics))

    def numbers(self, row: str, metric: str) -> list[Value]:
        """The values of a row's metric, one per seed, of the runs that ended."""
        return values_of(self.done(row), metric)

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
        real = real_name(name) or f"{name}-real"
        run = next((run for run in self.records if real in run.metrics), None)
        return Cell(decimal(name, run.metrics[real].number), source=f"{run.folder}.json") if run else Cell("")

    def command(self, only: str, rows: Iterable[str]) -> str:
        """The command that trains `only` with as many seeds as that of its `rows` which has most here."""
        seeds = max(len(self.done(row)) for row in rows)
        several = f" --seeds 0-{seeds - 1}" if seeds > 1 else ""
        return training_command(only, self.profile, self.data, changes=self.changes) + several


def _by_row(records: Iterable[Record], changes: Changes) -> dict[str, list[Record]]:
    """Row -> its records by seed; a record with other `changes` is of its `variant`."""
    runs: dict[str, list[Record]] = {}
    for record in records:
        row = record.row if record.changes == changes else record.variant
        runs.setdefault(paper.canonical(row), []).append(record)
    return {row: sorted(of_row, key=lambda record: record.seed) for row, of_row in runs.items()}


Key = tuple[str, str, int, str, str, tuple[str, str, str, str]]
"""What records must share to be averaged, in each of which a run set is: origin, data set, size, profile, changes as
canonical JSON ("{}" for the rows' own recipes), and in words its images (the files behind a name may have changed), how
samples are scored, precision, and the recipe, if the row has been run by a later one since."""


def run_sets(local: Sequence[Record], published: Sequence[Record]) -> list[RunSet]:
    """The run sets of all `ORIGINS`. Within one, records are in the paper's order of rows, then by seed; of two records
    of one run the first is taken. Runs with changes make a set of their own, but for the points of the trade-off, which
    join the set of unchanged runs, after all its rows, by row and lambda. Recipes change as the code does: records of a
    row's earlier recipes make sets of their own, too."""
    sets: dict[Key, dict[tuple[str, int], Record]] = {}
    for origin, records in (("published", published), ("local", local)):
        latest = {_run_of_any_seed(record): record.recipe for record in sorted(records, key=lambda run: run.finished)}
        for record in sorted(records, key=lambda record: bool(record.changes)):  # those without changes first
            data, size = record.data.name, record.data.shape[-1]
            earlier = f"earlier recipe {record.recipe}" * (record.recipe != latest[_run_of_any_seed(record)])
            details = (f"images {record.data.fingerprint}", _scoring(record), record.precision, earlier)
            key = (origin, data, size, record.profile, canonical_json(record.changes), details)
            unchanged = (origin, data, size, record.profile, "{}", details)
            if on_front(record.variant, record.profile, data, size) and unchanged in sets:
                key = unchanged
            sets.setdefault(key, {}).setdefault((paper.canonical(record.variant), record.seed), record)
    return [_run_set(key, runs, sets) for key, runs in sets.items()]


def _run_of_any_seed(record: Record) -> tuple[Any, ...]:
    """What runs of one row share that differ in seed, or in the recipe behind the row's name."""
    return paper.canonical(record.variant), record.data, record.profile, record.precision


def trained_otherwise(sets: Iterable[RunSet], rows: Iterable[str]) -> list[str]:
    """Those of `rows` whose recipe here is not that of the published runs of the same name, with which they stand side
    by side."""
    recipes: dict[tuple[str, str], set[str]] = {}
    for runs, row in itertools.product(sets, rows):
        recipes.setdefault((runs.label, row), set()).update(run.recipe for run in runs.records_of(row))
    return list(dict.fromkeys(row for (_, row), of_row in recipes.items() if len(of_row) > 1))


def on_front(name: str, profile: str, data: str, size: int) -> bool:
    """Whether a row, or a changed one by its `variant`, is a point of the trade-off."""
    return any(name in front(row, profile, data, size).values() for row in WITHOUT_L_Q)


def _run_set(
    key: Key, runs: Mapping[tuple[str, int], Record], sets: Mapping[Key, Mapping[tuple[str, int], Record]]
) -> RunSet:
    """The run set of a key, with the details that tell it from others of the same name."""
    *name, details = key
    same_name = [others for *other, others in sets if other == name]
    telling = [detail for detail, *others in zip(details, *same_name, strict=True) if len(set(others)) > 1]
    records = tuple(runs[run] for run in sorted(runs, key=lambda run: _order(run, runs[run])))
    origin, data, size, profile, text, _ = key
    changes, unchanged = json.loads(text), sets.get((origin, data, size, profile, "{}", details), {})
    unaffected = (run for run in unchanged.values() if changes and not any(map(run.has_setting, changes)))
    return RunSet(origin, data, size, profile, records, ", ".join(filter(None, telling)), changes, tuple(unaffected))


def _order(run: tuple[str, int], record: Record) -> tuple[int, int, list[float], tuple[str, int]]:
    """The paper's order of rows, then changed rows by their row and the numbers they change; then seeds."""
    numbers = [value for value in record.changes.values() if isinstance(value, int | float)]
    return ROW_ORDER.get(run[0], 99), ROW_ORDER.get(record.row, 99), numbers, run


def nearest_first(sets: Sequence[RunSet]) -> list[RunSet]:
    """In the order in which one of them is chosen to be shown: this machine's, then published ones; those of changed
    recipes last."""
    return sorted(sets, key=lambda runs: (bool(runs.changes), runs.origin != "local"))


def most_complete_by(sets: Sequence[RunSet], ran: Callable[[RunSet], float], profile: str = "") -> RunSet:
    """The run set of which most `ran`; of equals one of `profile`, then the nearest. UserError if there is none."""
    if not sets:
        raise UserError("there are no records yet: ./run_all.sh makes them")
    return max(nearest_first(sets), key=lambda runs: (ran(runs), runs.profile == profile))


def display_groups(sets: Iterable[RunSet], rows: Sequence[str], profile: str) -> list[list[RunSet]]:
    """The run sets that have any of `rows`, in groups that a table shows side by side: of one data set, size and
    profile, in the order of `ORIGINS`; and apart from them those whose changes leave some rows as they are. The first
    group is what this machine ran under `profile`, if anything, else the one with most of `rows`."""
    found: dict[tuple[str, int, str, str], list[RunSet]] = {}
    for runs in (runs for runs in sets if any(paper.canonical(row) in runs.rows for row in rows)):
        apart = canonical_json(runs.changes) if runs.unaffected else ""
        found.setdefault((runs.data, runs.size, runs.profile, apart), []).append(runs)

    def rank(place: list[RunSet]) -> tuple[bool, int, bool, bool, int]:
        here, asked = any(runs.origin == "local" for runs in place), place[0].profile == profile
        ran = sum(any(runs.records_of(row) for runs in place) for row in rows)
        count = sum(len(runs.rows.get(paper.canonical(row), ())) for runs in place for row in rows)
        return here and asked, ran, asked, here, count

    return sorted(found.values(), key=rank, reverse=True)


def _scoring(record: Record) -> str:
    """How its samples were scored."""
    n, side = (record.setting("evaluation", name) for name in ("fidelity_images", "side"))
    return f"scores of {n} samples at side {side}"


def most_common(values: Iterable[str]) -> str:
    """The most frequent value; of equally frequent ones the first by name."""
    return statistics.mode(sorted(values))
