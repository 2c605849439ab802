"""Records as one table for other programs."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from cqlib.experiments.record import Record
from cqlib.util.files import write_atomic

COLUMNS = ("from", "row", "changes", "data", "profile", "seed", "metric", "value", "std", "n", "protocol", "status",
           "steps", "seconds", "device", "commit", "dirty", "config_hash", "finished")  # fmt: skip


def write_csv(file: Path, records: Mapping[str, Iterable[Record]]) -> int:
    """A line per record and metric, of records by where they come from; how many lines."""
    lines = [
        (place, r.row, " ".join(f"{path}={value}" for path, value in r.changes.items()), r.data.name, r.profile, r.seed,
         name, metric.value, metric.std, metric.n, metric.protocol, r.status, r.steps, r.seconds, r.device,
         r.git.commit, r.git.dirty, r.config_hash, r.finished)
        for place, found in records.items() for r in found for name, metric in r.metrics.items()
    ]  # fmt: skip
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines])
    write_atomic(file, text.getvalue())
    return len(lines)
