"""Verdicts: does a claim of the paper hold in our runs, at whatever scale, and is a number of the paper reproduced, by
runs of its recipe on its data?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from cqlib.experiments.claims import Claim, applies
from cqlib.experiments.paper import CLOSE, DATA_SETS, TOLERANCES, Number
from cqlib.experiments.record import Record
from cqlib.metrics.protocols import UNKNOWN_WEIGHTS
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report.run_sets import ORIGINS, RunSet, mean_of
from cqlib.util.text import counted, named, signed

NUMBER_LABELS = ("reproduced", "close", "not reproduced", "not comparable", "not run")
DIGITS = {"bpd": 2, "%": 1}
"""Decimals of an effect in that unit."""
RESAMPLES = 2_000
CONFIDENCE = 0.95
PROFILE = "paper"  # the only profile whose recipe and data are the paper's
MIN_SAMPLES = 10_000  # samples (or the whole test split) below which IS and FID are another, biased quantity

Pair = tuple[Record, Record]


def temperatures(metric: str) -> tuple[float | None, ...]:
    """The temperatures at which a claim or number of `metric` is tested: 1 and 0 for scores of samples, else None."""
    return (1.0, 0.0) if QUANTITIES[metric].how else (None,)


def metric_names(metric: str, temperature: float | None) -> tuple[str, ...]:
    """Names of `metric` in records, the paper's features first: ("FID@T1", "FD-lite0@T1"). ValueError for another T."""
    if temperature not in temperatures(metric):
        raise ValueError(f"no metric '{metric}' at temperature {temperature}")
    quantity = QUANTITIES[metric]
    if temperature is None:
        return (quantity.name,)
    return tuple(f"{name}@T{temperature:.0f}" for name in (quantity.name, quantity.lite0))


@dataclass(frozen=True)
class ClaimResult:
    """A claim tested on `runs`: `effect`, 95 % interval in `claim.unit`, positive as claimed; `direction` "as claimed",
    "contrary" or ""; `missing_kind`: what it lacks to be run, 0 a comparable pair, 1 or 2 rows, 3 its data."""

    claim: Claim
    runs: RunSet
    label: str
    reason: str
    temperature: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: tuple[int, ...] = ()
    unpaired_seeds: tuple[int, ...] = ()
    metric_name: str = ""
    direction: str = ""
    missing_kind: int = 0

    @property
    def verdict(self) -> str:
        """The label; of one seed with its direction, "seen once, as claimed"."""
        return f"{self.label}, {self.direction}" if self.label == "seen once" else self.label

    @property
    def at(self) -> str:
        """ "T = 1"; empty for BPD, which has no temperature."""
        return "" if self.temperature is None else f"T = {self.temperature:g}"

    @property
    def text(self) -> str:
        """ "−0.30 bpd [−0.45, −0.15]": effect and interval; empty where there is no effect."""
        places = DIGITS[self.claim.unit]
        text = "" if self.effect is None else effect_text(self.effect, self.claim.unit)
        if self.low is None or self.high is None:
            return text
        return f"{text} [{signed(self.low, places)}, {signed(self.high, places)}]"

    @property
    def score(self) -> str:
        """ "FD-lite0": a score that is not FID says so."""
        return self.metric_name.partition("@")[0]

    @property
    def source(self) -> str:
        """ "published, 5 seeds", and the seeds that are left out."""
        left_out = f"; without a comparable partner: {named('seed', self.unpaired_seeds)}" * bool(self.unpaired_seeds)
        return f"{ORIGINS[self.runs.origin].lower()}, {counted(len(self.seeds), 'seed')}{left_out}"


def effect_text(effect: float, unit: str) -> str:
    """ "+0.85 bpd" or "−12.3 %"."""
    return f"{signed(effect, DIGITS[unit])} {unit}"


