"""photos10: crops of ten colour photographs that pip installs with scikit-image, scikit-learn and matplotlib, each a
class. All may be shown and passed on, two of them with their authors' names: `PHOTOS` has the terms.

A crop is S x S pixels (S in 16, 32, 48, 64) of a level l of an image pyramid, which averages blocks of 2^l x 2^l
pixels. There are 20,000 training and 2,000 test crops, equally many per class, and the classes take turns; each level
gives half as many crops as the next finer one. Flat crops (clear sky, the black frame of the retina) are left out: the
root mean square distance of a crop's pixels from its mean colour is at least 4 of 255 levels per channel.

Every photograph is divided into equal cells, each with one square test tile, a quarter wider than the widest crop, at a
random place. A test crop lies wholly inside a test tile, a training crop touches none: the splits share no pixel. After
decoding all is integer arithmetic, with PCG64's raw stream: the data set is bit-equal everywhere.
"""

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cqlib.data.dataset import Dataset, Split
from cqlib.data.photographs import PHOTOS
from cqlib.data.reading import READ_ERRORS, Array, damaged_file_error, file_error
from cqlib.util.errors import UserError

PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}  # names for import, pip
CLASSES = tuple(PHOTOS)
N_TRAIN, N_TEST = 20_000, 2_000
SEED = 10
BASE_SIDE = 400
"""The finest level is the coarsest one whose shorter side still has this many pixels, or level 0."""
MAX_LEVELS = 3
WIDEST_PERCENT = 22
"""The widest crop is at most this share of the photograph's shorter side (or the finest level's crop)."""
CELL_TILES = 2.25
"""Side of a cell in tiles: about 1 / 2.25^2 = 20 % of the pixels are test."""
MIN_CONTRAST = 4


def installed(file: str) -> Path:
    """Where pip has put a file of one of `PACKAGES`, "skimage/data/astronaut.png". UserError without the package."""
    package, _, inside = file.partition("/")
    pip_name = PACKAGES[package]
    spec = importlib.util.find_spec(package)  # finds without importing: sklearn alone takes a second
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"photos10 needs {pip_name}: pip install {pip_name}")
    return Path(spec.submodule_search_locations[0]) / inside


def photo(name: str) -> Array:
    """The photograph as uint8 (H, W, 3), read from the installed package. UserError when it is not there."""
    path = installed(PHOTOS[name].file)
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except READ_ERRORS as error:
        remedy = f"pip install --force-reinstall {PACKAGES[PHOTOS[name].file.partition('/')[0]]}"
        if isinstance(error, FileNotFoundError):
            raise file_error(path, "is missing", remedy) from error
        raise damaged_file_error(path, error, remedy) from error


