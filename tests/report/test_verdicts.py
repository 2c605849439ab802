"""Verdicts on handmade records: every label, which runs count, the orientation of effects."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from handmade import COST, EQUAL_BPD, F_BPD, FID, IS, record, runs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cqlib.experiments import paper
from cqlib.experiments.claims import BY_ID, Claim
from cqlib.experiments.record import Record
from cqlib.metrics.metric import Metric
from cqlib.report.inference import Welch
from cqlib.report.run_sets import run_sets
from cqlib.report.verdicts import ClaimResult, claim_result, judge


def outcome(claim: Claim, records: list[Record]) -> ClaimResult:
    (run_set,) = run_sets(records, [])
    return claim_result(claim, run_set)


# --- labels


@pytest.mark.parametrize(
    "claim, a, b, label",
    [
        (F_BPD, [4.7, 4.8, 4.75], [5.9, 6.0, 5.98], "holds"),
        (F_BPD, [5.9, 6.0, 5.98], [4.7, 4.8, 4.75], "contradicted"),
        (F_BPD, [5.00, 5.01, 5.00], [5.00, 5.00, 5.01], "equal"),
        (F_BPD, [5.0, 5.3, 4.8], [5.1, 5.0, 5.0], "undecided"),
        (F_BPD, [4.7], [5.9], "seen once"),
        (F_BPD, [4.7], [5.9, 6.0], "seen once"),
        (F_BPD, [4.7, 4.8], [], "not run"),
        (EQUAL_BPD, [5.020, 5.021, 5.019], [5.0, 5.0, 5.0], "holds"),  # within the margin, though not at 0
        (EQUAL_BPD, [4.8, 4.79, 4.78], [5.0, 5.0, 5.0], "contradicted"),
        (EQUAL_BPD, [5.0, 5.3, 4.8], [5.1, 5.0, 5.0], "undecided"),
        (COST, [4.9, 4.92, 4.88], [4.7, 4.7, 4.7], "holds"),
        (COST, [4.6, 4.61, 4.62], [4.7, 4.7, 4.7], "contradicted"),
    ],
)
def test_labels_of_bpd_claims(claim, a, b, label):
    result = outcome(claim, runs(claim.row_a, claim.row_b, a, b))
    assert result.label == label
    assert result.metric_name == ("" if label == "not run" else "BPD")
    if label != "not run":
        assert result.seeds == (tuple(range(len(a))), tuple(range(len(b))))
    if label not in ("not run", "seen once"):
        assert result.low <= result.effect <= result.high


@pytest.mark.parametrize("label, score", [("holds", 1500.0), ("equal", 1990.0), ("contradicted", 2500.0)])
def test_labels_of_fid_claims_and_the_size_of_the_effect(label, score):
    a = score + np.array([0, 12.0, -12.0])
    result = outcome(FID, runs(FID.row_a, FID.row_b, a, [2000.0] * 3, "FD"))
    assert (result.label, result.metric_name) == (label, "FD-lite0")
    assert result.effect == pytest.approx(100 * (2000 - score) / 2000)


def test_effects_are_oriented_as_claimed():
    assert outcome(F_BPD, runs(F_BPD.row_a, F_BPD.row_b, [4.7], [5.9])).effect == pytest.approx(1.2)
    cost = outcome(COST, runs(COST.row_a, COST.row_b, [4.9, 5.0], [4.7, 4.7]))
    assert cost.effect == pytest.approx(0.25) and paper.published_effect(COST) == pytest.approx(0.4)
    is_up = outcome(IS, runs(IS.row_a, IS.row_b, [3.0], [2.0], "IS"))
    assert is_up.effect == pytest.approx(50.0) and is_up.verdict == "seen once, as claimed"
    assert outcome(IS, runs(IS.row_a, IS.row_b, [2.0], [3.0], "IS")).verdict == "seen once, not as claimed"
    assert not outcome(IS, runs(IS.row_a, IS.row_b, [2.0], [2.0], "IS")).as_claimed
    for value, as_claimed in ((5.04, True), (5.06, False), (4.9, False)):
        assert outcome(EQUAL_BPD, runs("table1/cq", "table1/vae", [value], [5.0])).as_claimed == as_claimed
    equal = replace(EQUAL_BPD, metric="is")
    assert equal.effect(3.0, 2.0) == 50.0  # for equality, positive says that row a is better
    assert replace(equal, metric="fid").effect(3.0, 2.0) == -50.0


values = st.lists(st.tuples(st.floats(1.0, 8.0), st.floats(1.0, 8.0)), min_size=1, max_size=5)


@given(values, st.sampled_from(["lower", "higher", "cost"]), st.sampled_from(["bpd", "is", "fid"]))
@settings(max_examples=60, deadline=None)
def test_swapping_the_rows_flips_the_sign_and_the_label(pairs, kind, metric):
    claim = replace(F_BPD, metric=metric, kind=kind)
    swapped = replace(claim, row_a=claim.row_b, row_b=claim.row_a)
    a, b = zip(*pairs, strict=True)
    records = runs(claim.row_a, claim.row_b, a, b, {"bpd": "BPD", "is": "IS", "fid": "FD"}[metric])
    one, other = (outcome(each, records) for each in (claim, swapped))
    scale = 1.0 if metric == "bpd" else np.mean(b) / np.mean(a)
    assert other.effect == pytest.approx(-one.effect * scale, abs=1e-9)
    if len(pairs) > 1:
        assert other.p == pytest.approx(one.p)
        mirror = {"holds": "contradicted", "contradicted": "holds"}
        if abs(one.p - 0.05) > 1e-9 and one.label in mirror:  # at 5 % exactly, rounding decides
            assert other.label == mirror[one.label]


@given(st.floats(-1, 1), st.floats(0.01, 1), st.floats(0.01, 0.5), st.booleans())
@settings(deadline=None)
def test_labels_follow_the_intervals_of_95_and_90_percent(mean, half, margin, relative):
    """Every claim has one label, and a claim and its reverse never both hold."""
    spread = half * np.array([-1.0, 0.2, 0.8])
    test = Welch(5 + mean + spread, 5 + spread[::-1], 1, relative)
    margin *= 20 if relative else 1
    (low, high), (inner_low, inner_high) = test.interval(), test.interval(0.90)
    label, p = judge("lower", test, margin)
    assert (label == "holds") == (low > 0) and (label == "contradicted") == (high < 0)
    assert (label == "equal") == (low <= 0 <= high and -margin < inner_low and inner_high < margin)
    assert (p <= 0.05) == (label in ("holds", "contradicted"))
    reverse = judge("lower", replace(test, a=test.b, b=test.a), margin)[0]
    assert not label == reverse == "holds"
    label, p = judge("equal", test, margin)
    assert (label == "holds") == (-margin < inner_low and inner_high < margin)
    assert (label == "contradicted") == (low > margin or high < -margin)
    assert (p <= 0.05) == (label != "undecided")


@pytest.mark.parametrize(
    ("kind", "side", "two_sided", "equal", "different", "label"),
    [
        ("lower", 1, 0.05, 0.9, 0.9, "holds"),
        ("cost", -1, 0.05, 0.01, 0.9, "contradicted"),
        ("higher", 1, 0.06, 0.05, 0.9, "equal"),
        ("higher", 1, 0.06, 0.06, 0.9, "undecided"),
        ("equal", 1, 0.01, 0.05, 0.9, "holds"),
        ("equal", 1, 0.01, 0.06, 0.05, "contradicted"),
        ("equal", 1, 0.01, 0.06, 0.06, "undecided"),
    ],
)
def test_each_label_asks_its_own_question_at_5_percent(kind, side, two_sided, equal, different, label):
    test = SimpleNamespace(p=two_sided, t=lambda: side, p_equal=lambda margin: equal,
                           p_different=lambda margin: different)  # fmt: skip
    assert judge(kind, test, 1.0)[0] == label


@pytest.mark.parametrize("n_a, n_b", [(2, 2), (3, 3), (3, 5), (5, 2)])
def test_intervals_over_seeds_are_those_of_unpaired_welch_tests(n_a, n_b):
    rng = np.random.default_rng([n_a, n_b])
    a, b = rng.normal(2000, 50, n_a), rng.normal(2100, 60, n_b)
    result = outcome(FID, runs(FID.row_a, FID.row_b, a, b, "FD"))
    assert (result.low, result.high) == pytest.approx(Welch(a, b, -1, relative=True).interval())
    assert result.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert result.effect == pytest.approx(100 * (1 - a.mean() / b.mean()))
    bpd = outcome(F_BPD, runs(F_BPD.row_a, F_BPD.row_b, a / 400, b / 400))
    interval = stats.ttest_ind(b / 400, a / 400, equal_var=False).confidence_interval(0.95)
    assert (bpd.low, bpd.high) == pytest.approx((interval.low, interval.high))


def test_shares_differ_in_points():
    coverage = BY_ID["table1/cq-f-gan-coverage"]
    values = {coverage.row_a: (0.20, 0.25, 0.24), coverage.row_b: (0.0, 0.001, 0.002)}
    records = [record(row, seed, metrics={"Coverage-lite0": value})
               for row, of_row in values.items() for seed, value in enumerate(of_row)]  # fmt: skip
    result = outcome(coverage, records)
    assert coverage.own and result.label == "holds" and result.text.startswith("+22.9 points [+")


# --- which runs count


def test_every_run_that_ended_counts_however_bad():
    """Training can break down while every number stays finite: 2,398.6 bits per dimension were seen."""
    records = runs("table1/vae-f", "table1/vae", [4.7, 4.8, 2398.6], [5.9, 6.0])
    result = outcome(F_BPD, records[::-1])
    assert result.seeds == ((0, 1, 2), (0, 1)) and result.source == "this machine, 3 and 2 seeds"
    assert result.effect == pytest.approx(5.95 - (4.7 + 4.8 + 2398.6) / 3) and result.label == "undecided"


@pytest.mark.parametrize("row", ["table1/vae-f", "table1/vae"])
def test_a_run_that_diverged_leaves_the_claims_of_its_row_undecided_and_no_seed_takes_its_place(row):
    records = runs("table1/vae-f", "table1/vae", [4.7, 4.71, 4.72, 4.7, 4.7], [5.9, 5.91, 5.92, 5.9, 5.9])
    assert outcome(F_BPD, records).label == "holds"
    records.append(record(row, 5, BPD=1.0, status="diverged"))
    result = outcome(F_BPD, records)
    label = {"table1/vae-f": "VAE-F", "table1/vae": "VAE"}[row]
    assert (result.label, result.reason) == ("undecided", f"{label}: 1 of 6 diverged")
    assert result.effect is result.p is None
    alone = [run for run in records if run.row != row] + [record(row, 0, status="diverged")]
    assert (outcome(F_BPD, alone).label, outcome(F_BPD, alone).reason) == ("undecided", f"{label}: diverged")


def test_a_bound_of_bpd_is_compared_with_an_exact_one():
    claim = BY_ID["table3/pixelrnn-bpd"]
    bound = replace(record(claim.row_b), metrics={"BPD": Metric(3.1, None, 2000, "ELBO")})
    assert outcome(claim, [record(claim.row_a, BPD=3.0), bound]).label == "seen once"


def test_runs_of_two_precisions_or_of_two_kinds_of_weights_are_never_compared():
    fast, exact = {"device": "CPU X, 1 thread, bf16 convolutions"}, {"device": "CPU X, 1 thread, fp32"}
    both = [record("table1/vae-f", BPD=4.7, **fast), record("table1/vae", BPD=5.0, **exact)]
    assert [claim_result(F_BPD, runs).label for runs in run_sets(both, [])] == ["not run", "not run"]
    assert [runs.label for runs in run_sets(both, [])] == [
        "photos10 16×16, quick, bf16 convolutions", "photos10 16×16, quick, fp32"]  # fmt: skip
    known, unknown = record("table1/cq-f", FD=90.0), record("table1/cq", FD=100.0)
    unknown.metrics["FD-lite0"] = replace(unknown.metrics["FD-lite0"], protocol="unknown weights")
    assert len(run_sets([known, unknown], [])) == 2


def test_the_papers_features_come_first_where_both_rows_have_them():
    both = {"FID": 90.0, "FD-lite0": 900.0}
    a, b = record("table1/cq-f", metrics=both), record("table1/cq", metrics={name: v + 10 for name, v in both.items()})
    assert outcome(FID, [a, b]).metric_name == "FID"
    assert outcome(FID, [a, replace(b, metrics={"FD-lite0": b.metrics["FD-lite0"]})]).metric_name == "FD-lite0"


def test_a_score_that_misleads_on_some_data_decides_nothing_there():
    records = runs(IS.row_a, IS.row_b, [3.0, 3.1], [2.0, 2.1], "IS", data="photodigits")
    assert (outcome(IS, records).label, outcome(F_BPD, records).label) == ("not run", "not run")
    assert "in IS on photodigits, where it misleads" in outcome(IS, records).reason


def test_a_claim_of_other_data_alone_is_not_run():
    claim = next(claim for claim in BY_ID.values() if claim.own_data_only)
    result = outcome(claim, [record(claim.row_a, BPD=3.0)])
    assert result.label == "not run" and "claimed for STL-10, not for photos10" in result.reason
