"""Is a number of the paper reproduced, by runs of its recipe on its data?"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments.paper import CLOSE, DATA_SETS, ROWS, TOLERANCES, PaperNumber, canonical
from cqlib.suite.experiments.record import Record
from cqlib.suite.report.run_sets import RunSet
from cqlib.util.text import count_of

COMPARABLE = {"reproduced": "good", "close": "good", "not reproduced": "bad"}
"""Label of a number that can be compared with the paper's -> the tone in which it is shown."""
NUMBER_LABELS = (*COMPARABLE, "not comparable", "not run")
MIN_SAMPLES = 10_000  # with fewer samples (where the test set has more images) IS and FID are biased


class NumberVerdict(NamedTuple):
    """The label of a number of the paper and why; only comparable ones have a reason."""

    label: str
    reason: str = ""


def number_verdict(number: PaperNumber, runs: Sequence[Record]) -> NumberVerdict:
    """Compare a number of the paper with runs of its row, one record per seed: with the mean over those that are
    comparable."""
    if number.value is None:
        return NumberVerdict("not comparable")
    quantity = QUANTITIES[number.metric]
    done = [run for run in runs if run.done and not run.metrics.keys().isdisjoint(quantity.names)]
    values = [run.metrics[quantity.name].number for run in done if is_comparable(number, run)]
    if not values:
        return NumberVerdict("not comparable" if done else "not run")
    unit = "bpd" if number.metric == "bpd" else "%"
    difference = (statistics.fmean(values) - number.value) * (1 if unit == "bpd" else 100 / number.value)
    tolerance = TOLERANCES[number.metric]
    steps = round(abs(difference) / tolerance, 9)  # so that 3.95 against 3.90 is exactly one tolerance
    label = "reproduced" if steps <= 1 else "close" if steps <= CLOSE else "not reproduced"
    distance = f"{difference:+.2f} {unit} from the paper's {number.text} (tolerance {tolerance:g})"
    return NumberVerdict(label, f"mean of {count_of(len(values), 'run')}: {distance}")


def is_comparable(number: PaperNumber, run: Record) -> bool:
    """Whether a run can reproduce a number of the paper: by the recipe of profile "paper" on the paper's data, whole
    and at its size, scored on held-out images, with Inception features and at least 10,000 samples."""
    data, metric = DATA_SETS[number.data], run.metrics.get(QUANTITIES[number.metric].name)
    if metric is None or run.profile != "paper" or run.changes:
        return False
    if (run.data.name, run.data.shape[-3:], run.data.split) != (number.data, data.shape, "test"):
        return False
    if run.n_train is not None and data.n_train and run.n_train != data.n_train:
        return False
    least = data.n_test if number.metric == "bpd" else min(MIN_SAMPLES, data.n_test or MIN_SAMPLES)
    return metric.n >= (least or 0)


def count_numbers(sets: Sequence[RunSet]) -> dict[str, int]:
    """Label -> how many of the paper's numbers have it, each by its best verdict over all run sets; a number of one
    model that is printed twice counts once."""
    printed = {(canonical(row.id), number.data, number.metric): number
               for row in ROWS.values() for number in row.numbers if number.value is not None}  # fmt: skip
    counts = dict.fromkeys(NUMBER_LABELS, 0)
    for number in printed.values():
        labels = (number_verdict(number, runs.records_of(number.row)).label for runs in sets)
        counts[min(labels, key=NUMBER_LABELS.index, default="not run")] += 1
    return counts