def claim_result(claim: Claim, runs: RunSet, temperature: float | None = None) -> ClaimResult:
    """Test `claim` on a run set, scores of samples at `temperature` (ValueError where the metric has no such).

    Runs of the two rows pair by seed; a pair counts when both are done, measured on the same images with the same
    protocol (for BPD it may differ in its kind: exact, bound), and ran in the same precision unless their recipes ask
    for different ones. Two pairs or more get `judge`'s label on the t interval; one is "seen once", with a bootstrap
    over test images for BPD.
    """
    names = metric_names(claim.metric, temperature)
    result = partial(ClaimResult, claim, runs, temperature=temperature)
    if not applies(claim, runs.data):
        labels = [DATA_SETS[data].label if data in DATA_SETS else data for data in (claim.data, runs.data)]
        return result("not run", f"claimed for {labels[0]}, not for {labels[1]}", missing_kind=3)
    if missing := [row for row in (claim.row_a, claim.row_b) if not runs.done(row)]:
        return result("not run", f"no finished run of {' and '.join(missing)}", missing_kind=len(missing))
    name, pairs = _pairs(claim, runs, names)
    if not pairs:
        return result("not run", f"no two runs of one seed have {names[-1]} on the same images, in the same precision "
                                 "and by the same protocol")  # fmt: skip

    a, b = (np.array([record.metrics[name].value for record in side]) for side in zip(*pairs, strict=True))
    seeds = tuple(record.seed for record, _ in pairs)
    all_seeds = {record.seed for row in (claim.row_a, claim.row_b) for record in runs.done(row)}
    unpaired = tuple(sorted(all_seeds - {*seeds}))
    tested: dict[str, Any] = {"seeds": seeds, "unpaired_seeds": unpaired, "metric_name": name}
    if claim.unit == "%" and b.mean() <= 0:
        return result("undecided", f"{name} of {claim.row_b} is not positive: no percentages", **tested)
    effects = np.array([claim.effect(x, y, b.mean()) for x, y in zip(a, b, strict=True)])
    effect, margin = float(effects.mean()), QUANTITIES[claim.metric].equal
    as_claimed = abs(effect) <= margin if claim.kind == "equal" else effect > 0
    tested |= {"effect": effect, "direction": "as claimed" if as_claimed else "contrary"}
    if len(pairs) == 1:
        low, high = _bootstrap(claim, *pairs[0], name, effect)
        return result("seen once", f"one seed, {tested['direction']}", low=low, high=high, **tested)
    low, high = t_interval(effects)
    label, reason = judge(claim.kind, low, high, margin)
    left_out = f"; left out, without a comparable partner: seed {', '.join(map(str, unpaired))}" if unpaired else ""
    return result(label, f"{len(pairs)} seeds: the interval {reason}{left_out}", low=low, high=high, **tested)


def judge(kind: str, low: float, high: float, margin: float) -> tuple[str, str]:
    """The label of an interval [low, high] of oriented effects, and why ("lies above 0").

    For a directional claim ("lower", "higher", "cost") an interval above 0 *holds* and one below 0 *does not hold*,
    however small the effect. One that contains 0 is *equal* inside [-margin, margin], else *undecided*. An "equal"
    claim *holds* inside the margin, *does not hold* wholly outside, else is *undecided*.
    """
    inside = -margin <= low and high <= margin
    if kind == "equal":
        if inside:
            return "holds", "lies within the margin of equality"
        if low > margin or high < -margin:
            return "does not hold", "lies outside the margin of equality"
        return "undecided", "crosses the margin of equality"
    small = ", within the margin of equality" if inside else ""
    if low > 0:
        return "holds", f"lies above 0{small}"
    if high < 0:
        return "does not hold", f"lies below 0{small}"
    return ("equal", f"contains 0{small}") if inside else ("undecided", "contains 0 and exceeds the margin")


def t_interval(effects: np.ndarray) -> tuple[float, float]:
    """95 % Student-t interval of the mean of paired effects, n >= 2; two or three seeds give a wide one."""
    mean, error = effects.mean(), effects.std(ddof=1) / np.sqrt(len(effects))
    half = error * stdtrit(len(effects) - 1, (1 + CONFIDENCE) / 2)
    return float(mean - half), float(mean + half)


