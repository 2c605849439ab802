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
    """Loading `name` gives one line with `words`, and nothing is left but locks."""
    with pytest.raises(UserError) as caught:
        data.load(name, data_dir=home)
    line = str(caught.value)
    assert "\n" not in line and caught.value.exit_code == 1 and all(word in line for word in words), line
    assert not [path for path in (home / "converted").glob("*") if path.is_dir()]


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
    fails("cifar10", home, f"{name} is truncated or altered", "delete cifar-10-batches-py and fetch it again")
    (home / "cifar-10-batches-py" / name).unlink()
    fails("cifar10", home, f"{name} is missing")
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


def test_stl10_that_is_cut_or_not_complete(home, monkeypatch):
    copies.stl10(home, monkeypatch)
    cut(home / "stl10_binary" / "unlabeled_X.bin")
    fails("stl10", home, "unlabeled_X.bin is truncated or altered")
    (home / "stl10_binary" / "test_y.bin").unlink()
    (home / "stl10_binary" / "unlabeled_X.bin").unlink()
    fails("stl10", home, "unlabeled_X.bin is missing")


# ---- CelebA ---------------------------------------------------------------------------------------------------


def test_celeba_partitions_and_crop(home, monkeypatch):
    greys = copies.celeba(home, monkeypatch)
    made = data.load("celeba", data_dir=home)
    for split, partition in ((made.train, 0), (made.test, 2)):
        assert (split.images == split.images[:, :1, :1, :1]).all()  # nothing of the frame
        assert sorted(split.images[:, 0, 0, 0].tolist()) == greys[partition]
    assert made.how.startswith("148x148 from row 40 and column 15, area-averaged to 64x64") and made.classes == ("all",)


def test_celeba_damage(home, monkeypatch):
    copies.celeba(home, monkeypatch)
    images, listed = home / "img_align_celeba", home / "list_eval_partition.txt"
    cut(images / "000003.jpg")
    fails("celeba", home, "000003.jpg is damaged")
    (images / "000003.jpg").write_bytes(copies.encoded(np.zeros((100, 100, 3), np.uint8)))
    fails("celeba", home, "100x100 pixels where at least 148")
    (images / "000009.jpg").unlink()
    (images / "000006.jpg").unlink()  # for validation, and not missed
    fails("celeba", home, "lacks 1 of the images of list_eval_partition.txt (such as 000009.jpg)")
    listed.write_text(listed.read_text().replace("000001.jpg", "../../secret.jpg"))
    fails("celeba", home, "list_eval_partition.txt is truncated or altered", "delete it and fetch it again")
    listed.unlink()
    fails("celeba", home, "list_eval_partition.txt is missing", "could not be fetched")


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
    file = home / "tower_train_lmdb" / "data.mdb"
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "lmdb", None)
        fails("lsun-tower", home, "needs the package lmdb: pip install -e '.[data]'")
    cut(file)  # reading a page beyond the end would kill the process
    fails("lsun-tower", home, "tower_train_lmdb/data.mdb is damaged")
    cut(file, 0)
    fails("lsun-tower", home, "data.mdb is damaged")
    shutil.rmtree(home / "tower_val_lmdb")
    fails("lsun-tower", home, "tower_val_lmdb is missing", "tower_val_lmdb.zip (about 6 MB)", "unpacked")


# ---- ImageNet at 64 x 64 --------------------------------------------------------------------------------------


def test_imagenet64_keeps_the_order_of_its_batches(home):
    made = copies.imagenet64(home)
    loaded = data.load("imagenet64", data_dir=home)
    for split, (images, labels) in ((loaded.train, made["train"]), (loaded.test, made["test"])):
        assert np.array_equal(split.images.numpy(), images) and np.array_equal(split.labels.numpy(), labels)


def test_imagenet64_damage(home, tmp_path):
    copies.imagenet64(home)
    file = home / "train_data_batch_7.npz"
    np.savez(file, data=np.zeros((3, 12288), np.uint8), labels=np.array([0, 1, 2]))
    fails("imagenet64", home, "labels of no class")
    np.savez(file, data=np.zeros((2, 12288), np.uint8), labels=np.array([1, 2, 3]))
    fails("imagenet64", home, "29 train images for 30 labels")
    np.savez(file, data=np.array([{}], object), labels=np.array([1]))
    fails("imagenet64", home, "train_data_batch_7.npz is damaged (Object arrays cannot be loaded")
    cut(file)
    fails("imagenet64", home, "train_data_batch_7.npz is damaged")
    file.unlink()
    fails("imagenet64", home, "train_data_batch_7.npz is missing", "Imagenet64_train_part2_npz.zip (about 6 GB)")


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


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("wnids.txt", "tiny-imagenet-200/wnids.txt is missing"),
        ("train/n01000000", "has no images in train/n01000000/images"),
        ("val/val_annotations.txt", "val/val_annotations.txt"),
        ("val/images/val_4.JPEG", "val_annotations.txt names no image and class that exist in line 5"),
    ],
)
def test_tiny_imagenet_without_a_part(home, gone, words):
    path = copies.tiny_imagenet(home) / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    fails("tiny-imagenet", home, words)


def test_tiny_imagenet_damage(home, tmp_path):
    root = copies.tiny_imagenet(home)
    file, listed = root / "train" / copies.WNIDS[2] / "images" / f"{copies.WNIDS[2]}_2.JPEG", root / "wnids.txt"
    cut(file)
    fails("tiny-imagenet", home, "n03000000_2.JPEG is damaged (image file is truncated")
    Image.new("RGB", (65, 64)).save(file, "JPEG")
    fails("tiny-imagenet", home, "n03000000_2.JPEG is damaged (65x64 pixels instead of 64x64)")
    annotated = root / "val" / "val_annotations.txt"
    annotated.write_text(annotated.read_text().replace("val_0.JPEG", f"{tmp_path}/secret.JPEG"))
    fails("tiny-imagenet", home, "names no image and class that exist in line 1")
    listed.write_text("../train/n01000000")  # lists of names lead nowhere else
    fails("tiny-imagenet", home, "has no images in train/../train/n01000000/images")
