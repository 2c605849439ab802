"""Verdicts on handmade records: every label, the intervals against scipy, the orientation of effects."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cqlib.experiments import paper
from cqlib.experiments.claims import BY_ID, CLAIMS, Claim
from cqlib.experiments.record import DataInfo, Record
from cqlib.metrics.metric import Metric
from cqlib.metrics.protocols import UNKNOWN_WEIGHTS
from cqlib.report.number_verdicts import NUMBER_LABELS, compare, done_by_seed, metric_names
from cqlib.report.verdicts import LABELS, bootstrap_interval, claim_result, claims_table, judge, t_interval
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
    made = [record(a, seed, **{key: value}, **more) for seed, value in enumerate(values_a)]
    return made + [record(b, seed, **{key: value}, **more) for seed, value in enumerate(values_b)]


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
        (F_BPD, [4.980, 4.981, 4.979], [5.0, 5.0, 5.0], "holds"),  # small, and beyond 0 all the same
        (F_BPD, [5.020, 5.021, 5.019], [5.0, 5.0, 5.0], "does not hold"),
        (EQUAL_BPD, [5.00, 5.01, 5.00], [5.00, 5.00, 5.01], "holds"),
        (EQUAL_BPD, [5.020, 5.021, 5.019], [5.0, 5.0, 5.0], "holds"),  # within the margin, though not at 0
        (EQUAL_BPD, [5.2, 5.21, 5.22], [5.0, 5.0, 5.0], "does not hold"),
        (EQUAL_BPD, [4.8, 4.79, 4.78], [5.0, 5.0, 5.0], "does not hold"),
        (EQUAL_BPD, [5.0, 5.3, 4.8], [5.1, 5.0, 5.0], "undecided"),
        (COST, [4.9, 4.92, 4.88], [4.7, 4.7, 4.7], "holds"),
        (COST, [4.6, 4.61, 4.62], [4.7, 4.7, 4.7], "does not hold"),
    ],
)
def test_labels_of_bpd_claims(claim, a, b, label):
    result = claim_result(claim, runs(claim.row_a, claim.row_b, a, b))
    assert result.label == label in LABELS
    assert result.metric_name == ("" if label == "not run" else "BPD")
    assert result.n_seeds == min(len(a), len(b)) and result.temperature is None
    if label not in ("not run", "seen once"):
        assert result.low <= result.effect <= result.high


@pytest.mark.parametrize("label, wanted", [("holds", 1500.0), ("equal", 1990.0), ("does not hold", 2500.0)])
def test_labels_of_fid_claims_and_the_size_of_the_effect(label, wanted):
    a = wanted + np.array([0, 12.0, -12.0])
    result = claim_result(FID, runs(FID.row_a, FID.row_b, a, [2000.0] * 3, "FD"), temperature=1.0)
    assert (result.label, result.metric_name) == (label, "FD-lite0@T1")
    assert result.effect == pytest.approx(100 * (2000 - wanted) / 2000)


def test_effect_cost_and_direction_are_oriented_as_claimed():
    assert claim_result(F_BPD, runs(F_BPD.row_a, F_BPD.row_b, [4.7], [5.9])).effect == pytest.approx(1.2)
    cost = claim_result(COST, runs(COST.row_a, COST.row_b, [4.9, 5.0], [4.7, 4.7]))
    assert cost.effect == pytest.approx(0.25) and cost.published == pytest.approx(0.4)
    is_up = claim_result(IS, runs(IS.row_a, IS.row_b, [3.0], [2.0], "IS"), temperature=1.0)
    assert is_up.effect == pytest.approx(50.0) and is_up.direction == "as claimed"
    is_down = claim_result(IS, runs(IS.row_a, IS.row_b, [2.0], [3.0], "IS"), temperature=1.0)
    assert is_down.direction == "contrary" and is_down.label == "seen once"
    for value, direction in ((5.04, "as claimed"), (5.06, "contrary"), (4.9, "contrary")):
        assert claim_result(EQUAL_BPD, runs("table1/cq", "table1/vae", [value], [5.0])).direction == direction


values = st.lists(st.tuples(st.floats(1.0, 9.0), st.floats(1.0, 9.0)), min_size=1, max_size=5)


@given(values, st.sampled_from(["lower", "higher", "cost"]), st.sampled_from(["bpd", "is", "fid"]))
@settings(max_examples=60, deadline=None)
def test_swapping_the_rows_flips_the_sign_and_the_label(pairs, kind, metric):
    claim = dataclasses.replace(F_BPD, metric=metric, kind=kind)
    swapped = dataclasses.replace(claim, row_a=claim.row_b, row_b=claim.row_a)
    a, b = zip(*pairs, strict=True)
    key = {"bpd": "BPD", "is": "IS", "fid": "FD"}[metric]
    temperature = None if metric == "bpd" else 1.0
    one, other = (
        claim_result(each, runs(claim.row_a, claim.row_b, a, b, key), temperature=temperature)
        for each in (claim, swapped)
    )
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
    assert label in LABELS and not label == reverse == "holds"
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
    result = claim_result(FID, runs(FID.row_a, FID.row_b, a, b, "FD"), temperature=1.0)
    wanted = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert result.low == pytest.approx(100 * wanted.low / b.mean())
    assert result.high == pytest.approx(100 * wanted.high / b.mean())


def test_seeds_that_agree_exactly_give_a_point():
    assert t_interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says_and_is_seeded():
    rng = np.random.default_rng(0)
    samples = rng.normal(0.3, 1.0, (200, 80))
    covered = [low <= 0.3 <= high for low, high in map(bootstrap_interval, samples)]
    assert 0.90 <= np.mean(covered) <= 0.99
    many = rng.gamma(2.0, 1.0, 20_000)  # of so many images the interval is that of the normal distribution
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
    result = claim_result(F_BPD, pair)
    assert result.label == "seen once" and result.direction == "as claimed"
    assert result.effect == pytest.approx(0.2)  # the difference on all test images, not on those 300
    assert 0.19 < result.low < 0.2 < result.high < 0.21
    alone = claim_result(F_BPD, [pair[0], record("table1/vae", BPD=5.2)])
    assert alone.effect == pytest.approx(0.2) and alone.low is alone.high is None
    fid = claim_result(BY_ID["table1/f-fid"], pair, temperature=1.0)
    assert fid.label == "seen once" and fid.low is None


# --- claims: which records count


def test_pairs_by_seed_and_leaves_out_what_has_no_partner():
    records = runs("table1/vae-f", "table1/vae", [4.7, 4.8, 4.75], [5.9, 6.0])
    result = claim_result(F_BPD, records[::-1])
    assert result.seeds == (0, 1) and result.effect == pytest.approx(1.2)
    assert "left out" in result.reason and "seed 2" in result.reason


def test_only_finished_runs_count():
    records = runs("table1/vae-f", "table1/vae", [4.7, 4.8], [5.9, 6.0])
    records += [record("table1/vae", 0, BPD=1.0, status="diverged"), record("table1/vae", 2, status="failed")]
    assert claim_result(F_BPD, records).seeds == (0, 1)
    stopped = [dataclasses.replace(item, status="stopped") for item in records]
    result = claim_result(F_BPD, stopped)
    assert result.label == "not run" and "table1/vae-f" in result.reason


def test_pairs_need_the_same_images_and_protocol():
    a, b = record("table1/cq-f", FD=1500.0), record("table1/cq", FD=2000.0)
    other_images = dataclasses.replace(b, data=dataclasses.replace(b.data, fingerprint="f" * 16))
    metric = b.metrics["FD-lite0@T1"]
    other_protocol = dataclasses.replace(
        b, metrics={"FD-lite0@T1": dataclasses.replace(metric, protocol="train split")}
    )
    other_n = dataclasses.replace(b, metrics={"FD-lite0@T1": dataclasses.replace(metric, n=10)})
    assert claim_result(FID, [a, b], temperature=1.0).label == "seen once"
    for partner in (other_images, other_protocol, other_n):
        result = claim_result(FID, [a, partner], temperature=1.0)
        assert result.label == "not run" and "the same images, in the same precision" in result.reason
    mixed = [record("table1/cq-f", seed, FD=1500.0) for seed in (0, 1, 2)]
    mixed += [other_images, *(record("table1/cq", seed, FD=2000.0) for seed in (1, 2))]
    assert claim_result(FID, mixed, temperature=1.0).seeds == (1, 2)


def test_pairs_of_two_precisions_count_only_where_the_recipes_ask_for_them():
    fast, exact = {"device": "CPU X, 1 thread, bf16 convolutions"}, {"device": "CPU X, 1 thread, fp32"}
    mixed = [record("table1/vae-f", 0, BPD=4.0, **fast), record("table1/vae", 0, BPD=5.0, **exact)]
    equal = runs("table1/vae-f", "table1/vae", [4.0, 4.1], [5.0, 5.0], **exact)
    assert claim_result(F_BPD, mixed).label == "not run"
    asked = [replace(mixed[0]), replace(mixed[1], config={"recipe": {"training": {"autocast": "off"}}})]
    assert claim_result(F_BPD, asked).label == "seen once"
    result = claim_result(F_BPD, [*(replace(run, seed=run.seed + 1) for run in equal), *mixed])
    assert (result.seeds, result.alone) == ((1, 2), (0,)) and "partner: seed 0" in result.reason


def test_of_two_kinds_of_features_the_one_of_most_pairs_is_taken():
    cheap = runs("table1/cq-f", "table1/cq", [90.0, 91.0], [100.0, 100.0], key="FD")
    for run in cheap[::2]:
        run.metrics["FID@T1"] = Metric(30.0, None, 2000, "a protocol")
    result = claim_result(FID, cheap, temperature=1)
    assert (result.metric_name, result.n_seeds) == ("FD-lite0@T1", 2)


def test_words_of_the_protocol_may_name_the_seed():
    records = [
        dataclasses.replace(item, metrics={"IS-lite0@T1": Metric(2.0 + rank, None, 9, f"seed {item.seed}")})
        for rank, row in enumerate(("table1/cq", "table1/cq-f"))
        for item in (record(row, 0), record(row, 1))
    ]
    assert claim_result(IS, records, temperature=1.0).seeds == (0, 1)


def test_bpd_protocols_may_differ_in_kind_as_in_the_papers_own_table():
    claim = BY_ID["table3/pixelrnn-bpd"]
    exact, bound = record(claim.row_a, BPD=3.0), record(claim.row_b, BPD=3.1)
    bound = dataclasses.replace(bound, metrics={"BPD": Metric(3.1, None, 2000, "ELBO")})
    assert claim_result(claim, [exact, bound]).label == "seen once"


def test_duplicates_and_mixtures_are_errors():
    records = runs("table1/vae-f", "table1/vae", [4.7], [5.9])
    with pytest.raises(ValueError, match="two records of table1/vae "):
        claim_result(F_BPD, [*records, record("table1/vae", BPD=5.8)])
    mixed = [*records, record("table1/vae", data="cifar10", BPD=4.4)]
    with pytest.raises(ValueError, match="one data set and profile"):
        claim_result(F_BPD, mixed)
    assert claim_result(F_BPD, mixed, data="photos10").label == "seen once"
    with pytest.raises(ValueError, match="temperature"):
        claim_result(FID, records)
    with pytest.raises(ValueError, match="temperature"):
        claim_result(F_BPD, records, temperature=1.0)


def test_temperatures_and_features_pick_the_metric():
    assert metric_names("fid", 0.0) == ("FID@T0", "FD-lite0@T0")
    both = {"FD-lite0@T1": 2000.0, "FD-lite0@T0": 1000.0, "FID@T1": 30.0}
    records = [
        record("table1/cq-f", metrics=both),
        record("table1/cq", metrics={**both, "FID@T1": 40.0, "FD-lite0@T0": 800.0}),
    ]
    assert claim_result(FID, records, temperature=1.0).metric_name == "FID@T1"
    cold = claim_result(FID, records, temperature=0.0)
    assert cold.metric_name == "FD-lite0@T0" and cold.effect == pytest.approx(-25.0)


def test_names_are_those_that_the_metrics_write():
    fidelity = pytest.importorskip("cqlib.metrics.fidelity")
    for metric, kind in (("is", "IS"), ("fid", "FID")):
        for temperature in (1.0, 0.0):
            written = tuple(fidelity.metric_name(kind, f, temperature) for f in ("inception", "lite0"))
            assert written == metric_names(metric, temperature)


def test_rows_of_one_model_share_records():
    claim = BY_ID["table2/residual-bpd"]
    records = [record("table2/cqf-residual", BPD=4.7), record("table1/cq-f", BPD=4.8)]
    assert claim_result(claim, records).effect == pytest.approx(0.1)


def test_a_score_that_is_not_positive_gives_no_percentages():
    result = claim_result(FID, runs(FID.row_a, FID.row_b, [1.0, 2.0], [0.0, 0.0], "FD"), temperature=1.0)
    assert result.label == "undecided" and result.effect is None


def test_claims_bound_to_stl10_are_not_tested_elsewhere():
    claim = BY_ID["table3/stl10-scales-bpd"]
    records = runs(claim.row_a, claim.row_b, [4.7], [4.8])
    result = claim_result(claim, records)
    assert result.label == "not run" and "STL-10" in result.reason
    at_home = runs(claim.row_a, claim.row_b, [4.7], [4.8], data="stl10")
    assert claim_result(claim, at_home).label == "seen once"


def test_table_of_claims():
    rng = np.random.default_rng(0)
    at = {"table1/vae": (6.0, 2000.0), "table1/vae-f": (5.0, 1900.0), "table1/cq": (6.0, 1500.0)}
    records = [
        record(row, seed, BPD=bpd + 0.01 * rng.standard_normal(), FD=fd + 10 * rng.standard_normal())
        for row, (bpd, fd) in at.items()
        for seed in range(5)
    ]
    table = claims_table(records, "photos10", "quick")
    sampled = sum(claim.metric in ("is", "fid") for claim in CLAIMS)
    assert len(table) == len(CLAIMS) + sampled
    assert list(dict.fromkeys(result.claim for result in table)) == list(CLAIMS)
    assert all((result.data, result.profile) == ("photos10", "quick") for result in table)
    tested = {(result.claim.id, result.temperature): result.label for result in table if result.n_seeds}
    assert tested == {
        ("table1/f-bpd", None): "holds",
        ("table1/f-fid", 1.0): "holds",
        ("table1/quality-loss-bpd", None): "holds",
        ("table1/quality-loss-fid", 1.0): "holds",
    }
    assert {result.label for result in table if not result.n_seeds} == {"not run"}
    assert claims_table([], "photos10", "quick")[0].label == "not run"


def test_the_paper_prints_no_seconds():
    result = claim_result(BY_ID["decoders/pixelcnn-seconds"], [])
    assert result.label == "not run" and result.published is None and result.lacks == 2


# --- numbers

BPD = paper.number("table2/cqf", "cifar10", "bpd")  # 3.90
FID_NUMBER = paper.number("table1/cq-f", "cifar10", "fid")  # 28.0


def real(row="table1/cq-f", seed=0, **more) -> Record:
    return record(row, seed, **{"data": "cifar10", "profile": "paper", **more})


@pytest.mark.parametrize(
    "bpd, label",
    [(3.9, "reproduced"), (3.95, "reproduced"), (3.85, "reproduced"), (3.951, "close"), (4.0, "close"),
     (3.8, "close"), (4.001, "not reproduced"), (3.0, "not reproduced")],
)  # fmt: skip
def test_labels_of_numbers_in_bpd(bpd, label):
    verdict = compare(BPD, real(BPD=bpd))
    assert verdict.label == label in NUMBER_LABELS
    assert verdict.measured == bpd and verdict.difference == pytest.approx(bpd - 3.9)


@pytest.mark.parametrize(
    "row, metric, name, factor, label",
    [
        ("table1/cq-f", "fid", "FID@T1", 1.0999, "reproduced"),
        ("table1/cq-f", "fid", "FID@T1", 0.81, "close"),
        ("table1/cq-f", "fid", "FID@T1", 1.21, "not reproduced"),
        ("table1/cq-f", "is", "IS@T1", 1.0499, "reproduced"),
        ("table1/cq-f", "is", "IS@T1", 0.91, "close"),
        ("table1/cq-f", "is", "IS@T1", 0.89, "not reproduced"),
    ],
)
def test_labels_of_scores(row, metric, name, factor, label):
    number = paper.number(row, "cifar10", metric)
    verdict = compare(number, real(row, metrics={name: factor * number.value}))
    assert verdict.label == label and verdict.metric_name == name
    assert verdict.difference == pytest.approx(100 * (factor - 1))


def test_seeds_are_averaged_and_other_rows_passed_over():
    records = [real(seed=0, BPD=3.8), real(seed=1, BPD=4.0), real("table1/vae", BPD=9.0)]
    verdict = compare(BPD, records)
    assert verdict.label == "reproduced" and verdict.n_seeds == 2 and verdict.measured == pytest.approx(3.9)
    with pytest.raises(ValueError, match="seed 0"):
        compare(BPD, [records[0], records[0]])


def test_a_quick_number_is_never_comparable_whatever_its_value():
    quick = record("table1/cq-f", BPD=3.9, metrics={"FD-lite0@T1": 28.0})
    for number in (BPD, FID_NUMBER):
        verdict = compare(number, quick)
        assert verdict.label == "not comparable" and verdict.measured is None
        assert "data (photos10, not CIFAR-10)" in verdict.reason and "profile (quick" in verdict.reason
    assert "features (lite0" in compare(FID_NUMBER, quick).reason
    assert "features" not in compare(BPD, quick).reason


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
    assert compare(FID_NUMBER, same).label == "reproduced"
    verdict = compare(FID_NUMBER, dataclasses.replace(same, **change))
    assert verdict.label == "not comparable" and verdict.reason.startswith(f"other {what}")


def test_bpd_of_a_part_of_the_test_images_is_not_comparable():
    assert "protocol (500 test images" in compare(BPD, real(BPD=3.9, n=500)).reason


def test_comparable_runs_win_over_others():
    assert compare(BPD, [record("table1/cq-f", BPD=1.0), real(BPD=3.9)]).label == "reproduced"


def test_numbers_that_were_not_run_or_not_printed():
    assert compare(BPD, []).label == "not run"
    assert "diverged" in compare(BPD, real(BPD=3.9, status="diverged")).reason
    verdict = compare(FID_NUMBER, real(BPD=3.9))
    assert verdict.label == "not run" and "FID@T1" in verdict.reason
    assert compare(paper.number("table2/gan-residual", "cifar10", "bpd"), []).label == "not comparable"


def test_done_by_seed_is_sorted():
    records = [record("table1/vae", seed) for seed in (3, 0, 2)]
    assert list(done_by_seed("table1/vae", records)) == [0, 2, 3]


def test_claim_is_data():
    claim = Claim("x", "s", "t", "cifar10", "is", "a", "b", "equal")
    assert claim.effect(3.0, 2.0) == 50.0  # for equality, positive says that row a is better
    assert dataclasses.replace(claim, metric="fid").effect(3.0, 2.0) == -50.0
