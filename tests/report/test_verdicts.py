"""Verdicts on handmade records: every label, the intervals against scipy, the orientation of effects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cqlib.experiments import paper
from cqlib.experiments.claims import BY_ID, CLAIMS, Claim
from cqlib.experiments.record import DataInfo, Record
from cqlib.metrics.features import lite0
from cqlib.metrics.metric import Metric
from cqlib.metrics.protocols import UNKNOWN_WEIGHTS
from cqlib.report.claim_cards import VERDICTS, cards, count_claims, verdict
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.report.verdicts import (
    NUMBER_LABELS,
    ClaimResult,
    bootstrap_interval,
    claim_result,
    compare,
    judge,
    metric_names,
    t_interval,
)
from cqlib.util.provenance import GitInfo

SHAPES = {"photos10": (2000, 3, 16, 16), "cifar10": (10_000, 3, 32, 32), "stl10": (8_000, 3, 48, 48)}


def record(row: str, seed: int = 0, *, data="photos10", profile="quick", n=None, **more) -> Record:
    """A record with metrics as keywords: BPD=4.8, FD=1700.0 (lite0 at T 1), metrics={name: value}."""
    values = dict(more.pop("metrics", {}))
    short = {"BPD": "BPD", "FD": "FD-lite0@T1", "IS": "IS-lite0@T1"}
    values |= {name: more.pop(key) for key, name in short.items() if key in more}
    n = n or (SHAPES[data][0] if data in SHAPES else 1000)
    fields = {
        "row": row, "status": "done", "seed": seed, "profile": profile,
        "data": DataInfo(data, "test", "0123456789abcdef", SHAPES.get(data, (3, 16, 16))),
        "metrics": {name: Metric(value, None, n, "a protocol") for name, value in values.items()},
        "config": {}, "config_hash": "c", "parameters": {"total": 1}, "steps": 1, "best_step": 1,
        "seconds": 1.0, "images_per_second": None, "peak_memory_bytes": None, "device": "cpu", "versions": {},
        "git": GitInfo(None, None), "started": "2025-01-31T12:00:00Z", "finished": "2025-01-31T12:00:00Z",
    }  # fmt: skip
    return Record(**{**fields, **more})


def runs(a: str, b: str, values_a, values_b, key="BPD", **more) -> list[Record]:
    """Records of rows `a` and `b`, one per value, seeds from 0."""
    side_a = [record(a, seed, **{key: value}, **more) for seed, value in enumerate(values_a)]
    return side_a + [record(b, seed, **{key: value}, **more) for seed, value in enumerate(values_b)]


def outcome(claim: Claim, records: list[Record], temperature: float | None = None) -> ClaimResult:
    (run_set,) = run_sets(records, [])
    return claim_result(claim, run_set, temperature)


NOTHING = RunSet("local", "", 0, "", ())
F_BPD = BY_ID["table1/f-bpd"]  # VAE-F is lower than VAE
EQUAL_BPD = BY_ID["table1/quality-loss-bpd"]  # CQ equals VAE
COST = BY_ID["table1/quality-loss-f-bpd"]  # CQ-F costs bpd against VAE-F
FID = BY_ID["table1/f-quality-fid"]  # CQ-F is lower than CQ
IS = BY_ID["table1/f-quality-is"]


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
    assert len(result.seeds) == min(len(a), len(b)) and result.temperature is None
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


values = st.lists(st.tuples(st.floats(1.0, 9.0), st.floats(1.0, 9.0)), min_size=1, max_size=5)


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
        assert (other.low, other.high) == pytest.approx((-one.high * scale, -one.low * scale), abs=1e-7)
        away = 1e-9 < min(abs(one.low), abs(one.high))  # at 0 exactly, rounding decides
        mirror = {"holds": "does not hold", "does not hold": "holds"}
        if away and one.label in mirror:
            assert other.label == mirror[one.label]


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0.01, 0.5))
def test_every_interval_has_one_label_and_a_claim_and_its_reverse_never_both_hold(low, width, margin):
    high = low + width
    label, reverse = judge("lower", low, high, margin)[0], judge("lower", -high, -low, margin)[0]
    assert not label == reverse == "holds"
    assert (label == "holds") == (low > 0) and (label == "does not hold") == (high < 0)
    assert (label == "equal") == (low <= 0 <= high and -margin <= low and high <= margin)
    equal = judge("equal", low, high, margin)[0]
    assert (equal == "holds") == (-margin <= low and high <= margin)
    assert (equal == "does not hold") == (low > margin or high < -margin)


# --- claims: intervals


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_over_seeds_is_that_of_the_paired_t_test(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(2000, 50, n), rng.normal(2100, 50, n)
    result = outcome(FID, runs(FID.row_a, FID.row_b, a, b, "FD"), 1.0)
    interval = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert result.low == pytest.approx(100 * interval.low / b.mean())
    assert result.high == pytest.approx(100 * interval.high / b.mean())
    assert t_interval(np.array([0.5] * n)) == (0.5, 0.5)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says_and_is_seeded():
    rng = np.random.default_rng(0)
    samples = rng.normal(0.3, 1.0, (200, 80))
    covered = [low <= 0.3 <= high for low, high in map(bootstrap_interval, samples)]
    assert 0.90 <= np.mean(covered) <= 0.99
    many = rng.gamma(2.0, 1.0, 5_000)  # of so many images the interval is that of the normal distribution
    half = stats.norm.ppf(0.975) * stats.sem(many)
    assert bootstrap_interval(many) == pytest.approx((many.mean() - half, many.mean() + half), abs=0.1 * half)
    assert bootstrap_interval(samples[0]) == bootstrap_interval(samples[0])


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
    assert 0.19 < result.low < 0.2 < result.high < 0.21
    alone = outcome(F_BPD, [pair[0], record("table1/vae", BPD=5.2)])
    assert alone.effect == pytest.approx(0.2) and alone.low is alone.high is None
    fid = outcome(BY_ID["table1/f-fid"], pair, 1.0)
    assert fid.label == "seen once" and fid.low is None


# --- claims: which records count


def test_finished_runs_pair_by_seed():
    records = runs("table1/vae-f", "table1/vae", [4.7, 4.8, 4.75], [5.9, 6.0])
    records.append(record("table1/vae", 2, BPD=1.0, status="diverged"))
    result = outcome(F_BPD, records[::-1])
    assert (result.seeds, result.unpaired_seeds) == ((0, 1), (2,)) and result.effect == pytest.approx(1.2)
    assert "left out" in result.reason and "seed 2" in result.reason
    stopped = outcome(F_BPD, [replace(item, status="stopped") for item in records])
    assert stopped.label == "not run" and "table1/vae-f" in stopped.reason and stopped.missing_kind == 2


def test_pairs_need_the_same_images_and_protocol():
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
    assert outcome(FID, mixed, 1.0).seeds == (1, 2)


def test_words_of_a_protocol_may_name_the_seed_and_for_bpd_differ_in_kind():
    records = [
        replace(item, metrics={"IS-lite0@T1": Metric(2.0 + rank, None, 9, f"seed {item.seed}")})
        for rank, row in enumerate(("table1/cq", "table1/cq-f"))
        for item in (record(row, 0), record(row, 1))
    ]
    assert outcome(IS, records, 1.0).seeds == (0, 1)
    claim = BY_ID["table3/pixelrnn-bpd"]
    bound = replace(record(claim.row_b), metrics={"BPD": Metric(3.1, None, 2000, "ELBO")})
    assert outcome(claim, [record(claim.row_a, BPD=3.0), bound]).label == "seen once"


def test_pairs_of_two_precisions_count_only_where_the_recipes_ask_for_them():
    fast, exact = {"device": "CPU X, 1 thread, bf16 convolutions"}, {"device": "CPU X, 1 thread, fp32"}
    mixed = [record("table1/vae-f", 0, BPD=4.0, **fast), record("table1/vae", 0, BPD=5.0, **exact)]
    assert outcome(F_BPD, mixed).label == "not run"
    asked = [mixed[0], replace(mixed[1], config={"recipe": {"training": {"autocast": "off"}}})]
    assert outcome(F_BPD, asked).label == "seen once"
    equal = runs("table1/vae-f", "table1/vae", [4.0, 4.1], [5.0, 5.0], **exact)
    result = outcome(F_BPD, [*(replace(run, seed=run.seed + 1) for run in equal), *mixed])
    assert (result.seeds, result.unpaired_seeds) == ((1, 2), (0,)) and "partner: seed 0" in result.reason


def test_temperatures_and_features_pick_the_metric():
    both = {"FD-lite0@T1": 2000.0, "FD-lite0@T0": 1000.0, "FID@T1": 30.0}
    other = {**both, "FID@T1": 40.0, "FD-lite0@T0": 800.0}
    records = [record("table1/cq-f", metrics=both), record("table1/cq", metrics=other)]
    assert outcome(FID, records, 1.0).metric_name == "FID@T1"
    cold = outcome(FID, records, 0.0)
    assert cold.metric_name == "FD-lite0@T0" and cold.effect == pytest.approx(-25.0)
    records += [record("table1/cq-f", 1, FD=90.0), record("table1/cq", 1, FD=100.0)]
    result = outcome(FID, records, 1.0)  # of two kinds of features the one of most pairs
    assert (result.metric_name, result.seeds) == ("FD-lite0@T1", (0, 1))
    for claim, temperature in ((FID, None), (F_BPD, 1.0), (FID, 0.5)):
        with pytest.raises(ValueError, match="temperature"):
            outcome(claim, records, temperature)
    for metric, kind in (("is", "IS"), ("fid", "FID")):
        for temperature in (1.0, 0.0):
            lite = lite0()
            written = tuple(f"{f.label(kind)}@T{temperature:g}" for f in (replace(lite, suffix=""), lite))
            assert written == metric_names(metric, temperature)


def test_rows_of_one_model_share_records():
    records = [record("table2/cqf-residual", BPD=4.7), record("table1/cq-f", BPD=4.8)]
    assert outcome(BY_ID["table2/residual-bpd"], records).effect == pytest.approx(0.1)


def test_a_score_that_is_not_positive_gives_no_percentages():
    result = outcome(FID, runs(FID.row_a, FID.row_b, [1.0, 2.0], [0.0, 0.0], "FD"), 1.0)
    assert result.label == "undecided" and result.effect is None


def test_claims_bound_to_stl10_are_not_tested_elsewhere():
    claim = BY_ID["table3/stl10-scales-bpd"]
    result = outcome(claim, runs(claim.row_a, claim.row_b, [4.7], [4.8]))
    assert result.label == "not run" and "STL-10" in result.reason and result.missing_kind == 3
    assert outcome(claim, runs(claim.row_a, claim.row_b, [4.7], [4.8], data="stl10")).label == "seen once"


# --- cards


@pytest.mark.parametrize(
    "labels, together",
    [
        (("holds", "holds"), "holds"),
        (("holds", "does not hold"), "depends on the temperature"),
        (("undecided", "does not hold"), "depends on the temperature"),
        (("holds", "undecided"), "undecided"),
        (("equal", "holds"), "undecided"),
        (("seen once", "seen once"), "seen once, depends on the temperature"),
        (("seen once", "does not hold"), "depends on the temperature"),
    ],
)
def test_a_claim_holds_only_where_it_holds_at_both_temperatures(labels, together):
    sides = zip(labels, ("as claimed", "contrary"), strict=True)
    results = [ClaimResult(FID, NOTHING, label, "", direction=side) for label, side in sides]
    assert verdict(results) == together in VERDICTS


def card_of(claim: Claim, local, published=()):
    all_cards = cards(run_sets(local, published))
    assert sorted(card.claim.id for card in all_cards) == sorted(claim.id for claim in CLAIMS)
    order = [list(VERDICTS).index(card.verdict) for card in all_cards]
    assert order == sorted(order) and sum(count_claims(all_cards).values()) == len(CLAIMS)
    return next(card for card in all_cards if card.claim is claim)


def test_a_card_has_effect_interval_seeds_and_data():
    both = {"FD-lite0@T1": 1500.0, "FD-lite0@T0": 1700.0}
    local = [record("table1/cq-f", seed, metrics={k: v + seed for k, v in both.items()}) for seed in (0, 1, 2)]
    local += [record("table1/cq", seed, metrics=dict.fromkeys(both, 1600.0)) for seed in (0, 1)]
    card = card_of(FID, local)
    (results,) = card.tests
    assert card.verdict == "depends on the temperature" and results[0].score == "FD-lite0"
    assert results[0].runs.label == "photos10 16×16, quick"
    assert results[0].source == "this machine, 2 seeds; without a comparable partner: seed 2"
    warm, cold = results
    assert (warm.at, warm.verdict, cold.at, cold.verdict) == ("T = 1", "holds", "T = 0", "does not hold")
    assert warm.text == "+6.2 % [+5.8, +6.6]" and cold.text == "−6.3 % [−6.7, −5.9]"
    assert card.published == "+52.2 %" and card.reach == pytest.approx(11.0)  # 1.1 times the band of equality
    bar = card.bar(cold)
    assert bar["low"] < bar["effect"] < bar["high"] < 100 and bar["right"] == 190.9


def test_which_run_set_decides():
    """One of the paper's recipe on its data; else most seeds, this machine's at a tie; smoke runs last."""

    def side(low, n, **more):
        return runs("table1/vae-f", "table1/vae", [low + 0.01 * seed for seed in range(n)], [5.0] * n, **more)

    def sources(card):
        return [results[0].source for results in card.tests]

    card = card_of(F_BPD, [*side(4.0, 2, data="npz:mine"), *side(4.0, 3)], side(4.0, 3))
    assert sources(card) == ["this machine, 3 seeds", "published, 3 seeds", "this machine, 2 seeds"]
    assert len({card.bar(results[0])["left"] for results in card.tests}) == 1  # all bars have one scale
    papers = side(6.0, 2, data="cifar10", profile="paper")
    assert card_of(F_BPD, [*papers, *side(4.0, 5)]).verdict == "does not hold"
    assert card_of(F_BPD, [*side(6.0, 5, profile="smoke"), *side(4.0, 1)]).verdict == "seen once, as claimed"


def test_why_a_claim_was_not_tested_is_that_of_the_runs_that_lack_least():
    local = [record("table1/vae", 0, BPD=5.0), record("table1/vae-f", 1, BPD=4.0)]
    elsewhere = [record("table1/gan", data="npz:mine")]
    assert card_of(F_BPD, local, elsewhere).reason.startswith("no two runs of one seed")
    assert card_of(EQUAL_BPD, local, elsewhere).reason == "no finished run of table1/cq"
    local.append(record("table3/cqf-2-scales", data="stl10"))
    stl10 = card_of(BY_ID["table3/stl10-scales-bpd"], local)
    assert stl10.reason == "no finished run of table3/cqf-large-d"


# --- numbers

BPD = paper.number("table2/cqf", "cifar10", "bpd")  # 3.90
FID_NUMBER = paper.number("table1/cq-f", "cifar10", "fid")  # 28.0


def real(row="table1/cq-f", seed=0, **more) -> Record:
    return record(row, seed, **{"data": "cifar10", "profile": "paper", **more})


@pytest.mark.parametrize(
    "bpd, label",
    [(3.95, "reproduced"), (3.85, "reproduced"), (3.951, "close"), (4.0, "close"), (3.8, "close"),
     (4.001, "not reproduced"), (3.0, "not reproduced")],
)  # fmt: skip
def test_labels_of_numbers_in_bpd(bpd, label):
    result = compare(BPD, [real(BPD=bpd)])
    assert result.label == label in NUMBER_LABELS
    assert f"1 run: {bpd - 3.9:+.2f} bpd from the paper's 3.90" in result.reason


@pytest.mark.parametrize(
    "metric, name, factor, label",
    [
        ("fid", "FID@T1", 1.0999, "reproduced"),
        ("fid", "FID@T1", 0.81, "close"),
        ("fid", "FID@T1", 1.21, "not reproduced"),
        ("is", "IS@T1", 1.0499, "reproduced"),
        ("is", "IS@T1", 0.91, "close"),
        ("is", "IS@T1", 0.89, "not reproduced"),
    ],
)
def test_labels_of_scores(metric, name, factor, label):
    number = paper.number("table1/cq-f", "cifar10", metric)
    result = compare(number, [real(metrics={name: factor * number.value})], 1.0)
    assert result.label == label and f"1 run: {100 * (factor - 1):+.2f} % from the paper's" in result.reason


def test_comparable_seeds_are_averaged_and_others_left_out():
    records = [real(seed=0, BPD=3.8), real(seed=1, BPD=4.0), real(seed=2, BPD=9.0, n=500)]
    result = compare(BPD, records)
    assert result.label == "reproduced" and "mean of 2 runs: +0.00 bpd" in result.reason.replace("-", "+")
    assert "protocol (500 test images" in compare(BPD, records[2:]).reason


@pytest.mark.parametrize(
    "change, what",
    [
        ({"data": DataInfo("cifar10-jpeg", "test", "f", (3, 32, 32))}, "data (cifar10-jpeg"),
        ({"data": DataInfo("cifar10", "test", "f", (3, 16, 16))}, "data (images of 3x16x16"),
        ({"data": DataInfo("cifar10", "train", "f", (3, 32, 32))}, "protocol (measured on the train split"),
        ({"profile": "study"}, "profile (study"),
        ({"config": {"n_train": 4000}}, "training set (4,000 images"),
        ({"metrics": {"FID@T1": Metric(28.0, None, 5000, "p")}}, "protocol (5,000 samples"),
        ({"metrics": {"FID@T1": Metric(28.0, None, 10_000, f"FID: {UNKNOWN_WEIGHTS}")}}, "features (unknown weights"),
        ({"metrics": {"FD-lite0@T1": Metric(28.0, None, 10_000, "p")}}, "features (lite0"),
    ],
)
def test_what_differs_is_named(change, what):
    same = real(metrics={"FID@T1": 28.0})
    assert compare(FID_NUMBER, [same], 1.0).label == "reproduced"
    result = compare(FID_NUMBER, [replace(same, **change)], 1.0)
    assert result.label == "not comparable" and result.reason.startswith(f"other {what}")


def test_numbers_that_were_not_run_or_not_printed():
    assert compare(BPD, []).label == "not run"
    assert "diverged" in compare(BPD, [real(BPD=3.9, status="diverged")]).reason
    result = compare(FID_NUMBER, [real(BPD=3.9)], 1.0)
    assert result.label == "not run" and "FID@T1" in result.reason
    assert compare(paper.number("table2/gan-residual", "cifar10", "bpd"), []).label == "not comparable"
