"""Cards of claims: which run set decides, Holm's correction, what is told, and the same as data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from handmade import COST, EQUAL_BPD, F_BPD, FID, IS, record, runs
from todays import of_today

from cqlib.experiments.claims import BY_ID, CLAIMS, Claim
from cqlib.report import claims_file, page
from cqlib.report.claim_cards import VERDICTS, cards, corrected, count_claims
from cqlib.report.headlines import HEADLINES, headlines, in_words
from cqlib.report.inference import holm
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.report.verdicts import ClaimResult

NOTHING = RunSet("local", "", 0, "", ())


def card_of(claim: Claim, local, published=()):
    all_cards = cards(run_sets(local, published))
    assert sorted(card.claim.id for card in all_cards) == sorted(claim.id for claim in CLAIMS)
    order = [list(VERDICTS).index(card.verdict) for card in all_cards]
    assert order == sorted(order) and sum(count_claims(all_cards).values()) == len(CLAIMS)
    return next(card for card in all_cards if card.claim is claim)


def test_a_card_has_effect_interval_seeds_and_data():
    local = [record("table1/cq-f", seed, FD=1500.0 + seed) for seed in (0, 1, 2)]
    local += [record("table1/cq", seed, FD=1600.0) for seed in (0, 1)]
    card = card_of(FID, local)
    (result,) = card.tests
    assert (card.verdict, result.metric_name, result.text) == ("holds", "FD-lite0", "+6.2 % [+6.0, +6.3]")
    assert (result.runs.label, result.source) == ("photos10 16×16, quick", "this machine, 3 and 2 seeds")
    assert card.published == "+52.2 %" and card.reach == pytest.approx(11.0)  # 1.1 times the band of equality
    bar = result.bar(card.reach)
    assert 100 < bar["low"] < bar["effect"] < bar["high"] and bar["right"] == 190.9


def test_which_run_set_decides():
    """One of the paper's recipe on its data; else most seeds, this machine's at a tie; smoke runs last."""

    def side(low, n, **more):
        return runs("table1/vae-f", "table1/vae", [low + 0.01 * seed for seed in range(n)], [5.0] * n, **more)

    def sources(card):
        return [result.source for result in card.tests]

    card = card_of(F_BPD, [*side(4.0, 2, data="npz:mine"), *side(4.0, 3)], side(4.0, 3))
    assert sources(card) == ["this machine, 3 seeds", "this project, 3 seeds", "this machine, 2 seeds"]
    assert len({result.bar(card.reach)["left"] for result in card.tests}) == 1  # all bars have one scale
    assert card_of(F_BPD, [*side(6.0, 2, profile="paper"), *side(4.0, 5)]).verdict == "holds"  # its recipe alone
    papers = side(6.0, 2, data="cifar10", profile="paper")
    assert card_of(F_BPD, [*papers, *side(4.0, 5)]).verdict == "contradicted"
    assert card_of(F_BPD, [*side(6.0, 5, profile="smoke"), *side(4.0, 1)]).verdict == "seen once, as claimed"
    short = [of_today(replace(run, changes={"training.steps": 100})) for run in side(6.0, 5)]  # a set of its own
    assert card_of(F_BPD, [*short, *side(4.0, 2)]).verdict == "holds"
    assert card_of(F_BPD, short).verdict == "contradicted"
    more = [record("table1/vae", seed, data="npz:mine", BPD=5.0) for seed in (2, 3, 4)]
    card = card_of(F_BPD, [*side(4.0, 2, data="npz:mine"), *more, *side(4.0, 3)])  # the row with fewer seeds counts
    assert [len(result.seeds[0]) for result in card.tests] == [3, 2]


def test_why_a_claim_was_not_tested_is_that_of_the_runs_that_lack_least():
    local = [record("table1/vae", 0, BPD=5.0), record("table1/vae-f", 1, FD=4.0)]
    elsewhere = [record("table1/gan", data="npz:mine")]
    assert card_of(F_BPD, local, elsewhere).reason.startswith("no runs of both rows have measured BPD")
    assert card_of(EQUAL_BPD, local, elsewhere).reason == "no finished run of table1/cq"
    local.append(record("table3/cqf-2-scales", data="stl10"))
    stl10 = card_of(BY_ID["table3/stl10-scales-bpd"], local)
    assert stl10.reason == "no finished run of table3/cqf-large-d"


def test_holms_correction_is_over_the_tests_of_a_table():
    p = [0.001, 0.02, 0.012, 0.5, None]
    claims = (F_BPD, COST, IS, FID, EQUAL_BPD)
    results = corrected([ClaimResult(claim, NOTHING, "holds", p=value)
                         for claim, value in zip(claims, p, strict=True)])  # fmt: skip
    assert [result.p_holm for result in results] == pytest.approx([*holm(p[:4]), None])
    assert [result.n_tests for result in results] == [4, 4, 4, 4, 0]
    assert [result.survives for result in results] == [True, True, True, False, False]
    told = BeautifulSoup(page.macro("test", results[0], 10.0), "html.parser").get_text(" ")
    assert "survives Holm’s correction over the 4 tests of Table 1" in " ".join(told.split())
    assert not replace(results[0], label="undecided").survives and not replace(results[0], n_tests=1).survives


def test_cards_are_corrected_within_table_and_run_set():
    both = runs("table1/vae-f", "table1/vae", [4.0, 4.1, 4.05], [5.0, 5.1, 5.05])
    both += runs("table3/pixelcnnpp", "table3/pixelrnn", [3.0, 3.1], [4.0, 4.1])
    elsewhere = runs("table1/vae-f", "table1/vae", [4.0, 4.1], [5.0, 5.1], data="npz:mine")
    both += runs("table1/cq", "table1/gan", [5.0, 5.1, 5.2], [7.0, 7.1])
    card = card_of(F_BPD, [*both, *elsewhere])
    tested = {"table1/f-bpd", "table1/quality-loss-bpd", "table1/vae-gan-bpd"}
    assert {result.runs.data: result.n_tests for result in card.tests} == {"photos10": len(tested), "npz:mine": 1}
    (alone,) = cards(run_sets(both, []), "table1/f-b")
    assert alone.claim is F_BPD and alone.tests[0].n_tests == len(tested)


def test_bars_reach_to_every_effect_and_to_the_interval_that_decides():
    wide = runs("table1/vae-f", "table1/vae", [3.0, 5.0], [5.0, 4.0], data="npz:mine")
    card = card_of(F_BPD, [*runs("table1/vae-f", "table1/vae", [4.0, 4.1, 4.05], [5.0, 5.1, 5.05]), *wide])
    deciding, other = card.tests
    assert card.reach == pytest.approx(1.1 * deciding.high) and other.high > card.reach


def test_headlines_say_the_claims_that_they_name():
    assert {f"table1/{id}" for claims in HEADLINES.values() for id in claims.values()} <= BY_ID.keys()
    published = runs("table1/cq-f", "table1/gan", [4.0, 4.1], [7.0, 7.1])
    told = headlines(run_sets(published[::2], published))  # one seed here does not decide
    assert told["CQ-F beats GAN in BPD"] == {"holds": [""]}
    assert told["f lowers BPD, with and without the quality loss"] == {"not run": ["with", "without"]}
    assert in_words({"holds": ["with", "without"]}) == "holds"
    assert in_words({"undecided": ["with"], "equal": ["without"]}) == "undecided (with) and equal (without)"


def test_what_did_not_come_out_is_named():
    once = runs("table1/vae-f", "table1/vae", [5.1], [5.0])
    against = runs("table1/cq-f", "table1/cq", [6.0, 6.01], [5.0, 5.01])
    sets = run_sets([*once, *against], [])
    told = BeautifulSoup(page.macro("shortfalls", sets, cards(sets, "table1")), "html.parser").get_text()
    assert "contradicted here: With the quality loss, f lowers BPD" in told
    assert "in the one seed that was run: Without the quality loss, f lowers BPD" in told


def test_the_claims_as_data_are_a_plain_list_with_every_test(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_file, "FILE", tmp_path / "claims.json")
    sets = run_sets([], [*runs("table1/vae-f", "table1/vae", [4.0, 4.1], [5.0, 5.2]),
                         *runs("table1/cq", "table1/gan", [5.0, 5.1], [7.0, 7.1]),
                         record("table1/gan", 2, status="diverged")])  # fmt: skip
    entries = {entry["id"]: entry for entry in json.loads(claims_file.write(sets).read_text())}
    assert entries.keys() == BY_ID.keys()
    for card in cards(sets):
        entry = entries[card.claim.id]
        assert (entry["sentence"], entry["verdict"]) == (card.claim.sentence, card.verdict)
        assert entry["origin"] == ("own" if card.claim.own else "paper")
        for written, result in zip(entry["tests"], card.tests, strict=True):
            assert (written["verdict"], written["reason"]) == (result.verdict, result.reason)
            assert written["effect"] == (result.effect and pytest.approx(result.effect, rel=1e-3))
            assert written["interval"] == (result.low and pytest.approx([result.low, result.high], rel=1e-3))
    assert entries["table1/vae-gan-bpd"]["tests"][0]["reason"] == "GAN: 1 of 3 diverged"
