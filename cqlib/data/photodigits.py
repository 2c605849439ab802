"""photodigits: the digits 0 to 9, in fonts that matplotlib installs, on crops of the photographs of photos10.

Everyone can judge a digit, and a classifier can count them; the photographs keep the pixels' densities finite. There
are 20,000 training and 5,000 test images of S x S pixels (S in 16, 32, 64), equally many of each digit; each digit
falls equally often on each photograph. Grounds are crops of photos10 at half their contrast, and its splits share no
pixel. Font, height, place and colour are random, the same for every S; a colour's luma differs from that of the
ground's mean by at least 70 of 255 where one of sixteen draws does. A mirrored digit is none: no flips.

Outlines are read in font units and rasterised here by integer arithmetic, all numbers come from PCG64's raw stream: the
data set is bit-equal everywhere. The fonts are free to use and pass on: DejaVu (Bitstream Vera's licence and public
domain) and STIX (their own licence of 2010); matplotlib installs both licences beside them.
"""

import functools
from pathlib import Path

import numpy as np
import torch

from cqlib.data import photos10
from cqlib.data.dataset import Dataset, Split
from cqlib.data.reading import Array, file_error

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
)  # fmt: skip
CLASSES = tuple("0123456789")
N_TRAIN, N_TEST = 20_000, 5_000
SEED = 11
SIDE = 1024
"""The side of an image in the units of heights and places."""
HEIGHTS = (576, 864)
"""Least and largest height of a digit: 9 and 13.5 pixels at 16 x 16."""
JITTER, MARGIN = 96, 32
"""How far, at most, a digit's middle is from the image's, and what is left free around it, at least: 1.5 pixels and
half a pixel at 16 x 16."""
COLOURS = 16
MIN_LUMA = 70
CELLS = 700
"""About so many cells of a glyph's mask are as high as it is."""
_CHORDS = 8  # of each quadratic curve
_UNIT = 2 * _CHORDS**2  # points of the chords are whole multiples of 1 / _UNIT font units


@functools.cache
def _font(name: str) -> tuple[dict[int, str], object]:
    """The names of a font's glyphs by character, and its outlines."""
    from fontTools.ttLib import TTFont

    path = photos10.installed(f"matplotlib/mpl-data/fonts/ttf/{name}.ttf")
    if not Path(path).exists():
        raise file_error(path, "is missing", "pip install --force-reinstall matplotlib")
    font = TTFont(path)
    return font.getBestCmap(), font["glyf"]


def outline(font: str, digit: int) -> list[Array]:
    """The closed polygons of a glyph, int64 (n, 2) each, as (x, y) in 1 / `_UNIT` font units: quadratic curves are
    replaced by `_CHORDS` chords, whose ends lie on the curve."""
    characters, glyphs = _font(font)
    glyph = glyphs[characters[ord(CLASSES[digit])]]  # type: ignore[index]
    coordinates, ends, flags = glyph.getCoordinates(glyphs)
    points, on_curve = np.array(coordinates, np.int64), np.array(flags, np.int64) & 1 == 1
    starts = [0, *(end + 1 for end in ends[:-1])]
    return [_polygon(points[a : b + 1], on_curve[a : b + 1]) for a, b in zip(starts, ends, strict=True)]


def _polygon(points: Array, on_curve: Array) -> Array:
    """One contour of TrueType: between two control points off the curve lies one on it, in their middle."""
    path: list[tuple[Array, bool]] = []
    for k, (point, on) in enumerate(zip(points, on_curve, strict=True)):
        if not on and not on_curve[k - 1]:
            path.append((points[k - 1] + point, True))
        path.append((2 * point, bool(on)))
    first = next(k for k, (_, on) in enumerate(path) if on)
    path = [*path[first:], *path[:first], path[first]]
    t = np.arange(_CHORDS)[:, None]
    weights = (_CHORDS - t) ** 2, 2 * t * (_CHORDS - t), t**2  # times 1 / _CHORDS^2
    parts = []
    for k in range(len(path) - 1):
        (a, on), (b, next_on) = path[k], path[k + 1]
        if on and next_on:
            parts.append(_CHORDS**2 * a[None])
        elif on:
            parts.append(weights[0] * a + weights[1] * b + weights[2] * path[k + 2][0])
    return np.concatenate(parts)


