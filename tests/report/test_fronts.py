"""The trade-off: hypervolumes and crossings against closed forms, and which runs a front is made of."""

from dataclasses import replace

import numpy as np
import pytest
from fake_records import record

from cqlib.cli.options import parse
from cqlib.cli.run_all import plan
from cqlib.experiments.experiment import experiment
from cqlib.experiments.trade_off import CQ, CQ_F, GAN, LAMBDA, NOTHING, TIMES_USUAL, USUAL, VARIANTS, front
from cqlib.experiments.variants import row_and_changes
from cqlib.report import trade_off
from cqlib.report.claim_cards import cards
from cqlib.report.fronts import crossings, hypervolume, points_by_weight, spread
from cqlib.report.run_sets import run_sets


def test_hypervolumes_are_those_of_closed_forms():
    assert hypervolume([], (2.0, 4.0)) == 0
    assert hypervolume([(1.0, 1.0)], (2.0, 4.0)) == pytest.approx(1 * 3 / 8)
    assert hypervolume([(1.0, 1.0), (1.5, 2.0), (0.5, 9.0), (3.0, 0.0)], (2.0, 4.0)) == pytest.approx(3 / 8)
    for n in (2, 5, 50):  # points of the line y = 1 - x leave half of the square, but for n steps
        stairs = [(i / n, 1 - i / n) for i in range(n + 1)]
        assert hypervolume(stairs[::-1], (1.0, 1.0)) == pytest.approx((n - 1) / (2 * n))


def test_a_hypervolume_is_the_share_of_random_points_that_are_beaten():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 3, (7, 2))
    thrown = rng.uniform(0, (2.0, 2.5), (100_000, 2))
    beaten = (points[:, None] < thrown).all(2).any(0).mean()
    assert hypervolume(map(tuple, points), (2.0, 2.5)) == pytest.approx(beaten, abs=0.005)


def test_fronts_cross_where_their_lines_meet():
    falling = [(0.0, 2.0), (1.0, 1.0), (3.0, 0.0)]
    steep = [(1.5, 0.0), (0.5, 2.0)]
    assert crossings(falling, steep) == [(pytest.approx((1.0, 1.0)), True)]  # in a corner of the first: once
    assert crossings(steep, falling) == [(pytest.approx((1.0, 1.0)), False)]
    assert crossings([(0.0, 3.0), (3.0, 0.0)], [(0.0, 2.0), (4.0, 0.0)]) == [(pytest.approx((2.0, 1.0)), False)]
    turned = [(0.0, 2.0), (1.0, 1.0), (3.0, 3.0)]  # its last point is beaten, and plays no part
    assert crossings(turned, [(2.0, 4.0), (2.5, 0.5)]) == []
    above = [(0.0, 3.0), (1.0, 1.0), (3.0, 0.5)]  # which touches the first, and is nowhere below it
    assert crossings(falling, above) == [] == crossings(above, falling)
    assert crossings([(0.0, 2.0), (3.0, 0.0)], [(0.0, 2.0), (3.0, 0.5)]) == []
    shifted = [(x + 0.1, y + 0.1) for x, y in falling]
    assert crossings(falling, shifted) == [] == crossings(falling, [(0.0, 0.0)])


def made(name, seed, bpd, distance, recall=0.2):
    """A run of a point of a front, with these numbers at both temperatures."""
    row, changes = row_and_changes(name)
    run = record(row, seed, changes=changes)
    values = {"BPD": bpd, **{f"FD-lite0@{at}": distance for at in ("T0", "T1")},
              **{f"Recall-lite0@{at}": recall for at in ("T0", "T1")}}  # fmt: skip
    return replace(run, metrics={**run.metrics, **{k: replace(run.metrics[k], value=v) for k, v in values.items()}})


