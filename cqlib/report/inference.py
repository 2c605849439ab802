"""The statistics of claims: Welch's test, equality by two one-sided tests, Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.05
"""The significance level of all tests; intervals have 95 % confidence."""


@dataclass(frozen=True)
class Welch:
    """Welch's test of whether the effect is e, from values `a` and `b` of two rows, which share no noise; `effect`
    takes one seed of each, all else two.

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
    def effect(self) -> float:
        """The effect as measured; NaN in percent of a mean that is not positive."""
        a, b = self.means
        unit = 1.0 if not self.relative else 100 / b if b > 0 else float("nan")
        return self.sign * (a - b) * unit

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

    def p_equal(self, margin: float) -> float:
        """The p value, by two one-sided tests (Schuirmann 1987), of the hypothesis that the effect is not within
        ±margin. Where it is below 5 %, the 90 % interval lies within ±margin."""
        return 1.0 if np.isnan(self.effect) else float(stdtr(self.freedom, max(-self.t(-margin), self.t(margin))))

    def p_different(self, margin: float) -> float:
        """The two-sided p value of the hypothesis that the effect is within ±margin. Where it is below 5 %, the 95 %
        interval lies outside."""
        if np.isnan(self.effect):
            return 1.0
        return min(1.0, 2 * float(stdtr(self.freedom, min(-self.t(margin), self.t(-margin)))))


def holm(p: Sequence[float]) -> np.ndarray:
    """p values adjusted for their number by Holm's step-down procedure (1979): with probability 95 % or more, no true
    null hypothesis is among those with an adjusted value of at most 5 %."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted
