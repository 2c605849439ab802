"""The registry, the Dataset contract, pixels, and photos10."""

import hashlib
import importlib.metadata

import numpy as np
import pytest
import torch
from PIL import Image

from cqlib import data
from cqlib.data import photos10
from cqlib.data.dataset import Dataset, Split
from cqlib.data.photographs import PHOTOS
from cqlib.pixels import add_uniform_noise, cell_centres, dequantise, to_uint8
from cqlib.util.errors import UsageError, UserError


def split(name="train", n=4, size=16, classes=2):
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(256, (n, 3, size, size), generator=generator, dtype=torch.uint8)
    return Split(name, images, torch.arange(n) % classes)


# ---- registry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("photo10", "did you mean 'photos10'?"),
        ("toy2d:spiral", "unknown data set"),
        ("fodler:/a/b", "did you mean 'folder:/a/b'?"),
        ("/a/cats", "is a path: write folder:PATH for pictures, npz:PATH"),
        ("npz:", "lacks its path"),
        ("folder", "lacks its path"),
        ("npz:PATH", "lacks its path"),
        ("", "unknown data set"),
    ],
)
def test_a_wrong_name_is_told_the_nearest_valid_one(name, words):
    with pytest.raises(UsageError, match="data set") as caught:
        data.check(name)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "size", "nearest"), [("photos10", 20, 16), ("folder:x", 1000, 64), ("npz:x", 0, 16)])
def test_a_wrong_size_is_told_the_nearest_valid_one(name, size, nearest):
    with pytest.raises(UsageError, match=f"did you mean {nearest}\\?"):
        data.load(name, size=size)


# ---- Split and Dataset ------------------------------------------------------------------------------------


def test_fingerprint_is_sha256_of_shape_dtype_and_bytes():
    one = split()
    assert one.fingerprint == split().fingerprint and len(one.fingerprint) == 16
    images, labels = one.images, one.labels
    changed = images.clone()
    changed[3, 2, 15, 15] ^= 1
    others = [
        Split("train", changed, labels),
        Split("train", images, labels.flip(0)),
        Split("train", images.view(4, 3, 8, 32), labels),
        one.first(3),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 5
    digest = hashlib.sha256(b"(4, 3, 16, 16) torch.uint8\n" + images.numpy().tobytes())
    digest.update(b"(4,) torch.int64\n" + labels.numpy().tobytes())
    assert one.fingerprint == digest.hexdigest()[:16]


def test_first_takes_the_first_images_of_each_split():
    whole = Dataset("d", 16, ("a", "b"), split(n=8), split("test", n=6))
    part = whole.first(3, 100)
    assert part.train.shape == (3, 3, 16, 16) and part.test.shape == (6, 3, 16, 16)
    assert torch.equal(part.train.images, whole.train.images[:3]) and part.classes == whole.classes
    with pytest.raises(ValueError, match="at least one"):
        whole.first(0, 1)


# ---- pixels -----------------------------------------------------------------------------------------------


def test_dequantise_stays_in_its_cell_and_to_uint8_inverts_it():
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(256, dtype=torch.uint8).repeat(4000, 1)
    y = dequantise(x, generator=generator)
    assert y.dtype == torch.float32 and -1 <= y.min() and y.max() < 1
    assert torch.equal(to_uint8(y), x)
    u = (y + 1) * 128 - x  # uniform on [0, 1): mean 1/2, variance 1/12
    assert abs(u.mean() - 0.5) < 1e-3 and abs(u.var() - 1 / 12) < 1e-3


def test_dequantise_is_safe_where_float32_rounds_up(monkeypatch):
    x = torch.arange(256, dtype=torch.uint8)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 1 - 2**-24))
    assert torch.equal(to_uint8(dequantise(x)), x)


def test_cell_centres_are_centres_and_to_uint8_clamps():
    x = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(cell_centres(x), (2 * torch.arange(256) - 255) / 256)
    assert torch.equal(cell_centres(torch.arange(4), 4, torch.float64), torch.tensor([-3, -1, 1, 3]).double() / 4)
    assert torch.equal(to_uint8(cell_centres(x)), x)
    assert to_uint8(torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0])).tolist() == [0, 0, 128, 255, 255]


def test_pixel_values_are_no_floats():
    with pytest.raises(ValueError, match="to_uint8 takes floats in .*, not uint8"):
        to_uint8(torch.arange(4, dtype=torch.uint8))


@pytest.mark.parametrize("function", [add_uniform_noise, dequantise, cell_centres])
def test_floats_are_no_pixel_values(function):
    message = "^pixels are uint8 \\(float32 given\\): convert .* with to_uint8\\(\\)$"
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(2, 3))


