"""Verdicts: does a claim hold in our runs, at whatever scale?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from cqlib.experiments.claims import WITHIN_MARGIN, Claim, applies
from cqlib.experiments.paper import DATA_SETS
from cqlib.experiments.record import Record
from cqlib.experiments.rows import short_label
from cqlib.metrics.metric import GROUP
from cqlib.metrics.quantities import QUANTITIES, metric_names, score_of
from cqlib.report import comparable
from cqlib.report.inference import LEVEL, Welch, bootstrap_interval
from cqlib.report.run_sets import ORIGINS, RunSet
from cqlib.util.text import count_of, numbered, signed

DIGITS = {"bpd": 2, "%": 1, "points": 1}
"""Decimals of an effect in that unit."""
DECIDED = ("holds", "does not hold")

Sides = tuple[list[Record], list[Record]]
"""The runs of row_a and those of row_b."""


@dataclass(frozen=True)
class ClaimResult:
    """A claim tested on `runs`. `effect` and the ends of its 95 % interval, `low` and `high`, are in `claim.unit` and
    positive as claimed. Where a row has one seed, the label is "seen once" and `direction` is "as claimed", "contrary",
    or "undecided" where no difference shows. Where the label is "not run", `reason` says why, and `missing_kind` what
    is missing: 0 comparable runs, 1 or 2 the runs of so many rows, 3 the claim's own data.

    `seeds` are those of row_a and of row_b that were compared, `left_out` names others. Results of several seeds have
    `p` (see `judge`), `p_holm`, which is p adjusted by Holm's procedure for `n_tests` tests, and, in `claim.unit`,
    `detectable` and `spread` (see `Welch`). `cross_check` is the result of `claim.cross_check`.
    """

    claim: Claim
    runs: RunSet
    label: str
    temperature: float | None = None
    reason: str = ""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    left_out: tuple[str, ...] = ()
    metric_name: str = ""
    direction: str = ""
    missing_kind: int = 0
    p: float | None = None
    detectable: float | None = None
    spread: float | None = None
    p_holm: float | None = None
    n_tests: int = 0
    cross_check: "ClaimResult | None" = None

    @property
    def verdict(self) -> str:
        """The label; if that is "seen once", with the direction: "seen once, as claimed"."""
        return f"{self.label}, {self.direction}" if self.label == "seen once" else self.label

    @property
    def at(self) -> str:
        """ "T = 1"; empty for BPD, which has no temperature."""
        return "" if self.temperature is None else f"T = {self.temperature:g}"

    @property
    def interval(self) -> tuple[float, float, float] | None:
        """Effect and ends of its interval; None where it has none."""
        if self.effect is None or self.low is None or self.high is None:
            return None
        return self.effect, self.low, self.high

    @property
    def size(self) -> str:
        """ "−0.30 bpd": the effect; empty where there is none."""
        return "" if self.effect is None else effect_text(self.effect, self.claim.unit)

    @property
    def text(self) -> str:
        """ "−0.30 bpd [−0.45, −0.15]": effect and interval, an end near 0 with the digits that it needs."""
        digits = DIGITS[self.claim.unit]
        ends = [signed(end, _digits(end, digits)) for end in (self.low, self.high) if end is not None]
        if self.p is not None and self.effect is not None:  # Fieller's interval of a ratio may have no ends
            ends = ends or ["no bounds: the other mean may be 0"]
        return f"{self.size} [{', '.join(ends)}]" if ends else self.size

    def bar(self, reach: float) -> dict[str, float]:
        """Positions of effect, interval and band of equality between 0 and 200, the width of the macro `bar`, on an
        axis from -reach to reach."""
        margin = QUANTITIES[self.claim.metric].equal
        ends = {"effect": self.effect, "low": self.low, "high": self.high, "left": -margin, "right": margin}
        return {name: round(100 * (1 + end / reach), 1) for name, end in ends.items() if end is not None}

    @property
    def score(self) -> str:
        """ "FID", or on lite0's features "FD-lite0": the name of the score compared, without its temperature."""
        return score_of(self.metric_name)

    @property
    def source(self) -> str:
        """ "published, 5 seeds" or "published, 3 and 5 seeds": origin, seeds of each row, and the runs left out."""
        a, b = map(len, self.seeds)
        seeds = count_of(a, "seed") if a == b else f"{a} and {b} seeds"
        left_out = f"; not compared: {', '.join(self.left_out)}" * bool(self.left_out)
        return f"{ORIGINS[self.runs.origin].lower()}, {seeds}{left_out}"

    @property
    def survives(self) -> bool:
        """Whether it is decided after Holm's correction, too."""
        return self.label in DECIDED and self.n_tests > 1 and self.p_holm is not None and self.p_holm <= LEVEL

    @property
    def power(self) -> str:
        """ "0.21 bpd": the effect that the seeds of an undecided claim could have detected; empty for other claims."""
        if self.label != "undecided" or self.detectable is None:
            return ""
        return f"{self.detectable:.{DIGITS[self.claim.unit]}f} {self.claim.unit}"

    @property
    def disagrees(self) -> bool:
        """Whether the cross-check (of FID by KID) was run and comes to another verdict."""
        return self.cross_check is not None and self.cross_check.verdict != self.verdict

    @property
    def agreement(self) -> str:
        """What the cross-check says: its own verdict where it `disagrees`, else "agrees" or "undecided too"; empty
        without one."""
        if self.cross_check is None:
            return ""
        if self.disagrees:
            return self.cross_check.verdict
        return "undecided too" if "undecided" in self.verdict else "agrees"


