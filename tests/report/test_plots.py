"""Plots: marks where the records put them, labels that cover nothing, an axis that is broken honestly."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from cqlib.data.grids import grid
from cqlib.report import plots
from cqlib.report.plots import Point


def points(values: dict[str, tuple[float, float]], bpd_std=0.02, std=30.0) -> list[Point]:
    """label -> BPD, distance."""
    return [Point(label, *at, bpd_std, std) for label, at in values.items()]


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
        values[name] = ((7.3 if "GAN" in name else 4.8) + rng.normal(0, 0.1), rng.uniform(1400, 2400))
    return points(values)


def quality(points: list[Point]):
    return plots.quality_against_likelihood(points, ylabel="FID", marks=numbered(p.label for p in points), legend={})


def test_a_few_values_far_off_are_cut_and_named_and_no_end_of_a_curve_is():
    calm = [[(step, 1.0 + 0.01 * (step % 7)) for step in range(200)]]
    spiky = [[(step, 41.0 if step == 50 else 0.5) for step in range(200)]]
    series = {"CQ-F": calm, "GAN": spiky}
    figure = plots.learning_curves(series, ylabel="L_Q", marks={"CQ-F": 0, "GAN": 1})
    low, high = figure.axes[0].get_ylim()
    assert low <= 0.5 and 1.06 <= high < 2 and plots.describe_lines(series) == "one line per seed; cut: GAN reaches 41"
    falling = {"CQ": [[(step, 41.0 - step) for step in range(40)]]}
    late = {"CQ": calm, "GAN": [[*spiky[0][:-1], (199, 60.0)]]}  # where a curve ends is what the picture is for
    for whole in (falling, late, {"CQ": calm}):
        assert plots.y_limits(whole) is None and plots.describe_lines(whole) == "one line per seed"
    lower = {"CQ-F": [[(step, -41.0 if step == 50 else 0.5 + 0.01 * (step % 7)) for step in range(200)]]}
    assert plots.describe_lines(lower) == "one line per seed; cut: CQ-F reaches −41"
    assert plots.y_limits({"CQ": [[(step, step % 10 + 15.0 * (step == 50)) for step in range(200)]]}) is None


def test_of_many_models_a_line_is_the_mean_over_seeds():
    seeds = [[(0, 1.0), (10, 2.0)], [(0, 3.0), (10, 6.0)]]
    for n, words, lines in ((5, "one line per seed", 10), (6, "means over seeds", 6)):
        series = {str(i): seeds for i in range(n)}
        drawn = plots.learning_curves(series, ylabel="L_Q", marks=numbered(series)).axes[0].lines
        assert len(drawn) == lines and plots.describe_lines(series) == words
    assert drawn[0].get_xydata().tolist() == [[0, 2], [10, 4]]
    assert plots.describe_lines({str(i): seeds[:1] for i in range(6)}) == "one line per seed"


def test_a_label_has_the_stroke_of_its_line():
    """Also where two lines have one colour."""
    curves, n = [[[1, 2.0], [2, 1.0]]], len(plots.SERIES)
    made = plots.learning_curves({"one": curves, "other": curves}, ylabel="", marks={"one": 0, "other": n}).axes[0]
    lines = {(line.get_color(), line.get_linestyle()) for line in made.lines}
    strokes = {(text.get_color(), text.arrow_patch.get_linestyle()) for text in made.texts}
    assert strokes == lines == {(plots.SERIES[0], "-"), (plots.SERIES[0], "--")}
    for text in made.texts:  # from the axes to the label, which it does not cross
        (x, y), (end, _) = text.xy, text.xyann
        assert x == 1.0 and end > 15 and y >= 1.0


def test_a_level_is_a_thin_line_with_a_label_that_is_never_cut_off():
    spiky = {"GAN": [[(step, 41.0 if step == 50 else 0.5) for step in range(200)]]}
    for series in (spiky, {"GAN": [[[1, 0.5], [2, 0.4]]]}):
        ax = plots.learning_curves(series, ylabel="", marks={"GAN": 0}, levels={"nothing": 1.5}).axes[0]
        assert list(ax.lines[-1].get_ydata()) == [1.5, 1.5] and ax.lines[-1].get_linewidth() < 1
        assert ax.get_ylim()[1] >= 1.5 and "nothing" in {text.get_text() for text in ax.texts}


def test_the_axis_of_a_score_that_has_a_least_value_begins_there():
    made = quality([Point("CQ", 3.0, 0.0, 0.02, 0.01), Point("GAN", 4.0, 0.04, 0.02, 0.01)])
    assert made.axes[0].get_ylim()[0] == 0 and not made.axes[0].collections[0].get_clip_on()
    assert quality([Point("CQ", 3.0, -1.0), Point("GAN", 4.0, 1.0)]).axes[0].get_ylim()[0] < -1


def numbered(labels) -> dict[str, int]:
    return {label: i for i, label in enumerate(dict.fromkeys(labels))}


def boxes_of(figure) -> list[Bbox]:
    """The labels in pixels, without the lines that lead to their marks."""
    found = [text for axes in figure.axes for text in axes.texts]
    for text in found:
        text.update_positions(figure.canvas.get_renderer())
    return [Text.get_window_extent(text) for text in found]


@pytest.mark.parametrize("seed", range(4))
def test_labels_cover_neither_marks_nor_each_other_and_stay_on_the_figure(seed):
    figure = quality(random_points(seed))
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
    same = points(dict.fromkeys(("one", "two", "three", "four"), (4.8, 1700.0)))
    boxes = boxes_of(quality(same))
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_a_wide_gap_breaks_the_axis_and_both_parts_have_one_scale():
    figure = quality(random_points(0))
    left, right = figure.axes
    assert left.get_xlim()[1] < 6 < right.get_xlim()[0] and left.get_ylim() == right.get_ylim()
    scale = [axes.get_window_extent().width / np.diff(axes.get_xlim())[0] for axes in (left, right)]
    assert scale[0] == pytest.approx(scale[1], rel=0.03)
    assert not right.spines["left"].get_visible()
    for axes in (left, right):
        for marks in axes.collections:
            x = marks.get_offsets()[0][0]
            assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
    near = points({"a": (4.0, 1.0), "b": (4.5, 1.0), "c": (5.0, 1.0), "d": (5.5, 1.0)})
    assert len(quality(near).axes) == 1


def test_the_axis_of_a_few_models_is_whole_and_shows_how_far_apart_they_are():
    far = {"NVP": (3.97, 240.0), "CQ-F": (5.98, 214.0), "CQ": (6.0, 220.0)}
    (ax,) = quality(points(far)).axes
    low, high = ax.get_xlim()
    assert low < 3.97 and 6.0 < high and high - low < 1.5 * 2.03
    assert len(quality(points({**far, "VAE": (6.1, 230.0)})).axes) == 2


def test_of_more_series_than_colours_no_two_look_alike():
    assert len({plots.colour_and_marker(i) for i in range(40)}) == 40
    names = [str(i) for i in range(24)]
    curves = {name: [[[1, 2.0], [2, 1.0]]] for name in names}
    lines = plots.learning_curves(curves, ylabel="", marks=numbered(names)).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(names)


@pytest.mark.parametrize("bpd", [1e18, -1e30, 3e38])
def test_a_number_that_no_model_has_is_drawn_all_the_same(bpd):
    figure = quality(points({"a": (bpd, 100.0)}, bpd_std=0.0))
    low, high = figure.axes[0].get_xlim()
    assert low < bpd < high and plots.to_svg(figure, "x")


def test_a_grid_keeps_every_pixel():
    images = torch.arange(5 * 3 * 4 * 4, dtype=torch.uint8).reshape(5, 3, 4, 4)
    sheet = grid(images, columns=3)
    assert sheet.shape == (11, 16, 3)
    assert np.array_equal(sheet[6:10, 1:5], images[3].permute(1, 2, 0).numpy())
    assert np.array_equal(grid(images, columns=3, scale=2)[::2, ::2], sheet)
    with pytest.raises(ValueError, match="uint8"):
        grid(images.float())


def test_a_plot_takes_its_colours_from_the_page_and_leaves_matplotlib_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figure = plots.learning_curves({"<b>": [[[0, 2.0], [10, 1.0]]]}, ylabel="bits per dimension", marks={"<b>": 0})
    figure.axes[0].set_title("0.12345 and 3.14159")
    svg = plots.to_svg(figure, 'a "quoted" <text>')
    assert "0.12345 and 3.14159" in svg and not re.search(r'="[^"]*\b[1-9]\d*\.\d{3}', svg)
    assert dict(matplotlib.rcParams) == before
    assert "var(--ink" in svg and "var(--series-0" in svg and "DejaVu" not in svg
    assert "&lt;b&gt;" in svg and "<b>" not in svg and 'aria-label="a &quot;quoted&quot; &lt;text&gt;"' in svg
    assert svg == plots.to_svg(figure, 'a "quoted" <text>')


def test_a_shortened_drawing_has_the_points_of_the_one_that_was_saved():
    figure, points = plots.blank(4, 3), [(0, 0.25), (1, 3.0), (2, 1.5), (4, 2.125)]
    ax = figure.add_subplot()
    ax.plot(*zip(*points, strict=True))
    svg = plots.to_svg(figure, "x")
    (line,) = [path for path in re.findall(r'd="([^"]*)" clip-path', svg) if len(path.split()) == 2 * len(points) + 1]
    drawn = np.array(line[1:].split(), float).reshape(-1, 2)
    inches = figure.dpi_scale_trans.inverted().transform(ax.transData.transform(points))
    np.testing.assert_allclose(drawn, [[72 * x, 72 * (3 - y)] for x, y in inches], atol=0.1)
    rules = dict(re.findall(r"\.(s[0-9a-f]+)\{([^}]*)\}", svg))
    assert set(re.findall(r'class="([^"]*)"', svg)) == rules.keys() and "stroke-width" in " ".join(rules.values())
    again = [style for style in re.findall(r'style="([^"]*)"', svg) if style in rules.values()]
    assert not again and len(set(rules.values())) == len(rules) > 2
    assert "<g>" not in svg and svg.count("<g") == svg.count("</g>") and svg.count("<text") == svg.count("</text>") > 5


def test_a_line_that_follows_a_curve_stays_a_line():
    path = 'd="M 0 0 L 1 1 C 1 1 2 2 3 3 L 4 4 z"'
    assert path in plots._shorter(f"<svg><path {path}/></svg>")
    assert 'd="M 0 0 1 1 4 4 z"' in plots._shorter('<svg><path d="M 0 0 \nL 1 1 \nL 4 4 \nz\n"/></svg>')
