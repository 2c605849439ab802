"""Verdicts on handmade records: every label, which runs count, the orientation of effects, which run set decides."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fake_records import records, rendered_page
from handmade import COST, EQUAL_BPD, F_BPD, FID, IS, record, runs
from hypothesis import given, settings
from hypothesis import strategies as st
from todays import of_today

from cqlib.metrics.metric import Metric
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.claims import BY_ID, Claim
from cqlib.suite.experiments.record import Record
from cqlib.suite.report import findings
from cqlib.suite.report.findings import against_the_paper, cards, tally
from cqlib.suite.report.groups import groups
from cqlib.suite.report.inference import Comparison, holm, welch
from cqlib.suite.report.pictures import point_of
from cqlib.suite.report.verdicts import ClaimResult, claim_result, judge


def outcome(claim: Claim, made: list[Record]) -> ClaimResult:
    (group,) = groups(made, [])
    return claim_result(claim, group)


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
def test_labels_follow_the_intervals_of_95_percent_and_the_tests_of_equality(mean, half, margin, relative):
    """Every claim has one label, and a claim and its reverse never both hold."""
    spread = half * np.array([-1.0, 0.2, 0.8])
    a, b = 5 + mean + spread, 5 + spread[::-1]
    margin *= 20 if relative else 1
    found = welch(a, b, margin, 1, relative)
    label, p = judge("lower", found, mean > 0)
    assert (label == "holds") == (found.low > 0) and (label == "contradicted") == (found.high < 0)
    assert (label == "equal") == (found.low <= 0 <= found.high and found.p_equal <= 0.05)
    assert (p <= 0.05) == (label in ("holds", "contradicted"))
    assert not label == judge("lower", welch(b, a, margin, 1, relative), mean < 0)[0] == "holds"
    label, p = judge("equal", found, mean > 0)
    assert (label == "contradicted") == (found.p_equal > 0.05 and (found.low > margin or found.high < -margin))
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
    assert judge(kind, Comparison(0.0, None, None, two_sided, equal, different), side > 0)[0] == label


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


@pytest.mark.parametrize("fast", ["bf16", "tf32"])
def test_runs_of_two_precisions_are_never_compared(fast):
    fast, exact = {"precision": fast}, {"precision": "fp32"}
    both = [record("table1/vae-f", BPD=4.7, **fast), record("table1/vae", BPD=5.0, **exact)]
    assert [claim_result(F_BPD, runs).label for runs in groups(both, [])] == ["not run", "not run"]
    labels = {runs.label for runs in groups(both, [])}
    assert labels == {f"photos10 16×16, quick, {run.precision}" for run in both}


def test_the_papers_features_come_first_where_both_rows_have_them():
    both = {"FID": 90.0, "FD-lite0": 900.0}
    a, b = record("table1/cq-f", metrics=both), record("table1/cq", metrics={name: v + 10 for name, v in both.items()})
    assert outcome(FID, [a, b]).metric_name == "FID"
    assert outcome(FID, [a, replace(b, metrics={"FD-lite0": b.metrics["FD-lite0"]})]).metric_name == "FD-lite0"


def test_a_score_that_one_seed_has_hides_no_seeds_of_another():
    records = runs(FID.row_a, FID.row_b, [1500.0, 1510.0, 1490.0], [2000.0, 2010.0, 1990.0], "FD")
    for run in records[::3]:  # one seed of each row
        run.metrics["FID"] = replace(run.metrics["FD-lite0"], value=90.0)
    result = outcome(FID, records)
    assert (result.metric_name, result.label, result.seeds) == ("FD-lite0", "holds", ((0, 1, 2), (0, 1, 2)))


def test_a_score_that_misleads_on_some_data_decides_nothing_there():
    records = runs(IS.row_a, IS.row_b, [3.0, 3.1], [2.0, 2.1], "IS", data="photodigits")
    assert (outcome(IS, records).label, outcome(F_BPD, records).label) == ("not run", "not run")
    assert "IS misleads on photodigits" in outcome(IS, records).reason


def test_a_claim_of_other_data_alone_is_not_run():
    claim = next(claim for claim in BY_ID.values() if claim.data == "stl10")
    result = outcome(claim, [record(claim.row_a, BPD=3.0)])
    assert result.label == "not run" and "claimed for STL-10, not for photos10" in result.reason


# --- which run set decides, and what is told


def card_of(claim: Claim, local, published=()):
    return next(card for card in cards(groups(local, published)) if card.claim is claim)


def side(low, n, **more):
    return runs("table1/vae-f", "table1/vae", [low + 0.01 * seed for seed in range(n)], [5.0] * n, **more)


def test_which_group_decides():
    """One of the paper's recipe on its data; else most seeds, this machine's at a tie; smoke runs last."""
    card = card_of(F_BPD, [*side(4.0, 2, data="npz:mine"), *side(4.0, 3)], side(4.0, 3))
    sources = [result.source for result in card.tests]
    assert sources == ["this machine, 3 seeds", "this project, 3 seeds", "this machine, 2 seeds"]
    assert card_of(F_BPD, [*side(6.0, 2, profile="paper"), *side(4.0, 5)]).verdict == "holds"  # its recipe alone
    papers = side(6.0, 2, data="cifar10", profile="paper")
    assert card_of(F_BPD, [*papers, *side(4.0, 5)]).verdict == "contradicted"
    assert card_of(F_BPD, [*side(6.0, 5, profile="smoke"), *side(4.0, 1)]).verdict == "seen once, as claimed"
    short = [of_today(replace(run, changes={"training.steps": 100})) for run in side(6.0, 5)]  # a set of its own
    assert card_of(F_BPD, [*short, *side(4.0, 2)]).verdict == "holds"


def test_what_speaks_against_the_paper_is_told_data_set_by_data_set():
    there = side(4.0, 3, data="cifar10")
    worse, short = side(6.0, 3), [replace(run, changes={"training.steps": 7}) for run in side(6.0, 3, data="cifar10")]
    found = against_the_paper(cards(groups([], [*worse, *there, *map(of_today, short)])), "contradicted")
    assert [(label, [result.claim.id for result in results]) for label, results in found] == [
        ("photos10 16×16, quick", ["table1/f-bpd"])]  # fmt: skip
    assert tally(groups([], there))[1]["holds"] == 1 and tally(groups([], worse))[1]["contradicted"] == 1


def test_holms_correction_is_over_the_tests_of_a_table_and_group():
    both = runs("table1/vae-f", "table1/vae", [4.0, 4.1, 4.05], [5.0, 5.1, 5.05])
    both += runs("table3/pixelcnnpp", "table3/pixelrnn", [3.0, 3.1], [4.0, 4.1])
    both += runs("table1/cq", "table1/gan", [5.0, 5.1, 5.2], [7.0, 7.1])
    found = [card.tests[0] for card in cards(groups(both, []), "table1/") if card.tests]
    assert {result.claim.id for result in found} == {
        "table1/f-bpd", "table1/quality-loss-bpd", "table1/vae-gan-bpd"}  # fmt: skip
    assert [result.p_holm for result in found] == pytest.approx(holm([result.p for result in found]))
    assert {result.n_tests for result in found} == {3} and any(result.survives_holm for result in found)
    assert not any(replace(result, n_tests=1).survives_holm for result in found)


def test_why_a_claim_was_not_tested_is_that_of_the_runs_that_lack_least():
    local = [record("table1/vae", 0, BPD=5.0), record("table1/vae-f", 1, FD=4.0)]
    elsewhere = [record("table1/gan", data="npz:mine")]
    assert card_of(F_BPD, local, elsewhere).reason.startswith("no runs of both rows have measured BPD")
    assert card_of(EQUAL_BPD, local, elsewhere).reason == "no finished run of CQ"


def test_the_claims_as_data_are_a_plain_list_with_every_test(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "CLAIMS_FILE", tmp_path / "claims.json")
    sets = groups([], [*side(4.0, 2), record("table1/gan", 2, status="diverged")])
    entries = {entry["id"]: entry for entry in json.loads(findings.write_claims(sets).read_text())}
    assert entries.keys() == BY_ID.keys()
    for card in cards(sets):
        entry = entries[card.claim.id]
        assert (entry["sentence"], entry["verdict"]) == (card.claim.sentence, card.verdict)
        for written, result in zip(entry["tests"], card.tests, strict=True):
            assert written["effect"] == (result.effect and pytest.approx(result.effect, rel=1e-3))
            assert written["interval"] == (result.low and pytest.approx([result.low, result.high], rel=1e-3))


def test_a_number_says_which_records_it_is_of():
    result = card_of(F_BPD, side(4.0, 2)).tests[0]
    rows = ("table1_vae-f", "table1_vae")
    names = [", ".join(f"{row}--photos10--quick--{seed}.json" for seed in (0, 1)) for row in rows]
    assert result.files == " against ".join(f"2 seeds: {name}" for name in names)


@pytest.mark.parametrize(
    ("label", "p_holm", "weak"),
    [("holds", 0.04, False), ("holds", 0.2, True), ("contradicted", 0.2, True), ("equal", 0.2, False)],
)
def test_what_is_decided_but_not_after_the_correction_is_weak(label, p_holm, weak):
    result = ClaimResult(F_BPD, groups([record("table1/vae")], [])[0], label, p_holm=p_holm, n_tests=5)
    assert result.weak is weak and result.survives_holm is (label == "holds" and not weak)


def test_at_the_usual_lambda_the_claim_along_lambda_is_one_of_table_1():
    (digits,) = groups([record("table1/cq-f", data="photodigits"), record("table1/cq", data="photodigits")], [])
    usual, other = (claim_result(BY_ID[f"trade-off/f-bpd-{weight}"], digits).reason for weight in (100, 400))
    assert usual == "on Digits on photographs this λ is that of Table 1" and "no finished run of" in other


def test_an_infinite_score_counts_in_its_mean_and_decides_no_claim(tmp_path):
    """A run that gives a test image no probability is a finished one: the worst of all, not one that is missing."""
    made = records(3)
    worst = next(run for run in made if run.row == "table1/vae-f")
    metrics = worst.metrics | {"BPD": Metric(None, None, 2000, worst.metrics["BPD"].protocol, "infinite")}
    made[made.index(worst)] = replace(worst, metrics=metrics)
    (group,) = groups([], made)
    assert group.cell("table1/vae-f", "BPD").text == "∞" and group.cell("table1/vae-f", "BPD").std == ""
    result = claim_result(F_BPD, group)
    assert (result.label, result.reason) == ("undecided", "VAE-F: 1 of 3 infinite")
    assert len(result.values[0]) == 3
    assert point_of(group, "table1/vae-f", "FD-lite0") is None  # it has no place in a picture
    assert "∞" in rendered_page(tmp_path, [], made, plots=True).read_text()
