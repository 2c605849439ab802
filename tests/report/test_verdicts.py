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
from todays import of_today

from cqlib.experiments import paper
from cqlib.experiments.claims import BY_ID, Claim
from cqlib.experiments.record import Record
from cqlib.metrics.features import lite0
from cqlib.metrics.metric import GROUP, STARRED, Metric
from cqlib.metrics.quantities import metric_names
from cqlib.report.inference import Welch, bootstrap_interval
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.report.verdicts import ClaimResult, claim_result, judge


def outcome(claim: Claim, records: list[Record], temperature: float | None = None) -> ClaimResult:
    (run_set,) = run_sets(records, [])
    return claim_result(claim, run_set, temperature)


# --- claims: labels


@pytest.mark.parametrize(
    "claim, a, b, label",
    [
        (F_BPD, [4.7, 4.8, 4.75], [5.9, 6.0, 5.98], "holds"),
        (F_BPD, [5.9, 6.0, 5.98], [4.7, 4.8, 4.75], "does not hold"),
        (F_BPD, [5.00, 5.01, 5.00], [5.00, 5.00, 5.01], "equal"),
        (F_BPD, [5.0, 5.3, 4.8], [5.1, 5.0, 5.0], "undecided"),
        (F_BPD, [4.7], [5.9], "seen once"),
        (F_BPD, [4.7, 4.8], [], "not run"),
        (EQUAL_BPD, [5.020, 5.021, 5.019], [5.0, 5.0, 5.0], "holds"),  # within the margin, though not at 0
        (EQUAL_BPD, [4.8, 4.79, 4.78], [5.0, 5.0, 5.0], "does not hold"),
        (COST, [4.9, 4.92, 4.88], [4.7, 4.7, 4.7], "holds"),
        (COST, [4.6, 4.61, 4.62], [4.7, 4.7, 4.7], "does not hold"),
    ],
)
def test_labels_of_bpd_claims(claim, a, b, label):
    result = outcome(claim, runs(claim.row_a, claim.row_b, a, b))
    assert result.label == label
    assert result.metric_name == ("" if label == "not run" else "BPD")
    assert result.temperature is None
    if label != "not run":
        assert result.seeds == (tuple(range(len(a))), tuple(range(len(b))))
    if label not in ("not run", "seen once"):
        assert result.low <= result.effect <= result.high


@pytest.mark.parametrize("label, score", [("holds", 1500.0), ("equal", 1990.0), ("does not hold", 2500.0)])
def test_labels_of_fid_claims_and_the_size_of_the_effect(label, score):
    a = score + np.array([0, 12.0, -12.0])
    result = outcome(FID, runs(FID.row_a, FID.row_b, a, [2000.0] * 3, "FD"), 1.0)
    assert (result.label, result.metric_name) == (label, "FD-lite0@T1")
    assert result.effect == pytest.approx(100 * (2000 - score) / 2000)