@functools.cache
def glyph(font: str, digit: int) -> Array:
    """bool (H, W), H about `CELLS`: whether the middle of each cell of the glyph's bounding box is inside its outline,
    by the nonzero winding rule."""
    polygons = outline(font, digit)
    corners = np.concatenate(polygons)
    low, high = corners.min(0), corners.max(0)
    cell = 2 * ((high[1] - low[1]) // (2 * CELLS))
    width, height = (high - low) // cell
    middles = high[1] - cell * np.arange(height) - cell // 2
    winding = np.zeros((height, width + 1), np.int64)
    for polygon in polygons:
        (x, y), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
        row, edge = np.nonzero((middles[:, None] >= np.minimum(y, y2)) & (middles[:, None] < np.maximum(y, y2)))
        crossing = x[edge] + (middles[row] - y[edge]) * (x2[edge] - x[edge]) // (y2[edge] - y[edge])
        column = np.clip(-((low[0] + cell // 2 - crossing) // cell), 0, width)
        np.add.at(winding, (row, column), np.sign(y2 - y)[edge])
    return winding[:, :width].cumsum(1) != 0


def masks(shape: Array, heights: Array, corners: Array, size: int) -> Array:
    """Shares of pixels that a glyph of this `shape` covers, uint16 (n, size, size) in 0..255, drawn `heights` (n,) high
    with its upper left corner at `corners` (n, 2), (y, x), both in units of which an image has `SIDE`."""
    table = np.zeros((shape.shape[0] + 1, shape.shape[1] + 1), np.int32)
    table[1:, 1:] = shape.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32)
    pixels = np.arange(size + 1) * (SIDE // size)
    # the edges of the pixels in cells of the glyph, (n, size + 1) for rows and columns
    rows, columns = ((pixels - corners[:, k, None]) * len(shape) // heights[:, None] for k in (0, 1))
    areas = (np.diff(rows)[:, :, None] * np.diff(columns)[:, None, :]).astype(np.int32)
    corner = table[rows.clip(0, shape.shape[0])[:, :, None], columns.clip(0, shape.shape[1])[:, None, :]]
    inside = corner[:, 1:, 1:] - corner[:, :-1, 1:] - corner[:, 1:, :-1] + corner[:, :-1, :-1]
    return ((255 * inside + areas // 2) // areas).astype(np.uint16)


def luma(colours: Array) -> Array:
    """(..., 3) in 0..255 -> (...,): the weighted mean of ITU-R BT.601."""
    return np.asarray(colours @ np.array([299, 587, 114]) // 1000)


def digits(labels: Array, grounds: Array, stream: np.random.PCG64) -> Array:
    """Images uint8 (n, S, S, 3): digit `labels` (n,) on each of `grounds`, uint8 (n, S, S, 3)."""
    n, size = grounds.shape[:2]

    def number(least: Array | int, most: Array | int) -> Array:
        """A random whole number for each image, int64 (n,)."""
        return np.asarray(least + (stream.random_raw(n) >> np.uint64(11)).astype(np.int64) % (most - least + 1))

    fonts, heights = number(0, len(FONTS) - 1), number(*HEIGHTS)
    shapes = np.array([[glyph(font, digit).shape for digit in range(len(CLASSES))] for font in FONTS])[fonts, labels]
    free = [SIDE - heights * shapes[:, k] // shapes[:, 0] for k in (0, 1)]
    room = [np.minimum(JITTER, f // 2 - MARGIN) for f in free]
    corners = np.stack([number(f // 2 - r, f // 2 + r) for f, r in zip(free, room, strict=True)], axis=1)
    drawn = stream.random_raw((n, COLOURS))[..., None] >> np.array([40, 48, 56], np.uint64) & np.uint64(255)

    mean = (grounds.reshape(n, -1, 3).sum(1, dtype=np.int64) + size * size // 2) // (size * size)
    contrast = abs(luma(drawn.astype(np.int64)) - luma(mean)[:, None])
    chosen = np.where((contrast >= MIN_LUMA).any(1), (contrast >= MIN_LUMA).argmax(1), contrast.argmax(1))
    colours = drawn[np.arange(n), chosen]

    images = np.empty_like(grounds)
    mean, colours = mean.astype(np.uint16)[:, None, None], colours.astype(np.uint16)[:, None, None]
    for font, digit in np.ndindex(len(FONTS), len(CLASSES)):
        of = np.flatnonzero((fonts == font) & (labels == digit))
        covered = masks(glyph(FONTS[font], digit), heights[of], corners[of], size)[..., None]
        ground = (grounds[of] + mean[of] + 1) // 2  # half the contrast
        images[of] = (ground * (255 - covered) + colours[of] * covered + 127) // 255  # at most 65,152: fits uint16
    return images


@functools.cache
def build(size: int) -> Dataset:
    """The data set, built once."""
    photographs = photos10.build(size)
    splits = []
    for part, n in enumerate((N_TRAIN, N_TEST)):
        split = (photographs.train, photographs.test)[part]
        order = np.arange(n)
        labels = (order + order // 10) % 10  # photographs take turns as well: all pairs come equally often
        grounds = split.images[order % len(split)].permute(0, 2, 3, 1).numpy()
        images = torch.from_numpy(digits(labels, grounds, np.random.PCG64([SEED, part])))
        splits.append(Split(split.name, images.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)))
    return Dataset("photodigits", size, CLASSES, splits[0], splits[1])


def load(_: str, size: int | None, __: Path | None) -> Dataset:
    """photodigits at size x size pixels."""
    return build(size or 16)
