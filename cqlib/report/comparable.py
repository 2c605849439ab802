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
    """How it was measured, without what a seed's best step was."""
    return BEST_STEP.sub("the best of the kept steps, chosen on training images", metric.protocol)


def measurement_key(run: Record, name: str) -> Measurement:
    """On which images, how many, and how; whatever the kind of a BPD is (exact, bound)."""
    metric = run.metrics[name]
    return run.data.split, metric.n, "" if name == "BPD" else protocol_key(metric)


def precision_key(run: Record) -> str:
    """Of the device, where the recipe leaves it to that; else empty."""
    by_device = run.setting("recipe", "training", "autocast") in (None, "auto")
    return run.device.rpartition(", ")[2] if by_device else ""


def kind(run: Record, name: str) -> Kind:
    """What runs share whose `name` can be compared: how it was measured, and the precision."""
    return measurement_key(run, name), precision_key(run)


def largest_comparable(runs: Sequence[Record], *names: str) -> list[Record]:
    """Those of one row's runs that have metrics `names` and measured all of them alike: of such, the most."""
    have = [run for run in runs if run.metrics.keys() >= {*names}]
    kinds = [[kind(run, name) for name in names] for run in have]
    most = max(kinds, key=kinds.count, default=None)
    return [run for run, its in zip(have, kinds, strict=True) if its == most]


def of_kind(runs: Sequence[Record], name: str, wanted: Kind) -> list[Record]:
    """Those of `runs` whose `name` can be compared with that of a run of the kind `wanted`; where a recipe asks for its
    precision, it may be another."""
    measured, precision = wanted
    return [run for run in runs if measurement_key(run, name) == measured and precision_key(run) in (precision, "")]