def test_effect_cost_and_direction_are_oriented_as_claimed():
    assert outcome(F_BPD, runs(F_BPD.row_a, F_BPD.row_b, [4.7], [5.9])).effect == pytest.approx(1.2)
    cost = outcome(COST, runs(COST.row_a, COST.row_b, [4.9, 5.0], [4.7, 4.7]))
    assert cost.effect == pytest.approx(0.25) and paper.published_effect(COST) == pytest.approx(0.4)
    is_up = outcome(IS, runs(IS.row_a, IS.row_b, [3.0], [2.0], "IS"), 1.0)
    assert is_up.effect == pytest.approx(50.0) and is_up.direction == "as claimed"
    assert outcome(IS, runs(IS.row_a, IS.row_b, [2.0], [3.0], "IS"), 1.0).direction == "contrary"
    for value, direction in ((5.04, "as claimed"), (5.06, "contrary"), (4.9, "contrary")):
        assert outcome(EQUAL_BPD, runs("table1/cq", "table1/vae", [value], [5.0])).direction == direction
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
    key = {"bpd": "BPD", "is": "IS", "fid": "FD"}[metric]
    records = runs(claim.row_a, claim.row_b, a, b, key)
    one, other = (outcome(each, records, None if metric == "bpd" else 1.0) for each in (claim, swapped))
    scale = 1.0 if metric == "bpd" else np.mean(b) / np.mean(a)
    assert other.effect == pytest.approx(-one.effect * scale, abs=1e-9)
    if len(pairs) > 1:
        assert other.p == pytest.approx(one.p)
        mirror = {"holds": "does not hold", "does not hold": "holds"}
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
    assert (label == "holds") == (low > 0) and (label == "does not hold") == (high < 0)
    assert (label == "equal") == (low <= 0 <= high and -margin < inner_low and inner_high < margin)
    assert (p <= 0.05) == (label in ("holds", "does not hold"))
    reverse = judge("lower", replace(test, a=test.b, b=test.a), margin)[0]
    assert not label == reverse == "holds"
    label, p = judge("equal", test, margin)
    assert (label == "holds") == (-margin < inner_low and inner_high < margin)
    assert (label == "does not hold") == (low > margin or high < -margin)
    assert (p <= 0.05) == (label != "undecided")


@pytest.mark.parametrize(
    ("kind", "side", "two_sided", "equal", "different", "kept", "label"),
    [
        ("lower", 1, 0.05, 0.9, 0.9, 0.9, "holds"),
        ("cost", -1, 0.05, 0.01, 0.9, 0.9, "does not hold"),
        ("higher", 1, 0.06, 0.05, 0.9, 0.9, "equal"),
        ("higher", 1, 0.06, 0.06, 0.9, 0.9, "undecided"),
        ("equal", 1, 0.01, 0.05, 0.9, 0.9, "holds"),
        ("equal", 1, 0.01, 0.06, 0.05, 0.9, "does not hold"),
        ("equal", 1, 0.01, 0.06, 0.06, 0.9, "undecided"),
        ("kept", -1, 0.05, 0.9, 0.9, 0.01, "does not hold"),
        ("kept", -1, 0.06, 0.9, 0.9, 0.05, "holds"),
        ("kept", -1, 0.06, 0.9, 0.9, 0.06, "undecided"),
        ("kept", 1, 0.01, 0.9, 0.9, 0.05, "holds"),
    ],
)
def test_each_label_asks_its_own_question_at_5_percent(kind, side, two_sided, equal, different, kept, label):
    test = SimpleNamespace(p=two_sided, t=lambda: side, p_equal=lambda margin: equal, p_above=lambda effect: kept,
                           p_different=lambda margin: different, p_below=lambda effect: two_sided / 2)  # fmt: skip
    assert judge(kind, test, 1.0)[0] == label


# --- claims: intervals


@pytest.mark.parametrize("n_a, n_b", [(2, 2), (3, 3), (3, 5), (5, 2)])
def test_intervals_over_seeds_are_those_of_unpaired_welch_tests(n_a, n_b):
    rng = np.random.default_rng([n_a, n_b])
    a, b = rng.normal(2000, 50, n_a), rng.normal(2100, 60, n_b)
    result = outcome(FID, runs(FID.row_a, FID.row_b, a, b, "FD"), 1.0)
    assert (result.low, result.high) == pytest.approx(Welch(a, b, -1, relative=True).interval())
    assert result.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert result.effect == pytest.approx(100 * (1 - a.mean() / b.mean()))
    bpd = outcome(F_BPD, runs(F_BPD.row_a, F_BPD.row_b, a / 400, b / 400))
    interval = stats.ttest_ind(b / 400, a / 400, equal_var=False).confidence_interval(0.95)
    assert (bpd.low, bpd.high) == pytest.approx((interval.low, interval.high))
    assert bpd.spread == pytest.approx(np.sqrt(a.var(ddof=1) + b.var(ddof=1)) / 400)


