"""Published weights, measured anew and held against their records: what was recorded, what came out, a receipt."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cqlib.experiments import paper
from cqlib.experiments.experiment import experiment_of
from cqlib.experiments.load import fetch_published, load_data, published_weights, weight_files
from cqlib.experiments.record import Record, undamaged_records
from cqlib.experiments.run import run_experiment
from cqlib.experiments.stages import fingerprint
from cqlib.metrics.quantities import QUANTITIES, decimal, score_of
from cqlib.training.device import select_device
from cqlib.util import provenance
from cqlib.util.checkpoint import CheckpointError, load_checkpoint
from cqlib.util.errors import StoppedEarly, UserError
from cqlib.util.files import sha256
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import columns, duration, signed, without_paths

BITS, SHARE = 0.01, 0.01
"""How far a BPD may be off, in bits per dimension, and a Fréchet distance, as a share of the recorded one: published
weights are in half precision."""


@dataclass(frozen=True)
class MetricCheck:
    """A metric as it is in the record, as it was measured now, and the largest difference allowed."""

    metric: str
    recorded: float
    measured: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the two differ by at most `allowed`."""
        return abs(self.measured - self.recorded) <= self.allowed


@dataclass(frozen=True)
class Check:
    """The check of a run whose weights are published: their files with SHA-256 hashes, the metrics compared with the
    record, or else the `problem` that prevented it, and the `seconds` that it took."""

    run: str
    weights: dict[str, str]
    numbers: tuple[MetricCheck, ...]
    problem: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the weights are whole, those of the record, and give its numbers."""
        return bool(self.numbers) and all(number.passed for number in self.numbers)


def published(
    row: str | None = None, profile: str | None = None, data: str | None = None, seed: int | None = None
) -> list[Record]:
    """The records whose weights are published: of one row, profile, data set or seed, or of all. UserError where there
    are none."""
    records = undamaged_records(PUBLISHED / "records")
    with_weights = [record for record in records if published_weights(record.folder).is_file()]
    wanted = (row and paper.canonical(row), profile, data, seed)
    found = [r for r in with_weights if all(one in (None, own) for one, own in
             zip(wanted, (r.row, r.profile, r.data.name, r.seed), strict=True))]  # fmt: skip
    if not found:
        names = ", ".join(record.folder for record in with_weights) or "none"
        which = ", ".join(filter(None, (row, profile, data, None if seed is None else f"seed {seed}")))
        raise UserError(f"no weights{f' of {which}' * bool(which)} are published; there are: {names}")
    return found


def verify(record: Record, runs_dir: Path, **options: Any) -> Check:
    """Measure a record's published weights in `runs_dir`, a folder with no other use, and compare; `options` as for
    `run_experiment`. UserError, CheckpointError and OSError become the `problem`; StoppedEarly is raised."""
    clock = time.monotonic()
    numbers, problem = [], ""
    try:
        numbers = list(_measured(record, runs_dir, **options))
    except StoppedEarly:
        raise
    except (UserError, CheckpointError, OSError) as error:
        problem = without_paths(str(error))
    files = sorted((PUBLISHED / "models").glob(f"{record.folder}.*"))
    hashes = {file.name: sha256(file.read_bytes()) for file in files}
    return Check(record.folder, hashes, tuple(numbers), problem, round(time.monotonic() - clock, 1))


def _measured(record: Record, runs_dir: Path, **options: Any) -> Iterator[MetricCheck]:
    e = experiment_of(record)
    if e.config_hash != record.config_hash:
        raise UserError("the row's recipe is another one today than in the record")
    if fingerprint(load_data(e, options.get("data_dir"))) != record.data.fingerprint:
        raise UserError(f"{record.data.name} has other images here than in the record")
    if not fetch_published(e, runs_dir, record.data.fingerprint):
        for file in weight_files(e):
            load_checkpoint(published_weights(e.folder, file))  # tells what is wrong with a file
        raise UserError("the weights are those of another run: its config, seed or images are not the record's")
    metrics = run_experiment(e, runs_dir=runs_dir, **options).metrics
    for name, metric in record.metrics.items():
        if (most := allowed(name, metric.value)) is not None:
            if name not in metrics:
                raise UserError(f"{name} cannot be measured here")
            yield MetricCheck(name, metric.value, metrics[name].value, most)


def allowed(metric: str, recorded: float) -> float | None:
    """How far a metric may be from its recorded value; None for a metric that is not compared."""
    if metric in ("BPD", "BPD-IW"):
        return BITS
    return SHARE * recorded if score_of(metric) in QUANTITIES["fid"].names else None


def lines(check: Check) -> Iterator[str]:
    """A check in words."""
    came_out = "as recorded" if check.passed else check.problem or "not as recorded"
    yield f"{check.run}: {came_out} ({duration(check.seconds)})"
    cells = [
        (n.metric, decimal(n.metric, n.recorded, 4), decimal(n.metric, n.measured, 4),
         signed(n.measured - n.recorded, 5), f"{n.allowed:.5g}", "" if n.passed else "off")
        for n in check.numbers
    ]  # fmt: skip
    yield from columns([("", "recorded", "measured", "difference", "allowed", ""), *cells] if cells else [])


def receipt(checks: Sequence[Check], total: int) -> dict[str, Any]:
    """All checks as plain JSON, with the code and the machine that made them. It has "passed" once all of the `total`
    runs have been checked and have passed."""
    device = select_device()
    return {
        "passed": len(checks) == total and all(check.passed for check in checks),
        "of": total,
        "finished": provenance.now(),
        "device": provenance.hardware_name(device),
        "git": vars(provenance.git_info()),
        "versions": provenance.versions(),
        "runs": [{"passed": check.passed, **asdict(check)} for check in checks],
    }
