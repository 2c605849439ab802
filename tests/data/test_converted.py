"""Conversion to cached arrays: once, whole or absent, by the state of the source, mapped into memory."""

import errno
import os
from collections import namedtuple

import numpy as np
import pytest

from cqlib.data import converted
from cqlib.data.catalogue import DecodedSplits
from cqlib.data.dataset import Split, fixed_order
from cqlib.util.errors import UserError


def pixels(n, size=4):
    return np.random.default_rng(0).integers(256, size=(n, 3, size, size), dtype=np.uint8)


class Reader:
    """Seven training and three test images; calls are counted."""

    def __init__(self, shuffle=False, size=4, train=7, test=3, labels=None):
        self.shuffle, self.size, self.counts, self.calls = shuffle, size, (train, test), 0
        self.labels = labels

    def __call__(self):
        self.calls += 1
        splits = ((np.arange(n) % 3 if self.labels is None else self.labels, self.images(m))
                  for n, m in zip((7, 3), self.counts, strict=True))  # fmt: skip
        return DecodedSplits(("a", "b", "c"), *splits, "as made", self.shuffle)

    def images(self, n):
        yield from pixels(n, self.size)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"bytes")
    return tmp_path / "source"


@pytest.fixture
def load(tmp_path, source):
    return lambda reader, size=4: converted.load("made", size, [source], reader, tmp_path / "cache")


def folders(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if path.is_dir())


@pytest.mark.parametrize("shuffle", [False, True])
def test_images_labels_and_fingerprints(load, shuffle):
    made = load(Reader(shuffle))
    for split, n in ((made.train, 7), (made.test, 3)):
        order = fixed_order(n) if shuffle else np.arange(n)
        assert np.array_equal(split.images.numpy(), pixels(n)[order])
        assert split.labels.tolist() == [int(i) % 3 for i in order]
        assert "fingerprint" in vars(split)  # nothing is hashed when a data set is loaded
        assert split.fingerprint == Split(split.name, split.images, split.labels).fingerprint
    assert (made.name, made.size, made.classes, made.how) == ("made", 4, ("a", "b", "c"), "as made")
    part = made.train.first(2)
    assert part.fingerprint == Split("train", part.images, part.labels).fingerprint != made.train.fingerprint


def test_it_is_converted_once_per_state_of_the_source_and_size(load, source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(converted, "SILENT_UP_TO", 5)
    reader = Reader()
    load(reader).train.images.zero_()  # in memory: the file stays
    assert np.array_equal(load(reader).train.images.numpy(), pixels(7)) and reader.calls == 1
    for name in (".hidden", "lock.mdb"):  # reading alone changes it
        (source / name).touch()
    load(reader)
    assert reader.calls == 1 and capsys.readouterr().err.count("\n") == 1  # a line where there is no terminal
    (source / "file").write_bytes(b"other")
    load(reader)
    (source / "file").rename(source / "renamed")
    load(reader)
    assert reader.calls == 3 and folders(tmp_path) == ["made-4"]
    load(Reader(size=8), 8)
    assert folders(tmp_path) == ["made-4", "made-8"]


@pytest.mark.parametrize("file", ["train-images.npy", "test-labels.npy", "meta.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "changed"])
def test_a_copy_that_is_not_whole_is_made_anew(load, tmp_path, file, how):
    reader = Reader()
    load(reader)
    path = tmp_path / "cache" / "made-4" / file
    content = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes(content[:-1] if how == "cut" else content[:-1] + b"x")
    assert np.array_equal(load(reader).train.images.numpy(), pixels(7)) and reader.calls == 2


def test_no_room(load, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(UserError, match="cache has no room for made at 4x4"):
        load(Reader())
    assert folders(tmp_path) == []


def test_too_little_memory_is_no_fault_of_the_folder(load, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(MemoryError):
        load(Reader())


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no room for made at 4x4"), (errno.EIO, "written")])
def test_a_disk_that_fills_while_writing_leaves_nothing_half_done(load, tmp_path, monkeypatch, number, words):
    def full(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", full)
        with pytest.raises(UserError, match=words) as caught:
            load(Reader())
    assert "\n" not in str(caught.value) and folders(tmp_path) == []
    assert np.array_equal(load(Reader()).train.images.numpy(), pixels(7))


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (Reader(train=6), "6 train images for 7 labels"),
        (Reader(test=5), "image 4 of 3 in test"),
        (Reader(size=8), r"uint8 \(3, 8, 8\) as image 1 of 7 in train"),
        (Reader(labels=np.arange(7)), "labels of no class"),
    ],
)
def test_a_source_whose_parts_do_not_fit_is_refused(load, tmp_path, reader, words):
    with pytest.raises(UserError, match=words) as caught:
        load(reader)
    assert "delete" not in str(caught.value)  # a folder that holds other data too
    assert folders(tmp_path) == []


def test_what_a_killed_process_left_is_cleared_away(tmp_path, load):
    leftover = tmp_path / "cache" / ".made-4-abc.tmp"
    for folder in (leftover, leftover.with_name(".made-48-x.tmp")):  # the second of another size: perhaps at work
        folder.mkdir(parents=True)
        (folder / "train-images.npy").write_bytes(b"half")
    assert np.array_equal(load(Reader()).train.images.numpy(), pixels(7))
    assert folders(tmp_path) == [".made-48-x.tmp", "made-4"]


def test_a_folder_that_cannot_be_written_to(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/cache cannot be written to"):
        converted.load("made", 4, [source], Reader(), tmp_path / "file" / "cache")
