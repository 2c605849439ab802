"""The runs that a notebook is about: the values of its parameters cell as one object."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cqlib.experiments.experiment import Experiment, experiment
from cqlib.experiments.load import RUNS, ModelAndData, find_model
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import check_row, default_data
from cqlib.experiments.run import run_experiment
from cqlib.experiments.variants import Changes
from cqlib.util.errors import UsageError, UserError


@dataclass(frozen=True)
class Selection:
    """`rows` with `changes` under `profile`, on `data` (empty: each row's own) with `seeds`, and the folders they are
    in. UsageError for a wrong name, or a change that no row takes."""

    rows: Sequence[str] = ("table1/cq-f",)
    profile: str = "quick"
    data: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    changes: Changes = field(default_factory=dict)
    runs_dir: Path | str = RUNS
    data_dir: Path | str | None = None
    feature_weights: Path | str | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            check_row(row)
        for row in self.rows:
            with suppress(UsageError):
                self.first(row)
                return
        self.first(self.rows[0])  # none does: says why

    def first(self, row: str) -> Experiment:
        """The experiment of a row on the first data set with the first seed."""
        data, seed = (self.data[0] if self.data else None), (self.seeds[0] if self.seeds else 0)
        return experiment(row, self.profile, data, seed, self.changes)

    def run(self, data: Sequence[str] = ()) -> list[Record]:
        """The records of all runs, one after the other; what has not finished yet is trained. `data`: instead of each
        row's own. A change that is wrong for any row is refused before the first one is trained."""
        experiments = [
            experiment(row, self.profile, name, seed, self.changes)
            for row in self.rows
            for name in self.data or data or default_data(row, self.profile)
            for seed in self.seeds
        ]
        return [
            run_experiment(e, runs_dir=self.runs_dir, data_dir=self.data_dir, feature_weights=self.feature_weights)
            for e in experiments
        ]

    def finished(self, profiles: Collection[str] = ()) -> list[Record]:
        """The records of those runs that have finished, under any of `profiles` (empty: the selection's own) and, where
        the selection names no data, on any; nothing is trained."""
        order = {canonical(row): i for i, row in reversed([*enumerate(self.rows)])}
        records: list[Record] = []
        for r in load_records(self.runs_dir)[0]:
            selected = r.done and r.profile in (profiles or [self.profile]) and r.seed in self.seeds
            if selected and canonical(r.row) in order and r.data.name in (self.data or [r.data.name]):
                with suppress(UserError):  # of a data set that no longer exists
                    if r.config_hash == experiment(r.row, r.profile, r.data.name, r.seed, self.changes).config_hash:
                        records.append(r)
        return sorted(records, key=lambda record: (order[canonical(record.row)], record.seed))

    def find(self, required: Collection[str] = (), rows: Sequence[str] = ()) -> dict[str, ModelAndData]:
        """Row -> model, of those of `rows` (default: all) that have been trained on the first data set with the first
        seed.

        If none of `required` (default: of `rows`) has been trained so, the models of the default run, which are
        published, are returned instead; {} if those are missing too.
        """
        rows = rows or self.rows
        for make in (self.first, experiment):
            models: dict[str, ModelAndData] = {}
            for row in rows:
                with suppress(UserError):  # not trained, or a row without what is changed
                    models[row] = find_model(make(row), self.runs_dir, self.data_dir)
            if models.keys() & (required or rows):
                return models
        return {}