def test_what_seeds_could_have_detected_is_told_where_a_claim_is_undecided():
    a, b = [4.9, 5.3, 4.8], [5.1, 5.0, 5.0]
    undecided = outcome(F_BPD, runs(F_BPD.row_a, F_BPD.row_b, a, b))
    assert undecided.label == "undecided" and undecided.power == f"{Welch(a, b).detectable:.2f} bpd"
    decided = outcome(F_BPD, runs(F_BPD.row_a, F_BPD.row_b, [4.0, 4.01], [5.0, 5.01]))
    assert decided.label == "holds" and decided.power == ""
    equal = outcome(EQUAL_BPD, runs("table1/cq", "table1/vae", a, b))  # an effect must lie outside the margin
    assert equal.label == "undecided" and equal.power == f"{0.05 + Welch(a, b).detectable:.2f} bpd"


@pytest.mark.parametrize("kind, difference, direction", [
    ("equal", 0.02, "as claimed"), ("equal", 0.045, "undecided"), ("equal", -0.055, "undecided"),
    ("equal", 0.1, "contrary"), ("equal", -0.1, "contrary"),
    ("kept", 0.1, "contrary"), ("kept", 0.045, "undecided"), ("kept", -0.1, "as claimed")])  # fmt: skip
def test_the_interval_over_images_decides_claims_of_equality_too(kind, difference, direction):
    b = np.full(400, 5.0)
    a = b + difference + 0.22 * np.random.default_rng(0).standard_normal(400)  # the interval of 2,000 is ±0.01 wide
    pair = [record(row, BPD=5.0 + gain, per_image={"BPD": of_row.tolist()})
            for row, gain, of_row in (("table1/cq", difference, a), ("table1/vae", 0.0, b))]  # fmt: skip
    result = outcome(replace(EQUAL_BPD, kind=kind), pair)
    assert result.direction == direction and 0.015 < result.high - result.low < 0.025


def test_shares_differ_in_points():
    recall = BY_ID["table1/cq-f-gan-recall"]
    values = {recall.row_a: (0.20, 0.25, 0.24), recall.row_b: (0.0, 0.001, 0.002)}
    records = [record(row, seed, metrics={"Recall-lite0@T0": value})
               for row, of_row in values.items() for seed, value in enumerate(of_row)]  # fmt: skip
    result = outcome(recall, records, 0.0)
    assert recall.own and result.label == "holds" and result.text.startswith("+22.9 points [+")


def test_one_seed_has_a_paired_bootstrap_over_images_for_bpd_alone():
    rng = np.random.default_rng(1)
    image = rng.normal(5.0, 1.0, 300)  # images differ far more than the two systems do on one image
    b = image + 0.1 + 0.01 * rng.standard_normal(300)
    pair = [
        record("table1/vae-f", BPD=5.0, FD=9.0, per_image={"BPD": image.tolist()}),
        record("table1/vae", BPD=5.2, FD=9.0, per_image={"BPD": b.tolist()}),
    ]
    result = outcome(F_BPD, pair)
    assert result.label == "seen once" and result.direction == "as claimed"
    assert result.effect == pytest.approx(0.2)  # the difference on all test images, not on those 300
    half = 1.96 * 0.01 / 2000**0.5  # what the mean over all images is known to
    assert (0.2 - result.low, result.high - 0.2) == pytest.approx((half, half), rel=0.1)
    alone = outcome(F_BPD, [pair[0], record("table1/vae", BPD=5.2)])
    assert alone.effect == pytest.approx(0.2) and alone.low is alone.high is None
    fid = outcome(BY_ID["table1/f-fid"], pair, 1.0)
    assert fid.label == "seen once" and fid.low is None


@pytest.mark.parametrize("gain, verdict", [
    (0.2, "seen once, as claimed"), (-0.2, "seen once, contrary"), (0.01, "seen once, undecided"),
    (-0.01, "seen once, undecided")])  # fmt: skip
