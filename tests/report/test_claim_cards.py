"""Cards of claims: the verdict on all run sets and temperatures, Holm's correction, what is told beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup
from handmade import COST, EQUAL_BPD, F_BPD, FID, IS, at_32, record, runs
from todays import of_today

from cqlib.experiments.ablations import STEPS
from cqlib.experiments.claims import BY_ID, CLAIMS, Claim
from cqlib.experiments.record import DataInfo
from cqlib.report import page
from cqlib.report.claim_cards import VERDICTS, at_temperatures, cards, corrected, count_claims, look, verdict
from cqlib.report.growth import OPPOSITE
from cqlib.report.inference import holm
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.report.verdicts import ClaimResult

NOTHING = RunSet("local", "", 0, "", ())


@pytest.mark.parametrize(
    "labels, together, sign",
    [
        (("holds", "holds"), "holds", "✓"),
        (("holds", "does not hold"), "depends on the temperature", "✓/✗"),
        (("undecided", "does not hold"), "depends on the temperature", "?/✗"),
        (("does not hold", "undecided"), "depends on the temperature", "✗/?"),
        (("does not hold", "equal"), "depends on the temperature", "✗/="),
        (("holds", "undecided"), "holds", "✓"),
        (("undecided", "holds"), "undecided", "?"),
        (("equal", "holds"), "equal", "="),
        (("seen once", "seen once"), "seen once, depends on the temperature", "(✓/✗)"),
        (("seen once", "does not hold"), "depends on the temperature", "✓/✗"),
    ],
)
def test_the_first_temperature_decides_unless_a_claim_fails_at_one(labels, together, sign):
    sides = zip(labels, ("as claimed", "contrary"), strict=True)
    results = [ClaimResult(FID, NOTHING, label, direction=side) for label, side in sides]
    assert verdict(results) == together in VERDICTS
    assert look(results) == VERDICTS[together]._replace(sign=sign)


def test_what_was_seen_once_depends_on_the_temperature_where_it_is_contrary_at_one():
    for sides in (("as claimed", "undecided"), ("undecided", "as claimed")):
        results = [ClaimResult(FID, NOTHING, "seen once", direction=side) for side in sides]
        assert verdict(results) == f"seen once, {sides[0]}"


def card_of(claim: Claim, local, published=()):
    all_cards = cards(run_sets(local, published))
    assert sorted(card.claim.id for card in all_cards) == sorted(claim.id for claim in CLAIMS)
    order = [list(VERDICTS).index(card.verdict) for card in all_cards]
    assert order == sorted(order) and sum(count_claims(all_cards).values()) == len(CLAIMS)
    return next(card for card in all_cards if card.claim is claim)


def remarks(result) -> str:
    """What is told of a result, in words."""
    return " ".join(BeautifulSoup(page.macro("tests", [result], 10.0), "html.parser").get_text(" ").split())


def test_a_card_has_effect_interval_seeds_and_data():
    both = {"FD-lite0@T1": 1500.0, "FD-lite0@T0": 1700.0}
    local = [record("table1/cq-f", seed, metrics={k: v + seed for k, v in both.items()}) for seed in (0, 1, 2)]
    local += [record("table1/cq", seed, metrics=dict.fromkeys(both, 1600.0)) for seed in (0, 1)]
    card = card_of(FID, local)
    (results,) = card.tests
    assert card.verdict == "depends on the temperature" and results[0].score == "FD-lite0"
    assert card.words == "does not hold at T = 0, holds at T = 1"
    assert results[0].runs.label == "photos10 16×16, quick"
    assert results[0].source == "this machine, 3 and 2 seeds"
    cold, warm = results
    assert (warm.at, warm.verdict, cold.at, cold.verdict) == ("T = 1", "holds", "T = 0", "does not hold")
    assert warm.text == "+6.2 % [+6.0, +6.3]" and cold.text == "−6.3 % [−6.5, −6.2]"
    assert card.published == "+52.2 %" and card.reach == pytest.approx(11.0)  # 1.1 times the band of equality
    bar = cold.bar(card.reach)
    assert bar["low"] < bar["effect"] < bar["high"] < 100 and bar["right"] == 190.9


def test_which_run_set_decides():
    """One of the paper's recipe on its data; else most seeds, this machine's at a tie; smoke runs last."""

    def side(low, n, **more):
        return runs("table1/vae-f", "table1/vae", [low + 0.01 * seed for seed in range(n)], [5.0] * n, **more)

    def sources(card):
        return [results[0].source for results in card.tests]

    card = card_of(F_BPD, [*side(4.0, 2, data="npz:mine"), *side(4.0, 3)], side(4.0, 3))
    assert sources(card) == ["this machine, 3 seeds", "this project, 3 seeds", "this machine, 2 seeds"]
    assert len({results[0].bar(card.reach)["left"] for results in card.tests}) == 1  # all bars have one scale
    assert card_of(F_BPD, [*side(6.0, 2, profile="paper"), *side(4.0, 5)]).verdict == "holds"  # its recipe alone
    papers = side(6.0, 2, data="cifar10", profile="paper")
    assert card_of(F_BPD, [*papers, *side(4.0, 5)]).verdict == "does not hold"
    assert card_of(F_BPD, [*side(6.0, 5, profile="smoke"), *side(4.0, 1)]).verdict == "seen once, as claimed"
    short = [of_today(replace(run, changes={STEPS: 100})) for run in side(6.0, 5)]  # a set of its own
    assert card_of(F_BPD, [*short, *side(4.0, 2)]).words == "holds" and card_of(F_BPD, short).words == "does not hold"
    more = [record("table1/vae", seed, data="npz:mine", BPD=5.0) for seed in (2, 3, 4)]
    card = card_of(F_BPD, [*side(4.0, 2, data="npz:mine"), *more, *side(4.0, 3)])  # the row with fewer seeds counts
    assert [len(results[0].seeds[0]) for results in card.tests] == [3, 2]


def test_why_a_claim_was_not_tested_is_that_of_the_runs_that_lack_least():
    local = [record("table1/vae", 0, BPD=5.0), record("table1/vae-f", 1, BPD=4.0)]
    elsewhere = [record("table1/gan", data="npz:mine")]
    local[1] = replace(local[1], metrics={"BPD": replace(local[1].metrics["BPD"], n=9)})
    assert card_of(F_BPD, local, elsewhere).reason.startswith("no runs of both rows have BPD")
    assert card_of(EQUAL_BPD, local, elsewhere).reason == "no finished run of table1/cq"
    local.append(record("table3/cqf-2-scales", data="stl10"))
    stl10 = card_of(BY_ID["table3/stl10-scales-bpd"], local)
    assert stl10.reason == "no finished run of table3/cqf-large-d"


def test_claims_that_survive_holms_correction_over_their_table():
    """At each temperature with those of BPD, which have none and need to survive with either."""
    claims = [(F_BPD, None), (COST, None), (IS, 0.0), (FID, 0.0), (IS, 1.0), (FID, 1.0)]
    p = [0.001, 0.02, 0.012, 0.5, 0.018, None]
    results = corrected([ClaimResult(claim, NOTHING, "holds", t, p=value)
                         for (claim, t), value in zip(claims, p, strict=True)])  # fmt: skip
    cold, warm = holm([0.001, 0.02, 0.012, 0.5]), holm([0.001, 0.02, 0.018])
    assert [result.p_holm for result in results] == pytest.approx([
        cold[0], max(cold[1], warm[1]), cold[2], cold[3], warm[2], None])  # fmt: skip
    assert [result.n_tests for result in results] == [4, 4, 4, 4, 3, 0]
    assert [result.survives for result in results] == [True, True, True, False, True, False]
    assert "survives Holm’s correction over the 4 tests of Table 1" in remarks(results[0])
    assert not replace(results[0], label="undecided").survives and not replace(results[0], n_tests=1).survives


def test_cards_are_corrected_within_table_and_run_set():
    both = runs("table1/vae-f", "table1/vae", [4.0, 4.1, 4.05], [5.0, 5.1, 5.05])
    both += runs("table3/pixelcnnpp", "table3/pixelrnn", [3.0, 3.1], [4.0, 4.1])
    elsewhere = runs("table1/vae-f", "table1/vae", [4.0, 4.1], [5.0, 5.1], data="npz:mine")
    both += runs("table1/cq", "table1/gan", [5.0, 5.1, 5.2], [7.0, 7.1])
    card = card_of(F_BPD, [*both, *elsewhere])
    tests = {results[0].runs.data: results[0].n_tests for results in card.tests}
    tested = {"table1/f-bpd", "table1/quality-loss-bpd", "table1/vae-gan-bpd"}
    assert tests == {"photos10": len(tested), "npz:mine": 1}
    assert [card.claim.id for card in cards(run_sets(both, []), "table1/f-b")] == [F_BPD.id]
    assert cards(run_sets(both, []), "table1/f-b")[0].tests[0][0].n_tests == len(tested)


def test_kid_is_told_beside_fid_and_disagreement_in_words():
    def tested(kd_a, kd_b):
        values = {"table1/cq-f": (90.0, kd_a), "table1/cq": (100.0, kd_b)}
        records = [record(row, seed, metrics={"FD-lite0@T0": fd + seed / 10, "KD-lite0@T0": kd + seed / 1000})
                   for row, (fd, kd) in values.items() for seed in range(3)]  # fmt: skip
        return card_of(FID, records).tests[0][0]

    assert "KD-lite0 agrees, +19.8 % [" in remarks(tested(0.08, 0.1)) and not tested(0.08, 0.1).disagrees
    against = tested(0.12, 0.1)
    assert against.disagrees and "KD-lite0 disagrees: does not hold, −19.8 % [" in remarks(against)
    assert remarks(tested(0.12, -0.1)).endswith("KD-lite0 disagrees: does not hold")
    unsure = replace(tested(0.08, 0.1), label="undecided")
    too = replace(unsure, cross_check=replace(unsure.cross_check, label="undecided"))
    assert unsure.agreement == "holds" and "KD-lite0 undecided too, +19.8 %" in remarks(too)
    assert card_of(IS, runs(IS.row_a, IS.row_b, [3.0, 3.1], [2.0, 2.1], "IS")).tests[0][0].cross_check is None


def test_what_was_seen_once_is_told_with_the_spread_over_seeds_elsewhere():
    once = runs("table1/vae-f", "table1/vae", [4.0], [5.0], data="npz:mine")
    a, b = [4.0, 4.1, 4.3], [5.0, 5.2, 5.1]
    card = card_of(F_BPD, once, runs("table1/vae-f", "table1/vae", a, b))
    spread = np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1))
    assert f"a standard deviation of {spread:.2f} bpd over seeds (This project: photos10 16×16, quick)" in card.spread
    assert card_of(F_BPD, once).spread == "" == card_of(F_BPD, [], runs("table1/vae-f", "table1/vae", a, b)).spread


def test_growth_says_at_which_sizes_a_claim_holds_and_how_its_effect_changes():
    def growth(small, large):
        """Of "f lowers BPD" from 16 to 32 pixels: VAE-F has these values, VAE 5.00 and 5.01, one of both or three."""
        found = runs("table1/vae-f", "table1/vae", small, [5.0, 5.01])
        found += at_32(runs("table1/vae-f", "table1/vae", large, [5.0, 5.01][: len(large)], profile="study",
                            per_image={"BPD": [5.0, 5.1]}))  # fmt: skip
        (text,) = card_of(F_BPD, found).growth
        return text

    text = growth([4.5, 4.51], [4.0, 4.01])
    assert text.startswith("photos10: holds at 16×16 (quick, +0.50 bpd [")
    assert "), holds at 32×32 (study, +1.00 bpd [" in text
    assert text.endswith("its effect grows with size and training.")
    assert "its effect shrinks" in growth([4.0, 4.01], [4.5, 4.51])
    assert "its contrary effect shrinks" in growth([6.0, 6.01], [5.5, 5.51])  # −1.00 and −0.50 bpd
    assert "its contrary effect grows" in growth([5.5, 5.51], [6.0, 6.01])
    assert "its effect rises" in growth([5.005, 5.015], [4.0, 4.01])  # from contrary by nothing to as claimed
    assert "its effect falls" in growth([4.0, 4.01], [5.005, 5.015])
    assert "by no more than these seeds can tell" in growth([4.5, 4.51], [4.49, 4.51])
    assert "opposite sides of 0" in growth([4.5, 4.51], [5.5, 5.51]) and "opposite" in growth([5.5, 5.51], [4.5, 4.51])
    assert "one seed does not say" in growth([4.5, 4.51], [4.0])
    assert "by no more than these seeds can tell" in growth([4.9, 4.91], [4.9, 5.2])  # on both sides of 0, undecided


def test_growth_of_a_score_names_its_temperature():
    small = [record(row, metrics={"FD-lite0@T0": fd}) for row, fd in (("table1/cq-f", 90.0), ("table1/cq", 100.0))]
    large = [of_today(replace(run, profile="study")) for run in at_32(small)]
    (text,) = card_of(FID, [*small, *large]).growth
    assert text.startswith("photos10, T = 0: seen once, as claimed at 16×16 (quick, +10.0 %)")


def test_growth_of_a_score_says_that_images_are_magnified_to_two_sides():
    def scored(row, fd, side, **more):
        config = {"evaluation": {"side": side}}
        return [record(row, seed, FD=fd + seed, config=config, **more) for seed in range(3)]

    def growth(side):
        small = [*scored("table1/cq-f", 90.0, 96), *scored("table1/cq", 100.0, 96)]
        pair = [*scored("table1/cq-f", 50.0, side, profile="study"), *scored("table1/cq", 100.0, side, profile="study")]
        (text,) = card_of(FID, [*small, *at_32(pair)]).growth
        return text

    assert growth(160).endswith("with size and training, as far as scores of images magnified to two sides compare.")
    assert growth(96).endswith("its effect grows with size and training.")


def test_growth_is_told_at_each_temperature():
    def side(row, cold, warm, **more):
        metrics = [{"FD-lite0@T0": cold + seed, "FD-lite0@T1": warm + seed} for seed in range(3)]
        return [record(row, seed, metrics=of_seed, **more) for seed, of_seed in enumerate(metrics)]

    large = side("table1/cq-f", 50.0, 150.0, profile="study") + side("table1/cq", 100.0, 100.0, profile="study")
    small = side("table1/cq-f", 90.0, 80.0) + side("table1/cq", 100.0, 100.0)
    cold, warm = card_of(FID, [*small, *at_32(large)]).growth
    assert cold.startswith("photos10, T = 0: holds at 16×16") and OPPOSITE not in cold
    assert warm.startswith("photos10, T = 1: holds at 16×16") and OPPOSITE in warm


def test_growth_is_of_todays_recipes_as_they_are():
    pair = ("table1/vae-f", "table1/vae", [4.5, 4.51], [5.0, 5.01])
    large = at_32(runs(*pair, profile="study"))
    assert card_of(F_BPD, [*runs(*pair), *large]).growth
    narrow = [of_today(replace(run, changes={"system.widths": [8, 16, 32, 64]})) for run in large]
    others = [[replace(run, **other) for run in large] for other in ({"config_hash": "former"}, {"profile": "smoke"})]
    assert not any(card_of(F_BPD, [*runs(*pair), *other]).growth for other in (*others, narrow))
    assert card_of(F_BPD, large).growth == ()


def test_growth_is_with_steps_too_whichever_runs_come_first():
    def made(f, **changes):
        both = runs("table1/vae-f", "table1/vae", [f, f + 0.01], [5.0, 5.01], profile="study")
        return [of_today(replace(run, changes=changes, steps=changes.get(STEPS, 6000))) for run in both]

    for local, published in ((made(4.5), made(4.0, **{STEPS: 18_000})), (made(4.0, **{STEPS: 18_000}), made(4.5))):
        (text,) = card_of(F_BPD, local, published).growth
        assert text.startswith("photos10: holds at 16×16 (study, +0.50 bpd [")
        assert "), holds at 16×16 (study, steps: 18,000, +1.00 bpd [" in text and text.endswith("size and training.")


def test_bars_reach_to_every_effect_and_to_the_interval_that_decides():
    wide = runs("table1/vae-f", "table1/vae", [3.0, 5.0], [5.0, 4.0], data="npz:mine")
    card = card_of(F_BPD, [*runs("table1/vae-f", "table1/vae", [4.0, 4.1, 4.05], [5.0, 5.1, 5.05]), *wide])
    deciding, other = (results[0] for results in card.tests)
    assert card.reach == pytest.approx(1.1 * deciding.high) and other.high > card.reach


def test_verdicts_at_temperatures_in_words():
    assert at_temperatures([("holds", "T = 0"), ("equal", "T = 1")]) == "holds at T = 0, equal at T = 1"
    assert at_temperatures([("holds", "T = 0"), ("holds", "T = 1")]) == at_temperatures([("holds", "")]) == "holds"


def test_what_did_not_come_out_names_those_of_one_temperature_and_of_one_seed_too():
    once = runs("table1/vae-f", "table1/vae", [5.1], [5.0])
    scores = {"table1/cq-f": (110.0, 80.0), "table1/cq": (100.0, 100.0)}
    both = [record(row, seed, metrics={"FD-lite0@T0": cold + seed, "FD-lite0@T1": warm + seed})
            for row, (cold, warm) in scores.items() for seed in range(3)]  # fmt: skip
    sets = run_sets([*once, *both], [])
    told = BeautifulSoup(page.macro("shortfalls", sets, cards(sets, "table1")), "html.parser").get_text()
    assert "1 claim of the paper did not hold at one temperature: With the quality loss, f lowers FID" in told
    assert "1 claim of the paper came out the other way in one seed: Without the quality loss, f lowers BPD" in told
    assert "did not hold here" not in told


def test_growth_is_from_the_smallest_to_the_largest_images_by_the_runs_that_decide():
    def side(f, n=2, steps=1, large=False, **more):
        values = ([f + seed / 100 for seed in range(n)], [5 + seed / 100 for seed in range(n)])
        found = [replace(run, steps=steps) for run in runs("table1/vae-f", "table1/vae", *values, **more)]
        return at_32(found) if large else found

    large = side(4.0, steps=6000, large=True, profile="study")
    long = [of_today(replace(run, changes={STEPS: 18_000})) for run in side(4.5, steps=18_000, profile="study")]
    (text,) = card_of(F_BPD, [*large, *long]).growth  # size goes before steps
    assert text.startswith("photos10: holds at 16×16 (study, steps: 18,000, +0.50 bpd")
    (text,) = card_of(F_BPD, [*side(4.5, 3), *large], side(4.9)).growth  # three seeds here decide, not two published
    assert text.startswith("photos10: holds at 16×16 (quick, +0.50 bpd") and "at 32×32 (study, +1.00 bpd" in text


def test_growth_is_not_told_of_two_data_sets_whose_files_have_one_name():
    def cats(folder, size, profile):
        found = runs("table1/vae-f", "table1/vae", [4.5, 4.51], [5.0, 5.01], profile=profile)
        info = DataInfo(f"npz:/{folder}/cats.npz", "test", "89abcdef01234567", (1000, 3, size, size))
        return [of_today(replace(run, data=info)) for run in found]

    (text,) = card_of(F_BPD, [*cats("a", 16, "quick"), *cats("a", 32, "study")]).growth
    assert text.startswith("npz:cats.npz: holds at 16×16 (quick")
    assert card_of(F_BPD, [*cats("a", 16, "quick"), *cats("b", 32, "study")]).growth == ()
