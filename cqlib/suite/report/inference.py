"""The statistics of claims: Welch's test, equality by two one-sided tests, Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.05
"""The significance level of all tests; intervals have 95 % confidence."""


@dataclass(frozen=True)
class Comparison:
    """Two rows compared. `low` and `high` are the ends of the 95 % interval of the `effect`, None where it has none.
    p values: `p` of no effect, two-sided; `p_equal` of an effect outside ±margin; `p_different` of one within."""

    effect: float | None
    low: float | None
    high: float | None
    p: float
    p_equal: float
    p_different: float


def effect_of(mean_a: float, mean_b: float, sign: int, relative: bool) -> float | None:
    """`sign` (mean_a - mean_b), or that in percent of mean_b where `relative`; None in percent of a mean that is not
    positive."""
    if not relative:
        return sign * (mean_a - mean_b)
    return sign * 100 * (mean_a / mean_b - 1) if mean_b > 0 else None


def welch(a: Sequence[float], b: Sequence[float], margin: float, sign: int = 1, relative: bool = False) -> Comparison:
    """Compare values `a` and `b` of two rows, two seeds of each at least, which share no noise.

    Whether the effect (see `effect_of`) is e is tested by Welch's t of `a` against `b` moved by e: sign (mean a - r
    mean b - d) / sqrt(s_a^2 / n_a + r^2 s_b^2 / n_b), with r = 1 and d = sign e, or, in percent, r = 1 + sign e / 100
    and d = 0, which gives Fieller's interval of a ratio. Degrees of freedom are those of Welch and Satterthwaite for
    `a` and `b`, whatever e. Equality is tested by two one-sided tests (Schuirmann 1987): where `p_equal` is below 5 %,
    the 90 % interval lies within ±margin; where `p_different` is, the 95 % interval lies outside.
    """
    mean_a, mean_b = float(np.mean(a)), float(np.mean(b))
    v_a, v_b = (float(np.var(values, ddof=1)) / len(values) for values in (a, b))
    freedom = len(a) + len(b) - 2.0
    if v_a + v_b > 0:
        freedom = (v_a + v_b) ** 2 / (v_a**2 / (len(a) - 1) + v_b**2 / (len(b) - 1))

    def t(effect: float) -> float:
        ratio, shift = (1 + sign * effect / 100, 0.0) if relative else (1.0, sign * effect)
        difference, error = sign * (mean_a - ratio * mean_b - shift), math.sqrt(v_a + ratio**2 * v_b)
        return difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0

    quantile = float(stdtrit(freedom, 1 - LEVEL / 2))
    low: float | None = None
    high: float | None = None
    effect = effect_of(mean_a, mean_b, sign, relative)
    if effect is not None and not relative:
        half = quantile * math.sqrt(v_a + v_b)
        low, high = effect - half, effect + half
    elif effect is not None and (rest := mean_b**2 - quantile**2 * v_b) > 0:  # else b's mean may be 0: no bounds
        half = quantile * math.sqrt(v_a * rest + v_b * mean_a**2) / rest
        low, high = sorted(sign * 100 * (mean_a * mean_b / rest + end - 1) for end in (-half, half))
    p = 2 * float(stdtr(freedom, -abs(t(0.0))))
    if effect is None:
        return Comparison(effect, low, high, p, 1.0, 1.0)
    p_equal = float(stdtr(freedom, max(-t(-margin), t(margin))))
    p_different = min(1.0, 2 * float(stdtr(freedom, min(t(-margin), -t(margin)))))
    return Comparison(effect, low, high, p, p_equal, p_different)


def holm(p: Sequence[float]) -> np.ndarray:
    """p values adjusted for their number by Holm's step-down procedure (1979): with probability 95 % or more, no true
    null hypothesis is among those with an adjusted value of at most 5 %."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted
