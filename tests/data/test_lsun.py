"""LSUN: small databases of its true layout, and folders of files; what is held out; what is said about broken ones."""

import hashlib
import io
import shutil
import sys
import zipfile

import lmdb
import numpy as np
import published_copies
import pytest
from PIL import Image

from cqlib import data
from cqlib.data import lsun, reading
from cqlib.util.errors import UserError

TOWER = lsun.LOADERS["lsun-tower"]


def image(number, part):
    """A grey of its own, 256 pixels high and wider, whose sides, red, are outside of the middle square."""
    pixels = np.zeros((256, 300, 3), np.uint8) + np.uint8([200, 0, 0])
    pixels[:, 22 : 22 + 256] = 2 * number + (part == "val")
    return pixels


def encoded(pixels, form="webp"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **({"lossless": True} if form == "webp" else {}))
    return buffer.getvalue()


def database(path, images):
    """An LMDB as LSUN's: the keys are hashes. Returns the images in the order of the keys."""
    path.mkdir(parents=True)
    items = sorted((hashlib.sha1(pixels.tobytes()).hexdigest(), pixels) for pixels in images)
    with lmdb.open(str(path), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for key, pixels in items:
            transaction.put(key.encode(), encoded(pixels))
    return [pixels for _, pixels in items]


def folder(path, images):
    """The same as files in sub-folders; returns the images in the order of the files."""
    for i, pixels in enumerate(images):
        (path / f"{i // 10}").mkdir(parents=True, exist_ok=True)
        (path / f"{i // 10}" / f"{i:03}.webp").write_bytes(encoded(pixels))
    (path / "readme.txt").write_text("not an image")
    return images


def copy(home, n=25, n_val=3, form="lmdb", category="tower"):
    made = {}
    for part, count in (("train", n), ("val", n_val)):
        images = [image(i, part) for i in range(count)]
        if form == "lmdb":
            made[part] = database(home / f"{category}_{part}_lmdb", images)
        else:
            made[part] = folder(home / f"{category}_{part}", images)
    return made


def contents(source):
    chunks = list(source.chunks())
    assert all((c.labels == 0).all() and c.labels.dtype == np.int64 and c.images.dtype == np.uint8 for c in chunks)
    return {split: np.concatenate([c.images for c in chunks if c.split == split]) for split in ("train", "test")}


def greys(images):
    return [int(pixels[100, 150, 0]) for pixels in images]


def fault(path, name=None, loader=TOWER):
    with pytest.raises(UserError) as caught:
        list(loader.read(path, 64).chunks())
    assert "\n" not in str(caught.value) and str(name or path) in str(caught.value) and caught.value.exit_code == 1
    return str(caught.value)


@pytest.mark.parametrize("form", ["lmdb", "folder"])
@pytest.mark.parametrize("home", ["", "lsun"])
def test_splits_and_pixels(tmp_path, form, home):
    made = copy(tmp_path / home, form=form)
    path = TOWER.find(tmp_path)
    assert path == tmp_path / home / ("tower_train_lmdb" if form == "lmdb" else "tower_train")
    source = TOWER.read(path, 64)
    assert source.counts == {"train": 23, "test": 5} and source.classes == ("all",)
    assert source.shuffle == (form == "folder")  # keys are hashes, files may be sorted
    found = contents(source)
    held = [12, 24]  # of 25, two evenly spaced
    for split, images in (("train", [made["train"][i] for i in range(25) if i not in held]),
                          ("test", [*made["val"], *(made["train"][i] for i in held)])):  # fmt: skip
        assert found[split].shape == (len(images), 3, 64, 64)
        assert found[split][:, :, 0, 0].tolist() == [[grey] * 3 for grey in greys(images)]
        assert (found[split] == found[split][:, :, :1, :1]).all()  # nothing red: the middle square
    assert source.how == "middle square, area-averaged to 64x64; test: 3 validation images and 2 held out from training"


def test_pixels_are_means_over_squares(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(256, 256, 3), dtype=np.uint8)
    means = pixels.reshape(64, 4, 64, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    found = lsun._decode(tmp_path, "x", encoded(pixels, "png"), 64)
    assert np.abs(found - means).max() <= 1  # Pillow rounds after either axis


@pytest.mark.parametrize(("n", "n_validation", "held"), [(3_033_042, 300, 9_700), (126_227, 300, 9_700), (50, 3, 5),
                                                         (9, 3, 0), (1000, 9_990, 10), (1000, 10_050, 0)])  # fmt: skip
def test_how_many_are_held_out(tmp_path, monkeypatch, n, n_validation, held):
    for part in ("train", "val"):
        (tmp_path / f"tower_{part}").mkdir()
    monkeypatch.setattr(lsun._Folder, "count", lambda self: n if self.path.name == "tower_train" else n_validation)
    assert TOWER.read(tmp_path / "tower_train", 64).counts == {"train": n - held, "test": n_validation + held}


def test_categories_do_not_mix(tmp_path):
    copy(tmp_path)
    assert lsun.LOADERS["lsun-church"].find(tmp_path) is None
    copy(tmp_path, n=10, category="church_outdoor")
    church = lsun.LOADERS["lsun-church"]
    assert church.find(tmp_path).name == "church_outdoor_train_lmdb"
    assert church.read(church.find(tmp_path), 64).counts == {"train": 9, "test": 4}
    assert [path.name for path in church.sources(church.find(tmp_path))] == ["church_outdoor_train_lmdb",
                                                                             "church_outdoor_val_lmdb"]  # fmt: skip


@pytest.mark.parametrize("form", ["lmdb", "folder"])
def test_memory_is_bounded(tmp_path, monkeypatch, form):
    """Chunks hold at most CHUNK images, and no image is decoded before its chunk is asked for."""
    copy(tmp_path, form=form)
    monkeypatch.setattr(reading, "CHUNK", 4)
    decoded, decode, taken = [], lsun._decode, 0
    monkeypatch.setattr(lsun, "_decode", lambda *args: decoded.append(1) or decode(*args))
    for chunk in TOWER.read(TOWER.find(tmp_path), 64).chunks():
        taken += len(chunk.images)
        assert len(chunk.images) <= 4 and len(decoded) == taken
    assert taken == 28


def test_a_write_protected_database_is_read_and_left_as_it_is(tmp_path):
    copy(tmp_path)
    path = tmp_path / "tower_train_lmdb"
    (path / "lock.mdb").unlink()
    path.chmod(0o555)
    try:
        before = (path / "data.mdb").stat().st_mtime_ns
        contents(TOWER.read(path, 64))
        assert [file.name for file in path.iterdir()] == ["data.mdb"]
        assert (path / "data.mdb").stat().st_mtime_ns == before
    finally:
        path.chmod(0o755)


def test_reading_may_stop_half_way_and_begin_again(tmp_path, monkeypatch):
    copy(tmp_path)
    monkeypatch.setattr(reading, "CHUNK", 2)
    source = TOWER.read(TOWER.find(tmp_path), 64)
    chunks = source.chunks()
    next(chunks)
    chunks.close()
    assert len(contents(source)["train"]) == 23


# ---- faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_archive_is_to_be_unzipped(tmp_path, part):
    copy(tmp_path)
    shutil.rmtree(tmp_path / f"tower_{part}_lmdb")
    with zipfile.ZipFile(tmp_path / f"tower_{part}_lmdb.zip", "w"):
        pass
    path = TOWER.find(tmp_path)
    assert path.name == ("tower_train_lmdb.zip" if part == "train" else "tower_train_lmdb")
    assert fault(path, tmp_path / f"tower_{part}_lmdb.zip").endswith("unzip it where it lies")
    with pytest.raises(UserError, match="unzip it"):
        TOWER.sources(path)  # before 43 GB are hashed


def test_without_the_validation_images(tmp_path):
    copy(tmp_path)
    shutil.rmtree(tmp_path / "tower_val_lmdb")
    words = fault(TOWER.find(tmp_path), tmp_path / "tower_val_lmdb")
    assert "does not exist: put the validation images there, beside tower_train_lmdb" in words


def test_without_the_package(tmp_path, monkeypatch):
    copy(tmp_path)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert "needs the package lmdb: pip install -e '.[data]'" in fault(TOWER.find(tmp_path))


@pytest.mark.parametrize("keep", [0, 1000, 0.5, 0.97])
@pytest.mark.parametrize("part", ["train", "val"])
def test_a_truncated_database_does_not_kill_the_process(tmp_path, part, keep):
    copy(tmp_path)
    file = tmp_path / f"tower_{part}_lmdb" / "data.mdb"
    used = file.stat().st_blocks * 512
    with open(file, "r+b") as opened:
        opened.truncate(keep if isinstance(keep, int) else int(keep * used))
    assert "is damaged" in fault(TOWER.find(tmp_path), file)


def test_another_file_of_its_name(tmp_path):
    copy(tmp_path)
    file = tmp_path / "tower_val_lmdb" / "data.mdb"
    file.write_bytes(b"<html>" * 10_000)
    assert "is damaged" in fault(TOWER.find(tmp_path), file)
    file.unlink()
    assert "lacks data.mdb: unzip its archive again" in fault(TOWER.find(tmp_path), file.parent)


@pytest.mark.parametrize("form", ["lmdb", "folder"])
def test_a_damaged_or_small_image_is_named(tmp_path, form):
    copy(tmp_path, form=form)
    for content, words in ((encoded(image(1, "val"))[:60], "is damaged"),
                        (encoded(image(1, "val")[:50]), "300x50 pixels where at least 64")):  # fmt: skip
        if form == "lmdb":
            name = tmp_path / "tower_val_lmdb" / "0000"
            with lmdb.open(str(name.parent)) as environment, environment.begin(write=True) as transaction:
                transaction.put(b"0000", content)
        else:
            name = tmp_path / "tower_val" / "0" / "001.webp"
            name.write_bytes(content)
        assert words in fault(TOWER.find(tmp_path), name)


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert all(loader.find(tmp_path) is None for loader in lsun.LOADERS.values())


NAMES = [
    ("lsun-bedroom", "bedroom", "lmdb"),
    ("lsun-tower", "tower", "folder"),
    ("lsun-church", "church_outdoor", "lmdb"),
]


@pytest.mark.parametrize(("name", "category", "form"), NAMES)
def test_they_are_loaded_by_name(tmp_path, monkeypatch, name, category, form):
    copy(tmp_path, category=category, form=form)
    chosen = published_copies.load_twice(monkeypatch, name, 64, tmp_path)
    assert (len(chosen.train), len(chosen.test), chosen.classes) == (23, 5, ("all",))
    if form == "lmdb":  # the official images come first
        assert (chosen.test.images[:3, 0, 0, 0] % 2 == 1).all() and (chosen.test.images[3:, 0, 0, 0] % 2 == 0).all()


def test_a_packed_database_is_not_hashed(tmp_path, monkeypatch):
    (tmp_path / "tower_train_lmdb.zip").write_bytes(b"43 GB")
    monkeypatch.setattr("cqlib.data.digest.content", None)
    with pytest.raises(UserError, match="unzip it where it lies"):
        data.load("lsun-tower", data_dir=tmp_path)