def test_one_seed_whose_images_say_nothing_is_undecided(gain, verdict):
    image = np.random.default_rng(1).normal(5.0, 1.0, 300)
    other = image + gain + np.random.default_rng(2).normal(0.0, 0.5, 300)  # of all 2,000 the mean is known to 0.01
    pair = [record("table1/vae-f", BPD=5.0, per_image={"BPD": image.tolist()}),
            record("table1/vae", BPD=5.0 + gain, per_image={"BPD": other.tolist()})]  # fmt: skip
    assert outcome(F_BPD, pair).verdict == verdict
    recall = BY_ID["table1/cq-f-gan-recall"]
    for value, verdict in ((0.0, "undecided"), (0.0004, "undecided"), (0.0006, "as claimed")):
        pair = [record(row, metrics={"Recall-lite0@T0": v}) for row, v in ((recall.row_a, value), (recall.row_b, 0.0))]
        assert outcome(recall, pair, 0.0).verdict == f"seen once, {verdict}"


def test_one_seed_resamples_whole_tiles_where_its_record_tells_them():
    """Also against the mean of several seeds, image by image."""
    rng = np.random.default_rng(2)
    tiles = np.repeat(np.arange(30.0), 10).tolist()
    gain = rng.normal(0.2, 0.1, 30).repeat(10)  # images of a tile gain alike
    image = rng.normal(5.0, 1.0, 300)
    alone = record("table1/vae-f", BPD=5.0, per_image={"BPD": (image - gain).tolist(), GROUP: tiles})
    noise = rng.normal(0, 0.3, 300)
    several = [record("table1/vae", seed, BPD=5.2, per_image={"BPD": (image + side * noise).tolist(), GROUP: tiles})
               for seed, side in enumerate((-1, 1))]  # fmt: skip
    result = outcome(F_BPD, [alone, *several])
    low, high = bootstrap_interval(gain, tiles)
    assert result.label == "seen once" and result.seeds == ((0,), (0, 1))
    assert (result.low, result.high) == pytest.approx((low + 0.2 - gain.mean(), high + 0.2 - gain.mean()))
    without = [replace(run, per_image={"BPD": run.per_image["BPD"]}) for run in (alone, *several)]
    single = outcome(F_BPD, without)
    assert result.high - result.low > 5 * (single.high - single.low)


# --- claims: which records count


def test_all_finished_runs_count_whatever_their_seeds():
    records = runs("table1/vae-f", "table1/vae", [4.7, 4.8, 4.75], [5.9, 6.0])
    records.append(record("table1/vae", 2, BPD=1.0, status="diverged"))
    result = outcome(F_BPD, records[::-1])
    assert (result.seeds, result.left_out) == (((0, 1, 2), (0, 1)), ()) and result.effect == pytest.approx(1.2)
    assert result.source == "this machine, 3 and 2 seeds"
    others = [record("table1/vae-f", seed, BPD=4.7 + seed / 100) for seed in (5, 6)]
    assert outcome(F_BPD, [*records[3:5], *others]).label == "holds"
    diverged = outcome(F_BPD, [replace(item, status="diverged") for item in records])
    assert diverged.label == "not run" and diverged.missing_kind == 2
    told = "no run of {} that counts (diverged at step 1)"
    assert diverged.reason == f"{told.format('table1/vae-f')} and {told.format('table1/vae')}"


def test_a_run_whose_bits_are_more_than_those_of_raw_pixels_is_no_evidence():
    """Training can break down while every number stays finite: 2,398.6 bits per dimension were seen."""
    records = runs("table1/vae-f", "table1/vae", [4.7, 4.8, 8.01], [5.9, 8.0])
    result = outcome(F_BPD, records)
    assert result.seeds == ((0, 1), (0, 1)) and result.effect == pytest.approx(2.2)
    broken = outcome(F_BPD, [record("table1/vae-f", BPD=2398.56), *records[3:]])
    assert broken.label == "not run"
    assert broken.reason.endswith("that counts (needs more bits than raw pixels after step 1 (BPD 2,398.6, theirs 8))")
    assert not record("table1/vae-f", profile="smoke", BPD=9.0).ending  # after twenty steps
    starred = {"BPD": Metric(9.0, None, 10, f"{STARRED} (frozen generator)")}
    assert not replace(record("table1/gan"), metrics=starred).ending  # the likelihood of what was not trained


