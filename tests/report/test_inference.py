"""The statistics of claims against scipy, closed forms, worked examples and simulated trials."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cqlib.report.inference import Welch, bootstrap_interval, difference_interval, holm

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


@pytest.mark.parametrize(("n_a", "n_b"), SIZES)
def test_the_detectable_effect_is_found_in_four_of_five_trials(n_a, n_b):
    a, b = samples(n_a, n_b)
    test = Welch(a, b)
    error = np.sqrt(a.var(ddof=1) / n_a + b.var(ddof=1) / n_b)
    critical = stats.t.ppf(0.975, test.freedom)
    assert stats.nct.sf(critical, test.freedom, test.detectable / error) == pytest.approx(0.8, abs=1e-5)
    percent = Welch(a, b, relative=True)
    assert percent.detectable == pytest.approx(100 * test.detectable / b.mean())
    assert test.spread == pytest.approx(np.sqrt(a.var(ddof=1) + b.var(ddof=1)))
    assert percent.spread == pytest.approx(100 * test.spread / b.mean())


def test_power_by_simulation():
    rng = np.random.default_rng(1)
    exact = np.array([-1.0, -0.5, 0, 0.5, 1.0]) / np.std([-1.0, -0.5, 0, 0.5, 1.0], ddof=1)  # variance 1
    effect = Welch(exact, exact).detectable
    found = [Welch(rng.normal(effect, 1, 5), rng.normal(0, 1, 5)).p < 0.05 for _ in range(2000)]
    assert 0.76 < np.mean(found) < 0.84


def test_values_without_spread_and_scores_that_may_be_0():
    same, other = Welch([5.0, 5.0], [5.0, 5.0]), Welch([5.0, 5.0], [4.0, 4.0])
    assert (same.p, same.interval(), same.p_equal(0.1)) == (1.0, (0.0, 0.0), 0.0)
    assert (other.p, other.interval(), other.p_equal(0.1), other.p_different(0.1)) == (0.0, (1.0, 1.0), 1.0, 0.0)
    near_0 = Welch([0.5, 0.6, 0.7], [0.3, -0.1, 0.2], relative=True)
    assert near_0.interval() is None and near_0.p == stats.ttest_ind(near_0.a, near_0.b, equal_var=False).pvalue
    negative = Welch([0.5, 0.6], [-0.3, -0.1], relative=True)
    assert np.isnan(negative.effect) and negative.interval() is None
    assert negative.p_equal(10) == negative.p_different(10) == 1 and negative.t() > 0


def test_the_interval_of_a_difference_of_effects_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(1500):  # effects 20 % and 50 %, whose difference is 30
        small = Welch(rng.normal(1.2, 0.05, 5), rng.normal(1.0, 0.05, 5), relative=True)
        large = Welch(rng.normal(1.5, 0.02, 4), rng.normal(1.0, 0.1, 6), relative=True)
        a, b = ((test.effect, *test.interval()) for test in (large, small))
        low, high = difference_interval(a, b)
        found += low <= 30 <= high
    assert found / 1500 == pytest.approx(0.955, abs=0.015)
    # 4 - hypot(3 below, 4 above) and 4 + hypot(4 above, 3 below)
    assert difference_interval((5.0, 2.0, 9.0), (1.0, -2.0, 5.0)) == (-1.0, 9.0)


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


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says_and_is_seeded():
    rng = np.random.default_rng(0)
    trials = rng.normal(0.3, 1.0, (200, 80))
    covered = [low <= 0.3 <= high for low, high in map(bootstrap_interval, trials)]
    assert 0.90 <= np.mean(covered) <= 0.99
    many = rng.gamma(2.0, 1.0, 5_000)  # of so many images the interval is that of the normal distribution
    half = stats.norm.ppf(0.975) * stats.sem(many)
    assert bootstrap_interval(many) == pytest.approx((many.mean() - half, many.mean() + half), abs=0.1 * half)
    assert bootstrap_interval(trials[0]) == bootstrap_interval(trials[0])


def test_bootstrap_of_clusters_knows_that_images_of_one_tile_are_alike():
    rng = np.random.default_rng(3)
    tiles = np.repeat(np.arange(40), rng.integers(2, 12, 40))
    whole, single = [], []
    for _ in range(150):
        values = rng.normal(0.3, 1, 40)[tiles] + 0.3 * rng.standard_normal(len(tiles))
        for covered, groups in ((whole, tiles), (single, None)):
            low, high = bootstrap_interval(values, groups)
            covered.append(low <= 0.3 <= high)
    assert 0.88 < np.mean(whole) < 0.99 and np.mean(single) < 0.75
    sizes = rng.integers(1, 20, 800)  # of so many clusters the interval is that of the normal distribution of a ratio
    values, which = rng.normal(5, 1, 800).repeat(sizes), np.arange(800).repeat(sizes)
    mean = values.mean()
    half = stats.norm.ppf(0.975) * np.sqrt(np.sum(np.bincount(which, values - mean) ** 2)) / len(values)
    assert bootstrap_interval(values, which) == pytest.approx((mean - half, mean + half), abs=0.1 * half)
    values = rng.standard_normal(60)
    assert bootstrap_interval(values, range(100, 160)) == bootstrap_interval(values)
