"""The numbers of docs/performance.md: their arithmetic, and that both sides of a comparison do the same work."""

from dataclasses import replace

import pytest
import torch
from fake_records import record

from benchmarks import comparison, default_run, page, results, steps
from benchmarks.__main__ import main
from benchmarks.comparison import Ratio
from cqlib.models.registry import RECIPES

CPU = torch.device("cpu")


@pytest.fixture
def smoke(monkeypatch):
    monkeypatch.setattr(steps, "recipe_on", lambda row, device: RECIPES[row](row, "smoke", 16))


def test_sides_take_turns_and_the_median_ratio_counts(monkeypatch):
    """The order is reversed in every second round; the first round warms up. A turn is several steps."""
    order, seconds = [], {"ours": iter([9, 1, 3, 2]), "other": iter([9, 10, 42, 18])}

    def wall_clock(action, device):
        action()
        assert len(set(order[-comparison.STEPS :])) == 1
        return next(seconds[order[-1]]) * comparison.STEPS

    monkeypatch.setattr(comparison, "wall_clock", wall_clock)
    ours, other = comparison.take_turns([lambda: order.append("ours"), lambda: order.append("other")], 3, CPU)
    assert order[:: comparison.STEPS] == ["ours", "other", "other", "ours"] * 2
    r = Ratio.of_rounds("a", ours, other, other="b", target=10.0, device="CPU")
    assert (r.ours_s, r.other_s, r.ratio, r.ratio_low, r.ratio_high, r.holds) == (2, 18, 10, 9, 14, True)


@pytest.mark.parametrize("name", steps.ROWS)
def test_every_side_of_a_row_takes_its_steps(name, smoke):
    row = steps.ROWS[name]
    ratios = row.results(CPU, rounds=1)
    assert [r.other for r in ratios] == [other.words for other in row.others] and all(r.ratio > 0 for r in ratios)


def test_a_row_that_is_measured_again_replaces_its_ratios(tmp_path, monkeypatch, capsys):
    file = tmp_path / "results.json"
    a, b = (Ratio.of_rounds(name, [1.0], [2.0], other="b", target=1.5, device="CPU") for name in steps.ROWS)
    results.write(file, [a, b])
    monkeypatch.setattr(comparison.Comparison, "results", lambda self, device: [replace(a, ratio=1.2)])
    main([a.name, "--json", str(file)])
    assert "target 1.5 missed" in capsys.readouterr().out
    kept, new = results.read(file)
    assert kept == b and new.ratio == 1.2 and not new.holds
    with pytest.raises(SystemExit):
        main(["no-such-row"])


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
    assert page.render(page.PAGE.read_text()) == page.PAGE.read_text()
