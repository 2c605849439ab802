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
PROFILE = "paper"  # the only profile whose recipe and data are the paper's
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
    done = [record for record in runs if record.done]
    if not done:
        endings = ", ".join(sorted({record.ending for record in runs}))
        return NumberVerdict("not run", f"no run ended: {endings}" if endings else "no run")
    names = metric_names(number.metric)
    measured = [record for record in done if any(name in record.metrics for name in names)]
    if not measured:
        return NumberVerdict("not run", f"no finished run has measured {names[0]}")
    differences = [list(_differences(number, record, names[0])) for record in measured]
    if fewest := min(differences, key=len):
        return NumberVerdict("not comparable", "other " + ", other ".join(fewest))
    equal = [run for run, unequal in zip(measured, differences, strict=True) if not unequal]
    mean = statistics.fmean(run.metrics[names[0]].value for run in equal)
    unit = "bpd" if number.metric == "bpd" else "%"
    difference = (mean - number.value) * (1 if unit == "bpd" else 100 / number.value)
    tolerance = TOLERANCES[number.metric]
    steps = round(abs(difference) / tolerance, 9)  # so that 3.95 against 3.90 is exactly one tolerance
    label = "reproduced" if steps <= 1 else "close" if steps <= CLOSE else "not reproduced"
    runs_in_words = f"{'mean of ' * (len(equal) > 1)}{count_of(len(equal), 'run')}"
    distance = f"{difference:+.2f} {unit} from the paper's {number.text}"
    return NumberVerdict(label, f"{runs_in_words}: {distance} (tolerance {tolerance:g})")


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
    """What keeps `record` from being comparable with `number`, as "data (photos10)"."""
    paper, data = DATA_SETS[number.data], record.data
    size, papers_size = ("x".join(map(str, shape)) for shape in (data.shape[-3:], paper.shape))
    if data.name != number.data:
        yield f"data ({data.name}, not {paper.label})"
    elif size != papers_size:
        yield f"data (images of {size}, not {papers_size})"
    elif record.n_train is not None and paper.n_train and record.n_train != paper.n_train:
        yield f"training set ({record.n_train:,} images, not {paper.n_train:,})"
    if record.profile != PROFILE:
        yield f"profile ({record.profile}, not {PROFILE})"
    if record.changes:
        yield f"recipe ({in_words(record.changes)})"
    if name not in record.metrics:
        yield "features (lite0, not Inception)"
        return
    if record.metrics[name].protocol.weights:
        yield "features (unknown weights, not torch-fidelity's)"
    n = record.metrics[name].n
    if data.split != "test":
        yield f"protocol (measured on the {data.split} split, not on held-out images)"
    elif number.metric == "bpd" and paper.n_test and data.name == number.data and n != paper.n_test:
        yield f"protocol ({n:,} test images, not {paper.n_test:,})"
    elif number.metric != "bpd" and n < (least := min(MIN_SAMPLES, paper.n_test or MIN_SAMPLES)):
        yield f"protocol ({n:,} samples, fewer than {least:,})"
