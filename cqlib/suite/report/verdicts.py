"""Verdicts: does a claim hold in our runs, at whatever scale; and is a number of the paper reproduced, by runs of its
recipe on its data?"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments.claims import IS_MISLEADS, Claim, applies
from cqlib.suite.experiments.paper import CLOSE, DATA_SETS, ROWS, TOLERANCES, PaperNumber, canonical
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import label_of, short_label
from cqlib.suite.experiments.trade_off import LAMBDA, usual_lambda
from cqlib.suite.experiments.variants import row_and_changes
from cqlib.suite.report.groups import Group, data_title
from cqlib.suite.report.inference import LEVEL, Comparison, effect_of, welch
from cqlib.suite.report.table import ORIGINS, Value, source_of
from cqlib.util.text import count_of, signed

DIGITS = {"bpd": 2, "%": 1, "points": 1}
"""Decimals of an effect in that unit."""


@dataclass(frozen=True)
class ClaimResult:
    """A claim tested on `runs`: the `effect` and the ends of its 95 % interval in `claim.unit`, positive as claimed.

    The label is "holds", "contradicted", "equal" or "undecided"; "seen once" where a row has one seed, and then
    `as_claimed` says which way it points; or "not run". `reason` says why it was not run, or why it is undecided
    whatever its numbers; `missing_kind` what is missing: 0 a common score, 1 or 2 the runs of so many rows, 3 the
    claim's own data. `values` are the numbers of row_a and of row_b. Results of several seeds have `p` (see `judge`)
    and `p_holm`, adjusted by Holm's procedure for `n_tests` tests.
    """

    claim: Claim
    runs: Group
    label: str
    reason: str = ""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[Sequence[Value], Sequence[Value]] = ((), ())
    metric_name: str = ""
    as_claimed: bool = False
    missing_kind: int = 0
    p: float | None = None
    p_holm: float | None = None
    n_tests: int = 0

    @property
    def verdict(self) -> str:
        """The label; if that is "seen once", with the direction: "seen once, as claimed"."""
        if self.label != "seen once":
            return self.label
        return f"seen once, {'as' if self.as_claimed else 'not as'} claimed"

    @property
    def seeds(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Those of row_a and of row_b."""
        a, b = (tuple(value.seed for value in side) for side in self.values)
        return a, b

    @property
    def size(self) -> str:
        """ "−0.30 bpd": the effect; empty where there is none. What its sign says of a claim of equality is added:
        "−0.30 bpd, worse"."""
        if self.effect is None:
            return ""
        direction = ", better" * (self.effect > 0) + ", worse" * (self.effect < 0)
        return effect_text(self.effect, self.claim.unit) + direction * (self.claim.kind == "equal")

    @property
    def text(self) -> str:
        """ "−0.30 bpd [−0.45, −0.15]": effect and interval, an end near 0 with the digits that it needs."""
        if self.p is None or self.effect is None:
            return self.size
        return f"{self.size} {interval_text(self.low, self.high, self.claim.unit)}"

    @property
    def source(self) -> str:
        """ "this project, 5 seeds" or "this project, 3 and 5 seeds": origin, and seeds of each row."""
        a, b = map(len, self.values)
        return f"{ORIGINS[self.runs.origin].lower()}, {count_of(a, 'seed') if a == b else f'{a} and {b} seeds'}"

    @property
    def files(self) -> str:
        """The records that it is of, in words for a tooltip."""
        return " against ".join(filter(None, (source_of(value.file for value in side) for side in self.values)))

    @property
    def survives_holm(self) -> bool:
        """Whether it is decided after Holm's correction, too."""
        return self._decided and self.n_tests > 1 and self.p_holm is not None and self.p_holm <= LEVEL

    @property
    def weak(self) -> bool:
        """Whether it is decided, but not after Holm's correction."""
        return self._decided and self.n_tests > 1 and not self.survives_holm

    @property
    def _decided(self) -> bool:
        return self.label in ("holds", "contradicted")


def _digits(end: float, digits: int) -> int:
    """`digits`, or as many up to 6 as show that `end` is not 0."""
    return next((d for d in range(digits, 7) if round(end, d)), digits)


def interval_text(low: float | None, high: float | None, unit: str) -> str:
    """ "[−0.45, −0.15]"; Fieller's interval of a ratio may have no ends."""
    if low is None or high is None:
        return "[no bounds: the other mean may be 0]"
    return f"[{', '.join(signed(end, _digits(end, DIGITS[unit])) for end in (low, high))}]"


def effect_text(effect: float, unit: str) -> str:
    """ "+0.85 bpd" or "−12.3 %"."""
    return f"{signed(effect, DIGITS[unit])} {unit}"


