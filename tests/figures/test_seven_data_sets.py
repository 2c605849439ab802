"""The notebook on seven data sets: what `--only table4` trains, what was run at a glance, and what a cell needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from fake_records import record, records
from notebook_cells import by_name, soup
from todays import of_today

from cqlib.cli import options, run_all
from cqlib.data import WITH_PIP
from cqlib.experiments import paper
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import DataInfo, write_record
from cqlib.experiments.selection import Selection
from cqlib.figures import seven_data_sets
from cqlib.metrics.metric import Metric, Protocol
from cqlib.report import page as report
from cqlib.report.run_sets import run_sets

ROWS = ("table1/cq-f", "table2/cqf-iaf-residual-large-d", "table3/cqf-2-scales")


def groups(html) -> dict[str, str]:
    """Data set -> the words of all its lines."""
    return {body.th.contents[0].strip(): " ".join(body.get_text(" ").split()) for body in soup(html).find_all("tbody")}


def read(tmp_path, **more):
    return seven_data_sets.read(Selection(seven_data_sets.ROWS, **{"runs_dir": tmp_path, **more}))


def test_table4_takes_its_rows_on_the_seven_data_sets(tmp_path):
    def planned(*arguments: str) -> set[tuple[str, str]]:
        opts = options.parse([*arguments, "--runs-dir", str(tmp_path)])
        return {(e.row, e.data) for e in run_all.plan(opts).experiments}

    assert len(paper.DATA_SETS) == 7
    on_all = planned("--only", "table4", "--profile", "paper")
    assert on_all == {(row, data) for row in ROWS for data in paper.DATA_SETS}
    one = planned("--only", "table4", "--profile", "paper", "--data", "celeba")
    assert one == {(row, "celeba") for row in ROWS}
    quick = planned("--only", "table4,figure_nvp_comparison")
    assert quick == {(row, WITH_PIP[0]) for row in (*ROWS, "table3/nvp")}


def test_runs_are_read_on_whatever_data_they_were_made(published, tmp_path):
    for row, data in (("table1/cq-f", "cifar10"), ("table3/cqf-2-scales", "photos10"), ("table1/vae", "cifar10")):
        e = experiment(row, "study", data)
        done = record(row, data=data, profile="study", config_hash=e.config_hash)
        write_record(done, tmp_path / experiment(row, "study", data).folder, "record.json")
    stale = record("table1/cq-f", data="stl10", profile="study", config_hash="of a former recipe")
    write_record(stale, tmp_path / experiment("table1/cq-f", "study", "stl10").folder, "record.json")
    found, sets, shown = read(tmp_path)
    assert {(r.row, r.data.name) for r in found} == {("table1/cq-f", "cifar10"), ("table3/cqf-2-scales", "photos10")}
    assert len(sets) == 2 and shown == (*paper.DATA_SETS, WITH_PIP[0], "tiny-imagenet", "photos10")
    assert read(tmp_path, data=["cifar10"])[2] == ("cifar10",)


def test_at_a_glance_every_cell_says_what_was_run(published, tmp_path):
    twice = [record("table2/cqf-iaf-residual-large-d", profile=profile) for profile in ("study", "paper")]
    published(*records(3, ("table1/cq-f",)), record("table3/cqf-2-scales", status="diverged"), *twice)
    _, sets, shown = read(tmp_path)
    table = by_name(seven_data_sets.glance(sets, shown, tmp_path))
    assert table["photos10"][:2] == ["quick, 3 seeds", "paper, 1 seed"] and "diverged" in table["photos10"][2]
    assert table["LSUN-tower *"][:3] == ["not run"] * 3
    assert [line[3] for line in table.values()].count("BPD, IS, FID") == 2  # the slides print numbers for two of them


def test_a_cell_that_was_not_run_says_what_it_needs(published, tmp_path):
    published(*records(2, ("table1/cq-f",)))
    _, sets, shown = read(tmp_path)
    table = groups(seven_data_sets.joint(sets, shown, "quick", tmp_path))
    assert list(table)[:2] == ["CIFAR-10", "STL-10"] and "CQF (large Discr.) 4.00 8.6 52.7" in table["STL-10"]
    assert "stl10_binary.tar.gz (2.6 GB)" in table["STL-10"]
    assert table["STL-10"].endswith("./run_all.sh --profile paper --only table4 --data stl10")
    assert "All three" not in table["photos10"] and "--only table3/cqf-2-scales" in table["photos10"]
    assert table["tiny-imagenet"].endswith("./run_all.sh --profile study --only table4 --data tiny-imagenet")


def test_beside_the_published_runs_of_a_profile_stand_this_machines(published, tmp_path):
    """And no others, whatever has been published; those on other images are told apart."""
    rows = ("table1/cq-f",)
    published(*records(2, rows), *records(1, rows, profile="study"))
    here = records(1, rows)[0]
    here = replace(here, data=replace(here.data, fingerprint="fedcba9876543210"))
    sets = run_sets([here], report.published_records())
    table = soup(seven_data_sets.joint(sets, ("photos10",), "quick", tmp_path))
    heads = [" ".join(head.get_text(" ").split()) for head in table.thead.tr.find_all("th")]
    assert heads == ["Model", "Paper", "This project", "This machine"]
    line = next(line for line in table.find_all("tr") if line.th.get_text().strip() == "CQ-F")
    values = [np.mean([r.metrics["BPD"].value for r in runs]) for runs in (records(2, rows), [here])]
    for origin, value in zip(("published", "local"), values, strict=True):
        assert line.find("td", class_=origin).get_text().startswith(f"{value:.2f}")
    assert [line.find_all("td", class_=origin)[-1].get_text() for origin in ("published", "local")] == ["2", "1"]


def test_a_verdict_stands_where_the_paper_has_a_number(published, tmp_path):
    its = paper.number("table3/cqf-2-scales", "stl10", "bpd").value
    metrics = {"BPD": Metric(its + 0.01, 0.01, 8000, Protocol(bound="ELBO"))}
    info = DataInfo("stl10", "test", "0" * 16, (8000, 3, 48, 48))
    done = of_today(replace(record("table3/cqf-2-scales", profile="paper"), data=info, metrics=metrics))
    published(done, record("table3/cqf-2-scales"))
    _, sets, shown = read(tmp_path)
    table = groups(seven_data_sets.joint(sets, shown, "paper", tmp_path))
    assert f"{its + 0.01:.2f} reproduced" in table["STL-10"] and "reproduced" not in table["photos10"]
    assert table["tiny-imagenet"].endswith("--profile paper --only table4 --data tiny-imagenet")
    assert by_name(seven_data_sets.glance(sets, shown))["STL-10"][2] == "paper, 1 seed"
