"""The answer in sentences: it follows the records, and says where they disagree."""

from __future__ import annotations

from handmade import at_32, record

from cqlib.suite.experiments.trade_off import LAMBDA, front, usual_lambda
from cqlib.suite.report import findings
from cqlib.suite.report.findings import scales
from cqlib.suite.report.groups import groups

TABLE1 = ["table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table1/gan"]
GAN_BPD, GAN_FID = "CQ-F needs fewer bits than a GAN", "CQ-F’s samples look better than a GAN’s"


def against_gan(bpd: float, fd: float, seeds: int = 3, spread: float = 0.01, **more):
    """Runs of CQ-F, with these numbers, and of a GAN, with 7 bits and a distance of 100, which grows by `spread` from
    seed to seed."""
    numbers = {"table1/cq-f": (bpd, fd), "table1/gan": (7.0, 100.0)}
    return [record(row, seed, BPD=bits + 0.01 * seed, FD=distance + spread * seed, **more)
            for row, (bits, distance) in numbers.items() for seed in range(seeds)]  # fmt: skip


def told(*records) -> list[str]:
    return findings.answer(scales(groups([], [run for of in records for run in of]), TABLE1))


def test_what_came_out_and_what_did_not_follow_the_records():
    first, told_of = told(against_gan(bpd=5.0, fd=150.0))
    assert first == findings.MODEL and told_of.startswith("The paper’s claims on “photos10”, 16×16 pixels, 3 seeds, p")
    assert f"partly confirmed: {GAN_BPD}. Not confirmed: " in told_of
    assert f"{GAN_FID} (the opposite was measured)" in told_of and "Not tested there yet: f saves bits" in told_of
    _, told_of = told(against_gan(bpd=9.0, fd=50.0))
    assert f": {GAN_FID}. Not" in told_of and f"{GAN_BPD} (the opposite was measured)" in told_of
    assert f"{GAN_FID} (no difference was measured)" in told(against_gan(bpd=5.0, fd=100.0))[1]
    assert f"{GAN_FID} (undecided)" in told(against_gan(5.0, 90.0, seeds=2, spread=30.0))[1]
    assert f"{GAN_BPD} (in the one seed that was run)" in told(against_gan(bpd=5.0, fd=150.0, seeds=1))[1]
    assert told()[1].startswith("None of the models of Table 1 has been trained")


def test_each_data_set_speaks_for_itself():
    """A claim that holds on one is not hidden by another on which it does not."""
    _, small, large = told(against_gan(5.0, 50.0), at_32(against_gan(5.0, 150.0, seeds=1, profile="study")))
    assert "16×16 pixels, 3 seeds" in small and f"{GAN_BPD}; {GAN_FID}." in small
    assert "32×32 pixels, 1 seed," in large
    assert f"{GAN_BPD} (in the one seed that was run)." in large
    assert f"{GAN_FID} (not so in the one seed that was run)" in large


def test_the_trade_off_comes_first():
    """CQ-F at 1 bit less and half the distance, at every lambda."""
    points = {0.0: (5.0, 200.0), 25.0: (5.2, 120.0), 100.0: (5.4, 100.0), 400.0: (5.6, 90.0)}
    runs = []
    for row, less, factor in (("table1/cq", 0.0, 1.0), ("table1/cq-f", 1.0, 0.5)):
        for weight, (bits, distance) in points.items():
            name, _, _ = front(row, "quick", "photos10", 16)[weight].partition(" ")
            changes = {} if weight in (0.0, usual_lambda("photos10")) else {LAMBDA: weight}
            runs += [record(name, seed, BPD=bits - less + 0.01 * seed, FD=factor * distance + 0.1 * seed,
                            changes=changes) for seed in range(3)]  # fmt: skip
    first, of_front, of_data = told(runs)
    assert first == findings.MODEL and of_data.startswith("The paper’s claims")
    assert of_front.startswith("The trade-off along λ, the critic’s weight, on “photos10”, 16×16 pixels, 3 seeds: at ")
    assert "f lowers bits (+1.14" in of_front and "; each CQ has a CQ-F" in of_front
    assert "3 of 3 seeds: holds" in of_front


def test_the_columns_are_the_smallest_and_the_largest_scale_of_each_the_set_with_most_seeds():
    small, large = against_gan(5.0, 50.0), at_32(against_gan(5.0, 50.0, profile="study"))
    middle, smoke = against_gan(5.0, 50.0, profile="study"), against_gan(5.0, 50.0, profile="smoke")
    found = scales(groups(against_gan(5.0, 50.0, seeds=1), [*middle, *large, *small, *smoke]), TABLE1)
    assert [(runs.size, runs.profile, runs.origin) for runs in found] == [
        (16, "quick", "published"), (32, "study", "published")]  # fmt: skip
    assert len(scales(groups([], small), TABLE1)) == 1 and scales([], TABLE1) == []
