"""The report's pictures: which rows share one, marks where the records put them, what is written beside them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_records import SCORES, TABLE2, TABLE3, draw_samples, record, records
from PIL import Image

from cqlib import data as data_sets
from cqlib.data.grids import grid_png, tiles, unscaled
from cqlib.experiments import paper
from cqlib.experiments.rows import marker_numbers, short_label
from cqlib.report import pictures, plots
from cqlib.report.run_sets import RunSet, run_sets

ROWS = (*SCORES, *TABLE2)


def test_one_system_has_one_colour_everywhere():
    """Whatever it is called; and no two in a picture share colour and marker."""
    tables = {name: marker_numbers(paper.row_ids(name)) for name in ("table1", "table2", "table3")}
    assert tables["table1"]["CQ-F"] == tables["table2"]["CQF"] and tables["table1"]["GAN"] == tables["table2"]["GAN"]
    assert tables["table2"]["CQF (large Discr.)"] == tables["table3"]["CQF (large Discr.)"]
    for found in tables.values():
        assert len({plots.colour_and_marker(i) for i in found.values()}) == len(found)
    curves = {"CQ-F": [[[0, 2.0], [10, 1.0]]], "GAN": [[[0, 1.0], [10, 2.0]]]}
    for shown in (curves, dict(reversed(curves.items()))):
        lines = plots.learning_curves(shown, ylabel="L_C", marks=tables["table1"]).axes[0].lines
        colours = dict(zip(shown, (line.get_color() for line in lines), strict=True))
        assert colours == {"CQ-F": plots.SERIES[3], "GAN": plots.SERIES[4]}


@pytest.mark.parametrize(("size", "width"), [(16, 16 * (16 + 1) * 4 + 4), (32, 16 * (32 + 1) + 1)])
def test_larger_real_images_are_shown_without_repeated_pixels(size, width):
    content = pictures.real_images("photos10", size, None)
    assert Image.open(io.BytesIO(content)).size[0] == width
    shown = tiles(unscaled(content, size), size)
    wanted = data_sets.load("photos10", size=size).test.images[: len(shown)]
    loss = (shown.int() - wanted.int()).abs().float().mean()
    assert loss == 0 if size == 16 else 0 < loss < 4.5  # WebP of quality 90
    assert pictures.real_images("nothing", size, None) is None


@pytest.mark.parametrize("data", ["photos10", "npz:mine"])
def test_the_published_page_shows_real_images_only_of_what_any_machine_has(tmp_path, monkeypatch, data):
    runs, later = [record("table1/vae", data=data)], record("table1/vae", 1, data=data)
    monkeypatch.setattr(pictures, "PUBLISHED", tmp_path)
    draw_samples([*runs, later], tmp_path / "samples")
    real = grid_png(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    monkeypatch.setattr(pictures, "real_images", lambda *_: real)
    (shown,) = run_sets([], runs)
    places = (tmp_path, None, tmp_path / "else")
    found = [pictures.grids([shown], ["table1/vae"], tmp_path, None, out) for out in places]
    labels = [[figure["label"] for figure in figures] for figures in found[:2]]
    sources = [figures[-1]["image"]["src"].partition(";")[0] for figures in found]
    assert found[0][-1]["text"] == "seed 0"
    diverged = replace(runs[0], status="diverged")
    (shown,) = run_sets([], [diverged])
    assert pictures.grids([shown], ["table1/vae"], tmp_path, None)[-1]["text"] == "seed 0, which diverged at step 3,000"
    (both,) = run_sets([], [diverged, later])
    assert pictures.grids([both], ["table1/vae"], tmp_path, None)[-1]["text"] == "seed 1"
    assert sources[0].endswith("/samples.png") and sources[1:] == ["data:image/png"] * 2  # linked below the page
    assert labels == [["Real test images", "VAE"] if data == "photos10" else ["VAE"], ["Real test images", "VAE"]]


def test_the_order_of_models_is_told_with_the_step_since_which_it_stands():
    a, b = [[100, 9.0], [200, 4.0], [300, 3.0]], [[100, 8.0], [200, 5.0], [300, 4.0]]
    order = pictures.order
    assert order({"A": [a], "B": [b]}) == "Order of the means: A < B, since step 200 of 300."
    assert "B < A" in order({"A": [b], "B": [a]})
    late = [[100, 9.0], [200, 9.0], [300, 3.5]]  # the mean of two seeds counts, not the first one's
    assert "A < B, at the last step alone." in order({"A": [a, late], "B": [b, b]})
    assert order({"A": [a], "B": [b], "C": [a]}) == "Order of the means: A = C < B, since step 200 of 300."
    for untold in ({}, {"A": [a]}, {"A": [a], "B": [b[1:]]}, {"A": [a, b[1:]], "B": [b]}, {"A": [a], "B": [a]}):
        assert order(untold) == ""


def test_the_last_third_of_training_tells_what_still_changes():
    a = [[100, 9.0], [200, 4.0], [300, 3.0]]
    b = [[100, 8.0], [200, 5.0], [300, 6.0]]
    rising = [[100, 9.0], [200, 4.0], [300, 5.0]]  # the mean of two seeds counts
    told = pictures.levelling({"A-F": [a], "B": [b], "C": [a, rising]})
    assert told == "From step 200 to 300: A-F −25.0 %, B +20.0 %, C +0.0 %."
    share = {"A": [[[100, 0.0], [200, 0.001], [300, 0.034]]], "B": [[[100, 0.2], [200, 0.0], [300, 0.0]]]}
    assert pictures.levelling(share, share=True) == "From step 200 to 300: A +3.3 points, B +0.0 points."
    longer = [[50 * k, 10.0 - k] for k in range(1, 9)]
    assert pictures.levelling({"A": [longer]}) == "From step 250 to 400: A −60.0 %."
    assert "From step 200 to 300: B +20.0 %. From" in pictures.levelling({"B": [b], "A": [longer]})
    for untold in ({}, {"A": [a[1:]]}, {"A": [a, longer]}):
        assert pictures.levelling(untold) == ""


@pytest.mark.parametrize("name, label", [("KL", "KL (nats per image)"), ("discriminator", "discriminator's loss"),
                                         ("L_C (bits/dim)", "L_C (bits/dim)"),
                                         ("wasserstein", "critic's wasserstein loss")])  # fmt: skip
def test_an_axis_has_the_unit_of_its_loss(name, label):
    """A critic's loss has none: some are hinge losses."""
    assert pictures.axis(name) == label


