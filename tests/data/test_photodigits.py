"""photodigits: outlines, masks and layout, the same bytes everywhere."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from cqlib import data
from cqlib.data import photodigits, photos10
from cqlib.data.photodigits import FONTS, HEIGHTS, JITTER, MARGIN, SIDE, glyph, luma, masks

FINGERPRINTS = {
    16: ("19a8f4941ae2e612", "3fb04cb42b8e9fe2"),
    32: ("44d324c9d57789eb", "a6be5a54fc16d5bf"),
    64: ("36ad9df865a82106", "53e083ccd6db97c8"),
}


@pytest.mark.parametrize("size", [16, 32, pytest.param(64, marks=pytest.mark.slow)])
def test_bytes_are_the_same_everywhere(size):
    images = data.load("photodigits", size=size)
    assert (images.train.fingerprint, images.test.fingerprint) == FINGERPRINTS[size]


@pytest.mark.parametrize("font", FONTS)
def test_a_glyph_is_what_freetype_draws(font):
    """At 700 pixels a glyph of this rasteriser and one of FreeType's differ at the edge alone."""
    file = photos10.installed(f"matplotlib/mpl-data/fonts/ttf/{font}.ttf")
    for digit in range(10):
        ours = glyph(font, digit)
        theirs = Image.new("L", (1600, 1600))
        type_ = ImageFont.truetype(file, 1000, layout_engine=ImageFont.Layout.BASIC)
        ImageDraw.Draw(theirs).text((200, 200), str(digit), font=type_, fill=255)
        theirs = theirs.crop(theirs.getbbox()).resize(ours.shape[::-1])
        inside = np.asarray(theirs) > 127
        assert (inside & ours).sum() / (inside | ours).sum() > 0.97


def test_a_mask_holds_the_glyphs_area_wherever_it_lies():
    shape = glyph("DejaVuSerif", 3)
    heights = np.array([576, 700, 864])
    corners = np.array([[100, 300], [77, 201], [33, 150]])
    covered = masks(shape, heights, corners, 32)
    area = shape.mean() * (heights * 32 / SIDE) ** 2 * shape.shape[1] / shape.shape[0]
    np.testing.assert_allclose(covered.sum((1, 2)) / 255, area, rtol=0.02)


def test_a_mask_moves_with_its_corner():
    """A move by a whole pixel moves the mask by a pixel; a digit twice as high in twice as fine pixels is the same."""
    shape = glyph("STIXGeneral", 5)
    height, corner, pixel = np.array([640]), np.array([[128, 256]]), SIDE // 16
    still = masks(shape, height, corner, 16)[0].astype(int)
    moved = masks(shape, height, corner + [[pixel, 2 * pixel]], 16)[0].astype(int)
    assert np.abs(moved[1:, 2:] - still[:-1, :-2]).max() <= 4
    finer = masks(shape, height, corner, 32)[0].astype(int)
    assert np.abs(finer.reshape(16, 2, 16, 2).mean((1, 3)) - still).max() <= 4


def test_digits_are_balanced_and_fall_on_each_photograph_equally_often():
    images = data.load("photodigits", size=16)
    assert images.classes == tuple("0123456789")
    for split, photographs in ((images.train, photos10.build(16).train), (images.test, photos10.build(16).test)):
        of_photograph = photographs.labels[torch.arange(len(split)) % len(photographs)]
        pairs = torch.bincount(10 * of_photograph + split.labels, minlength=100)
        assert (pairs == len(split) / 100).all()
        assert len(torch.unique(split.images.flatten(1), dim=0)) == len(split)


def test_a_digit_keeps_clear_of_the_border_and_stands_out():
    images = data.load("photodigits", size=32).train
    assert JITTER + MARGIN < SIDE
    grounds = photos10.build(32).train.images.permute(0, 2, 3, 1)
    n = 500
    mean = ((grounds[:n].long().sum((1, 2)) + 512) // 1024).numpy()
    plain = (grounds[:n].numpy().astype(int) + mean[:, None, None] + 1) // 2
    drawn = images.images[:n].permute(0, 2, 3, 1).numpy().astype(int)
    changed = (drawn != plain).any(3)
    border = MARGIN * 32 // SIDE
    inner = changed[:, border:-border, border:-border]
    assert inner.sum() == changed.sum()
    height = changed.any(2).sum(1)
    assert HEIGHTS[0] * 32 // SIDE <= height.min() and height.max() <= HEIGHTS[1] * 32 // SIDE + 2
    strongest = np.abs(luma(drawn) - luma(mean)[:, None, None]).max((1, 2))
    assert np.mean(strongest >= photodigits.MIN_LUMA - 5) > 0.98