Results = tuple[ClaimResult, ...]
"""The results of one claim on one run set, one for each temperature, T = 0 first."""


def reach(results: Sequence[ClaimResult], covered: Sequence[ClaimResult] = ()) -> float:
    """Where the axis in the pictures of `results` ends: it runs from -reach to reach and covers every effect, the
    margin of equality, and the intervals of `covered`."""
    ends = [end for r in results for end in (r.effect, QUANTITIES[r.claim.metric].equal)]
    ends += [end for r in covered for end in (r.low, r.high)]
    return 1.1 * max(abs(end) for end in ends if end is not None)


def _digits(end: float, digits: int) -> int:
    """`digits`, or as many up to 6 as show that `end` is not 0."""
    return next((d for d in range(digits, 7) if round(end, d)), digits)


def effect_text(effect: float, unit: str) -> str:
    """ "+0.85 bpd" or "−12.3 %"."""
    return f"{signed(effect, DIGITS[unit])} {unit}"


def claim_result(claim: Claim, runs: RunSet, temperature: float | None) -> ClaimResult:
    """Test `claim` on a run set, with scores of samples at `temperature` (ValueError where the metric has none there).

    All finished runs of the two rows count that were measured on the same images with the same protocol (a BPD may be
    exact for one row and a bound for the other), in the same precision unless their recipes fix different ones. They
    share nothing but the test images, so `judge` gets Welch's unpaired test. Where a row has one run, the claim is
    "seen once"; for BPD the rows are then compared image by image, in a bootstrap over test images whose interval does
    not include the noise of training. `_direction` says which way such a claim points.
    """
    names = metric_names(claim.metric, temperature)
    result = partial(ClaimResult, claim, runs, temperature=temperature)
    if not applies(claim, runs.data):
        labels = [DATA_SETS[data].label if data in DATA_SETS else data for data in (claim.data, runs.data)]
        return result("not run", reason=f"claimed for {labels[0]}, not for {labels[1]}", missing_kind=3)
    if missing := [row for row in (claim.row_a, claim.row_b) if not runs.done(row)]:
        reason = " and ".join(_without_run(row, runs.records_of(row)) for row in missing)
        return result("not run", reason=reason, missing_kind=len(missing))
    name, sides = _comparable(claim, runs, names)
    if not name:
        return result("not run", reason=f"no runs of both rows have {names[-1]} on the same images, in the same "
                                        "precision and by the same protocol")  # fmt: skip
    scale = 100 if claim.unit == "points" else 1  # shares are tested in percentage points
    a, b = ([scale * record.metrics[name].value for record in side] for side in sides)
    test = Welch(a, b, claim.sign, claim.unit == "%")
    effect = None if math.isnan(test.effect) else test.effect
    check = claim_result(claim.cross_check, runs, temperature) if claim.cross_check else None
    tested = partial(
        result,
        effect=effect,
        seeds=tuple(tuple(record.seed for record in side) for side in sides),
        metric_name=name,
        left_out=_left_out(claim, runs, sides),
        cross_check=check if check and check.label != "not run" else None,
    )
    if min(len(a), len(b)) == 1:
        low, high = _over_images(claim, sides, name, effect)
        direction = _direction(claim, test.means[0] - test.means[1], effect, low, high)
        return tested("seen once", low=low, high=high, direction=direction)
    label, p = judge(claim.kind, test, QUANTITIES[claim.metric].equal)
    low, high = test.interval() or (None, None)
    beyond = QUANTITIES[claim.metric].equal if claim.kind == "equal" else 0.0  # such an effect lies outside the margin
    detectable, spread = (None, None) if effect is None else (beyond + test.detectable, test.spread)
    return tested(label, low=low, high=high, p=p, detectable=detectable, spread=spread)


def _without_run(row: str, records: Sequence[Record]) -> str:
    """ "no finished run of table1/cq", or why its `records` do not count: "no run of table1/cq that counts (diverged at
    step 400)"."""
    if not records:
        return f"no finished run of {row}"
    return f"no run of {row} that counts ({', '.join(sorted({record.ending for record in records}))})"


