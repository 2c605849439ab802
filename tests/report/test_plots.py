"""Plots: marks where the records put them, labels that cover nothing, an axis that is broken honestly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fake_records import SCORES, TABLE2, TABLE3, records
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from cqlib.report import pictures as report_pictures
from cqlib.report import plots
from cqlib.report.plots import Point
from cqlib.report.run_sets import run_sets

ROWS = (*SCORES, *TABLE2)


def points(values: dict[str, tuple[float, float, float]], bpd_std=0.02, std=30.0) -> list[Point]:
    """label -> BPD, distance at T = 1, distance at T = 0."""
    return [
        Point(label, bpd, distance, t, bpd_std, std)
        for label, (bpd, *distances) in values.items()
        for t, distance in zip((1, 0), distances, strict=True)
    ]


def random_points(seed: int) -> list[Point]:
    rng = np.random.default_rng(seed)
    names = (
        "GAN",
        "GAN + Residual",
        "CQF",
        "CQF + Residual",
        "CQF + IAF + Residual",
        "CQF (large Discr.)",
        "CQF, 2 scales",
    )
    values = {}
    for name in names:
        high = rng.uniform(1400, 2400)
        values[name] = ((7.3 if "GAN" in name else 4.8) + rng.normal(0, 0.1), high, high - rng.uniform(0, 500))
    return points(values)


def boxes_of(figure) -> list[Bbox]:
    """The labels in pixels, without the lines that lead to their marks."""
    found = [text for axes in figure.axes for text in axes.texts]
    for text in found:
        text.update_positions(figure.canvas.get_renderer())
    return [Text.get_window_extent(text) for text in found]


@pytest.mark.parametrize("seed", range(8))
def test_labels_cover_neither_marks_nor_each_other_and_stay_on_the_figure(seed):
    figure = plots.quality_against_likelihood(random_points(seed), distance="FID")
    boxes = boxes_of(figure)
    assert len(boxes) == 7
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    for axes in figure.axes:
        for marks in axes.collections:
            for x, y in axes.transData.transform(marks.get_offsets()):
                assert not any(box.contains(x, y) for box in boxes)
    for box in boxes:
        assert figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y0) and figure.bbox.containsy(box.y1)


def test_models_that_coincide_have_labels_apart():
    same = points(dict.fromkeys(("one", "two", "three", "four"), (4.8, 1700.0, 1600.0)))
    boxes = boxes_of(plots.quality_against_likelihood(same, distance="FID"))
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_a_wide_gap_breaks_the_axis_and_both_parts_have_one_scale():
    figure = plots.quality_against_likelihood(random_points(0), distance="FID")
    left, right = figure.axes
    assert left.get_xlim()[1] < 6 < right.get_xlim()[0] and left.get_ylim() == right.get_ylim()
    scale = [axes.get_window_extent().width / np.diff(axes.get_xlim())[0] for axes in (left, right)]
    assert scale[0] == pytest.approx(scale[1], rel=0.03)
    assert not right.spines["left"].get_visible()
    for axes in (left, right):
        for marks in axes.collections:
            x = marks.get_offsets()[0][0]
            assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
    near = points({"a": (4.0, 1.0, 0.9), "b": (4.5, 1.0, 0.9), "c": (5.0, 1.0, 0.9)})
    assert len(plots.quality_against_likelihood(near, distance="FID").axes) == 1


def test_marks_and_bars_are_mean_and_standard_deviation_of_the_seeds():
    runs = run_sets(records(3, ROWS), [])[0]
    (name, rows) = report_pictures.boards(runs)[1]
    assert name == "Table 2"
    made = report_pictures._points(runs, "table2/cqf-residual", "FD-lite0")
    mine = runs.of("table2/cqf-residual")
    for point, at in zip(made, ("T1", "T0"), strict=True):
        assert (point.label, f"T{point.temperature}") == ("CQF + Residual", at)
        for values, mean, std in (
            ([run.metrics["BPD"].value for run in mine], point.bpd, point.bpd_std),
            ([run.metrics[f"FD-lite0@{at}"].value for run in mine], point.distance, point.distance_std),
        ):
            assert mean == pytest.approx(np.mean(values)) and std == pytest.approx(np.std(values, ddof=1))
    figure = plots.quality_against_likelihood(made, distance="FD-lite0")
    marks = {tuple(np.round(m.get_offsets()[0], 6)): tuple(m.get_facecolor()[0]) for m in figure.axes[0].collections}
    assert set(marks) == {(round(p.bpd, 6), round(p.distance, 6)) for p in made}
    colours = list(marks.values())
    assert colours[0] != colours[1]  # filled and open
    bars = [line.get_xydata() for line in figure.axes[0].lines]
    wide = [bar for bar in bars if np.ptp(bar[:, 0]) > 0]
    assert len(wide) == 2 and np.ptp(wide[0][:, 0]) == pytest.approx(2 * made[0].bpd_std)
    assert report_pictures._points(run_sets(records(1, ROWS), [])[0], "table1/cq", "FD-lite0")[0].bpd_std == 0


def test_every_table_has_its_picture_and_two_scales_stand_with_table_2():
    runs = run_sets(records(2, ROWS), [])[0]
    boards = dict(report_pictures.boards(runs))
    assert list(boards) == ["Table 1", "Table 2"]
    assert boards["Table 1"] == ["table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table1/gan"]
    assert boards["Table 2"][0] == "table2/gan" and boards["Table 2"][-1] == "table3/cqf-2-scales"
    assert len(boards["Table 2"]) == 7
    alone = run_sets(records(2), [])[0]
    assert [name for name, _ in report_pictures.boards(alone)] == ["Table 1"]  # Table 2 has no row of its own
    found = report_pictures.plots_of([runs])
    pictures = [plot for plot in found if "quality against likelihood" in plot["caption"]]
    assert ["Table 1" in plot["caption"] for plot in pictures] == [True, False]
    assert "bars" in pictures[1]["caption"] and pictures[1]["svg"].count("CQF + IAF + Residual") >= 2
    assert (
        'aria-label="FD-lite0 against BPD, Table 2. This machine: photos10 16×16, quick. GAN at T = 1'
        in pictures[1]["svg"]
    )


def test_table_3_tells_families_apart_by_colour_and_marker():
    kinds = report_pictures.FAMILIES
    assert [report_pictures.family(f"table3/{row}") for row in ("dcgan", "pixelrnn", "cqf-large-d", "sngan-hinge")] == [
        kinds[False, True], kinds[True, False], kinds[True, True], kinds[False, True]]  # fmt: skip
    runs = run_sets(records(2, (*ROWS, *TABLE3)), [])[0]
    rows = dict(report_pictures.boards(runs))["Table 3"]
    assert len(rows) == len(TABLE3) + 2  # with the two rows of the paper's own
    families = {row: report_pictures.family(row) for row in rows}
    points = [point for row in rows for point in report_pictures._points(runs, row, "FD-lite0")]
    named = {report_pictures.short_label(row): kind for row, kind in families.items()}
    figure = plots.quality_against_likelihood(points, distance="FD-lite0", families=named)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(kinds.values())
    colours = {}
    for axes in figure.axes:
        for marks in axes.collections:
            colours.setdefault(tuple(marks.get_edgecolor()[0]), set()).update(marks.get_offsets()[:, 0])
    assert len(colours) == 3
    by_kind = {kind: {p.bpd for p in points if named[p.label] == kind} for kind in kinds.values()}
    assert sorted(map(sorted, colours.values())) == sorted(map(sorted, by_kind.values()))
    (plot,) = report_pictures.quality(runs, rows, "Table 3")
    assert all(kind in plot["svg"] for kind in kinds.values())


def test_of_more_series_than_colours_no_two_look_alike():
    assert len({plots.mark(i) for i in range(40)}) == 40
    names = [str(i) for i in range(24)]
    lines = plots.learning_curves({name: [[[1, 2.0], [2, 1.0]]] for name in names}, ylabel="").axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(names)


def test_lines_over_layers():
    series = {"a": {"4x4-1": 3.0, "8x8-1": 1.0}, "b": {"4x4-1": 2.0, "8x8-1": 0.5}}
    figure = plots.by_layer(series, ylabel="KL", xlabel="layer")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["4x4-1", "8x8-1"]
    assert [list(line.get_ydata()) for line in axes.lines] == [[3.0, 1.0], [2.0, 0.5]]
    assert axes.get_ylim()[0] == 0 and {text.get_text() for text in axes.texts} == {"a", "b"}


@pytest.mark.parametrize("bpd", [1e18, -1e30, 3e38])
def test_a_number_that_no_model_has_is_drawn_all_the_same(bpd):
    figure = plots.quality_against_likelihood(points({"a": (bpd, 100.0, 90.0)}, bpd_std=0.0), distance="FD")
    low, high = figure.axes[0].get_xlim()
    assert low < bpd < high and plots.to_svg(figure, "x")
