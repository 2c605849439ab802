"""The runs of a notebook: the values of its parameters cell as one object."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cqlib.suite.experiments.experiment import Experiment, check_nets, experiment
from cqlib.suite.experiments.load import RUNS, ModelAndData, find_model
from cqlib.suite.experiments.paper import canonical
from cqlib.suite.experiments.record import Record, load_records
from cqlib.suite.experiments.rows import check_row, default_data
from cqlib.suite.experiments.run import run_experiment
from cqlib.suite.experiments.variants import Changes
from cqlib.util.errors import UsageError, UserError


@dataclass(frozen=True)
class Selection:
    """Runs of `rows` with `changes` under `profile`, on `data` (empty: each row's own) with `seeds`, and their folders.
    UsageError for a wrong name, and for changes that fit none of the rows."""

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
        self.first(self.rows[0])  # raises the UsageError that says why the changes do not fit

    def first(self, row: str) -> Experiment:
        """The experiment of a row on the first data set with the first seed."""
        data, seed = (self.data[0] if self.data else None), (self.seeds[0] if self.seeds else 0)
        return experiment(row, self.profile, data, seed, self.changes)

    def run(self, data: Sequence[str] = ()) -> list[Record]:
        """The records of all runs; those that have not finished are trained, one after the other. `data` takes the
        place of each row's own data set. A change that does not fit a row is refused before anything is trained."""
        experiments = [
            experiment(row, self.profile, name, seed, self.changes)
            for row in self.rows
            for name in self.data or data or default_data(row, self.profile)
            for seed in self.seeds
        ]
        for e in experiments if self.changes else ():
            check_nets(e)
        return [
            run_experiment(e, runs_dir=self.runs_dir, data_dir=self.data_dir, feature_weights=self.feature_weights)
            for e in experiments
        ]

    def finished(self, profiles: Collection[str] = ()) -> list[Record]:
        """The records of the runs that have finished, under any of `profiles` (empty: the selection's own), and on any
        data set if the selection names none; nothing is trained."""
        order = {canonical(row): i for i, row in reversed([*enumerate(self.rows)])}
        records: list[Record] = []
        for r in load_records(self.runs_dir)[0]:
            selected = r.done and r.profile in (profiles or [self.profile]) and r.seed in self.seeds
            if selected and canonical(r.row) in order and r.data.name in (self.data or [r.data.name]):
                with suppress(UserError):  # its data set no longer exists
                    if r.config_hash == experiment(r.row, r.profile, r.data.name, r.seed, self.changes).config_hash:
                        records.append(r)
        return sorted(records, key=lambda record: (order[canonical(record.row)], record.seed))

    def find(self, required: Collection[str] = (), rows: Sequence[str] = ()) -> dict[str, ModelAndData]:
        """Row -> its model, for those of `rows` (default: all) that have been trained on the first data set with the
        first seed.

        If none of `required` (default: `rows`) has been trained, returns the published models of the default run
        instead, or {} if those are missing too.
        """
        rows = rows or self.rows
        for make in (self.first, experiment):
            models: dict[str, ModelAndData] = {}
            for row in rows:
                with suppress(UserError):  # not trained, or the row has no such setting
                    models[row] = find_model(make(row), self.runs_dir, self.data_dir)
            if models.keys() & (required or rows):
                return models
        return {}
