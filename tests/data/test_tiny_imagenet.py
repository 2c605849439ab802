"""Tiny ImageNet from a tree of its true layout, and from the archive of it."""

import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cqlib import data
from cqlib.data import files, published, tiny_imagenet
from cqlib.data.catalogue import ENTRIES
from cqlib.report import missing as needs
from cqlib.util.errors import UsageError, UserError

WNIDS = ("n02000001", "n01000000", "n03000000")  # wnids.txt is not sorted, and label k is its k-th line
GREY = "n01000000_1.JPEG"


@pytest.fixture(autouse=True)
def away(monkeypatch, tmp_path):
    monkeypatch.setattr(published.names, "ROOT", tmp_path / "repository")


def picture(seed, mode="RGB"):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 8) if mode == "L" else (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)


@pytest.fixture
def tree(tmp_path):
    """Four training and two validation images per class."""
    root = tmp_path / "data" / "tiny-imagenet-200"
    for label, wnid in enumerate(WNIDS):
        (root / "train" / wnid / "images").mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("boxes")
        for i in range(4):
            name = f"{wnid}_{i}.JPEG"
            path = root / "train" / wnid / "images" / name
            picture(10 * label + i, "L" if name == GREY else "RGB").save(path, "JPEG")
    (root / "val" / "images").mkdir(parents=True)
    lines = []
    for i in range(6):
        picture(100 + i).save(root / "val" / "images" / f"val_{i}.JPEG", "JPEG")
        lines.append(f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "test" / "images").mkdir(parents=True)
    picture(0).save(root / "test" / "images" / "test_0.JPEG", "JPEG")
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    (root / "words.txt").write_text("n00000000\tentity\nn02000001\tcat, house cat\nn01000000\tdog\n")
    return root


def pack(tree, monkeypatch):
    """The archive of the tree instead of it; no hash is known."""
    path = tree.parent / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(tree.rglob("*")):
            archive.write(file, file.relative_to(tree.parent))
    shutil.rmtree(tree)
    monkeypatch.setitem(ENTRIES, "tiny-imagenet", replace(ENTRIES["tiny-imagenet"], files=()))
    return path


def expected(tree, size):
    """Split -> images and labels, in the order of the files, then shuffled like folder:."""
    by_class = [sorted((tree / "train" / wnid).rglob("*.JPEG")) for wnid in WNIDS]
    train = [(path, label) for label, paths in enumerate(by_class) for path in paths]
    test = [(tree / "val" / "images" / f"val_{i}.JPEG", i % 3) for i in range(6)]
    for members in (train, test):
        pixels = [np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path, _ in members]
        images = np.stack(pixels).astype(float)
        if size == 32:  # Pillow averages along rows, rounds, averages along columns, rounds
            images = np.floor(images.reshape(-1, 3, 64, 32, 2).mean(4) + 0.5)
            images = np.floor(images.reshape(-1, 3, 32, 2, 32).mean(3) + 0.5)
        order = files._order(len(members))
        yield images[order], np.array([label for _, label in members])[order]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [64, 32])
def test_pixels_labels_and_order(tree, monkeypatch, size, packed):
    folder = tree.parent
    wanted = list(expected(tree, size))
    if packed:
        pack(tree, monkeypatch)
    made = data.load("tiny-imagenet", size=size, data_dir=folder)
    for split, (images, labels) in zip((made.train, made.test), wanted, strict=True):
        assert split.shape == (len(labels), 3, size, size)
        assert np.array_equal(split.images.numpy(), images) and np.array_equal(split.labels.numpy(), labels)
    assert len(made.train) == 12 and len(made.test) == 6
    assert made.classes == ("cat, house cat", "dog", "n03000000")
    how = "pixels as published" if size == 64 else "64x64 area-averaged to 32x32"
    assert made.how == f"{how}; 12 training images of 100,000, 6 test images of 10,000"