def whole(seeds=3, with_f=-0.5, recall=0.0):
    """Both fronts: each λ costs 0.1 bpd and takes 100 off the distance; f takes 0.5 bpd and 10 of the distance."""
    runs = []
    for row in NOTHING:
        for step, name in enumerate(front(row, "quick").values()):
            for seed in range(seeds):
                bpd, distance, noise = 5 + 0.1 * step, 900 - 100 * step, 0.01 * seed
                if row == CQ:
                    runs.append(made(name, seed, bpd + noise, distance, 0.2 + noise))
                else:
                    runs.append(made(name, seed, bpd + with_f + noise, distance - 10, 0.2 + recall + noise))
    return [*runs, *(made(GAN, seed, 7.0, 500) for seed in range(seeds))]


def test_points_of_a_front_stand_beside_table_1_and_make_hypervolumes_of_their_seed():
    (runs,) = run_sets(whole(), [])
    points = points_by_weight(runs.done, CQ_F, "quick", "FD-lite0@T0")
    assert list(points) == [0, 25, 100, 400, 1600] and all(set(seeds) == {0, 1, 2} for seeds in points.values())
    assert points[25.0][1] == pytest.approx((4.61, 790))
    for run in runs.done(CQ_F):
        along = [(4.5 + 0.1 * step + 0.01 * run.seed, 890 - 100 * step) for step in range(5)]
        assert run.metrics["HV-lite0@T0"].value == pytest.approx(hypervolume(along, (5.01, 900.0)))
    assert [run.metrics["HV-lite0@T1"].value for run in runs.done(CQ)] == [0, 0, 0]  # never better than VAE in both
    assert "HV-lite0@T0" not in runs.metrics_of("table1/vae-f")


def test_bars_of_a_point_are_its_standard_deviations_over_seeds():
    points = [(4.0, 100.0), (4.5, 130.0), (4.3, 90.0)]
    assert spread(points) == pytest.approx(np.std(points, axis=0, ddof=1)) and spread(points[:1]) == (0.0, 0.0)


def test_a_front_without_one_of_its_points_has_no_hypervolume():
    lacks = [run for run in whole() if run.changes != {LAMBDA: 400.0}]
    (runs,) = run_sets(lacks, [])
    assert not any("HV" in name for row in runs.rows for name in runs.metrics_of(row))
    one_seed_less = [run for run in whole() if (run.changes, run.seed) != ({LAMBDA: 400.0}, 2)]
    (runs,) = run_sets(one_seed_less, [])
    assert ["HV-lite0@T0" in run.metrics for run in runs.done(CQ)] == [True, True, False]


def test_another_lambda_alone_is_a_run_set_of_its_own():
    (runs,) = run_sets([made(front(CQ_F, "quick")[25.0], 0, 4.6, 800)], [])
    assert runs.changes == {LAMBDA: 25.0} and runs.done(CQ_F)


def verdicts(records):
    return {card.claim.id: card.verdict for card in cards(run_sets(records, []), "trade-off/")}


def test_claims_on_the_trade_off():
    found = verdicts(whole())
    assert found == dict.fromkeys(found, "holds") and len(found) == 8
    assert "trade-off/f-bpd-25" in found and "trade-off/f-recall-100" in found and "trade-off/front" in found
    against = verdicts(whole(with_f=0.5, recall=-0.1))
    recall = {id for id in found if "recall" in id}
    assert {id for id, verdict in against.items() if verdict == "does not hold"} == {
        *recall, *(id for id in found if "bpd" in id)}  # fmt: skip
    assert set(verdicts([]).values()) == {"not run"}
    assert verdicts(whole(recall=-0.045))["trade-off/f-recall-25"] == "does not hold"  # less, if within the margin
    assert verdicts(whole(recall=0.3))["trade-off/f-recall-25"] == "holds"


@pytest.mark.parametrize("profile", TIMES_USUAL)
def test_the_usual_lambda_is_that_of_every_recipe(profile):
    for row in NOTHING:
        assert experiment(row, profile).recipe.system.quality_weight == USUAL
        assert {0.0, USUAL} < front(row, profile).keys() and set(front(row, profile).values()) <= VARIANTS


