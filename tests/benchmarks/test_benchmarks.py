"""The numbers of docs/performance.md: their arithmetic, and that both sides of a comparison do the same work."""

import itertools
import subprocess
from types import SimpleNamespace

import pytest
import torch
from fake_records import record

from benchmarks import cost, default_run, feeding, flow, machine, page, sampling, scores, sides, steps
from benchmarks.comparison import Comparison, Other, measure
from benchmarks.sides import Work
from benchmarks.time_to_quality import BPD, DISTANCE, Learning, bounds, compared
from cqlib.experiments.record import write_record
from cqlib.experiments.rows import DEVELOPMENT_DATA
from cqlib.models.registry import RECIPES

CPU = torch.device("cpu")


def smoke(row):
    return lambda device: RECIPES[row](row, "smoke", 16)


def test_a_result_is_the_median_ratio_with_the_spread_of_the_rounds():
    """Sides take turns, in an order that is reversed in every second round; the first round warms up."""
    calls = []

    def side(name, *seconds):
        left = itertools.cycle(seconds)
        return lambda device: Work(lambda: calls.append(name) or next(left), units=2.0)

    row = Comparison("a", side("ours", 9, 1, 3, 2), (Other("b", side("b", 9, 10, 42, 18), cpu=10.0),), rounds=3)
    works = [each(CPU) for each in row.sides()]
    (r,) = measure(row, CPU, [lambda work=work: (work.run() / work.units, 10**6) for work in works])
    assert calls == ["ours", "b", "b", "ours"] * 2
    assert (r.ours_s, r.other_s, r.ratio, r.n) == (1.0, 9.0, 10.0, 3)  # of 10, 14 and 9
    assert (r.ratio_low, r.ratio_high, r.holds) == (9.0, 14.0, True)


def test_the_exponent_of_a_power_law_and_its_error():
    """Of y = (1, 1, 4) at x = (1, 2, 4): in units of ln 2 the points are (0, 0), (1, 0), (2, 2), the line has slope 1,
    residuals 1/3, -2/3, 1/3, and the slope an error of sqrt((6/9) / 1 / 2)."""
    assert cost.exponent([16, 32, 64], [5 * x**2.5 for x in (16, 32, 64)]) == pytest.approx((2.5, 0), abs=1e-6)
    assert cost.exponent([1, 2, 4], [1, 1, 4]) == pytest.approx((1, (1 / 3) ** 0.5))


def learned(bpd, distance, seconds=(10.0, 20.0, 30.0, 40.0)):
    n = len(bpd)
    return Learning("time-to-quality", "ours", 101, tuple(range(n)), seconds[:n],
                    {BPD: tuple(bpd), DISTANCE: tuple(distance)}, {BPD: 5.0, DISTANCE: 400.0}, "CPU")  # fmt: skip


def test_quality_is_reached_when_all_bounds_hold_at_once_and_else_the_whole_training_counts():
    assert learned([5.5, 5.25, 4.75], [390, 380, 370]).reached == pytest.approx(25.0)
    assert learned([5.5, 5.25, 4.75], [900, 440, 390]).reached == pytest.approx(28.0)  # the later of the two
    assert learned([4.9, 5.2, 4.8], [500, 390, 390]).reached == pytest.approx(25.0)  # never both before
    good, bad = learned([5.5, 4.5], [390, 390]), learned([6, 6, 6, 6], [1, 1, 1, 1])
    assert bad.reached is None
    r = compared(good, bad)
    assert (r.ours_s, r.other_s, r.holds) == (15.0, 40.0, True) and "not reached" in r.other
    assert not compared(bad, good).holds


def test_the_bounds_are_mean_and_deviation_of_the_published_seeds(tmp_path):
    for seed in range(3):
        write_record(record("table1/cq-f", seed, data=DEVELOPMENT_DATA), tmp_path)
    write_record(record("table1/cq", 0, data=DEVELOPMENT_DATA), tmp_path)
    values = torch.tensor([record("table1/cq-f", seed).metrics[DISTANCE].value for seed in range(3)])
    assert bounds(tmp_path)[DISTANCE] == pytest.approx(float(values.mean() + values.std()))


# --- the default command -----------------------------------------------------------------------------------------


def command(folder, *lines: str) -> None:
    (folder / "run_all.sh").write_text("\n".join(("#!/bin/sh", *lines, "")))
    (folder / "run_all.sh").chmod(0o755)


def test_the_largest_look_at_the_memory_counts(tmp_path, monkeypatch):
    """By a clock whose time passes while this process sleeps; the command ends after the third look."""
    command(tmp_path, "echo $WORD", "until [ -e seen ]; do sleep 0.01; done")
    clock, looks = SimpleNamespace(now=5.0), iter([3, 7, 5])

    def look(pid):
        value = next(looks, None)
        if value in (5, None):
            (tmp_path / "seen").touch()
        return value or 0

    monkeypatch.setattr(default_run, "memory", look)
    sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)  # noqa: E731
    monkeypatch.setattr(default_run, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    seconds, most = default_run.run(tmp_path, {"PATH": "/usr/bin:/bin", "WORD": "trained"}, tmp_path / "log")
    assert seconds == clock.now - 5 >= 3 * default_run.EVERY
    assert most == 7 and (tmp_path / "log").read_text() == "trained\n"


def test_a_run_that_fails_is_no_measurement(tmp_path):
    command(tmp_path, "echo no disk", "exit 1")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        default_run.run(tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    assert "no disk" in caught.value.output


# --- the work that is compared -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [
    steps.ours(smoke("table1/cq-f"), 1),
    steps.textbook(smoke("table1/cq-f"), 1),
    steps.textbook(smoke("table1/cq-f"), 1, steps.torchflows_f),
    steps.textbook(smoke("table3/nvp"), 1, steps.torchflows_nvp),
    steps.ours(smoke("table3/sngan-hinge"), 1, steps.examples_nets),
    steps.example(smoke("table3/sngan-hinge"), 1),
    flow.inverse(smoke("table1/cq-f"), library=True, as_trained=False, passes=1),
    feeding.feed(1),
    feeding.loader_feed(1, pil=True),
    sampling.pixelrnn(True, profile="smoke", size=8, n=1),
])  # fmt: skip
def test_a_side_runs(side):
    work = sides.prepared(side, CPU)
    work.run()
    assert work.units > 0 and work.images > 0


def test_features_and_distances_are_the_same_on_both_sides():
    ours, other = (sides.prepared(side, CPU).run() for side in (scores.our_features(2), scores.plain_features(2)))
    torch.testing.assert_close(ours["1280"], other, rtol=1e-3, atol=1e-3)
    for ours, other in (("our_frechet", "plain_frechet"), ("our_kernel", "plain_kernel")):
        found = [sides.prepared(scores.of_features(getattr(scores, way), 60, 8), CPU).run() for way in (ours, other)]
        assert found[0] == pytest.approx(found[1], rel=1e-4) and found[0] > 0.1


def test_our_step_on_the_examples_nets_does_the_same_work():
    recipe = smoke("table3/sngan-hinge")
    both = (steps.ours(recipe, 1, steps.examples_nets), steps.example(recipe, 1))
    ours, example = (machine.operations(sides.prepared(side, CPU).run) for side in both)
    assert ours == pytest.approx(example, rel=0.05)


def test_the_page_is_that_of_the_published_files():
    """`python -m benchmarks --markdown` renews it and its pictures."""
    assert page.render(page.PAGE.read_text(), page.entries()) == page.PAGE.read_text()