def average(image: Array, level: int) -> Array:
    """uint8 (H, W, 3) -> (H // 2^level, W // 2^level, 3): means of blocks, halves rounded up."""
    k = 1 << level
    h, w = image.shape[0] // k, image.shape[1] // k
    total = image[: h * k, : w * k].reshape(h, k, w, k, 3).sum(1, dtype=np.int32).sum(2)  # faster than both at once
    return ((total + k * k // 2) // (k * k)).astype(np.uint8)


def window_sums(values: Array, side: int) -> Array:
    """int (H, W, ...) -> (H - side + 1, W - side + 1, ...): sums over every side x side window."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1, *values.shape[2:]), np.int64)
    table[1:, 1:] = values.cumsum(0, dtype=np.int64).cumsum(1)
    return table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]


def has_contrast(image: Array, side: int) -> Array:
    """uint8 (H, W, 3) -> bool for every window: the variance is at least MIN_CONTRAST^2 per channel."""
    values = image.astype(np.int64)
    n = side * side
    n2_variance = n * window_sums((values * values).sum(2), side) - (window_sums(values, side) ** 2).sum(2)
    return n2_variance >= 3 * MIN_CONTRAST**2 * n * n


def levels(height: int, width: int, size: int) -> range:
    """Pyramid levels from which size x size crops of a photograph are cut."""
    shorter = min(height, width)
    finest = max(0, (shorter // BASE_SIDE).bit_length() - 1)
    coarsest = (WIDEST_PERCENT * shorter // (100 * size)).bit_length() - 1
    return range(finest, max(finest, min(coarsest, finest + MAX_LEVELS - 1)) + 1)


def level_shares(total: int, n: int) -> list[int]:
    """How many of `total` crops each of n levels gives: a coarser level half as many as the finer one."""
    shares = [(total << (n - 1 - i)) // ((1 << n) - 1) for i in range(n)]
    shares[0] += total - sum(shares)
    return shares


def in_tiles(height: int, width: int, size: int, stream: np.random.PCG64) -> Array:
    """bool (H, W): whether a pixel lies in a test tile. Each cell has one tile, at a random place on the coarsest
    level's grid."""
    grid = 1 << levels(height, width, size)[-1]
    tile = size * grid * 5 // 4  # a multiple of `grid`, because size is a multiple of 4
    cells = [max(1, round(length / (CELL_TILES * tile))) for length in (height, width)]
    inside = np.zeros((height, width), bool)

    def corner(index: int, count: int, length: int) -> int:
        first = -(-(length * index // count) // grid)
        last = (length * (index + 1) // count - tile) // grid
        return grid * (first + stream.random_raw() % (last - first + 1))

    for row, column in np.ndindex(*cells):
        y, x = corner(row, cells[0], height), corner(column, cells[1], width)
        inside[y : y + tile, x : x + tile] = True
    return inside


def draw(candidates: Array, n: int, stream: np.random.PCG64) -> Array:
    """n different entries of `candidates`, of which there are at least n, in random order."""
    return candidates[np.argsort(stream.random_raw(len(candidates)), kind="stable")[:n]]


def cut(name: str, size: int) -> Iterator[tuple[Array, Array]]:
    """Yield the crops of a photograph for training, then for test: int (n, 3), the pyramid level of each crop and its
    corner (y, x) there; and the crops, uint8 (n, S, S, 3)."""
    stream = np.random.PCG64([SEED, CLASSES.index(name), size])
    image = photo(name)
    height, width = image.shape[:2]
    tiles = in_tiles(height, width, size, stream)
    used = levels(height, width, size)
    pyramid = {level: average(image, level) for level in used}
    contrast = {level: has_contrast(pyramid[level], size) for level in used}
    # a tile lies on the grid of every level, so one pixel of a block speaks for all
    coarse = {level: tiles[:: 1 << level, :: 1 << level][: len(p), : p.shape[1]] for level, p in pyramid.items()}
    tiled = {level: window_sums(tile, size) for level, tile in coarse.items()}
    for tested, total in ((False, N_TRAIN), (True, N_TEST)):
        boxes = []
        for level, share in zip(used, level_shares(total // len(CLASSES), len(used)), strict=True):
            allowed = (tiled[level] == (size * size if tested else 0)) & contrast[level]
            places = draw(np.flatnonzero(allowed), share, stream)
            boxes.append(np.stack([np.full(share, level), *np.unravel_index(places, allowed.shape)], axis=1))
        corners = np.concatenate(boxes)
        corners = draw(corners, len(corners), stream)
        yield corners, np.stack([pyramid[level][y : y + size, x : x + size] for level, y, x in corners])


@functools.cache
def build(size: int) -> Dataset:
    """The data set, built once."""
    photos = [list(cut(name, size)) for name in CLASSES]
    splits = []
    for name, of_photos in zip(("train", "test"), zip(*photos, strict=True), strict=True):
        crops = np.stack([crops for _, crops in of_photos], axis=1)  # classes take turns
        images = torch.from_numpy(np.ascontiguousarray(crops.reshape(-1, size, size, 3).transpose(0, 3, 1, 2)))
        labels = torch.arange(len(images)) % len(CLASSES)
        splits.append(Split(name, images, labels))
    return Dataset("photos10", size, CLASSES, splits[0], splits[1])


def load(_: str, size: int | None, __: Path | None) -> Dataset:
    """photos10 at size x size pixels."""
    return build(size or 16)
