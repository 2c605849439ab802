"""The numbers of docs/performance.md: their arithmetic, and that both sides of a comparison do the same work."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from fake_records import record

from benchmarks import cost, default_run, machine, page, sampling, scores, sides, steps
from benchmarks.comparison import Ratio
from benchmarks.sides import Turn

CPU = torch.device("cpu")
CQF, NVP, RNN = (steps.RowRecipe(row, "smoke", 16) for row in ("table1/cq-f", "table3/nvp", "table3/pixelrnn"))


def test_sides_take_turns_and_the_median_ratio_counts():
    """The order is reversed in every second round; the first round warms up."""
    order, seconds = [], {"ours": iter([9, 1, 3, 2]), "other": iter([9, 10, 42, 18])}

    def turn(name):
        order.append(name)
        return Turn(next(seconds[name]), 0)

    connections = [SimpleNamespace(send=lambda question: None, recv=partial(turn, name)) for name in seconds]
    turns = sides.take_turns(connections, rounds=3)
    assert order == ["ours", "other", "other", "ours"] * 2
    ours, other = ([turn.seconds for turn in of_side] for of_side in turns)
    r = Ratio.of_rounds("a", ours, other, other="b", target=10.0, device="CPU")
    assert (r.ours_s, r.other_s, r.ratio, r.ratio_low, r.ratio_high, r.holds) == (2, 18, 10, 9, 14, True)


def test_a_side_runs_in_a_process_of_its_own():
    with sides.processes([partial(scores.of_features, scores.plain_frechet, n=60, d=8)], CPU) as (one,):
        turn = sides.ask(one, "run")
        assert turn.seconds > 0 and sides.ask(one, "count").convolution_seconds == 0


@pytest.mark.parametrize("work", [
    partial(steps.textbook_step, CQF, change=steps.torchflows_f),
    partial(steps.textbook_step, NVP, change=steps.torchflows_nvp),
    partial(steps.inverse, CQF, change=steps.torchflows_f, passes=1),
    partial(sampling.cached, RNN, n=1),
    partial(sampling.full_passes, RNN, 768, 1, n=1),
])  # fmt: skip
def test_the_work_of_a_side_can_be_done(work):
    work(CPU).run()


def test_our_step_does_the_work_of_the_textbook_loop():
    ours, textbook = (machine.counts(step(CQF, CPU).run) for step in (steps.our_step, steps.textbook_step))
    assert ours.operations == pytest.approx(textbook.operations, rel=0.05) and ours.convolution_seconds > 0


def test_features_and_distances_are_the_same_on_both_sides():
    both = []
    for side in (scores.our_features, scores.plain_features):
        torch.manual_seed(0)
        both.append(side(CPU, n=2).run())
    torch.testing.assert_close(*both, rtol=1e-3, atol=1e-3)
    features = torch.randn(2, 60, 8) + torch.tensor([0.0, 0.5])[:, None, None]
    assert scores.our_frechet(*features) == pytest.approx(scores.plain_frechet(*features), rel=1e-4)


def test_the_exponent_of_a_power_law_and_its_error():
    """Of y = (1, 1, 4) at x = (1, 2, 4): in units of ln 2 the points are (0, 0), (1, 0), (2, 2), the line has slope 1,
    residuals 1/3, -2/3, 1/3, and the slope an error of sqrt((6/9) / 1 / 2)."""
    assert cost.exponent([16, 32, 64], [5 * x**2.5 for x in (16, 32, 64)]) == pytest.approx((2.5, 0), abs=1e-6)
    assert cost.exponent([1, 2, 4], [1, 1, 4]) == pytest.approx((1, (1 / 3) ** 0.5))


def test_where_the_time_of_the_default_command_goes():
    """By the lines that it prints, and the seconds and the speed of training in its records."""
    config = {"recipe": {"training": {"batch_size": 16}, "frozen_decoder": None}}
    row = replace(record("table1/cq-f", 0), steps=1000, images_per_second=100.0, seconds=200.0, config=config)
    lines = ("installed in 59 s", f"{row.row} on photodigits, seed 0: step 250 of 4000, 6 min left",
             f"[1/1] {row.row} on photodigits, seed 0: done in 3 min", "[1/2] 01_two_kl_divergences: done in 2 min",
             "[2/2] table1_objectives: done in 11 s")  # fmt: skip
    result = default_run.Run(270.0, 0, list(zip((60.0, 99.0, 261.0, 262.0, 267.0), lines, strict=True)))
    gan = replace(row, row="table1/gan", config={"recipe": {**config["recipe"], "frozen_decoder": {"steps": 4000}}})
    assert default_run.phases(result, [row, gan]) == {
        "installation": 60, "table1/cq-f, training": 160, "table1/cq-f, measuring": 40,
        "table1/gan, training": 160, "table1/gan, the VAE for its bits, and measuring": 40,
        "01_two_kl_divergences": 120, "table1_objectives": 11, "the page": 3,
    }  # fmt: skip


def test_the_page_is_that_of_the_published_files():
    """`python -m benchmarks --markdown` renews it."""
    assert page.render(page.PAGE.read_text(), page.entries()) == page.PAGE.read_text()
