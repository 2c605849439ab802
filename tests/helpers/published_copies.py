"""Small copies of the published data sets in their true layouts, whose hashes pass for the published ones."""

import hashlib
import io
import pickle

import lmdb
import numpy as np
from PIL import Image
from torchvision import datasets

RNG = np.random.default_rng(0)
WNIDS = ("n02000001", "n01000000", "n03000000")  # not sorted: label k is the k-th line of wnids.txt
BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def md5(file):
    return hashlib.md5(file.read_bytes()).hexdigest()


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def bag(images, labels):
    """Images with their labels, whatever their order."""
    return sorted((np.asarray(x).tobytes(), int(y)) for x, y in zip(images, labels, strict=True))


def smooth(side, seed):
    """Pixels (side, side, 3) that JPEG keeps roughly."""
    small = np.random.default_rng(seed).integers(256, size=(8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def cifar10(home, monkeypatch):
    """20 images a batch; their hashes pass for the published ones. Returns images (6, 20, 3, 32, 32) and labels."""
    folder = home / "cifar-10-batches-py"
    folder.mkdir()
    images, labels = RNG.integers(256, size=(6, 20, 3, 32, 32), dtype=np.uint8), RNG.integers(10, size=(6, 20))
    for name, x, y in zip(BATCHES, images, labels, strict=True):
        (folder / name).write_bytes(pickle.dumps({"data": x.reshape(20, -1), "labels": y.tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    hashes = [[name, md5(folder / name)] for name in BATCHES]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", hashes[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", hashes[5:])
    meta = datasets.CIFAR10.meta | {"md5": md5(folder / "batches.meta")}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return images, labels


def stl10(home, monkeypatch):
    """Images (n, 96, 96, 3) by part, which are stored by channel, column and row."""
    folder = home / "stl10_binary"
    folder.mkdir()
    images = {name: RNG.integers(256, size=(n, 96, 96, 3), dtype=np.uint8)
              for name, n in (("train", 4), ("unlabeled", 5), ("test", 3))}  # fmt: skip
    for name, pixels in images.items():
        (folder / f"{name}_X.bin").write_bytes(pixels.transpose(0, 3, 2, 1).tobytes())
        if name != "unlabeled":
            (folder / f"{name}_y.bin").write_bytes(bytes(range(1, len(pixels) + 1)))
    for name in ("train_list", "test_list"):
        hashes = [[file, md5(folder / file)] for file, _ in getattr(datasets.STL10, name)]
        monkeypatch.setattr(datasets.STL10, name, hashes)
    return images


def celeba(home):
    """Five images for training, two for validation, three for testing: of a grey each, with a darker frame outside of
    the crop. Returns the greys by partition."""
    (home / "img_align_celeba").mkdir()
    greys, lines = {0: [], 1: [], 2: []}, []
    for number, partition in enumerate([0] * 5 + [1] * 2 + [2] * 3, 1):
        image = np.full((218, 178, 3), 20 * number, np.uint8)
        image[:40] = image[40 + 148 :] = image[:, :15] = image[:, 15 + 148 :] = 3
        (home / "img_align_celeba" / f"{number:06}.jpg").write_bytes(encoded(image))
        greys[partition].append(20 * number)
        lines.append(f"{number:06}.jpg {partition}\n")
    (home / "list_eval_partition.txt").write_text("".join(lines))
    return greys


def lsun(home, n=25, n_val=3):
    """Greys whose sides, red, are outside of the middle square; returned in the order of the keys, which are hashes."""
    made = {}
    for part, count in (("train", n), ("val", n_val)):
        images = []
        for i in range(count):
            pixels = np.zeros((256, 300, 3), np.uint8) + np.uint8([200, 0, 0])
            pixels[:, 22 : 22 + 256] = 2 * i + (part == "val")
            images.append(pixels)
        items = sorted((hashlib.sha1(pixels.tobytes()).hexdigest(), pixels) for pixels in images)
        path = home / f"tower_{part}_lmdb"
        path.mkdir()
        with lmdb.open(str(path), map_size=2**26) as environment, environment.begin(write=True) as transaction:
            for key, pixels in items:
                transaction.put(key.encode(), encoded(pixels))
        made[part] = [int(pixels[0, 150, 0]) for _, pixels in items]
    return made


def imagenet64(home):
    """Three images a batch; returns images (n, 3, 64, 64) and labels from 0 by split."""
    made = {}
    for split, names in (("train", [f"train_data_batch_{i}" for i in range(1, 11)]), ("test", ["val_data"])):
        images, labels = RNG.integers(256, size=(3 * len(names), 3, 64, 64), dtype=np.uint8), []
        labels = RNG.integers(1000, size=len(images))
        for i, name in enumerate(names):
            mine = slice(3 * i, 3 * i + 3)
            np.savez(home / f"{name}.npz", data=images[mine].reshape(3, -1), labels=labels[mine] + 1)
        made[split] = images, labels
    return made


def tiny_imagenet(home):
    """Four training and two validation images per class, one of them grey; returns the root."""
    root = home / "tiny-imagenet-200"
    for label, wnid in enumerate(WNIDS):
        (root / "train" / wnid / "images").mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("boxes")
        for i in range(4):
            pixels = smooth(64, 10 * label + i)
            file = root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG"
            file.write_bytes(encoded(pixels[..., 0] if (label, i) == (1, 1) else pixels, "JPEG"))
    for part in ("val", "test"):
        (root / part / "images").mkdir(parents=True)
    for i in range(6):
        (root / "val" / "images" / f"val_{i}.JPEG").write_bytes(encoded(smooth(64, 100 + i), "JPEG"))
    lines = [f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t0\t63\t63\n" for i in range(6)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    (root / "words.txt").write_text("n00000000\tentity\nn02000001\tcat, house cat\nn01000000\tdog\n")
    return root
