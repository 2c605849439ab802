"""The report's pictures: marks and curves where the records put them, which rows share one, what may be shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from fake_records import SCORES, TABLE2, draw_samples, record, records
from matplotlib.text import Text

from cqlib.data.grids import grid_png
from cqlib.suite.experiments.trade_off import GAN, WITHOUT_L_Q, front
from cqlib.suite.experiments.variants import row_and_changes
from cqlib.suite.report import pictures, plots, trade_off
from cqlib.suite.report.groups import groups

ROWS = (*SCORES, *TABLE2)


def test_marks_and_bars_are_mean_and_standard_deviation_of_the_seeds():
    runs = groups(records(3, ROWS), [])[0]
    point = pictures.point_of(runs, "table2/cqf-residual", "FD-lite0")
    for name, mean, std in (("BPD", point.bpd, point.bpd_std), ("FD-lite0", point.distance, point.distance_std)):
        values = [run.metrics[name].value for run in runs.records_of("table2/cqf-residual")]
        assert mean == pytest.approx(np.mean(values)) and std == pytest.approx(np.std(values, ddof=1))
    (bars,) = plots.quality_against_likelihood([point], ylabel="", marks={point.label: 0}).axes[0].containers
    mark, _, ends = bars.lines
    np.testing.assert_allclose(mark.get_xydata(), [(point.bpd, point.distance)])
    assert np.ptp(ends[0].get_segments()[0][:, 0]) == pytest.approx(2 * point.bpd_std)
    assert pictures.quality(runs, ["table1/cq"], "Table 1") == []  # one model alone is no comparison


def test_a_learning_curve_is_the_mean_over_seeds():
    seeds = [[(0, 1.0), (10, 2.0)], [(0, 3.0), (10, 6.0)]]
    figure = plots.learning_curves({"CQ": seeds, "GAN": seeds[:1]}, ylabel="", marks={"CQ": 0, "GAN": 1})
    first, second = (line.get_xydata().tolist() for line in figure.axes[0].lines)
    assert first == [[0, 2], [10, 4]] and second == [[0, 1], [10, 2]]
    assert plots.describe_lines({"CQ": seeds}) == "means over seeds"


def test_a_rare_peak_leaves_a_plot_of_learning_curves_and_ordinary_points_do_not():
    curve = [(step, 5 + 3 / step) for step in range(1, 201)]
    for peak, whole in ((50.0, False), (9.0, True)):
        figure = plots.learning_curves({"CQ": [[*curve, (201, peak)]]}, ylabel="L_C", marks={"CQ": 0})
        low, high = figure.axes[0].get_ylim()
        assert low < min(value for _, value in curve)
        assert (high > peak) == whole and high > 6


def test_a_picture_is_an_element_with_a_text_and_without_ids_that_repeat():
    evil = '"><script>$x$'
    with plots.subplots(2, 2, style=plots.PLAIN) as (figure, ax):
        ax.plot([0, 1], [0, 1], label=evil)
        ax.legend()
    one, other = plots.to_svg(figure, evil), plots.to_svg(figure, "other")
    svg = BeautifulSoup(one, "html.parser").svg
    assert svg["aria-label"] == evil and not svg.find("script") and "$x$" in svg.get_text()
    assert one == plots.to_svg(figure, evil) and "var(--ink" in one
    ids = [{element["id"] for element in BeautifulSoup(text, "html.parser").find_all(id=True)} for text in (one, other)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("data", ["photos10", "npz:mine"])
def test_the_published_page_shows_real_images_only_of_what_any_machine_has(tmp_path, monkeypatch, data):
    runs, later = [record("table1/vae", data=data)], record("table1/vae", 1, data=data)
    monkeypatch.setattr(pictures, "PUBLISHED", tmp_path)
    draw_samples([*runs, later], tmp_path / "samples")
    real = grid_png(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    monkeypatch.setattr(pictures, "real_images", lambda *_: real)
    (shown,) = groups([], runs)
    found = [pictures.grids([shown], ["table1/vae"], tmp_path, None, out) for out in (tmp_path, None)]
    labels = [[figure["label"] for figure in figures] for figures in found]
    sources = [figures[-1]["image"]["src"].partition(";")[0] for figures in found]
    assert sources[0].endswith("/samples.png") and sources[1] == "data:image/png"  # linked below the page
    assert labels == [["Real test images", "VAE"] if data == "photos10" else ["VAE"], ["Real test images", "VAE"]]
    (both,) = groups([], [replace(runs[0], status="diverged"), later])
    assert pictures.grids([both], ["table1/vae"], tmp_path, None)[-1]["text"] == "seed 1"


# --- the trade-off


def on_fronts(seeds=2):
    """Runs of all points of both fronts, and the GAN's."""
    names = [name for row in WITHOUT_L_Q for name in front(row, "quick", "photos10").values()]
    points = [(*row_and_changes(name), seed) for name in [*names, GAN] for seed in range(seeds)]
    return [record(row, seed, changes=changes) for row, changes, seed in points]


@pytest.mark.slow
def test_the_pictures_of_the_trade_off_show_every_point_once(tmp_path):
    (runs,) = groups(on_fronts(), [])
    found = trade_off.figures(runs, tmp_path)
    assert [figure["more"] for figure in found] == [False, True, True, True]
    figure, _ = trade_off.draw_fronts(runs, trade_off.FIRST, "FD-lite0")
    labels = [text.get_text() for text in figure.findobj(Text)]
    usual = {"VAE", "VAE-F", "CQ", "CQ-F"}
    assert {label: labels.count(label) for label in labels if "λ" in label or label in usual} == (
        dict.fromkeys(["λ 100", "λ 400", "λ 1,600"], 2) | dict.fromkeys(usual, 1)
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()].count("GAN") == 1
    assert not any(drawn["choices"] for drawn in found)  # for want of samples


@pytest.mark.slow
def test_a_choice_lies_on_the_mark_of_its_model_and_shows_that_models_samples(tmp_path):
    (runs,) = groups(on_fronts(), [])
    draw_samples(list(runs.records), tmp_path)
    first, *others = trade_off.figures(runs, tmp_path)
    choices = first["choices"]
    assert not any(drawn["choices"] for drawn in others)
    labels = ["VAE, λ = 0", *(f"CQ, λ = {weight}" for weight in ("25", "100", "400", "1,600"))]
    with_f = [label.replace(",", "-F,", 1) for label in labels]
    assert [each["label"] for each in choices] == [*labels, *with_f, "GAN"]
    assert [each["label"] for each in choices if each["chosen"]] == ["CQ-F, λ = 25"]
    svg = BeautifulSoup(first["svg"], "html.parser").svg
    size = [float(number) / 100 for number in svg["viewbox"].split()[2:]]
    places = np.array([[float(each["left"]), float(each["top"])] for each in choices]) * size
    marks = np.array([[float(use["x"]), float(use["y"])] for use in svg.find_all("use")])
    assert np.abs(places[:, None] - marks).max(2).min(1).max() < 0.1
    points = [pictures.point_of(runs, each["of"][1], "FD-lite0") for each in choices]
    for each, point in zip(choices, points, strict=True):
        assert each["text"].startswith(f"{point.bpd:.2f} bits, ")
        file = tmp_path / runs.done(each["of"][1])[0].folder / "samples.png"
        assert each["image"]["src"] == plots.data_uri(file.read_bytes())
    for axis, values in zip(places.T, ([p.bpd for p in points], [-p.distance for p in points]), strict=True):
        assert np.argsort(axis).tolist() == np.argsort(values).tolist()
