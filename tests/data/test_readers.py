"""The published data sets from small copies of their true layouts: pixels, labels, order, and damage in one line."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import published_copies as copies
import pytest
from PIL import Image

from cqlib import data
from cqlib.data.dataset import fixed_order
from cqlib.util.errors import UsageError, UserError


def fails(name, home, *words):
    """Loading `name` gives one line with `words`, and no converted copy."""
    with pytest.raises(UserError) as caught:
        data.load(name, data_dir=home)
    line = str(caught.value)
    assert "\n" not in line and caught.value.exit_code == 1 and all(word in line for word in words), line
    assert not list(home.glob("converted/*/meta.json"))


def cut(file, n=None):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 if n is None else n])


# ---- CIFAR-10 -------------------------------------------------------------------------------------------------


def test_cifar10_keeps_the_official_order(home, monkeypatch):
    images, labels = copies.cifar10(home, monkeypatch)
    made = data.load("cifar10", data_dir=home)
    assert np.array_equal(made.train.images.numpy(), images[:5].reshape(-1, 3, 32, 32))
    assert np.array_equal(made.test.images.numpy(), images[5])
    assert (
        made.train.labels.tolist() == labels[:5].flatten().tolist() and made.test.labels.tolist() == labels[5].tolist()
    )
    assert made.classes[3] == "cat" and made.how == (
        "pixels as published; 100 training images of 50,000, 20 test images of 10,000"
    )


@pytest.mark.parametrize("name", [copies.BATCHES[2], "test_batch", "batches.meta"])
def test_cifar10_unpickles_nothing_that_was_altered(home, monkeypatch, tmp_path, name):
    copies.cifar10(home, monkeypatch)

    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    (home / "cifar-10-batches-py" / name).write_bytes(pickle.dumps({"data": Harm(), "labels": [0]}))
    fails("cifar10", home, "cifar-10-batches-py is not whole or was altered", "delete it and fetch it again")
    assert not (tmp_path / "harm").exists()


# ---- STL-10 ---------------------------------------------------------------------------------------------------


def test_stl10_trains_with_the_unlabelled_images(home, monkeypatch):
    parts = copies.stl10(home, monkeypatch)

    def halved(pixels):  # Pillow averages along rows, rounds, averages along columns, rounds
        x = np.floor(pixels.transpose(0, 3, 1, 2).reshape(-1, 3, 96, 48, 2).mean(4) + 0.5)
        return np.floor(x.reshape(-1, 3, 48, 2, 48).mean(3) + 0.5).astype(np.uint8)

    made = data.load("stl10", data_dir=home)
    images = halved(np.concatenate([parts["train"], parts["unlabeled"]]))
    assert copies.bag(made.train.images, made.train.labels) == copies.bag(images, [0, 1, 2, 3] + [10] * 5)
    assert copies.bag(made.test.images, made.test.labels) == copies.bag(halved(parts["test"]), [0, 1, 2])
    assert made.classes[10] == "unlabelled" and made.how.startswith("96x96 area-averaged to 48x48; training with")


# ---- CelebA ---------------------------------------------------------------------------------------------------


def test_celeba_partitions_and_crop(home):
    greys = copies.celeba(home)
    made = data.load("celeba", data_dir=home)
    for split, partition in ((made.train, 0), (made.test, 2)):
        assert (split.images == split.images[:, :1, :1, :1]).all()  # nothing of the frame
        assert sorted(split.images[:, 0, 0, 0].tolist()) == greys[partition]
    assert made.how.startswith("148x148 from row 40 and column 15, area-averaged to 64x64") and made.classes == ("all",)


# ---- LSUN -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sub", ["", "lsun"])
def test_lsun_holds_images_out_evenly(home, sub):
    (home / sub).mkdir(exist_ok=True)
    greys = copies.lsun(home / sub)
    made = data.load("lsun-tower", data_dir=home)
    held_out = [12, 24]  # of 25, two evenly spaced
    train = [grey for i, grey in enumerate(greys["train"]) if i not in held_out]
    test = [*greys["val"], *(greys["train"][i] for i in held_out)]
    for split, values in ((made.train, train), (made.test, test)):
        assert (split.images == split.images[:, :1, :1, :1]).all()  # nothing red: the middle square
        assert split.images[:, 0, 0, 0].tolist() == values  # keys are hashes: their order is kept
    words = "middle square, area-averaged to 64x64; test: 3 validation images and 2 held out from training"
    assert made.how == f"{words}; 23 training images of 698,564, 5 test images of 10,000"


def test_lsun_damage(home, monkeypatch):
    copies.lsun(home)
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "lmdb", None)
        fails("lsun-tower", home, "needs the package lmdb: pip install -e '.[data]'")
    cut(home / "tower_train_lmdb" / "data.mdb", 0)
    fails("lsun-tower", home, "data.mdb is damaged")
    shutil.rmtree(home / "tower_val_lmdb")
    fails("lsun-tower", home, "tower_val_lmdb is missing", "tower_val_lmdb.zip (about 6 MB)", "unpacked")


# ---- ImageNet at 64 x 64 --------------------------------------------------------------------------------------


def test_imagenet64_keeps_the_order_of_its_batches(home):
    made = copies.imagenet64(home)
    loaded = data.load("imagenet64", data_dir=home)
    for split, (images, labels) in ((loaded.train, made["train"]), (loaded.test, made["test"])):
        assert np.array_equal(split.images.numpy(), images) and np.array_equal(split.labels.numpy(), labels)


# ---- Tiny ImageNet --------------------------------------------------------------------------------------------


def expected(root, size):
    """Images and labels of both splits: sorted by class and name, then shuffled like folder:."""
    train = [(path, label) for label, wnid in enumerate(copies.WNIDS)
             for path in sorted((root / "train" / wnid / "images").iterdir())]  # fmt: skip
    test = [(root / "val" / "images" / f"val_{i}.JPEG", i % 3) for i in range(6)]
    for members in (train, test):
        pixels = [np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path, _ in members]
        images = np.stack(pixels).astype(float)
        if size == 32:  # Pillow averages along rows, rounds, averages along columns, rounds
            images = np.floor(images.reshape(-1, 3, 64, 32, 2).mean(4) + 0.5)
            images = np.floor(images.reshape(-1, 3, 32, 2, 32).mean(3) + 0.5)
        order = fixed_order(len(members))
        yield images[order], np.array([label for _, label in members])[order]


@pytest.mark.parametrize("size", [64, 32])
def test_tiny_imagenet_pixels_labels_and_order(home, size):
    root = copies.tiny_imagenet(home)
    made = data.load("tiny-imagenet", size=size, data_dir=home)
    for split, (images, labels) in zip((made.train, made.test), expected(root, size), strict=True):
        assert np.array_equal(split.images.numpy(), images) and np.array_equal(split.labels.numpy(), labels)
    assert (len(made.train), len(made.test)) == (12, 6) and made.classes == ("cat, house cat", "dog", "n03000000")
    how = "pixels as published" if size == 64 else "64x64 area-averaged to 32x32"
    assert made.how == f"{how}; 12 training images of 100,000, 6 test images of 10,000"
    kept = data.load(f"tiny-imagenet:{size}", data_dir=home)  # a name that keeps its size
    assert [kept.train.fingerprint, kept.test.fingerprint] == [made.train.fingerprint, made.test.fingerprint]
    with pytest.raises(UsageError, match="did you mean"):
        data.check("tiny-imagenet:48")


def test_tiny_imagenet_damage(home):
    root = copies.tiny_imagenet(home)
    file = root / "train" / copies.WNIDS[2] / "images" / f"{copies.WNIDS[2]}_2.JPEG"
    (root / "val" / "images" / "val_4.JPEG").rename(root / "val" / "images" / "other.JPEG")
    fails("tiny-imagenet", home, "val_4.JPEG is missing")
    cut(file)
    fails("tiny-imagenet", home, "n03000000_2.JPEG is damaged (image file is truncated")
    (root / "val" / "val_annotations.txt").unlink()
    fails("tiny-imagenet", home, "val_annotations.txt is missing")
    (root / "wnids.txt").unlink()
    fails("tiny-imagenet", home, "tiny-imagenet-200/wnids.txt is missing", "put tiny-imagenet-200.zip (248 MB) from")
