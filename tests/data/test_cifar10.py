"""CIFAR-10 from both published versions, packed and unpacked, made here in their true layout with 20 images a batch."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from cqlib import data
from cqlib.data import cifar10, published
from cqlib.data.catalogue import ENTRIES
from cqlib.data.reading import unpickle_arrays
from cqlib.util.errors import UserError

N = 20
BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
PACKED_ORDER = [3, 0, 5, 4, 2, 1]  # the archives hold them in another order


def batch(i):
    """Pixels uint8 (N, 3072), each image red, green, blue, row by row; labels."""
    rng = np.random.default_rng(i)
    return rng.integers(0, 256, (N, 3072), np.uint8), rng.integers(0, 10, N).tolist()


def binary(i):
    images, labels = batch(i)
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


def python2(i):
    """The batch as Python 2 and numpy 1 pickled it: protocol 2, byte strings, numpy.core."""
    images, labels = batch(i)

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def number(value):
        return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)

    raw = images.tobytes()
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    array += b"(" + number(1) + number(N) + b"M" + struct.pack("<H", 3072) + b"\x86" + dtype + b"\x89"
    array += b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text(b"labels") + listed + text(b"data") + array + b"u."


def tree(folder, kind):
    inner = folder / ("cifar-10-batches-bin" if kind == "binary" else "cifar-10-batches-py")
    inner.mkdir(parents=True)
    write, ending = (binary, ".bin") if kind == "binary" else (python2, "")
    for i, name in enumerate(BATCHES):
        (inner / f"{name}{ending}").write_bytes(write(i))
    (inner / "readme.html").write_text("about")
    return inner


def archive(folder, kind, build):
    inner = tree(build, kind)
    folder.mkdir(exist_ok=True)
    path = folder / f"cifar-10-{kind}.tar.gz"
    names = sorted(os.listdir(inner))
    with tarfile.open(path, "w:gz") as packed:
        packed.add(inner, inner.name, recursive=False)
        batches = [name for name in names if "batch" in name]
        for name in [batches[i] for i in PACKED_ORDER] + ["readme.html"]:
            packed.add(inner / name, f"{inner.name}/{name}")
    return path


def known(monkeypatch, path):
    """The catalogue says of `path` what is true of it, as if it were the published one."""
    file = replace(ENTRIES["cifar10"].known(path.name), bytes=path.stat().st_size,
                   md5=hashlib.md5(path.read_bytes()).hexdigest())  # fmt: skip
    monkeypatch.setitem(ENTRIES, "cifar10", replace(ENTRIES["cifar10"], files=((file,),)))


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar10, "PER_BATCH", N)
    monkeypatch.setattr(cifar10, "CHUNK", 8)
    monkeypatch.setattr(published.names, "ROOT", tmp_path / "repository")


@pytest.fixture(params=["binary", "python"])
def kind(request):
    return request.param


@pytest.mark.parametrize("packed", [False, True])
def test_pixels_labels_and_order_are_the_official_ones(tmp_path, monkeypatch, kind, packed):
    folder = tmp_path / "data"
    if packed:
        known(monkeypatch, archive(folder, kind, tmp_path / "build"))
    else:
        tree(folder, kind)
    made = data.load("cifar10", size=32, data_dir=folder)
    images, labels = zip(*map(batch, range(6)), strict=True)
    assert made.train.shape == (5 * N, 3, 32, 32) and made.test.shape == (N, 3, 32, 32)
    assert np.array_equal(made.train.images.numpy().reshape(-1, 3072), np.concatenate(images[:5]))
    assert np.array_equal(made.test.images.numpy().reshape(-1, 3072), images[5])
    assert made.train.labels.tolist() == sum(labels[:5], []) and made.test.labels.tolist() == labels[5]
    assert made.classes[0] == "airplane" and made.classes[9] == "truck" and made.how.startswith("pixels as pub")
    assert sorted(path.name for path in folder.iterdir())[-1] == "converted"


def test_the_counts_of_the_published_set():
    assert (len(cifar10.BATCHES) - 1) * 10_000 == ENTRIES["cifar10"].train == 50_000
    assert ENTRIES["cifar10"].test == 10_000 and ENTRIES["cifar10"].classes == len(cifar10.CLASSES)


def test_the_binary_version_comes_first_and_a_folder_of_its_name_is_looked_into(tmp_path):
    assert cifar10.find(tmp_path) is None
    (tmp_path / "cifar-10-binary.tar.gz").mkdir()  # not a file
    inside = tree(tmp_path / "cifar10", "python")
    assert cifar10.find(tmp_path) == inside
    packed = archive(tmp_path, "python", tmp_path / "build")
    assert cifar10.find(tmp_path) == packed
    assert cifar10.find(tmp_path / "build") == tmp_path / "build" / "cifar-10-batches-py"
    assert cifar10.find(tmp_path) != tree(tmp_path, "binary") == cifar10.find(tmp_path)


def fails(folder, words):
    with pytest.raises(UserError, match=words) as caught:
        data.load("cifar10", data_dir=folder)
    assert "\n" not in str(caught.value)
    assert not [path for path in (folder / "converted").glob("*") if path.is_dir() and path.name != "sources"]


def test_a_missing_or_cut_batch_is_named(tmp_path, kind):
    ending = ".bin" if kind == "binary" else ""
    inner = tree(tmp_path, kind)
    cut = inner / f"data_batch_4{ending}"
    cut.write_bytes(cut.read_bytes()[:-7])
    fails(tmp_path, rf"data_batch_4{ending} is damaged \(.*\): delete it and fetch it again")
    (inner / f"test_batch{ending}").unlink()
    fails(tmp_path, f"lacks test_batch{ending}: delete it and fetch it again")


def test_an_archive_that_is_cut_or_not_the_published_one_is_refused(tmp_path, monkeypatch, kind):
    folder = tmp_path / "data"
    path = archive(folder, kind, tmp_path / "build")
    whole = path.read_bytes()
    fails(folder, rf"cifar-10-{kind}.tar.gz is truncated or altered \([\d,]+ bytes instead of 170,[\d,]+\)")
    known(monkeypatch, path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    fails(folder, r"truncated or altered \(MD5")
    path.write_bytes(whole[: len(whole) // 2])
    fails(folder, "truncated or altered")
    monkeypatch.setitem(ENTRIES, "cifar10", replace(ENTRIES["cifar10"], files=()))  # no hash known
    fails(folder, rf"cifar-10-{kind}.tar.gz is damaged")
    with tarfile.open(path, "w:gz") as packed:
        info = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        packed.addfile(info, io.BytesIO(b""))
    fails(folder, "lacks data_batch_[12]")


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_runs_nothing(tmp_path, monkeypatch, protocol):
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    inner = tree(tmp_path, "python")
    images, labels = batch(0)
    (inner / "data_batch_2").write_bytes(pickle.dumps({"data": images, "labels": labels, "x": Evil()}, protocol))
    fails(tmp_path, r"data_batch_2 is not a file of arrays \(it asks for \w+.mkdir; nothing was run\)")
    assert not (tmp_path / "evil").exists()


def test_arrays_of_every_protocol_are_unpickled():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        images = np.arange(6, dtype=np.uint8).reshape(2, 3)
        given = {b"data": images, "labels": [1, 2], "mean": np.float32(0.5), "e": b""}
        found = unpickle_arrays(pickle.dumps(given, protocol))
        assert np.array_equal(found["data"], images) and found["data"].dtype == np.uint8
        assert found["labels"] == [1, 2] and found["mean"] == 0.5 and found["e"] == b""


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cbuiltins\neval\n.",
        b"cbuiltins\ngetattr\n.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"]\x94.",
        b"",
        b"}",
    ],
)
def test_whatever_else_a_pickle_asks_for_is_one_line(code):
    with pytest.raises(UserError) as caught:
        unpickle_arrays(code)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"data": [1]},
        {"data": np.zeros((N, 3071), np.uint8)},
        {"labels": [1] * (N - 1)},
        {"data": np.zeros((N, 3072))},
        {"labels": [10] * N},
        {"labels": ["a"] * N},
    ],
)
def test_a_pickled_batch_of_another_form_is_refused(tmp_path, change):
    inner = tree(tmp_path, "python")
    images, labels = batch(5)
    (inner / "test_batch").write_bytes(pickle.dumps({"data": images, "labels": labels} | change))
    fails(tmp_path, "test_batch is damaged")
