"""Several data sets in one notebook: which runs it shows, the paper's numbers beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_records import TABLE3, record
from notebook_cells import cells
from todays import of_today

from cqlib.data import WITH_PIP
from cqlib.suite.cli import options, run_all
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import DataInfo
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures import data_sets
from cqlib.suite.figures.data_sets import BESIDE_NVP, ROWS, SEVEN


@pytest.fixture(autouse=True)
def records_of_table_3(monkeypatch):
    monkeypatch.setitem(TABLE3, "table3/nvp", (3.49, 2.0, 2.0))
    monkeypatch.setitem(TABLE3, "table3/cqf-large-d", (3.74, 2.0, 2.0))


def on(data: str, size: int, row: str, profile: str = "paper"):
    """A record on images of that size."""
    return of_today(replace(record(row, profile=profile), data=DataInfo(data, "test", "0" * 16, (9, 3, size, size))))


def read(notebook: str, tmp_path, **more):
    return data_sets.read(notebook, Selection(ROWS[notebook], runs_dir=tmp_path, **more))[1]


def test_the_notebook_takes_its_rows_on_its_data_sets(tmp_path):
    def planned(*arguments: str) -> set[tuple[str, str]]:
        opts = options.parse(["--only", BESIDE_NVP, *arguments, "--runs-dir", str(tmp_path)])
        return {(e.row, e.data) for e in run_all.plan(opts)[0]}

    models, four = {*map(paper.canonical, ROWS[BESIDE_NVP])}, ("cifar10", "celeba", "lsun-bedroom", "imagenet64")
    assert planned("--profile", "paper") == {(row, data) for row in models for data in four}
    assert planned("--profile", "paper", "--data", "celeba") == {(row, "celeba") for row in models}
    assert planned() == {(row, WITH_PIP[0]) for row in models}


def test_of_each_data_set_the_run_set_with_most_rows_is_shown(published, tmp_path):
    published(
        *(record(row) for row in ("table1/cq-f", "table3/nvp")),
        *(record(row, profile="study") for row in ROWS[BESIDE_NVP]),
        on("celeba", 64, "table1/cq-f"),
        record("table1/vae", data="cifar10"),  # no row of the notebook
    )
    found = read(BESIDE_NVP, tmp_path)
    assert {data: runs.profile for data, runs in found.items()} == {"celeba": "paper", "photos10": "study"}
    assert list(found) == ["celeba", "photos10"]  # the slides' data sets first
    assert list(read(BESIDE_NVP, tmp_path, data=["photos10"])) == ["photos10"]


def test_measured_numbers_stand_beside_the_papers_on_the_same_data(published, tmp_path):
    runs = [replace(on("cifar10", 32, "table3/nvp"), seed=seed) for seed in (0, 1)]
    runs[1].metrics["BPD"] = replace(runs[1].metrics["BPD"], value=4.0)
    published(*map(of_today, runs))
    lines = {tuple(line[:2]): line[2:] for line in cells(data_sets.scores(BESIDE_NVP, read(BESIDE_NVP, tmp_path)))}
    nvp = lines["NVP", "CIFAR-10 32×32, paper"]
    mean = (4 + runs[0].metrics["BPD"].value) / 2
    assert nvp[:3] == ["3.49", "", ""] and nvp[3].startswith(f"{mean:.2f}") and nvp[-1] == "2"
    assert lines["CQ-F, 2 scales", "CIFAR-10 32×32, paper"][:3] == ["3.48", "6.9", "28.9"]
    assert {*lines["CQ-F, 2 scales", "CIFAR-10 32×32, paper"][3:]} == {""}  # printed, not run
    assert lines["Real images", "CIFAR-10 32×32, paper"][4] == "310.0"  # FD; IS has no column


def test_table_3_shows_the_papers_two_models_and_cq_f_on_all_seven(published, tmp_path):
    published(*(on("celeba", 64, row) for row in ROWS[SEVEN]), on("celeba", 64, "table3/nvp"))
    best = data_sets.read(SEVEN, Selection(runs_dir=tmp_path))[1]
    lines = {tuple(line[:2]): line[2:] for line in cells(data_sets.scores(SEVEN, best))}
    celeba = {model for model, data in lines if data.startswith("CelebA")}
    assert celeba == {"CQ-F", "CQ-F (large Discr.)", "CQ-F, 2 scales", "Real images"}
    assert lines["CQ-F (large Discr.)", "STL-10"][:3] == ["4.00", "8.6", "52.7"]
    assert len(paper.DATA_SETS) == 7
