"""The trade-off: which runs a front is made of, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
from fake_records import record

from cqlib.experiments.trade_off import CQ, CQ_F, GAN, LAMBDA, NOTHING, front, usual
from cqlib.experiments.variants import row_and_changes
from cqlib.report import trade_off
from cqlib.report.claim_cards import cards
from cqlib.report.fronts import points_by_weight, spread
from cqlib.report.run_sets import run_sets

DATA = "photos10"
WEIGHTS = list(front(CQ, "quick", DATA))


def made(name, seed, bpd, distance):
    """A run of a point of a front, with these numbers."""
    row, changes = row_and_changes(name)
    run = record(row, seed, changes=changes)
    values = {"BPD": bpd, "FD-lite0": distance}
    return replace(run, metrics={**run.metrics, **{k: replace(run.metrics[k], value=v) for k, v in values.items()}})


def whole(seeds=3, with_f=-0.5):
    """Both fronts: each λ costs 0.1 bpd and takes 100 off the distance; f takes 0.5 bpd and 10 of the distance."""
    runs = []
    for row in NOTHING:
        gain, less = (with_f, 10) if row == CQ_F else (0.0, 0)
        for step, name in enumerate(front(row, "quick", DATA).values()):
            runs += [made(name, seed, 5 + gain + 0.1 * step + 0.01 * seed, 900 - less - 100 * step)
                     for seed in range(seeds)]  # fmt: skip
    return [*runs, *(made(GAN, seed, 7.0, 500) for seed in range(seeds))]


def test_points_of_a_front_stand_beside_table_1():
    (runs,) = run_sets(whole(), [])
    points = points_by_weight(runs.done, front(CQ_F, "quick", DATA), "FD-lite0")
    assert list(points) == WEIGHTS and all(set(seeds) == {0, 1, 2} for seeds in points.values())
    assert points[usual(DATA)][1] == pytest.approx((4.5 + 0.1 * WEIGHTS.index(usual(DATA)) + 0.01, 790))
    assert points[0.0][0] == pytest.approx((4.5, 890))  # VAE-F


def test_bars_of_a_point_are_its_standard_deviations_over_seeds():
    points = [(4.0, 100.0), (4.5, 130.0), (4.3, 90.0)]
    assert spread(points) == pytest.approx(np.std(points, axis=0, ddof=1)) and spread(points[:1]) == (0.0, 0.0)


def test_another_lambda_alone_is_a_run_set_of_its_own():
    (runs,) = run_sets([made(front(CQ_F, "quick", DATA)[1600.0], 0, 4.6, 800)], [])
    assert runs.changes == {LAMBDA: 1600.0} and runs.done(CQ_F)


def test_a_lambda_that_is_on_no_front_is_a_run_set_of_its_own_too():
    off = record(CQ_F, changes={LAMBDA: 7.0})
    assert [runs.changes for runs in run_sets([*whole(1), off], [])] == [{}, {LAMBDA: 7.0}]


def test_claims_along_lambda_are_tested_where_table_1_does_not_have_them():
    def verdicts(records):
        return {card.claim.id: card.verdict for card in cards(run_sets(records, []), "trade-off/")}

    along = {f"trade-off/f-bpd-{weight:g}" for weight in WEIGHTS if weight not in (0.0, usual(DATA))}
    for with_f, verdict in ((-0.5, "holds"), (0.5, "contradicted")):
        found = verdicts(whole(with_f=with_f))
        assert {id for id, word in found.items() if word == verdict} == along
    assert set(verdicts([]).values()) == {"not run"}


def test_what_pictures_say_is_computed():
    (runs,) = run_sets(whole(), [])
    assert "a point with f beats 5 of the 5 points without f in both" in trade_off.story(runs, "FD-lite0")
    assert not trade_off.not_trained(runs)
    (nothing,) = run_sets([record("table1/vae")], [])
    assert trade_off.figures(nothing) == [] and trade_off.story(nothing, "FD-lite0") == ""
    (some,) = run_sets([run for run in whole() if run.changes != {LAMBDA: 400.0}], [])
    command = some.command("figure_trade_off", [CQ])
    assert command.endswith(" --seeds 0-2")
    assert trade_off.not_trained(some) == f"Not trained yet: CQ, λ 400; CQ-F, λ 400. {command} trains them."


@pytest.mark.slow
def test_points_of_few_seeds_are_named():
    """A point of one seed beside points of many is not to be taken for as sure as they are."""
    mixed_runs = [run for run in whole() if run.seed == 0 or not run.changes]
    (mixed,) = run_sets(mixed_runs, [])
    told = trade_off.of_seeds(mixed, "FD-lite0")
    assert told.startswith("1 seed at λ = ") and told.endswith("What one seed says, another may not.")
    assert f"3 seeds at λ = 0 and {usual(DATA):g}." in told
    assert all(told in figure["caption"] for figure in trade_off.figures(mixed) if not figure["more"])


@pytest.mark.slow
def test_pictures_show_every_point_once():
    (runs,) = run_sets(whole(seeds=2), [])
    found = trade_off.figures(runs)
    assert [figure["more"] for figure in found] == [False, True, True, True]
    for label in ["λ = 0", *(f"{weight:,g}" for weight in WEIGHTS[1:])]:
        assert found[0]["svg"].count(f">{label}<") == 2, label
    assert found[0]["svg"].count(">GAN<") == 1
