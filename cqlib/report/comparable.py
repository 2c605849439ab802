"""Which runs may be averaged and compared: those that measured a score on the same images, by one protocol and in one
precision."""

import re
from collections.abc import Sequence

from cqlib.experiments.record import Record
from cqlib.metrics.metric import Metric

Measurement = tuple[str, int, str]
"""Split, number of images, protocol."""
Kind = tuple[Measurement, str]
"""How a score was measured, and the precision of the run."""
BEST_STEP = re.compile(r"step [\d,]+ of [\d,]+, chosen on training images \([^)]*\)")


def protocol_key(metric: Metric) -> str:
    """The protocol of `metric`, without the number of the step that was this seed's best."""
    return BEST_STEP.sub("the best of the kept steps, chosen on training images", metric.protocol)


def measurement_key(run: Record, name: str) -> Measurement:
    """How `run` measured metric `name`: split, number of images, protocol. For BPD the protocol is left empty, so that
    exact values and bounds compare."""
    metric = run.metrics[name]
    return run.data.split, metric.n, "" if name == "BPD" else protocol_key(metric)


def precision_key(run: Record) -> str:
    """The record's precision where the recipe leaves it to the device; empty where the recipe fixes it."""
    by_device = run.setting("recipe", "training", "autocast") in (None, "auto")
    return run.precision if by_device else ""


def kind(run: Record, name: str) -> Kind:
    """How `run` measured metric `name`, and its precision: runs for which this is equal can be compared in `name`."""
    return measurement_key(run, name), precision_key(run)


def largest_comparable(runs: Sequence[Record], *names: str) -> list[Record]:
    """The largest group of `runs`, all of one row, that have the metrics `names` and measured all of them alike."""
    have = [run for run in runs if run.metrics.keys() >= {*names}]
    kinds = [[kind(run, name) for name in names] for run in have]
    most = max(kinds, key=kinds.count, default=None)
    return [run for run, its in zip(have, kinds, strict=True) if its == most]


def of_kind(runs: Sequence[Record], name: str, wanted: Kind) -> list[Record]:
    """Those of `runs` that measured metric `name` as the kind `wanted` says, in its precision or in one that their
    recipe fixes."""
    measured, precision = wanted
    return [run for run in runs if measurement_key(run, name) == measured and precision_key(run) in (precision, "")]