@pytest.mark.parametrize("size", [64, 32])
def test_a_name_that_keeps_a_size_gives_the_same_pixels(tree, size):
    name = f"tiny-imagenet:{size}"
    assert data.sizes(name) == (size,)
    kept, made = data.load(name, data_dir=tree.parent), data.load("tiny-imagenet", size=size, data_dir=tree.parent)
    assert [kept.train.fingerprint, kept.test.fingerprint] == [made.train.fingerprint, made.test.fingerprint]
    assert needs.files(name, tree.parent).here and not needs.files(name, tree.parent / "test").here
    with pytest.raises(UsageError, match="did you mean"):
        data.check("tiny-imagenet:48")


def test_a_grey_image_has_three_equal_channels(tree):
    made = data.load("tiny-imagenet", data_dir=tree.parent)
    assert made.size == 64
    grey = (made.train.images[:, :1] == made.train.images).all(dim=(1, 2, 3))
    assert grey.sum() == 1 and made.train.labels[grey].tolist() == [1]


def test_it_is_found_as_a_tree_first_and_where_data_dir_is_the_tree_itself(tree, monkeypatch):
    assert tiny_imagenet.find(tree.parent) == tiny_imagenet.find(tree) == tree
    assert tiny_imagenet.find(tree / "val") is None
    (tree.parent / "tiny-imagenet-200.zip").touch()
    assert tiny_imagenet.find(tree.parent) == tree
    shutil.rmtree(tree)
    assert tiny_imagenet.find(tree.parent) == tree.parent / "tiny-imagenet-200.zip"


def test_what_is_not_read_does_not_count(tree):
    first = data.load("tiny-imagenet", data_dir=tree.parent)
    monkey = tree / "test" / "images" / "test_1.JPEG"
    picture(7).save(monkey, "JPEG")
    copies = list((tree.parent / "converted").glob("tiny-imagenet-64-*/"))
    assert data.load("tiny-imagenet", data_dir=tree.parent).train.fingerprint == first.train.fingerprint
    assert [path.stat().st_ino for path in copies] == [
        path.stat().st_ino for path in (tree.parent / "converted").glob("tiny-imagenet-64-*/")
    ]


def fails(folder, words):
    with pytest.raises(UserError, match=words) as caught:
        data.load("tiny-imagenet", data_dir=folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("wnids.txt", "lacks wnids.txt"),
        ("train/n01000000", "has no images in train/n01000000/images"),
        ("train", "lacks train|has no images in train/n02000001/images"),
        ("val", "lacks val"),
        ("val/val_annotations.txt", "lacks val/val_annotations.txt"),
        ("val/images/val_4.JPEG", "lacks val/images/val_4.JPEG: unpack or fetch it again"),
    ],
)
def test_a_missing_part_is_named(tree, monkeypatch, packed, gone, words):
    folder, path = tree.parent, tree / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if packed:
        pack(tree, monkeypatch)
    fails(folder, words)


def test_a_class_that_does_not_exist_is_named(tree):
    file = tree / "val" / "val_annotations.txt"
    file.write_text(file.read_text().replace("n03000000", "n09000000", 1))
    fails(tree.parent, "no file and class in line 3 of val/val_annotations.txt")


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_or_wrongly_sized_image_is_named(tree, monkeypatch, packed):
    folder, path = tree.parent, tree / "train" / WNIDS[2] / "images" / f"{WNIDS[2]}_2.JPEG"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    fails(folder, r"n03000000_2.JPEG is damaged \(image file is truncated")
    path.write_bytes(b"no image")
    fails(folder, "n03000000_2.JPEG is damaged")
    picture(0).resize((65, 64)).save(path, "JPEG")
    if packed:
        pack(tree, monkeypatch)
    fails(folder, r"n03000000_2.JPEG is damaged \(65x64 pixels instead of 64x64\): delete it and fetch it again")


def test_an_archive_that_is_cut_or_not_the_published_one_is_refused(tree, monkeypatch):
    folder, published_one = tree.parent, ENTRIES["tiny-imagenet"]
    path = pack(tree, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setitem(ENTRIES, "tiny-imagenet", published_one)
        fails(folder, r"tiny-imagenet-200.zip is truncated or altered \([\d,]+ bytes instead of 248,100,043\)")
    path.write_bytes(path.read_bytes()[:-100])
    fails(folder, "tiny-imagenet-200.zip is damaged")
