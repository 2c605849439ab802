"""Which runs may be averaged and compared: those that measured a score on the same images, by one protocol and in one
precision."""

import re
from collections.abc import Sequence

from cqlib.experiments.record import Record
from cqlib.metrics.metric import Metric

BEST_STEP = re.compile(r"step [\d,]+ of [\d,]+, chosen on training images \([^)]*\)")


def protocol_key(metric: Metric) -> str:
    """How it was measured, without what a seed's best step was."""
    return BEST_STEP.sub("the best of the kept steps, chosen on training images", metric.protocol)


def measurement_key(run: Record, name: str) -> tuple[str, int, str]:
    """On which images, how many, and how; whatever the kind of a BPD is (exact, bound)."""
    metric = run.metrics[name]
    return run.data.split, metric.n, "" if name == "BPD" else protocol_key(metric)


def precision_key(run: Record) -> str:
    """Of the device, where the recipe leaves it to that; else empty."""
    chosen = run.setting("recipe", "training", "autocast") in (None, "auto")
    return run.device.rpartition(", ")[2] if chosen else ""


def largest_comparable(runs: Sequence[Record], *names: str) -> list[Record]:
    """Those of one row's runs that have metrics `names` and measured all of them alike: of such, the most."""
    have = [run for run in runs if run.metrics.keys() >= {*names}]
    kinds = [([measurement_key(run, name) for name in names], precision_key(run)) for run in have]
    return [run for run, kind in zip(have, kinds, strict=True) if kind == max(kinds, key=kinds.count)]


def to(run: Record, others: Sequence[Record], name: str) -> list[Record]:
    """Those of `others` that measured `name` like `run`; one whose recipe asks for its precision compares with any."""
    wanted, precision = measurement_key(run, name), precision_key(run)
    alike = (other for other in others if measurement_key(other, name) == wanted)
    return [other for other in alike if precision_key(other) in (precision, "")]
