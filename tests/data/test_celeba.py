"""CelebA: a small copy of its true layout, as a folder and as an archive, and what is said about broken ones."""

import io
import shutil
import zipfile

import numpy as np
import published_copies
import pytest
from PIL import Image

from cqlib import data
from cqlib.data import celeba, reading
from cqlib.util.errors import UserError

PARTITIONS = {0: 5, 1: 2, 2: 3}


def copy(folder, suffix=".txt"):
    """img_align_celeba/ and the partition list in `folder`; returns the images (218, 178, 3) by partition.

    The pixels survive JPEG, as every image is of a grey of its own with one darker frame outside of the crop.
    """
    (folder / "img_align_celeba").mkdir(parents=True)
    lines, made, number = [], {}, 0
    for partition, n in PARTITIONS.items():
        for _ in range(n):
            number += 1
            image = np.full((218, 178, 3), 20 * number, np.uint8)
            image[:35] = image[35 + 148 :] = image[:, :15] = image[:, 15 + 148 :] = 3
            Image.fromarray(image).save(folder / "img_align_celeba" / f"{number:06}.jpg", quality=100, subsampling=0)
            lines.append(f"{number:06}.jpg {partition}")
            made.setdefault(partition, []).append(image)
    if suffix == ".csv":
        lines = ["image_id,partition", *(line.replace(" ", ",") for line in lines)]
    (folder / f"list_eval_partition{suffix}").write_text("\n".join(lines) + "\n")
    return made


def packed(folder):
    """The archive in place of the folder."""
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        archive.mkdir("img_align_celeba")
        for file in sorted((folder / "img_align_celeba").iterdir(), reverse=True):
            archive.write(file, f"img_align_celeba/{file.name}")
    shutil.rmtree(folder / "img_align_celeba")
    return folder / "img_align_celeba.zip"


def contents(source):
    chunks = list(source.chunks())
    assert all((c.labels == 0).all() and c.labels.dtype == np.int64 and c.images.dtype == np.uint8 for c in chunks)
    return {split: np.concatenate([c.images for c in chunks if c.split == split]) for split in ("train", "test")}


def fault(path, name=None):
    with pytest.raises(UserError) as caught:
        list(celeba.read(path, 64).chunks())
    assert "\n" not in str(caught.value) and str(name or path) in str(caught.value) and caught.value.exit_code == 1
    return str(caught.value)


@pytest.mark.parametrize("form", ["folder", "archive", "csv", "nested"])
@pytest.mark.parametrize("home", ["", "celeba"])
def test_partitions_and_crop(tmp_path, form, home):
    made = copy(tmp_path / home, ".csv" if form == "csv" else ".txt")
    images = tmp_path / home / "img_align_celeba"
    if form == "archive":
        packed(tmp_path / home)
    if form == "nested":
        images.rename(tmp_path / "moved")
        images.mkdir()
        (tmp_path / "moved").rename(images / "img_align_celeba")
    path = celeba.find(tmp_path)
    assert path == (images.with_suffix(".zip") if form == "archive" else images)
    assert [file.parent for file in celeba.sources(path)] == [tmp_path / home] * 2
    source = celeba.read(path, 64)
    assert source.counts == {"train": 5, "test": 3} and source.classes == ("all",) and source.shuffle
    found = contents(source)
    for split, partition in (("train", 0), ("test", 2)):
        greys = np.array([image[100, 90, 0] for image in made[partition]]).reshape(-1, 1, 1, 1)
        inner = found[split][:, :, 4:-4, 4:-4]  # JPEG's blocks of 8 straddle the edge of the crop
        assert found[split].shape == (len(greys), 3, 64, 64) and np.abs(inner.astype(int) - greys).max() <= 1
    assert source.how == "centre crop 148, area-averaged to 64x64"