# ---- photos10 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module, package", photos10.PACKAGES.items())
def test_the_photographs_lie_inside_the_wheels(module, package):
    shipped = {str(file) for file in importlib.metadata.files(package)}
    wanted = {photo.file for photo in PHOTOS.values() if photo.file.startswith(module)}
    assert wanted and wanted <= shipped


@pytest.mark.parametrize("size", [16, *(pytest.param(size, marks=pytest.mark.slow) for size in (32, 48, 64))])
def test_photos10_has_the_promised_shape_and_balance(size):
    chosen = data.load("photos10", size=size)
    assert chosen.train.shape == (20_000, 3, size, size) and chosen.test.shape == (2_000, 3, size, size)
    assert len(chosen.classes) == 10
    for part in (chosen.train, chosen.test):
        assert torch.equal(part.labels, torch.arange(len(part)) % 10)  # the classes take turns
        pixels = part.images[:: len(part) // 500].double().flatten(2)
        contrast = pixels.var(2, correction=0).mean(1).sqrt()
        assert contrast.min() >= photos10.MIN_CONTRAST - 1e-9
    assert data.load("photos10", size=size) is chosen


@pytest.mark.parametrize("size", [16, *(pytest.param(size, marks=pytest.mark.slow) for size in (32, 48, 64))])
def test_photos10_splits_share_no_pixel_and_are_spread_over_each_photograph(size):
    chosen = data.load("photos10", size=size)
    for label, name in enumerate(photos10.CLASSES):
        height, width = photos10.photo(name).shape[:2]
        tiles = photos10.in_tiles(height, width, size, np.random.PCG64([photos10.SEED, label, size]))
        touched = []
        for (boxes, _), part in zip(photos10.cut(name, size), (chosen.train, chosen.test), strict=True):
            mask = np.zeros((height, width), bool)
            assert len({*map(tuple, boxes.tolist())}) == len(boxes) == len(part) // 10  # no crop twice
            for level, row, column in boxes.tolist():
                side, y, x = size << level, row << level, column << level
                assert 0 <= y <= height - side and 0 <= x <= width - side
                mask[y : y + side, x : x + side] = True
                assert (tiles[y : y + side, x : x + side] == (part is chosen.test)).all()
            touched.append(mask)
        assert not (touched[0] & touched[1]).any()
        assert 0.1 < tiles.mean() < 0.3 and not (touched[1] & ~tiles).any()
        for rows in (slice(0, height // 2), slice(height // 2, height)):
            for columns in (slice(0, width // 2), slice(width // 2, width)):
                assert tiles[rows, columns].mean() > 0.05


def test_photos10_crops_are_what_the_boxes_say():
    chosen, levels = data.load("photos10", size=16), set()
    for label, name in enumerate(photos10.CLASSES):
        photograph = photos10.photo(name)
        for (boxes, _), part in zip(photos10.cut(name, 16), (chosen.train, chosen.test), strict=True):
            images = part.images[part.labels == label].permute(0, 2, 3, 1).numpy()
            for image, (level, y, x) in list(zip(images, boxes.tolist(), strict=True))[::19]:
                levels.add(level)
                k = 1 << level
                square = photograph[y * k :, x * k :][: 16 * k, : 16 * k]
                mean = square.reshape(16, k, 16, k, 3).mean((1, 3))  # exact: k^2 is a power of 2
                assert np.array_equal(image, np.floor(mean + 0.5))
    assert levels == {0, 1, 2, 3}


def test_photos10_never_changes():
    # the photographs stored without loss; JPEG decoders are free to differ by a level
    chosen = data.load("photos10", size=16)
    lossless = [k for k, name in enumerate(photos10.CLASSES) if PHOTOS[name].file.endswith(".png")]
    digest = hashlib.sha256()
    for part in (chosen.train, chosen.test):
        kept = torch.isin(part.labels, torch.tensor(lossless))
        digest.update(part.images[kept].numpy().tobytes())
    assert digest.hexdigest()[:16] == "04dc453ef9516b2d"


def test_a_missing_or_damaged_photograph_says_what_to_install(tmp_path, monkeypatch):
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"png is missing: pip install --force-reinstall scikit-image"):
        photos10.photo("chelsea")
    (tmp_path / "data").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "data/chelsea.png")
    whole = (tmp_path / "data/chelsea.png").read_bytes()
    (tmp_path / "data/chelsea.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        photos10.photo("chelsea")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        photos10.photo("china")
