"""The notebook on NVP samples: which data sets it shows, what its panels hold, and what the empty ones need."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_records import TABLE3, record
from lesson_cells import run_cell
from notebook_cells import by_name, cells, soup
from todays import of_today

from cqlib.data.grids import grid, grid_png, unscaled
from cqlib.data.published import missing_files
from cqlib.data.sets import ENTRIES
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import DataInfo
from cqlib.experiments.rows import training_command
from cqlib.experiments.selection import Selection
from cqlib.figures import common as show
from cqlib.figures import nvp_comparison
from cqlib.metrics.metric import Metric

CHOSEN = Selection(nvp_comparison.REQUIRED)


@pytest.fixture(autouse=True)
def records_of_nvp(monkeypatch):
    monkeypatch.setitem(TABLE3, "table3/nvp", (3.49, 2.0, 2.0, 60.0, 60.0))


def on(data: str, size: int, row: str, profile: str = "paper"):
    """A record on images of that size."""
    return of_today(replace(record(row, profile=profile), data=DataInfo(data, "test", "0" * 16, (9, 3, size, size))))


def test_the_slides_data_sets_come_first_and_stand_ins_only_without_them(published, tmp_path):
    published(record("table1/cq-f"), on("tiny-imagenet:64", 64, "table3/nvp", "study"))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    assert list(found) == ["photos10", "tiny-imagenet:64"]
    text = nvp_comparison.overview(found)
    assert "tiny-imagenet:64 64×64, study (this project)" in text
    assert "not run here: CIFAR-10, CelebA, LSUN-bedrooms, ImageNet" in text
    published(record("table1/cq-f"), on("celeba", 64, "table1/cq-f"), on("cifar10", 32, "table3/nvp"))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    assert list(found) == ["cifar10", "celeba"]
    assert nvp_comparison.overview(found).endswith("not run here: LSUN-bedrooms, ImageNet")
    _, found = nvp_comparison.read(replace(CHOSEN, data=["photos10"], runs_dir=tmp_path))
    assert list(found) == ["photos10"]


def test_the_run_set_is_one_with_nvp_beside_ours(published, tmp_path):
    published(
        *(record(row) for row in ("table1/cq-f", "table2/cqf-residual", "table3/cqf-2-scales")),
        *(record(row, profile="study") for row in ("table1/cq-f", "table3/nvp")),
    )
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    assert found["photos10"].profile == "study"
    former = [record(row, config_hash="of a former recipe") for row in (*nvp_comparison.ROWS[:2], "table3/nvp")]
    published(*former, *(record(row, profile="study") for row in ("table1/cq-f", "table3/nvp")))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    assert not found["photos10"].outdated
    published(*(record(row, profile=p) for p in ("quick", "study") for row in ("table1/cq-f", "table3/nvp")))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    assert found["photos10"].profile == CHOSEN.profile


def test_panels_hold_the_samples_that_there_are(published_samples, tmp_path):
    published_samples(record("table1/cq-f"), record("table3/cqf-2-scales"))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path / "runs"))
    svg = soup(nvp_comparison.samples(found, tmp_path / "runs")).svg
    assert len(svg.find_all("image")) == 2
    alt = "Samples at temperature 1: CQ-F on photos10 16×16, quick, CQF, 2 scales on photos10 16×16, quick"
    assert svg["aria-label"] == alt
    assert "--only figure_nvp_comparison" in nvp_comparison.samples({}, tmp_path).data


def test_a_line_has_the_models_of_its_data_set_alone(published_samples, tmp_path, monkeypatch):
    published_samples(record("table1/cq-f"), on("tiny-imagenet:64", 64, "table3/nvp", "study"))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path / "runs"))
    monkeypatch.setattr(nvp_comparison, "picture", lambda figure, alt: figure)
    figure = nvp_comparison.samples(found, tmp_path / "runs")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["CQ-F", "NVP"]
    names = ["photos10 16×16,\nquick", "tiny-imagenet:64 64×64,\nstudy"]
    assert [ax.texts[0].get_text() for ax in figure.axes] == names


def test_a_panel_is_cut_from_the_grid_that_a_run_left(published_samples, tmp_path):
    published_samples(record("table1/cq-f"))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path / "runs"))
    images = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    place = show.pictures.PUBLISHED / "samples" / "table1_cq-f--photos10--quick--0"
    (place / "samples_T1.png").write_bytes(grid_png(images))
    panel = show.stored_samples(found["photos10"], "table1/cq-f", "T1", tmp_path / "runs", 36)
    assert torch.equal(panel, images[:36])
    assert (unscaled(grid_png(images), 16) == grid(images)).all()


@pytest.mark.slow
def test_empty_panels_name_files_and_commands(published_samples, tmp_path):
    published_samples(record("table1/cq-f"), record("table3/cqf-2-scales"), on("celeba", 64, "table3/nvp"))
    _, found = nvp_comparison.read(replace(CHOSEN, data=["photos10"], runs_dir=tmp_path))
    table = by_name(nvp_comparison.missing(found, tmp_path, data_dir=tmp_path))
    assert table["photos10, 16×16"] == ["NVP", "Its files are here. ./run_all.sh --only table3/nvp"]
    absent, what = table["celeba, 64×64"]
    assert absent == "CQ-F; CQF, 2 scales; NVP" and "img_align_celeba.zip (1.4 GB)" in what
    assert what.endswith("./run_all.sh --profile paper --only figure_nvp_comparison --data celeba")
    assert "sign up at image-net.org" in table["imagenet64, 64×64"][1]
    assert "by hand: no hash is published" in table["lsun-bedroom, 64×64"][1]
    command = "./run_all.sh --profile study --only figure_nvp_comparison --data tiny-imagenet:64"
    assert table["tiny-imagenet:64, 64×64"][1].endswith(command)
    published_samples(*(record(row) for row in nvp_comparison.REQUIRED))
    _, found = nvp_comparison.read(replace(CHOSEN, data=["photos10"], runs_dir=tmp_path))
    assert "Every panel is filled" in nvp_comparison.missing(found, tmp_path, ["photos10"]).data


def test_numbers_are_those_of_the_records(published, tmp_path):
    run = on("cifar10", 32, "table3/nvp")
    run.metrics["seconds"] = Metric(0.32, 0.01, 64, "wall clock")
    published(run)
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    html = nvp_comparison.compared(found)
    head = [cell.get_text() for cell in soup(html).thead.find_all("th")][1:]
    table = {line[0]: dict(zip(head, line[1:], strict=True)) for line in cells(html)}
    assert table["NVP"]["Data"] == "cifar10 32×32, paper" and table["NVP"]["BPD ↓"] == f"{run.metrics['BPD'].value:.2f}"
    assert table["NVP"]["Time per sample"] == "5.00 ms" and set([*table["CQ-F"].values()][1:]) == {"—"}
    # a distance on other features than the paper's never stands in its column
    assert table["NVP"]["FD-lite0 ↓, T = 1"] == f"{run.metrics['FD-lite0@T1'].value:.1f}"
    assert table["NVP"]["FID ↓, T = 1"] == "—" == table["NVP, the paper"]["FID ↓, T = 1"]
    printed = table["CQF, 2 scales, the paper"]
    assert (printed["BPD ↓"], printed["FID ↓, T = 1"], printed["FD-lite0 ↓, T = 1"]) == ("3.48", "28.9", "—")
    assert "FID ↓, T = 1" not in soup(nvp_comparison.compared({"photos10": found["cifar10"]})).thead.get_text()


def test_times_are_means_over_the_device_that_most_runs_had(published, tmp_path):
    took = [(0.32, 60.0), (0.64, 180.0), (6.4, 9000.0)]
    runs = [replace(on("cifar10", 32, "table3/nvp"), seed=seed, seconds=run, device="CPU" if seed < 2 else "another",
                    metrics={"seconds": Metric(batch, None, 64, f"wall clock, {seed // 2}")})
            for seed, (batch, run) in enumerate(took)]  # fmt: skip
    published(*map(of_today, runs))
    _, found = nvp_comparison.read(replace(CHOSEN, runs_dir=tmp_path))
    (line,) = [line for line in cells(nvp_comparison.compared(found)) if line[0] == "NVP"]
    assert line[-2:] == ["7.50 ms", "2 min"]


def test_the_sum_of_log_scales_is_the_determinant():
    for name, total, whole, difference, error in cells(run_cell("figure_nvp", "The change of variables on")["_"]):
        assert total == whole and abs(float(total.replace("−", "-"))) > 0.1, name
        assert float(difference.replace("−", "-")) < 1e-9 and float(error.replace("−", "-")) < 1e-9


def test_files_are_looked_for_and_nothing_is_fetched(tmp_path):
    assert missing_files("photos10") is None and missing_files("npz:x.npz") is None
    assert missing_files("stl10", tmp_path) is ENTRIES["stl10"]
    (tmp_path / "stl10_binary").mkdir()
    assert missing_files("stl10", tmp_path) is ENTRIES["stl10"]
    for part in ENTRIES["stl10"].parts:
        (tmp_path / part).write_text("content")
    assert missing_files("stl10", tmp_path) is None and missing_files("stl10", tmp_path / "nowhere") is ENTRIES["stl10"]
    assert training_command("table4", "quick") == "./run_all.sh --only table4"
    assert training_command("table1", "quick", "folder:my cats") == "./run_all.sh --only table1 --data 'folder:my cats'"
    assert "--data 'folder:my cats' --seed 0" in replace(experiment("table1/vae"), data="folder:my cats").command