def test_the_crop_is_the_middle_148_pixels_and_is_averaged():
    image = np.random.default_rng(0).integers(256, size=(218, 178, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    found = celeba._decode(None, ("x", buffer.getvalue()), 37)
    means = image[35:183, 15:163].reshape(37, 4, 37, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(found - means).max() <= 1  # Pillow rounds after either axis


def test_an_archive_and_a_folder_give_the_same(tmp_path):
    copy(tmp_path)
    first = contents(celeba.read(tmp_path / "img_align_celeba", 64))
    second = contents(celeba.read(packed(tmp_path), 64))
    assert all((first[split] == second[split]).all() for split in first)


def test_memory_is_bounded(tmp_path, monkeypatch):
    """Chunks hold at most CHUNK images, and no more than one chunk is read ahead of what is asked for."""
    copy(tmp_path)
    path, decoded, taken = packed(tmp_path), [], 0
    monkeypatch.setattr(reading, "CHUNK", 2)
    decode = celeba._decode
    monkeypatch.setattr(celeba, "_decode", lambda *args: decoded.append(1) or decode(*args))
    for chunk in celeba.read(path, 64).chunks():
        taken += len(chunk.images)
        assert len(chunk.images) <= 2 and len(decoded) == taken
    assert taken == 8


def test_without_the_list_of_partitions(tmp_path):
    copy(tmp_path)
    (tmp_path / "list_eval_partition.txt").unlink()
    words = fault(celeba.find(tmp_path), tmp_path / "list_eval_partition.txt")
    assert "does not exist: put CelebA's list_eval_partition.txt beside img_align_celeba" in words


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_missing_images_are_counted_and_one_is_named(tmp_path, form):
    copy(tmp_path)
    for name in ("000002.jpg", "000009.jpg", "000006.jpg"):  # the last is for validation and not missed
        (tmp_path / "img_align_celeba" / name).unlink()
    path = packed(tmp_path) if form == "archive" else tmp_path / "img_align_celeba"
    assert "lacks 2 of the images of list_eval_partition.txt (such as 000002.jpg)" in fault(path)


LISTS = {
    "another file": ("<html>\n", "in line 1"),
    "no partition": ("000001.jpg 0\n000002.jpg\n", "in line 2"),
    "partition 3": ("000001.jpg 3\n", "in line 1"),
    "no test": ("000001.jpg 0\n", "names no test images"),
    "empty": ("", "names no train images"),
    "not text": ("000001.jpg 0 \udcff", "is damaged"),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_wrong_list_of_partitions(tmp_path, case):
    copy(tmp_path)
    text, words = LISTS[case]
    (tmp_path / "list_eval_partition.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert words in fault(tmp_path / "img_align_celeba", tmp_path / "list_eval_partition.txt")


def test_a_damaged_image_is_named(tmp_path):
    copy(tmp_path)
    file = tmp_path / "img_align_celeba" / "000003.jpg"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    assert "is damaged" in fault(tmp_path / "img_align_celeba", file)
    Image.new("RGB", (100, 100)).save(file)
    assert "100x100 pixels where at least 148" in fault(tmp_path / "img_align_celeba", file)


@pytest.mark.parametrize("keep", [0, 0.3, 0.95, "text"])
def test_a_truncated_archive_or_another_file_of_its_name(tmp_path, keep):
    copy(tmp_path)
    path = packed(tmp_path)
    data = path.read_bytes()
    path.write_bytes(b"<html>not found</html>" if keep == "text" else data[: int(keep * len(data))])
    assert "is damaged" in fault(path) and "fetch it again" in fault(path)


def test_a_flipped_bit_in_the_archive(tmp_path):
    copy(tmp_path)
    path = packed(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 8] ^= 1
    path.write_bytes(data)
    assert "CRC" in fault(path)


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert celeba.find(tmp_path) is None
    (tmp_path / "img_align_celeba.zip").mkdir()
    assert celeba.find(tmp_path) is None


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_it_is_loaded_by_name(tmp_path, monkeypatch, form):
    copy(tmp_path)
    files = [packed(tmp_path)] if form == "archive" else []
    published_copies.publish(monkeypatch, "celeba", *files, tmp_path / "list_eval_partition.txt")
    chosen = published_copies.load_twice(monkeypatch, "celeba", 64, tmp_path)
    assert (len(chosen.train), len(chosen.test), chosen.classes) == (5, 3, ("all",))


def test_another_list_of_partitions_is_converted_anew(tmp_path, monkeypatch):
    copy(tmp_path)
    file = tmp_path / "list_eval_partition.txt"
    published_copies.publish(monkeypatch, "celeba", file)
    first = data.load("celeba", data_dir=tmp_path)
    file.write_text(file.read_text().replace("000005.jpg 0", "000005.jpg 2"))
    with pytest.raises(UserError, match=r"list_eval_partition.txt is truncated or altered \(MD5 "):
        data.load("celeba", data_dir=tmp_path)
    published_copies.publish(monkeypatch, "celeba", file)
    second = data.load("celeba", data_dir=tmp_path)
    assert (len(first.train), len(first.test), len(second.train), len(second.test)) == (5, 3, 4, 4)
