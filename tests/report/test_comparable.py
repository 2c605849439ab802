"""Which runs may be averaged: those of the same images, as many of them, by one protocol."""

from dataclasses import replace

from fake_records import record

from cqlib.report import comparable


def seeds(runs, *names):
    return [run.seed for run in comparable.largest_comparable(runs, *names)]


def test_the_most_runs_of_one_row_that_measured_every_score_alike():
    first, *others = (record("table1/vae", seed) for seed in range(3))
    assert seeds([first, *others], "BPD", "FD-lite0@T1") == [0, 1, 2]
    fewer = replace(first, metrics={**first.metrics, "BPD": replace(first.metrics["BPD"], n=10)})
    assert seeds([fewer, *others], "BPD", "FD-lite0@T1") == [1, 2]
    assert seeds([fewer, *others], "FD-lite0@T1") == [0, 1, 2]
    on_training_images = replace(first, data=replace(first.data, split="train"))
    assert seeds([on_training_images, *others], "BPD") == [1, 2]
    without = replace(first, metrics={})
    assert seeds([without, *others], "BPD") == [1, 2] and seeds([without], "BPD") == []