def bootstrap_interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the mean of paired per-image differences, 2,000 seeded resamples."""
    picks = np.random.default_rng(0).integers(len(differences), size=(RESAMPLES, len(differences)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences[picks].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def _pairs(claim: Claim, runs: RunSet, names: tuple[str, ...]) -> tuple[str, list[Pair]]:
    """Which of `names` most comparable pairs carry (the first of equals), and those pairs in the order of seeds. The
    words of a protocol may name the seed; of pairs on different numbers of images the largest group is taken."""
    runs_a, runs_b = ({record.seed: record for record in runs.done(row)} for row in (claim.row_a, claim.row_b))
    best: tuple[str, list[Pair]] = "", []
    for name in names:
        groups: dict[tuple[str, int], list[Pair]] = {}
        for pair in ((runs_a[seed], runs_b[seed]) for seed in runs_a if seed in runs_b):
            if all(name in record.metrics for record in pair) and not _mixed_precision(*pair):
                images, others = ((record.data.split, record.metrics[name].n) for record in pair)
                protocols = {record.metrics[name].protocol for record in pair}
                if images == others and (name == "BPD" or len(protocols) == 1):
                    groups.setdefault(images, []).append(pair)
        largest = max(groups.values(), key=len, default=[])
        best = max(best, (name, largest), key=lambda pairs: len(pairs[1]))
    return best


def _mixed_precision(a: Record, b: Record) -> bool:
    """Whether one ran in bf16 and the other in fp32 though both recipes leave that to the device."""
    training = (record.config.get("recipe", {}).get("training", {}) for record in (a, b))
    left_open = all(config.get("autocast", "auto") == "auto" for config in training)
    return left_open and a.device.rpartition(", ")[2] != b.device.rpartition(", ")[2]


def _bootstrap(claim: Claim, a: Record, b: Record, name: str, effect: float) -> tuple[float, float] | tuple[None, None]:
    """One seed's interval for BPD, moved to lie about `effect`, as records hold the values of some test images alone;
    (None, None) without any."""
    first, second = a.per_image.get(name), b.per_image.get(name)
    if claim.metric != "bpd" or not first or not second or len(first) != len(second):
        return None, None
    differences = np.array([claim.effect(x, y) for x, y in zip(first, second, strict=True)])
    low, high = bootstrap_interval(differences)
    shift = effect - float(differences.mean())
    return low + shift, high + shift


class NumberVerdict(NamedTuple):
    """The label of a paper number and why."""

    label: str
    reason: str


def compare(number: Number, runs: Sequence[Record], temperature: float | None = None) -> NumberVerdict:
    """Compare a number of the paper with runs of its row, one record per seed, averaged over those that are comparable:
    of profile "paper", on the paper's data at its size, scored on held-out images, with Inception features and at least
    10,000 samples. Else the reason names what differs."""
    if number.value is None:
        return NumberVerdict("not comparable", "the slides print no number here")
    done = [record for record in runs if record.status == "done"]
    if not done:
        statuses = ", ".join(sorted({record.status for record in runs}))
        return NumberVerdict("not run", f"no finished run: {statuses}" if statuses else "no run")
    names = metric_names(number.metric, temperature)
    measured = [record for record in done if any(name in record.metrics for name in names)]
    if not measured:
        return NumberVerdict("not run", f"no finished run has measured {names[0]}")
    differences = [list(_differences(number, record, names[0])) for record in measured]
    if fewest := min(differences, key=len):
        return NumberVerdict("not comparable", "other " + ", other ".join(fewest))
    comparable = [record.metrics[names[0]] for record, found in zip(measured, differences, strict=True) if not found]

    mean = mean_of(comparable)
    assert mean is not None
    unit = "bpd" if number.metric == "bpd" else "%"
    difference = (mean.value - number.value) * (1 if unit == "bpd" else 100 / number.value)
    tolerance = TOLERANCES[number.metric]
    steps = round(abs(difference) / tolerance, 9)  # so that 3.95 against 3.90 is exactly one tolerance
    label = "reproduced" if steps <= 1 else "close" if steps <= CLOSE else "not reproduced"
    runs_in_words = f"{'mean of ' * (mean.n > 1)}{counted(mean.n, 'run')}"
    distance = f"{difference:+.2f} {unit} from the paper's {number.text}"
    return NumberVerdict(label, f"{runs_in_words}: {distance} (tolerance {tolerance:g})")


def _differences(number: Number, record: Record, name: str) -> Iterator[str]:
    """What keeps `record` from being comparable with `number`, as "data (photos10)"."""
    paper, data = DATA_SETS[number.data], record.data
    size, papers_size = ("x".join(map(str, shape)) for shape in (data.shape[-3:], paper.shape))
    n_train = record.config.get("n_train")
    if data.name != number.data:
        yield f"data ({data.name}, not {paper.label})"
    elif size != papers_size:
        yield f"data (images of {size}, not {papers_size})"
    elif isinstance(n_train, int) and paper.n_train and n_train != paper.n_train:
        yield f"training set ({n_train:,} images, not {paper.n_train:,})"
    if record.profile != PROFILE:
        yield f"profile ({record.profile}, not {PROFILE})"
    if name not in record.metrics:
        yield "features (lite0, not Inception)"
        return
    if UNKNOWN_WEIGHTS in record.metrics[name].protocol:
        yield f"features ({UNKNOWN_WEIGHTS}, not torch-fidelity's)"
    n = record.metrics[name].n
    if data.split != "test":
        yield f"protocol (measured on the {data.split} split, not on held-out images)"
    elif number.metric == "bpd" and paper.n_test and data.name == number.data and n != paper.n_test:
        yield f"protocol ({n:,} test images, not {paper.n_test:,})"
    elif number.metric != "bpd" and n < (least := min(MIN_SAMPLES, paper.n_test or MIN_SAMPLES)):
        yield f"protocol ({n:,} samples, fewer than {least:,})"
