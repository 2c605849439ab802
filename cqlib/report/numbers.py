"""Is a number of the paper reproduced, by runs of its recipe on its data?"""

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cqlib.experiments.paper import CLOSE, DATA_SETS, ROWS, TOLERANCES, PaperNumber, canonical
from cqlib.experiments.record import Record
from cqlib.experiments.variants import in_words
from cqlib.metrics.quantities import metric_names
from cqlib.report.run_sets import RunSet
from cqlib.util.text import count_of

COMPARABLE = {"reproduced": "good", "close": "good", "not reproduced": "bad"}
"""Label of a number that can be set against the paper's -> the tone in which it is shown."""
NUMBER_LABELS = (*COMPARABLE, "not comparable", "not run")
MIN_SAMPLES = 10_000  # samples (or the whole test split) below which IS and FID are another, biased quantity


class NumberVerdict(NamedTuple):
    """The label of a paper number and why."""

    label: str
    reason: str


def number_verdict(number: PaperNumber, runs: Sequence[Record]) -> NumberVerdict:
    """Compare a number of the paper with runs of its row, one record per seed, averaged over those that are comparable
    with it: of the recipe of profile "paper", on the paper's data at its size, scored on held-out images, with
    Inception features and at least 10,000 samples. Else the reason names what differs."""
    if number.value is None:
        return NumberVerdict("not comparable", "the slides print no number here")
    name, *others = metric_names(number.metric)
    done = [record for record in runs if record.done and not record.metrics.keys().isdisjoint((name, *others))]
    if not done:
        return NumberVerdict("not run", f"no finished run has measured {name}")
    differences = [list(_differences(number, record, name)) for record in done]
    if fewest := min(differences, key=len):
        return NumberVerdict("not comparable", "other " + ", other ".join(fewest))
    equal = [run.metrics[name].value for run, unequal in zip(done, differences, strict=True) if not unequal]
    unit = "bpd" if number.metric == "bpd" else "%"
    difference = (statistics.fmean(equal) - number.value) * (1 if unit == "bpd" else 100 / number.value)
    tolerance = TOLERANCES[number.metric]
    steps = round(abs(difference) / tolerance, 9)  # so that 3.95 against 3.90 is exactly one tolerance
    label = "reproduced" if steps <= 1 else "close" if steps <= CLOSE else "not reproduced"
    distance = f"{difference:+.2f} {unit} from the paper's {number.text} (tolerance {tolerance:g})"
    return NumberVerdict(label, f"mean of {count_of(len(equal), 'run')}: {distance}")


def count_numbers(sets: Sequence[RunSet]) -> dict[str, int]:
    """Label -> how many of the paper's numbers have it, each by its best verdict over all run sets; a number of one
    model that is printed twice counts once."""
    printed = {(canonical(row.id), number.data, number.metric): number
               for row in ROWS.values() for number in row.numbers if number.value is not None}  # fmt: skip
    counts = dict.fromkeys(NUMBER_LABELS, 0)
    for number in printed.values():
        verdicts = [number_verdict(number, runs.records_of(number.row)) for runs in sets]
        counts[min((v.label for v in verdicts), key=NUMBER_LABELS.index, default="not run")] += 1
    return counts


def _differences(number: PaperNumber, record: Record, name: str) -> Iterator[str]:
    """What keeps `record` from being comparable with `number`, as "data (photos10, not CIFAR-10)"."""
    paper, data, metric = DATA_SETS[number.data], record.data, record.metrics.get(name)
    if data.name != number.data:
        yield f"data ({data.name}, not {paper.label})"
    elif data.shape[-3:] != paper.shape:
        size, papers_size = ("x".join(map(str, shape)) for shape in (data.shape[-3:], paper.shape))
        yield f"data (images of {size}, not {papers_size})"
    elif record.n_train is not None and paper.n_train and record.n_train != paper.n_train:
        yield f"training set ({record.n_train:,} images, not {paper.n_train:,})"
    if record.profile != "paper":
        yield f"profile ({record.profile}, not paper)"
    if record.changes:
        yield f"recipe ({in_words(record.changes)})"
    least = paper.n_test if number.metric == "bpd" else min(MIN_SAMPLES, paper.n_test or MIN_SAMPLES)
    if metric is None:
        yield "features (lite0, not Inception)"
    elif data.split != "test":
        yield f"protocol (measured on the {data.split} split, not on held-out images)"
    elif data.name == number.data and least and metric.n < least:
        yield f"protocol ({metric.n:,} images, fewer than {least:,})"
