"""STL-10: a small copy of its true layout, as a folder and as an archive, and what is said about broken ones."""

import tarfile

import numpy as np
import published_copies
import pytest

from cqlib import data
from cqlib.data import stl10
from cqlib.util.errors import UserError

COUNTS = {"train": 4, "unlabeled": 7, "test": 3}


def columns_first(images):
    """uint8 (n, 3, 96, 96) -> the bytes of a .bin file, spelt out: channel, then column, then row."""
    return bytes(int(image[c, row, column]) for image in images for c in range(3)
                 for column in range(96) for row in range(96))  # fmt: skip


def copy(folder, counts=COUNTS, seed=0):
    """A folder stl10_binary in `folder`; returns the images uint8 (n, 3, 96, 96) and the labels by part."""
    rng, made = np.random.default_rng(seed), {}
    home = folder / "stl10_binary"
    home.mkdir(parents=True)
    for part, n in counts.items():
        images, labels = rng.integers(256, size=(n, 3, 96, 96), dtype=np.uint8), rng.integers(10, size=n)
        (home / f"{part}_X.bin").write_bytes(columns_first(images))
        if part != "unlabeled":
            (home / f"{part}_y.bin").write_bytes(bytes(1 + int(label) for label in labels))
        made[part] = images, labels
    (home / "class_names.txt").write_text("\n".join(stl10.CLASSES[:10]))
    return made


def packed(folder):
    """The archive in place of the folder."""
    with tarfile.open(folder / "stl10_binary.tar.gz", "w:gz") as archive:
        archive.add(folder / "stl10_binary", "stl10_binary")
    for file in (folder / "stl10_binary").iterdir():
        file.unlink()
    (folder / "stl10_binary").rmdir()
    return folder / "stl10_binary.tar.gz"


def contents(reading):
    """Images and labels per split, all chunks joined."""
    chunks = list(reading.chunks())
    joined = {}
    for split in ("train", "test"):
        own = [chunk for chunk in chunks if chunk.split == split]
        joined[split] = np.concatenate([c.images for c in own]), np.concatenate([c.labels for c in own])
    return joined


def fault(path, size=48):
    with pytest.raises(UserError) as caught:
        list(stl10.read(path, size).chunks())
    assert "\n" not in str(caught.value) and str(path) in str(caught.value) and caught.value.exit_code == 1
    return str(caught.value)


@pytest.mark.parametrize("home", ["", "stl10"])
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_pixels_labels_and_splits(tmp_path, form, home):
    made = copy(tmp_path / home)
    if form == "archive":
        packed(tmp_path / home)
    path = stl10.find(tmp_path)
    assert path.name == ("stl10_binary" if form == "folder" else "stl10_binary.tar.gz")
    reading = stl10.read(path, 96)
    assert reading.counts == {"train": 11, "test": 3} and reading.classes[-1] == "unlabelled" and reading.shuffle
    found = contents(reading)
    for split, parts in (("train", ("train", "unlabeled")), ("test", ("test",))):
        assert (found[split][0] == np.concatenate([made[part][0] for part in parts])).all()
    assert (found["train"][1] == [*made["train"][1], *[10] * 7]).all() and (found["test"][1] == made["test"][1]).all()
    assert found["train"][0].dtype == np.uint8 and found["train"][1].dtype == np.int64


def test_48_pixels_are_means_of_2x2_blocks(tmp_path):
    made = copy(tmp_path)
    reading = stl10.read(stl10.find(tmp_path), 48)
    means = made["test"][0].reshape(-1, 3, 48, 2, 48, 2).mean((3, 5))
    found = contents(reading)["test"][0]
    assert found.shape == (3, 3, 48, 48) and np.abs(found - means).max() <= 1  # Pillow rounds after either axis
    assert "96x96 area-averaged to 48x48" in reading.how


def test_memory_is_bounded(tmp_path, monkeypatch):
    """Chunks hold at most CHUNK images, and no more than one chunk is read ahead of what is asked for."""
    from cqlib.data import reading as shared

    copy(tmp_path)
    path, decoded = packed(tmp_path), []
    monkeypatch.setattr(shared, "CHUNK", 2)
    decode = stl10._decode
    monkeypatch.setattr(stl10, "_decode", lambda *args: decoded.append(1) or decode(*args))
    taken = 0
    for chunk in stl10.read(path, 48).chunks():
        taken += len(chunk.images)
        assert len(chunk.images) <= 2 and len(decoded) - taken <= 2
    assert taken == 14


@pytest.mark.parametrize("name", ["train_X.bin", "train_y.bin", "unlabeled_X.bin", "test_X.bin", "test_y.bin"])
def test_a_missing_file_is_named(tmp_path, name):
    copy(tmp_path)
    (tmp_path / "stl10_binary" / name).unlink()
    assert f"lacks {name}: unpack" in fault(tmp_path / "stl10_binary")
    assert f"lacks {name}: unpack" in fault(packed(tmp_path))


def test_damage_is_told_in_one_line(tmp_path):
    copy(tmp_path)
    home = tmp_path / "stl10_binary"
    data = (home / "unlabeled_X.bin").read_bytes()
    (home / "unlabeled_X.bin").write_bytes(data[:-1])
    assert "unlabeled_X.bin has 193535 bytes, no multiple of 27648" in fault(home)
    (home / "unlabeled_X.bin").write_bytes(data)
    (home / "test_y.bin").write_bytes(bytes([1, 2, 0]))
    assert "test_y.bin does not hold 3 labels from 1 to 10" in fault(home)
    (home / "test_y.bin").write_bytes(bytes([1, 2, 3]))
    (home / "train_y.bin").write_bytes(bytes([1, 2, 3, 4, 5]))
    assert "train_y.bin does not hold 4 labels" in fault(home)


@pytest.mark.parametrize("keep", [0, 0.3, 0.9, "text"])
def test_a_truncated_archive_or_another_file_of_its_name(tmp_path, keep):
    copy(tmp_path)
    path = packed(tmp_path)
    data = path.read_bytes()
    path.write_bytes(b"<html>not found</html>" if keep == "text" else data[: int(keep * len(data))])
    assert "is damaged" in fault(path) and "fetch it again" in fault(path)


def test_a_file_that_shrinks_after_it_was_counted(tmp_path):
    copy(tmp_path)
    path = tmp_path / "stl10_binary"
    reading = stl10.read(path, 48)
    (path / "unlabeled_X.bin").write_bytes(b"")
    with pytest.raises(UserError, match="ends too early"):
        list(reading.chunks())


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert stl10.find(tmp_path) is None and stl10.find(tmp_path / "nowhere") is None
    (tmp_path / "stl10_binary.tar.gz").mkdir()
    assert stl10.find(tmp_path) is None


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_it_is_loaded_by_name(tmp_path, monkeypatch, form):
    copy(tmp_path)
    if form == "archive":
        published_copies.publish(monkeypatch, "stl10", packed(tmp_path))
    chosen = published_copies.load_twice(monkeypatch, "stl10", 48, tmp_path)
    assert chosen.train.shape == (11, 3, 48, 48) and (chosen.train.labels == 10).sum() == 7


def test_an_archive_that_is_not_the_published_one(tmp_path):
    copy(tmp_path)
    path = packed(tmp_path)
    with pytest.raises(UserError, match=r"stl10_binary.tar.gz is truncated or altered .* instead of 2,640,397,119\)"):
        data.load("stl10", data_dir=tmp_path)
    assert not list(tmp_path.rglob("*.npy")) and path.is_file()
