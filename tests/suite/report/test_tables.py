"""Tables: the right numbers in the right cells, verdicts beside them, what is missing with its command."""

from __future__ import annotations

from dataclasses import replace

import handmade
import numpy as np
import pytest
from fake_records import DEVICE, record, records

from cqlib.metrics.metric import Metric, Protocol
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import DataInfo
from cqlib.suite.report import details, tables
from cqlib.suite.report.groups import groups
from cqlib.suite.report.verdicts import count_numbers, is_comparable, number_verdict

BPD = paper.number("table2/cqf", "cifar10", "bpd")  # 3.90
FID = paper.number("table1/cq-f", "cifar10", "fid")  # 28.0


def entries(view: tables.View, label: str, i: int = -1) -> dict[str, tables.Cell]:
    """Column -> the cell of a row in the columns of the i-th source."""
    line = next(line for line in view.lines if line.label == label)
    return dict(zip(view.sources[i].heads, line.cells[i], strict=True))


def test_there_is_one_column_for_each_score_that_was_measured():
    both = record("table1/vae")
    both.metrics["FID"] = Metric(171.0, None, 10_000, Protocol(features="inception"))
    view = tables.view(paper.TABLE1, groups([both], [record("table1/vae")]))
    assert [source.title for source in view.sources] == ["Paper", "This project", "This machine"]
    assert [cell.text for cell in entries(view, "GAN", 0).values()] == ["7.0", "6.8", "31.4"]
    on_lite0 = ("IS-lite0 ↑", "FD-lite0 ↓", "KD-lite0 ↓", "Coverage-lite0 ↑")
    assert view.sources[1].heads == ("BPD ↓", *on_lite0, "Seeds")
    assert view.sources[2].heads == ("BPD ↓", "IS ↑", "FID ↓", "KID ↓", "Coverage ↑", *on_lite0, "Seeds")
    cells = entries(view, "VAE")
    assert cells["FID ↓"].text == "171.0" and cells["IS ↑"].text == "—" and cells["Seeds"].text == "1"
    names = {head: head.partition(" ")[0] for head in ("BPD ↓", *on_lite0)}
    texts = [float(cells[head].text.replace(",", "")) for head in names]
    np.testing.assert_allclose(texts, [both.metrics[name].value for name in names.values()], rtol=0.01)
    real = entries(view, "Real images")
    assert (real["FD-lite0 ↓"].text, real["FD-lite0 ↓"].source) == ("310.0", f"{both.folder}.json")


def test_a_row_says_what_was_not_trained_and_what_diverged():
    runs = [record("table1/gan", 1, status="diverged"), *records(4, ("table1/vae",)),
            record("table1/vae", 4, status="diverged")]  # fmt: skip
    view = tables.view(paper.TABLE1, groups(runs, []))
    assert entries(view, "VAE")["Seeds"].text == "1 of 5 diverged"
    for label, text in (("CQ", "not trained yet"), ("GAN", "diverged")):
        (cell,) = next(line for line in view.lines if line.label == label).cells[1]
        assert (cell.text, cell.span) == (text, len(view.sources[1].heads))


def test_rows_that_were_not_trained_here_have_a_command_each():
    sets = groups([record("table1/gan")], records(1))
    absent = dict(tables.missing(paper.TABLE2, sets, "study", published_only=False))
    assert absent["CQ-F + Residual"] == "./run_all.sh --profile study --only table2/cqf-residual"
    assert "GAN" not in absent  # Table 1's
    assert tables.missing(paper.TABLE1, sets, "quick", published_only=True) == ()
    for table in paper.TABLES:
        assert tables.missing(table, [], "quick", True) == (("all of them", f"./run_all.sh --only {table.id}"),)
    changed = groups([replace(record("table1/gan"), changes={"training.steps": 100})], [])
    assert "GAN" in details.missing_rows(changed)


# --- the paper's numbers


def real(seed=0, n=10_000, **values):
    """A run of the paper's own recipe and data."""
    run = record("table1/cq-f", seed, profile="paper", data="cifar10", config={})
    metrics = {name: Metric(value, None, n, Protocol(split="test")) for name, value in values.items()}
    return replace(run, data=replace(run.data, shape=(10_000, 3, 32, 32)), metrics=metrics)


@pytest.mark.parametrize(("number", "value", "label"), [
    (BPD, 3.95, "reproduced"), (BPD, 3.85, "reproduced"), (BPD, 3.951, "close"), (BPD, 3.8, "close"),
    (BPD, 4.001, "not reproduced"), (FID, 28 * 1.0999, "reproduced"), (FID, 28 * 0.81, "close"),
    (FID, 28 * 1.21, "not reproduced"),
])  # fmt: skip
def test_labels_of_numbers(number, value, label):
    assert number_verdict(number, [real(**{number.metric.upper(): value})]).label == label