def claim_result(claim: Claim, runs: Group) -> ClaimResult:
    """Test `claim` on a group. All runs of the two rows count that ended. They share nothing but the test images, so
    they are compared unpaired, by Welch's test. If a run of either row diverged, the claim is undecided; where a row
    has one run, it is "seen once"."""
    result = partial(ClaimResult, claim, runs)
    rows = claim.row_a, claim.row_b
    missing = [row for row in rows if not runs.records_of(row)]
    if not missing and not any(canonical(row) in runs.rows for row in rows):
        return result("not run", reason="the change concerns neither model", missing_kind=3)
    if claim.metric == "is" and runs.data in IS_MISLEADS and not missing:
        return result("not run", reason=f"IS misleads on {runs.data}")
    if row_and_changes(claim.row_a)[1].get(LAMBDA) == usual_lambda(runs.data, runs.size):
        return result("not run", reason=f"on {data_title(runs.data)} this λ is that of Table 1")
    if not applies(claim, runs.data, runs.size):
        labels = [DATA_SETS[data].label if data in DATA_SETS else data for data in (claim.data, runs.data)]
        return result("not run", reason=f"claimed for {labels[0]}, not for {labels[1]}", missing_kind=3)
    if missing:
        reason = f"no finished run of {' or '.join(map(label_of, missing))}"
        return result("not run", reason=reason, missing_kind=len(missing))
    name = runs.score_name(QUANTITIES[claim.metric], rows)
    sides = runs.numbers(claim.row_a, name), runs.numbers(claim.row_b, name)
    if diverged := " and ".join(f"{short_label(row)}: {text}" for row in rows if (text := runs.diverged(row))):
        return result("undecided", reason=diverged, values=sides)
    if not all(sides):
        return result("not run", reason=f"no runs of both rows have measured {QUANTITIES[claim.metric].names[-1]}")
    if infinite := " and ".join(filter(None, map(_infinite, rows, sides))):
        return result("undecided", reason=infinite, values=sides, metric_name=name)
    scale = 100 if claim.unit == "points" else 1  # shares are tested in percentage points
    a, b = ([scale * value.value for value in side] for side in sides)
    mean_a, mean_b = statistics.fmean(a), statistics.fmean(b)
    as_claimed = claim.sign * (mean_a - mean_b) > 0
    margin, relative = QUANTITIES[claim.metric].equal, claim.unit == "%"
    tested = partial(result, values=sides, metric_name=name)
    if min(len(a), len(b)) == 1:
        effect = effect_of(mean_a, mean_b, claim.sign, relative)
        if claim.kind == "equal":
            as_claimed = effect is not None and abs(effect) <= margin
        return tested("seen once", effect=effect, as_claimed=as_claimed)
    found = welch(a, b, margin, claim.sign, relative)
    label, p = judge(claim.kind, found, as_claimed)
    return tested(label, effect=found.effect, low=found.low, high=found.high, p=p)


def _infinite(row: str, values: Sequence[Value]) -> str:
    """ "VAE: 1 of 5 infinite"; empty where none is."""
    count = sum(not math.isfinite(value.value) for value in values)
    return f"{short_label(row)}: {count} of {len(values)} infinite" if count else ""


def judge(kind: str, found: Comparison, as_claimed: bool) -> tuple[str, float]:
    """The label of a claim, and the p value of its own question.

    A directional claim ("lower", "higher", "cost") asks whether there is an effect: where Welch's two-sided p is at
    most 5 % (the 95 % interval lies above or below 0) it *holds* or is *contradicted*, however small the effect. Else
    the rows are *equal* where two one-sided tests say so, each at 5 % (the 90 % interval lies inside ±margin), or the
    claim is *undecided*. A claim of equality *holds* by these two tests, is *contradicted* where the 95 % interval lies
    outside the margin, and else is *undecided*; its p is the smaller of both, as only one null hypothesis can hold.
    """
    if kind == "equal":
        p = min(found.p_equal, found.p_different)
        label = "holds" if found.p_equal <= LEVEL else "contradicted" if found.p_different <= LEVEL else "undecided"
        return label, p
    if found.p <= LEVEL:
        return "holds" if as_claimed else "contradicted", found.p
    return "equal" if found.p_equal <= LEVEL else "undecided", found.p


# --- numbers of the paper

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


def count_numbers(sets: Sequence[Group]) -> dict[str, int]:
    """Label -> how many of the paper's numbers have it, each by its best verdict over all groups; a number of one
    model that is printed twice counts once."""
    printed = {(canonical(row.id), number.data, number.metric): number
               for row in ROWS.values() for number in row.numbers if number.value is not None}  # fmt: skip
    counts = dict.fromkeys(NUMBER_LABELS, 0)
    for number in printed.values():
        labels = (number_verdict(number, runs.records_of(number.row)).label for runs in sets)
        counts[min(labels, key=NUMBER_LABELS.index, default="not run")] += 1
    return counts
