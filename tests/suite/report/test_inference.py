"""The statistics of claims against scipy, worked examples and simulated trials."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cqlib.suite.report.inference import holm, welch

SIZES = [(2, 2), (5, 5), (3, 5), (5, 3)]


def samples(n_a, n_b, shift=0.3):
    rng = np.random.default_rng([n_a, n_b])
    return rng.normal(5.0, 0.1, n_a), rng.normal(5.0 + shift, 0.3, n_b)


@pytest.mark.parametrize(("n_a", "n_b"), SIZES)
@pytest.mark.parametrize("sign", [1, -1])
def test_welch_is_that_of_scipy(n_a, n_b, sign):
    a, b = samples(n_a, n_b)
    ours, theirs = welch(a, b, 0.1, sign), stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    low, high = sorted((sign * interval.low, sign * interval.high))
    assert (ours.low, ours.high) == pytest.approx((low, high)) and ours.effect == pytest.approx((low + high) / 2)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert welch(a, b, 5, sign, relative=True).p == ours.p  # that there is no difference has no unit


@pytest.mark.parametrize(("n_a", "n_b"), SIZES)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_interval_of_percentages_ends_where_welchs_statistic_of_scaled_values_is_critical(n_a, n_b, sign):
    a, b = samples(n_a, n_b)
    found = welch(a, b, 5, sign, relative=True)
    critical = stats.t.ppf(0.975, stats.ttest_ind(a, b, equal_var=False).df)
    ends = [stats.ttest_ind(a, (1 + sign * e / 100) * b, equal_var=False).statistic for e in (found.low, found.high)]
    assert sorted(ends) == pytest.approx([-critical, critical])
    assert found.effect == pytest.approx(sign * 100 * (a.mean() / b.mean() - 1))
    assert found.low < found.effect < found.high


def test_the_interval_of_percentages_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    trials = [welch(rng.normal(80, 8, 5), rng.normal(100, 10, 5), 10, -1, relative=True) for _ in range(2000)]
    assert 0.94 < np.mean([trial.low <= 20 <= trial.high for trial in trials]) < 0.97


@pytest.mark.parametrize(("n_a", "n_b"), SIZES)
@pytest.mark.parametrize("margin", [0.05, 0.5, 3.0])
def test_equality_is_two_one_sided_tests_of_scipy(n_a, n_b, margin):
    a, b = samples(n_a, n_b)
    found, theirs = welch(a, b, margin), stats.ttest_ind(a, b, equal_var=False)
    one_sided = [stats.ttest_ind(a + margin, b, equal_var=False, alternative="greater").pvalue,
                 stats.ttest_ind(a - margin, b, equal_var=False, alternative="less").pvalue]  # fmt: skip
    assert found.p_equal == pytest.approx(max(one_sided))
    inner = theirs.confidence_interval(0.90)
    assert (found.p_equal < 0.05) == (-margin < inner.low and inner.high < margin)
    outside = [stats.ttest_ind(a - margin, b, equal_var=False, alternative="greater").pvalue,
               stats.ttest_ind(a + margin, b, equal_var=False, alternative="less").pvalue]  # fmt: skip
    assert found.p_different == pytest.approx(min(1, 2 * min(outside)))
    assert (found.p_different < 0.05) == (found.low > margin or found.high < -margin)


def test_equality_in_percent_is_that_of_scaled_values():
    a, b = np.array([98.0, 101.0, 99.5, 100.5]), np.array([100.0, 102.0, 101.0, 103.0])
    freedom = stats.ttest_ind(a, b, equal_var=False).df
    above, below = (stats.ttest_ind(a, r * b, equal_var=False).statistic for r in (0.95, 1.05))
    five = welch(a, b, 5, relative=True).p_equal
    assert five == pytest.approx(max(stats.t.sf(above, freedom), stats.t.cdf(below, freedom)))
    assert five < 0.05 < welch(a, b, 2, relative=True).p_equal


def test_values_without_spread_and_scores_that_may_be_0():
    same, other = welch([5.0, 5.0], [5.0, 5.0], 0.1), welch([5.0, 5.0], [4.0, 4.0], 0.1)
    assert (same.p, same.low, same.high, same.p_equal) == (1.0, 0.0, 0.0, 0.0)
    assert (other.p, other.low, other.high, other.p_equal, other.p_different) == (0.0, 1.0, 1.0, 1.0, 0.0)
    near_0 = welch(a := [0.5, 0.6, 0.7], b := [0.3, -0.1, 0.2], 10, relative=True)
    assert near_0.low is None and near_0.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    negative = welch([0.5, 0.6], [-0.3, -0.1], 10, relative=True)
    assert negative.effect is negative.low is None and negative.p_equal == negative.p_different == 1


def test_two_one_sided_tests_err_in_five_of_a_hundred_trials_at_the_margin_itself():
    rng = np.random.default_rng(3)
    trials = [welch(rng.normal(0.5, 0.2, 5), rng.normal(0.0, 0.3, 5), 0.5).p_equal <= 0.05 for _ in range(3000)]
    assert 0.03 < np.mean(trials) < 0.06


def test_holm_as_worked_by_hand():
    """In order 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, of which none may fall."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04]) == pytest.approx([0.04]) and len(holm([])) == 0
    assert holm([0.6, 0.9]) == pytest.approx([1, 1]) and holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])


def test_holm_errs_anywhere_in_five_families_of_a_hundred():
    rng = np.random.default_rng(2)
    families = rng.uniform(size=(4000, 20))
    assert 0.04 < np.mean([(holm(p) <= 0.05).any() for p in families]) < 0.06
    assert np.mean((families <= 0.05).any(axis=1)) > 0.6  # without
