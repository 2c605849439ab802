"""Verdicts on numbers: is the paper's number reproduced by our runs, and if none can tell, what differs?

Also how records are found for a row and a metric, which the verdicts on claims share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cqlib.experiments.paper import CLOSE, DATA_SETS, TOLERANCES, Number, canonical
from cqlib.experiments.record import Record
from cqlib.metrics.protocols import UNKNOWN_WEIGHTS

NUMBER_LABELS = ("reproduced", "close", "not reproduced", "not comparable", "not run")
TEMPERATURES = (1.0, 0.0)
PROFILE = "paper"  # the only profile whose recipe and data are the paper's
MIN_SAMPLES = 10_000  # samples (or the whole test split) below which IS and FID are another, biased quantity


@dataclass(frozen=True)
class Verdict:
    """The label of a paper number and why; `measured` is the mean over `n_seeds` runs.

    `difference` is measured minus published: in bits per dimension, or in percent of the published score.
    Both are None unless the runs are comparable. `metric_name` is the name under which the records carry
    it.
    """

    label: str
    reason: str
    measured: float | None = None
    difference: float | None = None
    n_seeds: int = 0
    metric_name: str = ""


def compare(number: Number, records: Record | Iterable[Record], *, temperature: float = 1.0) -> Verdict:
    """Compare a number of the paper with finished runs of its row, averaged over seeds.

    Only a run of profile "paper" on the paper's data at its size, scored on held-out images, with Inception
    features and at least 10,000 samples, is comparable; the reason names what differs: data, training set,
    profile, features or protocol. Records of other rows are passed over. `temperature` picks the samples
    for IS and FID. ValueError when one seed stands twice among the comparable runs.
    """
    if number.value is None:
        return Verdict("not comparable", "the slides print no number here")
    given = [records] if isinstance(records, Record) else list(records)
    runs = [record for record in given if canonical(record.row) == canonical(number.row)]
    done = [record for record in runs if record.status == "done"]
    if not done:
        ends = ", ".join(sorted({record.status for record in runs}))
        return Verdict("not run", f"no finished run: {ends}" if ends else "no run")
    names = metric_names(number.metric, temperature if number.metric in ("is", "fid") else None)
    measured = [record for record in done if any(name in record.metrics for name in names)]
    if not measured:
        return Verdict("not run", f"no finished run has measured {names[0]}")
    differing = [(record, _differences(number, record, names)) for record in measured]
    runs = list(done_by_seed(number.row, (record for record, found in differing if not found)).values())
    if not runs:
        fewest = min((found for _, found in differing), key=len)
        return Verdict("not comparable", "other " + ", other ".join(fewest))
    return _judge(number, [record.metrics[names[0]].value for record in runs], names[0])


def _judge(number: Number, values: list[float], name: str) -> Verdict:
    mean = sum(values) / len(values)
    unit = "bpd" if number.metric == "bpd" else "%"
    difference = mean - number.value
    if unit == "%":
        difference *= 100 / number.value
    tolerance = TOLERANCES[number.metric]
    steps = round(abs(difference) / tolerance, 9)  # so that 3.95 against 3.90 is exactly one tolerance
    label = "reproduced" if steps <= 1 else "close" if steps <= CLOSE else "not reproduced"
    seeds = "1 run" if len(values) == 1 else f"mean of {len(values)} runs"
    reason = f"{seeds}: {difference:+.2f} {unit} from the paper's {number.text} (tolerance {tolerance:g})"
    return Verdict(label, reason, mean, difference, len(values), name)


def _differences(number: Number, record: Record, names: tuple[str, ...]) -> list[str]:
    """What keeps `record` from being comparable with `number`, as "data (photos10)"; empty: nothing."""
    found = []
    paper, data = DATA_SETS[number.data], record.data
    if data.name != number.data:
        found.append(f"data ({data.name}, not {paper.label})")
    elif data.shape[-3:] != paper.shape:
        found.append(f"data (images of {_size(data.shape[-3:])}, not {_size(paper.shape)})")
    else:
        n_train = record.config.get("n_train")
        if isinstance(n_train, int) and paper.n_train and n_train != paper.n_train:
            found.append(f"training set ({n_train:,} images, not {paper.n_train:,})")
    if record.profile != PROFILE:
        found.append(f"profile ({record.profile}, not {PROFILE})")
    if names[0] not in record.metrics:
        return [*found, "features (lite0, not Inception)"]
    if UNKNOWN_WEIGHTS in record.metrics[names[0]].protocol:
        found.append(f"features ({UNKNOWN_WEIGHTS}, not torch-fidelity's)")
    n = record.metrics[names[0]].n
    if data.split != "test":
        found.append(f"protocol (measured on the {data.split} split, not on held-out images)")
    elif number.metric == "bpd" and paper.n_test and data.name == number.data and n != paper.n_test:
        found.append(f"protocol ({n:,} test images, not {paper.n_test:,})")
    elif number.metric != "bpd" and n < (least := min(MIN_SAMPLES, paper.n_test or MIN_SAMPLES)):
        found.append(f"protocol ({n:,} samples, fewer than {least:,})")
    return found


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def metric_names(metric: str, temperature: float | None) -> tuple[str, ...]:
    """Names under which records carry `metric`, the paper's features first: ("FID@T1", "FD-lite0@T1").

    ValueError unless `temperature` is 0 or 1 for "is" and "fid", and None for "bpd" and "seconds".
    """
    if metric in ("bpd", "seconds"):
        if temperature is not None:
            raise ValueError(f"'{metric}' has no temperature")
        return ("BPD",) if metric == "bpd" else ("seconds",)
    if metric not in ("is", "fid") or temperature not in TEMPERATURES:
        raise ValueError(f"no metric '{metric}' at temperature {temperature}")
    names = ("IS", "IS-lite0") if metric == "is" else ("FID", "FD-lite0")
    return tuple(f"{name}@T{temperature:.0f}" for name in names)


def done_by_seed(row: str, records: Iterable[Record]) -> dict[int, Record]:
    """The finished records of `row` (or of the same model under another id) by seed, in the order of seeds.

    ValueError when a seed stands twice: the caller chooses between overlapping sets.
    """
    runs: dict[int, Record] = {}
    for record in records:
        if record.status == "done" and canonical(record.row) == canonical(row):
            if record.seed in runs:
                raise ValueError(f"two records of {row} on {record.data.name} with seed {record.seed}")
            runs[record.seed] = record
    return dict(sorted(runs.items()))
