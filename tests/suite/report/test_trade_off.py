"""Fronts of bits and distance: envelopes, what they reach, and the claims on them."""

import math
from dataclasses import replace

import pytest
from handmade import record
from hypothesis import given
from hypothesis import strategies as st

from cqlib.suite.experiments.trade_off import CQ, CQ_F, LAMBDA, WITHOUT_L_Q, front
from cqlib.suite.report.findings import cards
from cqlib.suite.report.groups import groups
from cqlib.suite.report.trade_off import CHOSEN_LATE, Point, envelope, lowest
from cqlib.suite.report.trade_off import front_results as results

DATA = "photodigits"
CURVE = {0.0: (5.0, 200.0), 25.0: (5.2, 120.0), 100.0: (5.4, 100.0), 400.0: (5.8, 90.0), 1600.0: (6.4, 95.0)}
"""Weight -> bits and distance of CQ here; the last point is beaten by the one before."""
points_of = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=8)


def test_the_envelope_is_lower_left_and_its_levels_lie_on_straight_lines():
    points = [(5.4, 100.0), (5.0, 200.0), (6.4, 95.0), (5.8, 90.0), (5.3, 210.0)]
    assert envelope(points) == [(5.0, 200.0), (5.4, 100.0), (5.8, 90.0)]
    assert lowest(points, 4.99) is None and lowest([], 5.0) is None
    assert envelope([*points, (math.inf, 1.0), (4.0, math.inf)]) == envelope(points)  # they are numbers of no model
    assert [lowest(points, x) for x in (5.0, 5.1, 5.4, 5.6, 9.0)] == pytest.approx([200, 175, 100, 95, 90])


@given(points_of, st.floats(0, 10), st.floats(0, 10))
def test_levels_fall_with_the_limit_and_no_point_is_below_them(points, one, other):
    low, high = sorted((one, other))
    at_low, at_high = lowest(points, low), lowest(points, high)
    assert at_low is None or at_high <= at_low
    assert (at_low is None) == (low < min(x for x, _ in points))
    assert all(lowest(points, x) <= y for x, y in points)
    kept = envelope(points)
    assert all(any(a <= x and b <= y for a, b in kept) for x, y in points)


def runs_of(change, seeds=3, weights=(*CURVE,), without=()):
    """Runs of CQ along `CURVE` and of CQ-F at `change`(bits, distance), moved a little from seed to seed."""
    made = []
    for row in (CQ, CQ_F):
        for weight, name in front(row, "quick", DATA, 16).items():
            bits, distance = CURVE[weight] if row == CQ else change(*CURVE[weight])
            row_name = name.partition(" ")[0]
            changes = {LAMBDA: weight} if " " in name else {}
            if weight in weights and name not in without:
                made += [record(row_name, seed, data=DATA, BPD=bits + 0.01 * seed, FD=distance + 0.1 * seed,
                                changes=changes) for seed in range(seeds)]  # fmt: skip
    (found,) = groups([], made)
    return found


def by_id(runs):
    return {result.id.removeprefix("front/"): result for result in results(runs)}


def test_at_equal_bits_and_at_equal_distance_in_the_middle_of_cqs_own_range():
    """CQ's own front goes from 5.0 to 5.8 bits and from 200 to 90."""
    found = by_id(runs_of(lambda bits, distance: (bits - 1, 0.5 * distance)))
    bits = found["equal-distance"]
    cq, cq_f = 5.0 + 0.2 * 55 / 80, 4.0  # at 145; CQ-F is at 100 with no critic
    assert bits.sentence == "At FD-lite0 145.1, f lowers bits" and bits.label == "holds"
    assert bits.effect == pytest.approx(cq - cq_f, abs=0.01)
    assert bits.text.startswith("+1.14 bpd [+1.1")
    distance = found["equal-bits"]
    assert distance.sentence == "At 5.41 bits, f lowers FD-lite0" and distance.label == "holds"
    assert distance.effect == pytest.approx(100 * (1 - 45 / 99.9), abs=0.2)
    assert (found["dominates"].label, found["dominates"].text) == ("holds", "in 3 of 3 seeds")
    assert found["critic-bits"].effect == pytest.approx(0) and found["critic-bits"].label == "equal"


def test_a_distance_that_few_runs_have_hides_no_front():
    runs = runs_of(lambda bits, distance: (bits - 1, 0.5 * distance))
    for run in runs.done(CQ_F):
        run.metrics["FID"] = replace(run.metrics["FD-lite0"], value=9.0)
    assert len(results(runs)) == 4 and by_id(runs)["equal-bits"].sentence.endswith("f lowers FD-lite0")


def test_the_other_way_round_they_are_contradicted():
    found = by_id(runs_of(lambda bits, distance: (bits + 0.3, 1.5 * distance)))
    labels = {name: result.label for name, result in found.items()}
    assert labels["equal-bits"] == labels["equal-distance"] == labels["dominates"] == "contradicted"
    assert found["equal-bits"].effect < 0 and found["dominates"].text == "in 0 of 3 seeds"


def test_what_is_not_reached_is_told():
    found = by_id(runs_of(lambda bits, distance: (bits + 1, distance + 60)))
    assert (found["equal-bits"].label, found["equal-bits"].text) == (
        "not reached",
        "not reached by CQ-F in 3 of 3 seeds",
    )
    assert found["equal-distance"].label == "not reached"


def test_the_critics_cost_is_that_of_cqf_over_vaef_against_that_of_cq_over_vae():
    found = by_id(runs_of(lambda bits, distance: (4.5 + 0.5 * (bits - 5.0), distance)))
    cost = found["critic-bits"]
    assert cost.label == "holds" and cost.effect == pytest.approx(0.5 * (CURVE[usual()][0] - 5.0), abs=1e-6)


def test_infinite_bits_have_no_difference():
    runs = runs_of(lambda bits, distance: (bits - 1, 0.5 * distance))
    worst = runs.done(CQ)[0]
    infinite = replace(worst.metrics["BPD"], value=None, status="infinite")
    made = [run for run in runs.records if run is not worst]
    made.append(replace(worst, metrics=worst.metrics | {"BPD": infinite}))
    found = by_id(groups([], made)[0])["critic-bits"]
    assert (found.label, found.effect, found.text) == ("not reached", None, "not reached by CQ in 1 of 3 seeds")


def usual():
    return next(weight for weight, name in front(CQ, "quick", DATA, 16).items() if name == CQ)


def test_fewer_than_three_seeds_are_a_sketch_and_two_weights_no_front():
    better = runs_of(lambda bits, distance: (bits - 1, 0.5 * distance), seeds=2)
    assert {result.label for result in results(better)} == {"sketch"}
    assert {result.label for result in results(runs_of(lambda *point: point, seeds=1))} == {"sketch"}
    assert results(runs_of(lambda *point: point, weights=(0.0, usual()))) == []
    assert results(runs_of(lambda *point: point, without=(WITHOUT_L_Q[CQ],), weights=(0.0, 25.0, 100.0))) == []


def test_a_point_is_no_worse_if_it_is_in_both():
    assert Point(1.0, 2.0).no_worse(Point(1.0, 2.0)) and not Point(1.0, 2.0).no_worse(Point(2.0, 1.0))
    assert not Point(2.0, 1.0).no_worse(Point(1.0, 2.0))


def test_they_are_outside_the_papers_tally_and_say_that_they_were_chosen_late():
    assert not [card for card in cards([]) if card.claim.id.startswith("front/")]
    assert "chosen after published seeds had been seen" in CHOSEN_LATE
