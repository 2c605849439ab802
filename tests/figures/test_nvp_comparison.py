"""The notebook on NVP samples: which data sets it shows, what its panels hold, and what its table prints."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_records import TABLE3, record
from lesson_cells import run_cell
from notebook_cells import by_name, cells, soup
from todays import of_today

from cqlib.data import WITH_PIP
from cqlib.data.grids import grid_png
from cqlib.experiments.record import DataInfo
from cqlib.experiments.selection import Selection
from cqlib.figures import common as show
from cqlib.figures import nvp_comparison
from cqlib.metrics.metric import Metric, Protocol

CHOSEN = Selection(nvp_comparison.REQUIRED)
DIGITS = WITH_PIP[0]


@pytest.fixture(autouse=True)
def records_of_nvp(monkeypatch):
    monkeypatch.setitem(TABLE3, "table3/nvp", (3.49, 2.0, 2.0))


def on(data: str, size: int, row: str, profile: str = "paper"):
    """A record on images of that size."""
    return of_today(replace(record(row, profile=profile), data=DataInfo(data, "test", "0" * 16, (9, 3, size, size))))


def test_the_slides_data_sets_come_first_and_stand_ins_only_without_them(published, tmp_path):
    published(record("table1/cq-f", data=DIGITS), on("tiny-imagenet:64", 64, "table3/nvp", "study"))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    assert list(found) == [DIGITS, "tiny-imagenet:64"]
    published(record("table1/cq-f"), on("celeba", 64, "table1/cq-f"), on("cifar10", 32, "table3/nvp"))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    assert list(found) == ["cifar10", "celeba"]
    _, found = nvp_comparison.read(replace(CHOSEN, data=["photos10"], runs_dir=tmp_path))
    assert list(found) == ["photos10"]


def test_the_run_set_is_one_with_nvp_beside_ours(published, tmp_path):
    chosen = replace(CHOSEN, data=["photos10"], runs_dir=tmp_path)
    published(
        *(record(row) for row in ("table1/cq-f", "table2/cqf-residual", "table3/cqf-2-scales")),
        *(record(row, profile="study") for row in ("table1/cq-f", "table3/nvp")),
    )
    assert nvp_comparison.read(chosen)[1]["photos10"].profile == "study"
    published(*(record(row, profile=p) for p in ("quick", "study") for row in ("table1/cq-f", "table3/nvp")))
    assert nvp_comparison.read(chosen)[1]["photos10"].profile == CHOSEN.profile


def test_a_panel_is_cut_from_the_grid_that_a_run_left(published_samples, tmp_path):
    published_samples(record("table1/cq-f"), record("table3/cqf-2-scales"))
    _, found = nvp_comparison.read(replace(CHOSEN, data=["photos10"], runs_dir=tmp_path / "runs"))
    assert len(soup(nvp_comparison.samples(found, tmp_path / "runs")).svg.find_all("image")) == 2
    images = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    place = show.pictures.PUBLISHED / "samples" / found["photos10"].done("table1/cq-f")[0].folder
    (place / "samples.png").write_bytes(grid_png(images))
    panel = show.stored_samples(found["photos10"], "table1/cq-f", tmp_path / "runs", 36)
    assert torch.equal(panel, images[:36])


@pytest.mark.slow
def test_empty_panels_name_files_and_commands(published_samples, tmp_path):
    published_samples(record("table1/cq-f"), record("table3/cqf-2-scales"), on("celeba", 64, "table3/nvp"))
    _, found = nvp_comparison.read(replace(CHOSEN, data=["photos10"], runs_dir=tmp_path))
    table = by_name(nvp_comparison.missing(found, tmp_path, data_dir=tmp_path))
    absent, what = table["celeba, 64×64"]
    assert absent == "CQ-F; CQF, 2 scales; NVP" and "img_align_celeba.zip (1.4 GB)" in what
    assert what.endswith("./run_all.sh --profile paper --only figure_nvp_comparison --data celeba")
    published_samples(*(record(row) for row in nvp_comparison.REQUIRED))
    _, found = nvp_comparison.read(replace(CHOSEN, data=["photos10"], runs_dir=tmp_path))
    assert "Every panel is filled" in nvp_comparison.missing(found, tmp_path, ["photos10"]).data


def test_numbers_are_those_of_the_records(published, tmp_path):
    run = on("cifar10", 32, "table3/nvp")
    run.metrics["seconds"] = Metric(0.32, 0.01, 64, Protocol(device="CPU"))
    published(run)
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    html = nvp_comparison.compared(found)
    head = [cell.get_text() for cell in soup(html).thead.find_all("th")][1:]
    table = {line[0]: dict(zip(head, line[1:], strict=True)) for line in cells(html)}
    assert table["NVP"]["BPD ↓"] == f"{run.metrics['BPD'].value:.2f}" and table["NVP"]["Time per sample"] == "5.00 ms"
    assert set([*table["CQ-F"].values()][1:]) == {"—"}
    # a distance on other features than the paper's never stands in its column
    assert table["NVP"]["FD-lite0 ↓"] == f"{run.metrics['FD-lite0'].value:.2f}"
    assert table["NVP"]["FID ↓"] == "—" == table["NVP, the paper"]["FID ↓"]
    printed = table["CQF, 2 scales, the paper"]
    assert (printed["BPD ↓"], printed["FID ↓"], printed["FD-lite0 ↓"]) == ("3.48", "28.9", "—")


def test_times_are_means_over_the_device_that_most_runs_had(published, tmp_path):
    took = [(0.32, 60.0, "CPU, fp32"), (0.64, 180.0, "CPU, fp32"), (6.4, 9000.0, "another, fp32")]
    runs = [replace(on("cifar10", 32, "table3/nvp"), seed=seed, seconds=run, device=device,
                    metrics={"seconds": Metric(batch, None, 64, Protocol(device=str(seed // 2)))})
            for seed, (batch, run, device) in enumerate(took)]  # fmt: skip
    published(*map(of_today, runs))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    (line,) = [line for line in cells(nvp_comparison.compared(found)) if line[0] == "NVP"]
    assert line[-2:] == ["7.50 ms", "2 min"]


def test_the_sum_of_log_scales_is_the_determinant():
    for name, total, whole, difference, error in cells(run_cell("figure_nvp", "The change of variables on")["_"]):
        assert total == whole and abs(float(total.replace("−", "-"))) > 0.1, name
        assert float(difference.replace("−", "-")) < 1e-9 and float(error.replace("−", "-")) < 1e-9
