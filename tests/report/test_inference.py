"""The statistics of claims against scipy, worked examples and simulated trials."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cqlib.report.inference import Welch, holm

SIZES = [(2, 2), (5, 5), (3, 5), (5, 3)]


def samples(n_a, n_b, shift=0.3):
    rng = np.random.default_rng([n_a, n_b])
    return rng.normal(5.0, 0.1, n_a), rng.normal(5.0 + shift, 0.3, n_b)


@pytest.mark.parametrize(("n_a", "n_b"), SIZES)
@pytest.mark.parametrize("sign", [1, -1])
def test_welch_is_that_of_scipy(n_a, n_b, sign):
    a, b = samples(n_a, n_b)
    ours, theirs = Welch(a, b, sign), stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    low, high = sorted((sign * interval.low, sign * interval.high))
    assert ours.interval() == pytest.approx((low, high)) and ours.effect == pytest.approx((low + high) / 2)
    assert ours.p == pytest.approx(theirs.pvalue) and ours.freedom == pytest.approx(theirs.df)
    assert ours.t() == pytest.approx(sign * theirs.statistic)
    assert Welch(a, b, sign, relative=True).p == ours.p  # that there is no difference has no unit


@pytest.mark.parametrize(("n_a", "n_b"), SIZES)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_interval_of_percentages_ends_where_welchs_statistic_of_scaled_values_is_critical(n_a, n_b, sign):
    a, b = samples(n_a, n_b)
    test = Welch(a, b, sign, relative=True)
    critical = stats.t.ppf(0.975, stats.ttest_ind(a, b, equal_var=False).df)
    ends = [stats.ttest_ind(a, (1 + sign * e / 100) * b, equal_var=False).statistic for e in test.interval()]
    assert sorted(ends) == pytest.approx([-critical, critical])
    assert test.effect == pytest.approx(sign * 100 * (a.mean() / b.mean() - 1))
    assert test.interval()[0] < test.effect < test.interval()[1]


def test_the_interval_of_percentages_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    trials = [Welch(rng.normal(80, 8, 5), rng.normal(100, 10, 5), -1, relative=True).interval() for _ in range(2000)]
    assert 0.94 < np.mean([low <= 20 <= high for low, high in trials]) < 0.97


@pytest.mark.parametrize(("n_a", "n_b"), SIZES)
@pytest.mark.parametrize("margin", [0.05, 0.5, 3.0])
def test_equality_is_two_one_sided_tests_of_scipy(n_a, n_b, margin):
    a, b = samples(n_a, n_b)
    test = Welch(a, b)
    one_sided = [stats.ttest_ind(a + margin, b, equal_var=False, alternative="greater").pvalue,
                 stats.ttest_ind(a - margin, b, equal_var=False, alternative="less").pvalue]  # fmt: skip
    assert test.p_equal(margin) == pytest.approx(max(one_sided))
    low, high = test.interval(0.90)
    assert (test.p_equal(margin) < 0.05) == (-margin < low and high < margin)
    outside = [stats.ttest_ind(a - margin, b, equal_var=False, alternative="greater").pvalue,
               stats.ttest_ind(a + margin, b, equal_var=False, alternative="less").pvalue]  # fmt: skip
    assert test.p_different(margin) == pytest.approx(min(1, 2 * min(outside)))
    low, high = test.interval()
    assert (test.p_different(margin) < 0.05) == (low > margin or high < -margin)


def test_equality_in_percent_is_that_of_scaled_values():
    a, b = np.array([98.0, 101.0, 99.5, 100.5]), np.array([100.0, 102.0, 101.0, 103.0])
    test, freedom = Welch(a, b, relative=True), stats.ttest_ind(a, b, equal_var=False).df
    above, below = (stats.ttest_ind(a, r * b, equal_var=False).statistic for r in (0.95, 1.05))
    assert test.p_equal(5) == pytest.approx(max(stats.t.sf(above, freedom), stats.t.cdf(below, freedom)))
    assert test.p_equal(5) < 0.05 < test.p_equal(2)


def test_values_without_spread_and_scores_that_may_be_0():
    same, other = Welch([5.0, 5.0], [5.0, 5.0]), Welch([5.0, 5.0], [4.0, 4.0])
    assert (same.p, same.interval(), same.p_equal(0.1)) == (1.0, (0.0, 0.0), 0.0)
    assert (other.p, other.interval(), other.p_equal(0.1), other.p_different(0.1)) == (0.0, (1.0, 1.0), 1.0, 0.0)
    near_0 = Welch([0.5, 0.6, 0.7], [0.3, -0.1, 0.2], relative=True)
    assert near_0.interval() is None and near_0.p == stats.ttest_ind(near_0.a, near_0.b, equal_var=False).pvalue
    negative = Welch([0.5, 0.6], [-0.3, -0.1], relative=True)
    assert np.isnan(negative.effect) and negative.interval() is None
    assert negative.p_equal(10) == negative.p_different(10) == 1 and negative.t() > 0


def test_two_one_sided_tests_err_in_five_of_a_hundred_trials_at_the_margin_itself():
    rng = np.random.default_rng(3)
    trials = [Welch(rng.normal(0.5, 0.2, 5), rng.normal(0.0, 0.3, 5)).p_equal(0.5) <= 0.05 for _ in range(3000)]
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