def test_comparable_seeds_are_averaged_and_others_left_out():
    runs = [real(0, BPD=3.8), real(1, BPD=4.0), real(2, BPD=7.0, n=500)]
    found = number_verdict(BPD, runs)
    assert found.label == "reproduced" and "mean of 2 runs" in found.reason
    assert number_verdict(BPD, runs[2:]).label == "not comparable"
    view = tables.view(paper.TABLE1, groups([real(BPD=3.9, FID=300.0)], []))
    cells = entries(view, "CQ-F")
    assert (cells["BPD ↓"].number.label, cells["FID ↓"].number.label) == ("reproduced", "not reproduced")


@pytest.mark.parametrize("change", [
    {"data": DataInfo("cifar10-jpeg", "test", "f", (3, 32, 32))},
    {"data": DataInfo("cifar10", "test", "f", (3, 16, 16))},
    {"data": DataInfo("cifar10", "train", "f", (3, 32, 32))}, {"profile": "study"}, {"config": {"n_train": 4000}},
    {"changes": {"training.steps": 1000}}, {"metrics": {"FID": Metric(28.0, None, 5000, Protocol())}},
    {"metrics": {"FD-lite0": Metric(28.0, None, 10_000, Protocol())}},
], ids=str)  # fmt: skip
def test_only_the_papers_recipe_data_and_protocol_are_comparable(change):
    assert is_comparable(FID, real(FID=28.0))
    found = replace(real(FID=28.0), **change)
    assert not is_comparable(FID, found) and number_verdict(FID, [found]).label == "not comparable"


def test_a_number_that_stands_in_two_tables_counts_once():
    """Table 2's GAN and CQ-F are Table 1's, Table 3's CQ-F of one scale is Table 2's: all but its three of STL-10."""
    printed = [n for row in paper.ROWS.values() for n in row.numbers if n.value is not None]
    counts = count_numbers(groups(records(1), [real(BPD=3.9)]))
    assert sum(counts.values()) == len(printed) - 9 and counts["reproduced"] == 1 and counts["not comparable"] > 0


# --- the smaller tables


def test_a_protocol_is_told_once_with_its_models():
    runs = [record("table1/vae"), record("table1/cq")]
    runs[1].metrics["BPD"] = replace(runs[1].metrics["BPD"], n=7)
    sets = groups(runs, [])
    told = {name: ways for names, ways in details.protocols(sets) for name in names.split(", ")}
    assert told.keys() == {name for name in runs[0].metrics if not name.startswith("Digit")}
    ((models, way),) = told["FD-lite0"]  # one way, for both: no names
    assert models == sets[0].label and way.startswith("FD-lite0: n_real = n_fake = 1000, held-out test split")
    assert [models.partition(" (")[0] for models, _ in told["BPD"]] == ["VAE", "CQ"]


def test_costs_are_of_the_device_that_most_runs_had():
    runs = [record("table1/vae", seed, seconds=seconds, device=device)
            for seed, (seconds, device) in enumerate([(10.0, DEVICE), (20.0, DEVICE), (900.0, "another")])]  # fmt: skip
    (line,) = details.costs(groups(runs, []))
    assert [run.seconds for run in line["done"]] == [10.0, 20.0] and line["device"] == f"{DEVICE}, fp32"
    assert line["source"].startswith("2 seeds: table1_vae--photos10--quick--0.json, ")


def test_costs_tell_a_users_runs_from_this_projects():
    own, ours = (details.costs(sets)[0]["runs"] for sets in (groups([record("table1/vae")], []),
                                                             groups([], [record("table1/vae")])))  # fmt: skip
    assert own.endswith(f": {ours}")


def test_a_system_is_held_against_its_untrained_copy_and_noise():
    (line,) = details.baselines(groups(records(2, ("table3/dcgan",)), []), ["table3/dcgan"])
    assert line["beats"] and [cell.text for cell in line["cells"][1:3]] == ["4,000", "2,500"]
    worse = record("table3/dcgan")
    worse.metrics["FD-lite0"] = replace(worse.metrics["FD-lite0"], value=3000.0)  # than noise
    assert not details.baselines(groups([worse], []), ["table3/dcgan"])[0]["beats"]


def test_all_numbers_are_of_models_with_the_digits_apart():
    metrics = {"BPD": 5.0, "FD-lite0": 300.0, "FD-lite0-floor": 60.0, "IS-lite0-real": 9.0, "Digit-3": 0.1,
               "Digit-3-real": 0.1}  # fmt: skip
    (runs,) = groups([handmade.record("table1/cq-f", metrics=metrics)], [])
    assert details.all_numbers(runs) == (["BPD", "FD-lite0"], ["Digit-3"])
