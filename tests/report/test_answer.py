"""The answer in sentences: it follows the records, and says where they disagree."""

from __future__ import annotations

from handmade import at_32, record

from cqlib.report import answer
from cqlib.report.claim_cards import scales
from cqlib.report.run_sets import run_sets

TABLE1 = ["table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table1/gan"]
GAN_BPD, GAN_FID = "CQ-F needs fewer bits than a GAN", "CQ-F’s samples look better than a GAN’s"


def against_gan(bpd: float, fd: float, seeds: int = 3, spread: float = 0.01, **more):
    """Runs of CQ-F, with these numbers, and of a GAN, with 7 bits and a distance of 100, which grows by `spread` from
    seed to seed."""
    numbers = {"table1/cq-f": (bpd, fd), "table1/gan": (7.0, 100.0)}
    return [record(row, seed, BPD=bits + 0.01 * seed, FD=distance + spread * seed, **more)
            for row, (bits, distance) in numbers.items() for seed in range(seeds)]  # fmt: skip


def told(*records) -> list[str]:
    return answer.sentences(scales(run_sets([], [run for of in records for run in of]), TABLE1))


def test_what_came_out_and_what_did_not_follow_the_records():
    first, came_out, did_not = told(against_gan(bpd=5.0, fd=150.0))
    assert first == answer.MODEL and came_out.startswith("Partly confirmed with small models (“photos10”, 16×16")
    assert "3 seeds" in came_out and came_out.endswith(f": {GAN_BPD}.")
    assert f"{GAN_FID} (the opposite was measured)" in did_not and "f saves bits" in did_not
    _, came_out, did_not = told(against_gan(bpd=9.0, fd=50.0))
    assert came_out.endswith(f": {GAN_FID}.") and f"{GAN_BPD} (the opposite was measured)" in did_not
    assert f"{GAN_FID} (no difference was measured)" in told(against_gan(bpd=5.0, fd=100.0))[2]
    assert f"{GAN_BPD} (in the one seed that was run)" in told(against_gan(bpd=5.0, fd=150.0, seeds=1))[1]
    assert told()[1].startswith("None of the models of Table 1 has been trained")


def test_what_two_scales_disagree_about_did_not_come_out():
    _, came_out, did_not = told(against_gan(5.0, 50.0), at_32(against_gan(5.0, 150.0, profile="study")))
    assert "16×16 pixels, 3 seeds; “photos10”, 32×32" in came_out and came_out.endswith(f": {GAN_BPD}.")
    assert f"{GAN_FID} (the opposite was measured on “photos10” 32×32)" in did_not


def test_one_seed_counts_less_than_several():
    """One that agrees changes nothing; one that does not stands behind what several showed elsewhere, and beside a
    claim that holds."""
    small = against_gan(5.0, 100.0)
    _, came_out, _ = told(small, at_32(against_gan(5.0, 150.0, seeds=1, profile="study")))
    assert came_out.endswith(f": {GAN_BPD}.")
    _, came_out, did_not = told(small, at_32(against_gan(9.0, 150.0, seeds=1, profile="study")))
    assert f"{GAN_FID} (no difference was measured on “photos10” 16×16)" in did_not
    assert f"{GAN_BPD} (not so in the one seed that was run on “photos10” 32×32)" in did_not and ": " not in came_out


def test_what_one_scale_leaves_undecided_does_not_hide_what_another_decided():
    undecided = at_32(against_gan(5.0, 90.0, seeds=2, spread=30.0, profile="study"))
    assert f"{GAN_FID} (undecided)" in told(undecided)[2]
    for fd, outcome in ((100.0, "no difference was measured"), (150.0, "the opposite was measured")):
        assert f"{GAN_FID} ({outcome} on “photos10” 16×16)" in told(against_gan(5.0, fd), undecided)[2]
    assert f"{GAN_FID} (undecided on “photos10” 32×32)" in told(against_gan(5.0, 50.0), undecided)[2]


def test_the_columns_are_the_smallest_and_the_largest_scale_of_each_the_set_with_most_seeds():
    small, large = against_gan(5.0, 50.0), at_32(against_gan(5.0, 50.0, profile="study"))
    middle, smoke = against_gan(5.0, 50.0, profile="study"), against_gan(5.0, 50.0, profile="smoke")
    found = scales(run_sets(against_gan(5.0, 50.0, seeds=1), [*middle, *large, *small, *smoke]), TABLE1)
    assert [(runs.size, runs.profile, runs.origin) for runs in found] == [
        (16, "quick", "published"), (32, "study", "published")]  # fmt: skip
    assert len(scales(run_sets([], small), TABLE1)) == 1 and scales([], TABLE1) == []
