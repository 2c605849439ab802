"""Published weights, evaluated again and compared with their records."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cqlib.metrics.quantities import QUANTITIES, decimal, score_of
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.experiment import experiment_of
from cqlib.suite.experiments.load import fetch_published, load_data, published_weights
from cqlib.suite.experiments.record import Record, undamaged_records
from cqlib.suite.experiments.run import run_experiment
from cqlib.suite.experiments.stages import fingerprint
from cqlib.util.checkpoint import CheckpointError
from cqlib.util.errors import StoppedEarly, UserError
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import columns

BITS, SHARE = 0.01, 0.01
"""How far a BPD may be off, in bits per dimension, and a Fréchet distance, as a share of the recorded one: published
weights are in half precision."""


@dataclass(frozen=True)
class Check:
    """The check of a run: each metric's name with its recorded and its measured value and the largest difference
    allowed, or the `problem` that prevented it."""

    run: str
    numbers: list[tuple[str, float, float, float]]
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the weights give the numbers of the record."""
        return bool(self.numbers) and not any(off(*number) for _, *number in self.numbers)


def off(recorded: float, measured: float, most: float) -> bool:
    """Whether two values differ by more than `most`; two infinite ones are equal."""
    return not math.isclose(measured, recorded, rel_tol=0.0, abs_tol=most)


def published(
    row: str | None = None, profile: str | None = None, data: str | None = None, seed: int | None = None
) -> list[Record]:
    """The records whose weights are published: of one row, profile, data set or seed, or of all. UserError where there
    are none."""
    records = [r for r in undamaged_records(PUBLISHED / "records") if published_weights(r.folder).is_file()]
    row = row and paper.canonical(row)
    found = [
        r for r in records
        if row in (None, r.row) and profile in (None, r.profile) and data in (None, r.data.name)
        and seed in (None, r.seed)
    ]  # fmt: skip
    if not found:
        raise UserError(f"no such weights are published; there are: {', '.join(r.folder for r in records) or 'none'}")
    return found


def verify(record: Record, runs_dir: Path, **options: Any) -> Check:
    """Evaluate a record's published weights in `runs_dir`, a folder with no other use, and compare; `options` as for
    `run_experiment`. Weights or images that are not the record's become the `problem`."""
    try:
        e = experiment_of(record)
        if e.config_hash != record.config_hash:
            raise UserError("the row's recipe has changed since the record was made")
        if fingerprint(load_data(e, options.get("data_dir"))) != record.data.fingerprint:
            raise UserError(f"the images of {record.data.name} are not those of the record")
        if not fetch_published(e, runs_dir, record.data.fingerprint):
            raise UserError("the weights are damaged, or not of the record's config, seed and images")
        metrics = run_experiment(e, runs_dir=runs_dir, **options).metrics
        limits = {name: most for name, metric in record.metrics.items() if (most := tolerance(name, metric.number))}
        if lacking := limits.keys() - metrics.keys():
            raise UserError(f"{', '.join(sorted(lacking))} cannot be measured here")
        numbers = [(name, record.metrics[name].number, metrics[name].number, most) for name, most in limits.items()]
        return Check(record.folder, numbers)
    except StoppedEarly:
        raise
    except (UserError, CheckpointError, OSError) as error:
        return Check(record.folder, [], str(error))


def tolerance(metric: str, recorded: float) -> float | None:
    """How far a metric may be from its recorded value; None for a metric that is not compared."""
    if metric in ("BPD", "BPD-IW"):
        return BITS
    return SHARE * recorded if score_of(metric) in QUANTITIES["fid"].names else None


def lines(check: Check) -> Iterator[str]:
    """A check in words."""
    yield f"{check.run}: {'as recorded' if check.passed else check.problem or 'not as recorded'}"
    cells = [
        (name, decimal(name, then, 4), decimal(name, now, 4), f"{most:.5g}", "off" if off(then, now, most) else "")
        for name, then, now, most in check.numbers
    ]
    if cells:
        yield from columns([("", "recorded", "measured", "may differ by", ""), *cells])
