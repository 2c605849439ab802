"""The answer in sentences: it follows the records, and says where they disagree."""

from __future__ import annotations

from handmade import at_32, record

from cqlib.suite.experiments.trade_off import LAMBDA, front, usual_lambda
from cqlib.suite.report import findings
from cqlib.suite.report.findings import scales
from cqlib.suite.report.groups import groups

TABLE1 = ["table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table1/gan"]


def against_gan(bpd: float, fd: float, seeds: int = 3, spread: float = 0.01, **more):
    """Runs of CQ-F, with these numbers, and of a GAN, with 7 bits and a distance of 100, which grows by `spread` from
    seed to seed."""
    numbers = {"table1/cq-f": (bpd, fd), "table1/gan": (7.0, 100.0)}
    return [record(row, seed, BPD=bits + 0.01 * seed, FD=distance + spread * seed, **more)
            for row, (bits, distance) in numbers.items() for seed in range(seeds)]  # fmt: skip


def told(*records) -> list[findings.Finding]:
    return findings.answer(scales(groups([], [run for of in records for run in of]), TABLE1))


def test_effects_are_told_with_their_direction_and_doubt():
    [(place, text)] = told(against_gan(bpd=5.0, fd=150.0))
    assert place == "photos10 16×16, 3 seeds"
    assert text.startswith("CQ-F needs 2.00 bits less than a GAN and is 50 % further from real images.")
    [(_, text)] = told(against_gan(bpd=9.0, fd=50.0))
    assert text.startswith("CQ-F needs 2.00 bits more than a GAN and is 50 % nearer to real images.")
    assert "0 % nearer to real images (no difference)" in told(against_gan(bpd=5.0, fd=100.0))[0].text
    text = told(against_gan(5.0, 90.0, seeds=2, spread=30.0))[0].text
    assert "nearer" not in text and text.endswith("1 of 2 tested claims hold (1 undecided).")
    assert "less than a GAN (one seed)" in told(against_gan(bpd=5.0, fd=150.0, seeds=1))[0].text
    assert not told() and not told([record("table1/vae", BPD=5.0)])


def test_claims_that_hold_are_counted_among_those_that_were_tested():
    """Against a GAN by bits and by distance, claims of which both or none hold."""
    none = "0 of 2 tested claims hold (2 contradicted)."
    for bpd, fd, words in ((5.0, 50.0, "2 of 2 tested claims hold."), (9.0, 150.0, none)):
        assert told(against_gan(bpd, fd))[0].text.endswith(words)


def test_each_data_set_speaks_for_itself():
    """A claim that holds on one is not hidden by another on which it does not."""
    small, large = told(against_gan(5.0, 50.0), at_32(against_gan(5.0, 150.0, seeds=1, profile="study")))
    assert "16×16, 3 seeds" in small.place and "is 50 % nearer to real images." in small.text
    assert "32×32, 1 seed" in large.place and "is 50 % further from real images (one seed)." in large.text


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
    [(_, text)] = told(runs)
    assert text.startswith("At equal distance from real images f saves 1.14 bits and at equal bits its samples are ")
    assert "with the critic f saves" not in text and "The critic brings samples 40 % nearer" in text


def test_the_columns_are_the_smallest_and_the_largest_scale_of_each_the_set_with_most_seeds():
    small, large = against_gan(5.0, 50.0), at_32(against_gan(5.0, 50.0, profile="study"))
    middle, smoke = against_gan(5.0, 50.0, profile="study"), against_gan(5.0, 50.0, profile="smoke")
    found = scales(groups(against_gan(5.0, 50.0, seeds=1), [*middle, *large, *small, *smoke]), TABLE1)
    assert [(runs.size, runs.profile, runs.origin) for runs in found] == [
        (16, "quick", "published"), (32, "study", "published")]  # fmt: skip
    assert len(scales(groups([], small), TABLE1)) == 1 and scales([], TABLE1) == []