def test_runs_need_the_same_images_and_protocol():
    a, b = record("table1/cq-f", FD=1500.0), record("table1/cq", FD=2000.0)
    metric = b.metrics["FD-lite0@T1"]
    other_protocol = replace(b, metrics={"FD-lite0@T1": replace(metric, protocol="train split")})
    other_n = replace(b, metrics={"FD-lite0@T1": replace(metric, n=10)})
    assert outcome(FID, [a, b], 1.0).label == "seen once"
    for partner in (other_protocol, other_n):
        result = outcome(FID, [a, partner], 1.0)
        assert result.label == "not run" and "the same images, in the same precision" in result.reason
    mixed = [record("table1/cq-f", seed, FD=1500.0) for seed in (0, 1, 2)]
    mixed += [other_n, *(record("table1/cq", seed, FD=2000.0) for seed in (1, 2))]
    result = outcome(FID, mixed, 1.0)
    assert result.seeds == ((0, 1, 2), (1, 2)) and result.source.endswith("; not compared: CQ seed 0")


def test_a_bound_of_bpd_is_compared_with_an_exact_one():
    claim = BY_ID["table3/pixelrnn-bpd"]
    bound = replace(record(claim.row_b), metrics={"BPD": Metric(3.1, None, 2000, "ELBO")})
    assert outcome(claim, [record(claim.row_a, BPD=3.0), bound]).label == "seen once"


def test_runs_of_two_precisions_are_compared_only_where_the_recipes_ask_for_them():
    fast, exact = {"device": "CPU X, 1 thread, bf16 convolutions"}, {"device": "CPU X, 1 thread, fp32"}
    mixed = [record("table1/vae-f", 0, BPD=4.0, **fast), record("table1/vae", 0, BPD=5.0, **exact)]
    assert outcome(F_BPD, mixed).label == "not run"
    asked = [mixed[0], replace(mixed[1], config={"recipe": {"training": {"autocast": "off"}}})]
    assert outcome(F_BPD, asked).label == "seen once"
    equal = runs("table1/vae-f", "table1/vae", [4.0, 4.1], [5.0, 5.0], **exact)
    result = outcome(F_BPD, [*(of_today(replace(run, seed=run.seed + 1)) for run in equal), *mixed])
    assert result.seeds == ((1, 2), (0, 1, 2)) and result.left_out == ("VAE-F seed 0",)  # the fp32 run of VAE counts
    more = [record("table1/vae-f", 3, BPD=4.0, **fast), of_today(replace(asked[1], seed=4))]
    assert outcome(F_BPD, [*equal, *more]).seeds == ((0, 1), (0, 1, 4))


def test_temperatures_and_features_pick_the_metric():
    both = {"FD-lite0@T1": 2000.0, "FD-lite0@T0": 1000.0, "FID@T1": 30.0}
    other = {**both, "FID@T1": 40.0, "FD-lite0@T0": 800.0}
    records = [record("table1/cq-f", metrics=both), record("table1/cq", metrics=other)]
    assert outcome(FID, records, 1.0).metric_name == "FID@T1"
    cold = outcome(FID, records, 0.0)
    assert cold.metric_name == "FD-lite0@T0" and cold.effect == pytest.approx(-25.0)
    records += [record("table1/cq-f", 1, FD=90.0), record("table1/cq", 1, FD=100.0)]
    result = outcome(FID, records, 1.0)  # of two kinds of features the one of most runs
    assert (result.metric_name, result.seeds) == ("FD-lite0@T1", ((0, 1), (0, 1)))
    for claim, temperature in ((FID, None), (F_BPD, 1.0), (FID, 0.5)):
        with pytest.raises(ValueError, match="temperature"):
            outcome(claim, records, temperature)
    for metric, kind in (("is", "IS"), ("fid", "FID")):
        for temperature in (1.0, 0.0):
            lite = lite0(224)
            written = tuple(f"{f.label(kind)}@T{temperature:g}" for f in (replace(lite, name="inception"), lite))
            assert written == metric_names(metric, temperature)


