"""What notebook cells show: sliders that redraw where a kernel is live, escaped text, numbers that read well."""

import ipywidgets as widgets
import pytest
import torch

from cqlib.report import cells


def test_a_slider_redraws_with_every_value_and_is_nothing_without_a_page(monkeypatch):
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)

    def draw(model: int, T: float, k: int):  # noqa: N803
        return cells.pixels(images + k, f"<{model}, T = {T:g}>", columns=2)

    controls = {"model": {"CQ": 1, "CQ-F": 2}, "T": cells.Range(0, 1, 0.05, 1.0, "T"), "k": cells.Range(0, 9, 1, 3)}
    monkeypatch.setattr(cells, "live", lambda: False)
    assert cells.slider(draw, **controls) is None
    monkeypatch.setattr(cells, "live", lambda: True)
    row, view = cells.slider(draw, **controls).children
    kinds = (widgets.Dropdown, widgets.FloatSlider, widgets.IntSlider)
    assert tuple(map(type, row.children)) == kinds
    assert 'alt="&lt;1, T = 1&gt;"' in view.value
    before = view.value
    row.children[0].value, row.children[1].value = 2, 0.5
    assert 'alt="&lt;2, T = 0.5&gt;"' in view.value and view.value != before


@pytest.mark.parametrize(("value", "text"), [(-1234.567, "−1,234.57"), (-0.001, "0.00"), (0.5, "0.50")])
def test_numbers_have_a_real_minus_and_no_negative_zero(value, text):
    assert cells.number(value) == text


def test_a_mean_stands_with_its_standard_error():
    assert cells.mean_and_error(torch.tensor([-1.0, -2.0, -3.0, -4.0])) == "−2.500 ± 0.645"  # √(5 / 3) / 2


def test_signed_values_are_grey_at_zero_and_clamped_at_the_limit():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 1, 5)
    assert cells.stretched(values, limit=1.0).flatten().tolist() == [0, 0, 128, 255, 255]


def test_panels_whose_lines_look_different_have_a_legend_each():
    one, other = {"a": ([0, 1], [0, 1], "red", "", "-")}, {"a": ([0, 1], [1, 0], "blue", "", "-")}
    for lines, above in (({"x": one, "y": one}, 1), ({"x": one, "y": other}, 0), ({"x": one}, 0)):
        figure = cells.panels(lines, xlabel="x", ylabel="y")
        assert len(figure.legends) == above and all(bool(ax.get_legend()) != above for ax in figure.axes)