def test_critics_are_compared_with_one_that_knows_nothing():
    assert pictures.levels("discriminator") == {pictures.IGNORANCE: pytest.approx(2 * np.log(2))}
    assert pictures.levels("L_Q") == {}
    (runs,) = run_sets([replace(record("table1/gan"), curve={"discriminator": [[1, 2.0], [2, 1.0]]})], [])
    (plot,) = pictures.learning_curves(runs, ["table1/gan"], "Table 1", losses=True)
    assert f"; {pictures.IGNORANCE}: 1.39" in plot["svg"] and f">{pictures.IGNORANCE}</text>" in plot["svg"]


def test_curves_that_a_plot_has_no_room_for_are_named(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_LINES", 2)
    rows = ("table1/cq", "table1/cq-f", "table1/gan")
    sets = run_sets([replace(record(row), curve={"/home/someone/x": [[1, 2.0]]}) for row in rows], [])
    (plot,) = pictures.learning_curves(sets[0], rows, "Table 1", losses=True)
    assert plot["caption"].endswith(" Not drawn: GAN.") and "someone" not in plot["svg"]


def test_marks_and_bars_are_mean_and_standard_deviation_of_the_seeds():
    runs = run_sets(records(3, ROWS), [])[0]
    (name, rows) = pictures.boards(runs)[1]
    assert name == "Table 2 with CQF, 2 scales"
    made = pictures.points_of_row(runs, "table2/cqf-residual", "FD-lite0")
    (point,), mine = made, runs.records_of("table2/cqf-residual")
    assert point.label == "CQF + Residual"
    for name, mean, std in (("BPD", point.bpd, point.bpd_std), ("FD-lite0", point.distance, point.distance_std)):
        values = [run.metrics[name].value for run in mine]
        assert mean == pytest.approx(np.mean(values)) and std == pytest.approx(np.std(values, ddof=1))
    figure = plots.quality_against_likelihood(made, ylabel="FD-lite0", marks={"CQF + Residual": 0}, legend={})
    (mark,) = figure.axes[0].collections
    np.testing.assert_allclose(mark.get_offsets(), [(point.bpd, point.distance)])
    bars = [line.get_xydata() for line in figure.axes[0].lines]
    wide = [bar for bar in bars if np.ptp(bar[:, 0]) > 0]
    assert len(wide) == 1 and np.ptp(wide[0][:, 0]) == pytest.approx(2 * made[0].bpd_std)
    assert pictures.points_of_row(run_sets(records(1, ROWS), [])[0], "table1/cq", "FD-lite0")[0].bpd_std == 0


def test_one_model_alone_is_no_comparison():
    runs = run_sets(records(2, ROWS), [])[0]
    assert pictures.quality(runs, ["table1/cq"], "Table 1") == []
    assert len(pictures.quality(runs, ["table1/cq", "table1/cq-f"], "Table 1")) == 1


def test_every_table_has_its_picture_and_two_scales_stand_with_table_2():
    runs = run_sets(records(2, ROWS), [])[0]
    boards = dict(pictures.boards(runs))
    table2 = "Table 2 with CQF, 2 scales"
    assert list(boards) == ["Table 1", table2]
    assert boards["Table 1"] == ["table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table1/gan"]
    assert boards[table2][0] == "table2/gan" and boards[table2][-1] == "table3/cqf-2-scales"
    assert len(boards[table2]) == 7
    alone = run_sets(records(2), [])[0]
    assert [name for name, _ in pictures.boards(alone)] == ["Table 1"]  # Table 2 has no row of its own
    (found,) = pictures.plots_of([runs, RunSet("published", "photos10", 16, "quick", ())]).values()
    boards_of = [plot for plot in found if "quality against likelihood" in plot["caption"]]
    assert ["Table 1" in plot["caption"] for plot in boards_of] == [True, False]
    assert "bars" in boards_of[1]["caption"] and boards_of[1]["svg"].count("CQF + IAF + Residual") >= 2
    told = f"FD-lite0 against BPD, {table2}. This machine: photos10 16×16, quick. GAN "
    assert f'aria-label="{told}' in boards_of[1]["svg"]


def test_table_3_tells_families_apart_by_colour_and_marker():
    kinds = pictures.FAMILIES
    assert [pictures.family(f"table3/{row}") for row in ("dcgan", "pixelrnn", "cqf-large-d", "sngan-hinge")] == [
        kinds[False, True], kinds[True, False], kinds[True, True], kinds[False, True]]  # fmt: skip
    runs = run_sets(records(2, (*ROWS, *TABLE3)), [])[0]
    rows = dict(pictures.boards(runs))["Table 3"]
    assert len(rows) == len(TABLE3) + 2  # with the two rows of the paper's own
    families = {row: pictures.family(row) for row in rows}
    points = [point for row in rows for point in pictures.points_of_row(runs, row, "FD-lite0")]
    named = {short_label(row): kind for row, kind in families.items()}
    legend = {kind: i for i, kind in enumerate(kinds.values())}
    numbers = {label: legend[kind] for label, kind in named.items()}
    figure = plots.quality_against_likelihood(points, ylabel="FD-lite0", marks=numbers, legend=legend)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(kinds.values())
    colours = {}
    for axes in figure.axes:
        for dots in axes.collections:
            colours.setdefault(tuple(dots.get_edgecolor()[0]), set()).update(dots.get_offsets()[:, 0])
    assert len(colours) == 3
    by_kind = {kind: {p.bpd for p in points if named[p.label] == kind} for kind in kinds.values()}
    assert sorted(map(sorted, colours.values())) == sorted(map(sorted, by_kind.values()))
    (plot,) = pictures.quality(runs, rows, "Table 3")
    assert all(kind in plot["svg"] for kind in kinds.values())
    ours = [row for row in rows if families[row] == "both losses"]
    (plot,) = pictures.quality(runs, ours, "Table 3")  # the look of a family is the same without the others
    assert "--series-2," in plot["svg"] and "--series-0," not in plot["svg"]