def _direction(claim: Claim, difference: float, effect: float | None, low: float | None, high: float | None) -> str:
    """Which way a claim that was seen once points. For a kind in `WITHIN_MARGIN` the interval over images decides, or
    the effect where there is none; it is "undecided" where an end of the margin lies inside. For others it is
    "undecided" where the means are equal, the effect is printed as 0 or the interval holds 0; else the means decide."""
    if claim.kind in WITHIN_MARGIN:
        margin = QUANTITIES[claim.metric].equal
        low, high = (effect if end is None else end for end in (low, high))
        if low is None or high is None:
            return "undecided"
        if low >= -margin and (claim.kind == "kept" or high <= margin):
            return "as claimed"
        return "contrary" if high < -margin or (claim.kind == "equal" and low > margin) else "undecided"
    printed_as_0 = effect is not None and round(effect, DIGITS[claim.unit]) == 0
    if difference == 0 or printed_as_0 or (low is not None and high is not None and low < 0 < high):
        return "undecided"
    return "as claimed" if claim.sign * difference > 0 else "contrary"


def judge(kind: str, test: Welch, margin: float) -> tuple[str, float]:
    """The label of a claim, and the p value of its own question.

    A directional claim ("lower", "higher", "cost") asks whether there is an effect: where Welch's two-sided p is at
    most 5 % (the 95 % interval lies above or below 0) it *holds* or *does not hold*, however small the effect. Else the
    rows are *equal* where two one-sided tests say so, each at 5 % (the 90 % interval lies inside ±margin), or the claim
    is *undecided*. A claim of equality *holds* by these two tests, *does not hold* where the 95 % interval lies outside
    the margin, and else is *undecided*; its p is the smaller of both, as only one null hypothesis can hold.
    A claim that something is "kept" *does not hold* where the 95 % interval lies below 0, *holds* where a one-sided
    test at 5 % rules out a loss of more than the margin, and else is *undecided*.
    """
    if kind == "kept":
        if test.p <= LEVEL and test.t() < 0:
            return "does not hold", test.p
        p_kept = test.p_above(-margin)
        return "holds" if p_kept <= LEVEL else "undecided", p_kept
    equal, different = test.p_equal(margin), test.p_different(margin)
    if kind == "equal":
        label = "holds" if equal <= LEVEL else "does not hold" if different <= LEVEL else "undecided"
        return label, min(equal, different)
    if test.p <= LEVEL:
        return "holds" if test.t() > 0 else "does not hold", test.p
    return "equal" if equal <= LEVEL else "undecided", test.p


def _comparable(claim: Claim, runs: RunSet, names: Sequence[str]) -> tuple[str, Sides]:
    """The metric, one of `names`, that most comparable runs have, and those runs of row_a and of row_b; all empty where
    there are none. A candidate is a metric with all runs that are comparable with one of its runs; the best has most
    runs of the row with fewer, then most runs in all, and of equals is the first."""
    best: tuple[str, Sides] = "", ([], [])
    for name in names:
        a, b = ([run for run in runs.done(row) if name in run.metrics] for row in (claim.row_a, claim.row_b))
        for kind in dict.fromkeys(comparable.kind(run, name) for run in (*a, *b)):
            both = comparable.of_kind(a, name, kind), comparable.of_kind(b, name, kind)
            best = max(best, (name, both), key=lambda pick: (min(map(len, pick[1])), sum(map(len, pick[1]))))
    return best if all(best[1]) else ("", ([], []))


def _left_out(claim: Claim, runs: RunSet, sides: Sides) -> tuple[str, ...]:
    """ "VAE seed 2": finished runs that are not compared."""
    others = {row: sorted({run.seed for run in runs.done(row)} - {run.seed for run in side})
              for row, side in zip((claim.row_a, claim.row_b), sides, strict=True)}  # fmt: skip
    return tuple(f"{short_label(row)} {numbered('seed', seeds)}" for row, seeds in others.items() if seeds)


def _over_images(
    claim: Claim, sides: Sides, name: str, effect: float | None
) -> tuple[float, float] | tuple[None, None]:
    """The bootstrap interval of a BPD claim that was seen once, over the test images whose values are in the records,
    or over clusters of them where the records name these. Records hold the values of some test images only: the
    interval is moved to lie about `effect` and, where images are independent, made as narrow as the mean over all
    images allows. (None, None) for other metrics and without such values."""
    per_image = [[run.per_image.get(name, []) for run in side] for side in sides]
    groups = sides[0][0].per_image.get(GROUP)
    lengths = {len(values) for values in chain(*per_image, [groups] if groups else [])}
    if claim.metric != "bpd" or effect is None or len(lengths) != 1 or 0 in lengths:
        return None, None
    a, b = (np.mean(side, axis=0) for side in per_image)
    differences = claim.sign * (a - b)
    narrower = 1.0 if groups else math.sqrt(len(differences) / sides[0][0].metrics[name].n)
    low, high = (end - float(differences.mean()) for end in bootstrap_interval(differences, groups or None))
    return effect + narrower * low, effect + narrower * high