def test_rows_of_one_model_share_records():
    records = [record("table2/cqf-residual", BPD=4.7), record("table1/cq-f", BPD=4.8)]
    assert outcome(BY_ID["table2/residual-bpd"], records).effect == pytest.approx(0.1)


def test_a_score_that_may_be_0_gives_no_percentages_and_a_verdict_all_the_same():
    kid = FID.cross_check
    assert (kid.metric, kid.kind, F_BPD.cross_check) == ("kid", "lower", None)
    without = outcome(FID, [record(row, metrics={"FD-lite0@T1": 9.0}) for row in (FID.row_a, FID.row_b)], 1.0)
    assert without.label == "seen once" and without.cross_check is None and without.agreement == ""

    def tested(a, b):
        sides = ((kid.row_a, a), (kid.row_b, b))
        records = [
            record(row, seed, metrics={"KD-lite0@T1": value}) for row, v in sides for seed, value in enumerate(v)
        ]
        return outcome(kid, records, 1.0)

    negative = tested([0.030, 0.031], [-0.001, -0.002])
    assert (negative.label, negative.text) == ("does not hold", "")
    assert negative.low is None and tested([0.1], [-0.1]).verdict == "seen once, contrary"
    near = tested([0.030, 0.031, 0.030], [0.001, -0.001, 0.002])
    assert near.label == "does not hold" and near.low is None
    assert near.text == f"−{-near.effect:,.1f} % [no bounds: the other mean may be 0]"
    assert tested([0.001, -0.002], [-0.001, 0.0]).label == "undecided"


def test_claims_bound_to_stl10_are_not_tested_elsewhere():
    claim = BY_ID["table3/stl10-scales-bpd"]
    result = outcome(claim, runs(claim.row_a, claim.row_b, [4.7], [4.8]))
    assert result.label == "not run" and "STL-10" in result.reason and result.missing_kind == 3
    assert outcome(claim, runs(claim.row_a, claim.row_b, [4.7], [4.8], data="stl10")).label == "seen once"


def test_an_end_near_zero_has_one_more_digit():
    result = ClaimResult(F_BPD, RunSet("local", "", 0, "", ()), "holds", effect=0.03, low=0.0026, high=0.06)
    assert result.text == "+0.03 bpd [+0.003, +0.06]"
    assert replace(result, low=-0.0026).text == "+0.03 bpd [−0.003, +0.06]"


def test_the_most_pairs_that_are_alike_are_compared_and_not_the_most_runs():
    fast, exact = ({"device": f"CPU X, 1 thread, {precision}"} for precision in ("bf16 convolutions", "fp32"))
    many = [record("table1/vae-f", seed, BPD=4 + seed / 100, **fast) for seed in range(5)]
    pair = runs("table1/vae-f", "table1/vae", [4.0, 4.1], [5.0, 5.1], **exact)
    pair = [of_today(replace(run, seed=run.seed + 5)) for run in pair]
    assert outcome(F_BPD, [*many, *pair]).seeds == ((5, 6), (5, 6))


def test_one_seed_that_is_better_is_as_claimed_where_something_is_to_be_kept():
    claim = BY_ID["trade-off/f-recall-100"]
    recall = {claim.row_a: 0.4, claim.row_b: 0.2}
    pair = [record(row, metrics={"Recall-lite0@T0": value}) for row, value in recall.items()]
    assert outcome(claim, pair, 0.0).verdict == "seen once, as claimed"
