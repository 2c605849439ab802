"""Numbers of the paper against handmade records of its recipes: every label, and what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from handmade import record

from cqlib.experiments import paper
from cqlib.experiments.record import DataInfo, Record
from cqlib.metrics.metric import Metric
from cqlib.metrics.protocols import UNKNOWN_WEIGHTS
from cqlib.report.numbers import NUMBER_LABELS, number_verdict

BPD = paper.number("table2/cqf", "cifar10", "bpd")  # 3.90
FID_NUMBER = paper.number("table1/cq-f", "cifar10", "fid")  # 28.0


def real(row="table1/cq-f", seed=0, **more) -> Record:
    return record(row, seed, **{"data": "cifar10", "profile": "paper", **more})


@pytest.mark.parametrize(
    "bpd, label",
    [(3.95, "reproduced"), (3.85, "reproduced"), (3.951, "close"), (4.0, "close"), (3.8, "close"),
     (4.001, "not reproduced"), (3.0, "not reproduced")],
)  # fmt: skip
def test_labels_of_numbers_in_bpd(bpd, label):
    result = number_verdict(BPD, [real(BPD=bpd)])
    assert result.label == label in NUMBER_LABELS
    assert f"1 run: {bpd - 3.9:+.2f} bpd from the paper's 3.90" in result.reason


@pytest.mark.parametrize(
    "metric, name, factor, label",
    [
        ("fid", "FID", 1.0999, "reproduced"),
        ("fid", "FID", 0.81, "close"),
        ("fid", "FID", 1.21, "not reproduced"),
        ("is", "IS", 1.0499, "reproduced"),
        ("is", "IS", 0.91, "close"),
        ("is", "IS", 0.89, "not reproduced"),
    ],
)
def test_labels_of_scores(metric, name, factor, label):
    number = paper.number("table1/cq-f", "cifar10", metric)
    result = number_verdict(number, [real(metrics={name: factor * number.value})])
    assert result.label == label and f"1 run: {100 * (factor - 1):+.2f} % from the paper's" in result.reason


def test_comparable_seeds_are_averaged_and_others_left_out():
    records = [real(seed=0, BPD=3.8), real(seed=1, BPD=4.0), real(seed=2, BPD=7.0, n=500)]
    result = number_verdict(BPD, records)
    assert result.label == "reproduced" and "mean of 2 runs: +0.00 bpd" in result.reason.replace("-", "+")
    assert "protocol (500 test images" in number_verdict(BPD, records[2:]).reason


@pytest.mark.parametrize(
    "change, what",
    [
        ({"data": DataInfo("cifar10-jpeg", "test", "f", (3, 32, 32))}, "data (cifar10-jpeg"),
        ({"data": DataInfo("cifar10", "test", "f", (3, 16, 16))}, "data (images of 3x16x16"),
        ({"data": DataInfo("cifar10", "train", "f", (3, 32, 32))}, "protocol (measured on the train split"),
        ({"profile": "study"}, "profile (study"),
        ({"config": {"n_train": 4000}}, "training set (4,000 images"),
        ({"changes": {"training.steps": 1000}}, "recipe (steps: 1,000"),
        ({"metrics": {"FID": Metric(28.0, None, 5000, "p")}}, "protocol (5,000 samples"),
        ({"metrics": {"FID": Metric(28.0, None, 10_000, f"FID: {UNKNOWN_WEIGHTS}")}}, "features (unknown weights"),
        ({"metrics": {"FD-lite0": Metric(28.0, None, 10_000, "p")}}, "features (lite0"),
    ],
)
def test_what_differs_is_named(change, what):
    same = real(metrics={"FID": 28.0})
    assert number_verdict(FID_NUMBER, [same]).label == "reproduced"
    result = number_verdict(FID_NUMBER, [replace(same, **change)])
    assert result.label == "not comparable" and result.reason.startswith(f"other {what}")


def test_numbers_that_were_not_run_or_not_printed():
    assert number_verdict(BPD, []).label == "not run"
    assert "diverged" in number_verdict(BPD, [real(BPD=3.9, status="diverged")]).reason
    result = number_verdict(FID_NUMBER, [real(BPD=3.9)])
    assert result.label == "not run" and "FID" in result.reason
    assert number_verdict(paper.number("table2/gan-residual", "cifar10", "bpd"), []).label == "not comparable"
