"""The statistics of claims: Welch's test, equality by two one-sided tests, power, Holm's correction, a bootstrap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit

LEVEL = 0.05
"""The significance level of all tests; intervals have 95 % confidence."""
POWER = 0.8
RESAMPLES = 2_000


@dataclass(frozen=True)
class Welch:
    """Welch's test of whether the effect is e, from values `a` and `b` of two rows, which share no noise; `means`
    and `effect` take one seed each, all else two.

    The effect is `sign` (mean a - mean b), or that in percent of b's mean where `relative`. Effect e is tested by
    Welch's t of `a` against `b` moved by e: sign (mean a - r mean b - d) / sqrt(s_a^2 / n_a + r^2 s_b^2 / n_b), with
    r = 1 and d = sign e, or, in percent, r = 1 + sign e / 100 and d = 0, which gives Fieller's interval of a ratio.
    Degrees of freedom are those of Welch and Satterthwaite for `a` and `b`, whatever e.
    """

    a: Sequence[float]
    b: Sequence[float]
    sign: int = 1
    relative: bool = False

    @cached_property
    def means(self) -> tuple[float, float]:
        """The means of `a` and of `b`."""
        return float(np.mean(self.a)), float(np.mean(self.b))

    @cached_property
    def variances(self) -> tuple[float, float]:
        """The variances of the two means: sample variance over number of seeds."""
        return float(np.var(self.a, ddof=1)) / len(self.a), float(np.var(self.b, ddof=1)) / len(self.b)

    @property
    def freedom(self) -> float:
        """Welch and Satterthwaite's degrees of freedom."""
        (v_a, v_b), n_a, n_b = self.variances, len(self.a), len(self.b)
        if v_a + v_b == 0:
            return n_a + n_b - 2
        return (v_a + v_b) ** 2 / (v_a**2 / (n_a - 1) + v_b**2 / (n_b - 1))

    @property
    def unit(self) -> float:
        """The effect that a difference of 1 makes: 1, or 100 / b's mean where `relative`; NaN where that mean is not
        positive, since there are no percentages of it."""
        b = self.means[1]
        return 1.0 if not self.relative else 100 / b if b > 0 else float("nan")

    @property
    def effect(self) -> float:
        """The effect as measured; NaN where there are no percentages (`unit`)."""
        return self.sign * (self.means[0] - self.means[1]) * self.unit

    def t(self, effect: float = 0.0) -> float:
        """Welch's t against that effect; positive where the measured effect is larger."""
        (a, b), (v_a, v_b) = self.means, self.variances
        ratio, shift = (1 + self.sign * effect / 100, 0.0) if self.relative else (1.0, self.sign * effect)
        difference, error = self.sign * (a - ratio * b - shift), np.sqrt(v_a + ratio**2 * v_b)
        return float(difference / error) if error > 0 else float(np.copysign(np.inf, difference)) if difference else 0.0

    def interval(self, confidence: float = 1 - LEVEL) -> tuple[float, float] | None:
        """The confidence interval: the effects that are not rejected. None where those in percent have no bound, as b's
        mean may be 0."""
        (a, b), (v_a, v_b) = self.means, self.variances
        t = stdtrit(self.freedom, (1 + confidence) / 2)
        if not self.relative:
            half = t * np.sqrt(v_a + v_b)
            return float(self.effect - half), float(self.effect + half)
        rest = b**2 - t**2 * v_b
        if b <= 0 or rest <= 0:
            return None
        half = t * np.sqrt(v_a * rest + v_b * a**2) / rest
        low, high = sorted(self.sign * 100 * (a * b / rest + end - 1) for end in (-half, half))
        return float(low), float(high)

    @property
    def p(self) -> float:
        """The two-sided p value of no effect."""
        return float(2 * stdtr(self.freedom, -abs(self.t())))

    def p_above(self, effect: float) -> float:
        """The one-sided p value of the hypothesis that the true effect is not above `effect`."""
        return 1.0 if np.isnan(self.effect) else float(stdtr(self.freedom, -self.t(effect)))

    def p_below(self, effect: float) -> float:
        """The one-sided p value of the hypothesis that the true effect is not below `effect`."""
        return 1.0 if np.isnan(self.effect) else float(stdtr(self.freedom, self.t(effect)))

    def p_equal(self, margin: float) -> float:
        """The p value, by two one-sided tests (Schuirmann 1987), of the hypothesis that the effect is not within
        ±margin. Where it is below 5 %, the 90 % interval lies within ±margin."""
        return max(self.p_above(-margin), self.p_below(margin))

    def p_different(self, margin: float) -> float:
        """The two-sided p value of the hypothesis that the effect is within ±margin. Where it is below 5 %, the 95 %
        interval lies outside."""
        return min(1.0, 2 * min(self.p_above(margin), self.p_below(-margin)))

    @property
    def detectable(self) -> float:
        """The smallest effect that the two-sided test at 5 % finds in 80 % of all trials: the standard error times that
        noncentrality of Student's t for which t exceeds its critical value with probability 0.8."""
        critical = stdtrit(self.freedom, 1 - LEVEL / 2)
        return float(nctdtrinc(self.freedom, 1 - POWER, critical) * np.sqrt(sum(self.variances)) * self.unit)

    @property
    def spread(self) -> float:
        """The standard deviation over seeds of the effect that is computed from one seed of each row."""
        return float(np.sqrt(np.var(self.a, ddof=1) + np.var(self.b, ddof=1)) * self.unit)


def difference_interval(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float]:
    """The interval of a - b for two independent effects, each given with its own interval as (effect, low, high), by
    the method of Zou and Donner (2008); those intervals need not be symmetric."""
    (x, x_low, x_high), (y, y_low, y_high) = a, b
    return x - y - math.hypot(x - x_low, y_high - y), x - y + math.hypot(x_high - x, y - y_low)


def holm(p: Sequence[float]) -> np.ndarray:
    """p values adjusted for their number by Holm's step-down procedure (1979): with probability 95 % or more, no true
    null hypothesis is among those with an adjusted value of at most 5 %."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted


def bootstrap_interval(differences: np.ndarray, clusters: Sequence[float] | None = None) -> tuple[float, float]:
    """95 % percentile interval of the mean of paired per-image differences (n,), from 2,000 seeded bootstrap resamples.
    Whole clusters are resampled where `clusters` has a number for each image, the same for all of one cluster; single
    images where it is None."""
    _, which = np.unique(np.arange(len(differences)) if clusters is None else clusters, return_inverse=True)
    totals, counts = np.bincount(which, differences), np.bincount(which)
    picks = np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))
    means = totals[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)