def test_the_command_trains_the_fronts_and_shares_the_runs_of_table_1(monkeypatch):
    monkeypatch.setattr("cqlib.experiments.changes._try", lambda *_: None)

    def planned(*options):
        return plan(parse(["--only", "figure_trade_off", *options])).experiments

    quick = planned("--seeds", "3")
    assert len(quick) == 3 * 11 and len({e.folder for e in quick}) == 33
    assert {e.variant for e in quick} == {GAN, *front(CQ, "quick").values(), *front(CQ_F, "quick").values()}
    table1 = {e.config_hash for e in plan(parse(["--only", "table1", "--seeds", "3"])).experiments}
    assert len(table1) == 15 and table1 < {e.config_hash for e in quick}
    assert len(planned("--profile", "study")) == 9 and len(planned("--profile", "smoke")) == 7


def stories(runs):
    return [trade_off.story(runs, "FD-lite0", at) for at in ("T0", "T1")]


def test_what_pictures_say_is_computed():
    (runs,) = run_sets(whole(), [])
    first, second = stories(runs)
    agree = "a point with f beats 5 of the 5 points without f in both; the lowest FD-lite0 is 500.0 without f (λ ="
    assert agree in first and agree in second
    assert first.endswith("some weight gives better at both with f.") and not trade_off.not_trained(runs)
    steep = [run if run.row in (CQ, "table1/vae", GAN) else made(run.variant, run.seed, 5.55 - v / 2000, v)
             for run in runs.records for v in [run.metrics["FD-lite0@T0"].value]]  # fmt: skip
    found = stories(run_sets(steep, [])[0])
    # with f on y = 11,100 - 2,000 x; without f on y = 5,910 - 1,000 x
    side = "with fewer bits quality is better without f, with more with f"
    assert all(f"The fronts cross at 5.19 bits and FD-lite0 720.0: {side}" in text for text in found)
    # without f (5.01, 900) to (5.41, 500), with f (5.105, 890) to (5.305, 490)
    assert all("a point with f beats 3 of the 5 points without f in both" in text for text in found)
    (nothing,) = run_sets([record("table1/vae")], [])
    assert trade_off.figures(nothing) == []
    assert "CQ-F, λ 1,600" in trade_off.not_trained(nothing)
    (some,) = run_sets([run for run in whole() if run.changes != {LAMBDA: 400.0}], [])
    command = "./run_all.sh --only figure_trade_off --seeds 3"
    assert trade_off.not_trained(some) == f"Not trained yet: CQ, λ 400; CQ-F, λ 400. {command} trains them."


@pytest.mark.slow
def test_points_of_few_seeds_are_named():
    """A point of one seed beside points of many is not to be taken for as sure as they are."""
    (even,) = run_sets(whole(), [])
    assert trade_off.of_seeds(even, "FD-lite0@T0") == "3 seeds at λ = 0, 25, 100, 400 and 1,600."
    usual = [run for run in whole() if run.seed == 0 or not run.changes]
    (mixed,) = run_sets(usual, [])
    told = trade_off.of_seeds(mixed, "FD-lite0@T0")
    assert told == "1 seed at λ = 25, 400 and 1,600; 3 seeds at λ = 0 and 100. What one seed says, another may not."
    assert all(told in figure["caption"] for figure in trade_off.figures(mixed) if not figure["more"])
    (uneven,) = run_sets([run for run in whole() if run.row != CQ or run.seed < 2 or not run.changes], [])
    assert trade_off.of_seeds(uneven, "FD-lite0@T0").startswith("2 seeds at λ = 25, 400 and 1,600; 3 seeds")


@pytest.mark.slow
def test_pictures_show_every_point_once():
    (runs,) = run_sets(whole(seeds=2), [])
    found = trade_off.figures(runs)
    assert [figure["more"] for figure in found] == [False] * 2 + [True] * 6
    assert ["points without f" in figure["caption"] for figure in found] == [True] * 2 + [False] * 6
    for label, times in {"λ = 0": 2, "25": 2, "100": 2, "400": 2, "1,600": 2, "GAN": 1}.items():
        assert found[0]["svg"].count(f">{label}<") == times, label
