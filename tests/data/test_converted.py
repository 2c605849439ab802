"""Conversion to cached arrays: once, whole or absent, by the state of the source, mapped into memory."""

import errno
import os

import numpy as np
import pytest

from cqlib.data import converted
from cqlib.data.catalogue import DecodedSplits
from cqlib.data.dataset import Split
from cqlib.util.errors import UserError


def pixels(n, size=4):
    return np.random.default_rng(0).integers(256, size=(n, 3, size, size), dtype=np.uint8)


class Reader:
    """Seven training and three test images; calls are counted."""

    def __init__(self, size=4, train=7, labels=(0, 1, 2, 0, 1, 2, 0)):
        self.size, self.train, self.labels, self.calls = size, train, labels, 0

    def __call__(self):
        self.calls += 1
        return DecodedSplits(("a", "b", "c"), (self.labels, self.images(self.train)), ([0, 1, 2], self.images(3)), "so")

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


def test_images_labels_and_fingerprints(load):
    reader = Reader()
    for made in (load(reader), load(reader)):
        for split, n in ((made.train, 7), (made.test, 3)):
            assert np.array_equal(split.images.numpy(), pixels(n))
            assert split.labels.tolist() == [i % 3 for i in range(n)]
            assert split.fingerprint == Split(split.name, split.images, split.labels).fingerprint
        assert (made.name, made.size, made.classes, made.how) == ("made", 4, ("a", "b", "c"), "so")
    assert "fingerprint" in vars(made.train)  # nothing is hashed when a copy is used
    part = made.train.first(2)
    assert part.fingerprint == Split("train", part.images, part.labels).fingerprint != made.train.fingerprint


def test_it_is_converted_once_per_state_of_the_source_and_size(load, source, tmp_path, capsys):
    reader = Reader()
    load(reader).train.images.zero_()  # in memory: the file stays
    assert np.array_equal(load(reader).train.images.numpy(), pixels(7)) and reader.calls == 1
    for name in (".hidden", "lock.mdb"):  # reading alone changes it
        (source / name).touch()
    load(reader)
    assert reader.calls == 1 and capsys.readouterr().err.count("converting 10 images") == 1
    (source / "file").write_bytes(b"other")
    load(reader)
    (source / "file").rename(source / "renamed")
    load(reader)
    assert reader.calls == 3 and folders(tmp_path) == ["made-4"]
    load(Reader(size=8), 8)
    assert folders(tmp_path) == ["made-4", "made-8"]


def test_a_copy_in_use_survives_a_conversion(load, source):
    used = load(Reader())
    (source / "file").write_bytes(b"other")
    load(Reader(labels=[2] * 7))
    assert np.array_equal(used.train.images.numpy(), pixels(7)) and used.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("file", ["train-images.npy", "test-labels.npy", "meta.json"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_copy_that_is_not_whole_is_made_again(load, tmp_path, file, how):
    reader = Reader()
    load(reader)
    path = tmp_path / "cache" / "made-4" / file
    content = path.read_bytes()
    path.unlink()
    if how == "cut":  # by a killed process
        path.write_bytes(content[:-1])
    assert np.array_equal(load(reader).train.images.numpy(), pixels(7)) and reader.calls == 2


def test_a_full_disk_is_one_line_and_leaves_no_copy(load, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("numpy.save", full)
        with pytest.raises(UserError, match=r"made-4 cannot be written \(No space left on device\): make room"):
            load(Reader())
    assert np.array_equal(load(Reader()).train.images.numpy(), pixels(7))


@pytest.mark.parametrize(
    "reader", [Reader(train=6), Reader(size=2), Reader(labels=range(7))], ids=["too few images", "size", "classes"]
)
def test_a_source_whose_parts_do_not_fit_is_refused(load, source, reader):
    for _ in range(2):
        with pytest.raises(UserError, match=f"{source.parent} is damaged .*replace the files of this data set"):
            load(reader)
