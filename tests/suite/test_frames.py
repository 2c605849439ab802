"""Sliders without a kernel: the picture that a slider's position chooses is the one of the value that it names."""

from __future__ import annotations

import base64
import io
from itertools import product

import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from PIL import Image

from cqlib.suite import frames as module
from cqlib.suite.frames import frames

LEVELS, NAMES = [0, 50.5, 100, 150, 200], ["left", "right"]


def grey(level, side):
    """A grey figure, whose half on this side is black."""
    figure = Figure(figsize=(1, 1), dpi=20, facecolor=(level / 255,) * 3)
    left = 0 if side == "left" else 0.5
    figure.add_axes((left, 0, 0.5, 1), facecolor="black").set(xticks=[], yticks=[])
    return figure


@pytest.fixture(scope="module")
def drawn():
    html = frames(grey, {"level": LEVELS, "side": NAMES}, "a square", start=(100, "right"))
    return BeautifulSoup(html.data, "html.parser")


def measured(frame):
    """The level and the side that a frame shows, by its pixels."""
    file = base64.b64decode(frame.img["src"].partition("base64,")[2])
    pixels = np.asarray(Image.open(io.BytesIO(file)).convert("L"))
    ends = pixels[10, 4], pixels[10, 15]
    return int(max(ends)), "left" if ends[0] < ends[1] else "right"


def test_each_frame_is_the_drawing_of_the_values_that_stand_above_it_the_last_ones_fastest(drawn):
    found = drawn.select(".frame")
    for frame, (level, side) in zip(found, product(LEVELS, NAMES), strict=True):
        words = f"level = {level:g}, side = {side}"
        assert frame.p.text == words and frame.img["alt"] == f"a square: {words}"
        assert measured(frame) == (pytest.approx(level, abs=1), side if level else "right")


def test_it_begins_at_the_start_and_stills_lie_along_the_first_slider(drawn):
    (shown,) = (frame for frame in drawn.select(".frame") if not frame.has_attr("hidden"))
    assert shown.p.text == "level = 100, side = right"
    sliders = drawn.select("input")
    assert [(one["max"], one["value"]) for one in sliders] == [("4", "2"), ("1", "1")]
    assert [one["aria-valuetext"] for one in sliders] == [shown.p.text] * 2
    stills = [frame.p.text for frame in drawn.select(".still")]
    assert (
        stills == [f"level = {level}, side = right" for level in (0, 50.5, 100, 200)] and len(stills) == module.STILLS
    )
    with pytest.raises(ValueError, match="7 is not in"):
        frames(grey, {"level": LEVELS, "side": NAMES}, "", start=(7, "left"))


@pytest.mark.browser
@pytest.mark.slow
def test_keys_move_the_sliders_and_without_scripts_stills_are_shown(browser, drawn):
    """In a page as notebooks have it, with the picture and its words always those of the positions."""
    for scripts in (True, False):
        context = browser.new_context(java_script_enabled=scripts)
        page = context.new_page()
        page.set_content(str(drawn))
        words, (level, side) = page.locator(".frame p:visible"), page.locator("input").all()
        if scripts:
            for slider, key, expected in (
                (level, "ArrowRight", "level = 150, side = right"),
                (side, "ArrowLeft", "level = 150, side = left"),
                (level, "Home", "level = 0, side = left"),
            ):
                slider.press(key)
                assert words.all_inner_texts() == [expected]
                assert level.get_attribute("aria-valuetext") == side.get_attribute("aria-valuetext") == expected
        else:
            assert words.all_inner_texts() == [frame.p.text for frame in drawn.select(".still")]
            assert not level.is_visible() and not side.is_visible()
        context.close()
