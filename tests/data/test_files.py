"""npz:PATH and folder:PATH: what is read, and the one line that tells what is wrong."""

import numpy as np
import pytest
import torch
from PIL import Image

from cqlib import data
from cqlib.data import files
from cqlib.util.errors import UsageError, UserError

RNG = np.random.default_rng(0)


def pixels(n, size=16, channels=3):
    return RNG.integers(256, size=(n, size, size, channels), dtype=np.uint8)


def save(path, image=None, size=16, **options):
    """A PNG (or what the suffix says) of random pixels; returns the pixels."""
    image = pixels(1, size)[0] if image is None else image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return image


def bag(images, labels):
    """Images (N, C, H, W) with their labels, whatever their order."""
    return sorted((np.asarray(x).tobytes(), int(y)) for x, y in zip(images, labels, strict=True))


def fault(name, path, **options):
    """The message of loading `name`, after checking that it is one line that names `path`."""
    with pytest.raises(UserError) as caught:
        data.load(name, **options)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and caught.value.exit_code == 1
    return message


# ---- npz --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_npz_one_array_keeps_a_tenth_for_testing(tmp_path, layout):
    images, labels = pixels(25), np.arange(25) % 3
    np.savez(tmp_path / "a.npz", images=images.transpose(layout), labels=labels)
    chosen = data.load(f"npz:{tmp_path}/a.npz")
    both = torch.cat([chosen.train.images, chosen.test.images])
    assert len(chosen.test) == 2
    assert bag(both, torch.cat([chosen.train.labels, chosen.test.labels])) == bag(images.transpose(0, 3, 1, 2), labels)
    assert chosen.classes == ("0", "1", "2") and chosen.size == 16 and chosen.name == f"npz:{tmp_path}/a.npz"


def test_npz_with_both_splits_and_class_names(tmp_path):
    train, test = pixels(5, 32), pixels(3, 32)
    np.savez_compressed(
        tmp_path / "a.npz",
        train_images=train,
        test_images=test,
        classes=["cat", "dog"],
        train_labels=np.array([0, 1, 0, 1, 0], np.uint8),
        test_labels=[1, 0, 1],
    )
    chosen = data.load(f"npz:{tmp_path}/a.npz", size=32)
    assert chosen.classes == ("cat", "dog")
    assert bag(chosen.test.images, chosen.test.labels) == bag(test.transpose(0, 3, 1, 2), [1, 0, 1])


@pytest.mark.parametrize("kind", ["npz", "npz splits", "folder"])
def test_any_prefix_of_a_split_is_a_fair_draw_though_the_files_are_sorted_by_class(tmp_path, kind):
    labels = np.repeat([0, 1], 300)
    images = np.repeat(pixels(2), 300, axis=0)
    if kind == "folder":
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            save(tmp_path / f"{label}/{i:03}.png", image)
    elif kind == "npz":
        np.savez(tmp_path / "a.npz", images=images, labels=labels)
    else:
        np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    name = f"folder:{tmp_path}" if kind == "folder" else f"npz:{tmp_path}/a.npz"
    chosen = data.load(name)
    for split in (chosen.train, chosen.test):
        for n in (40, len(split) // 2, len(split)):
            assert abs(split.labels[:n].float().mean() - 0.5) < 0.2, (split.name, n)
        for label in (0, 1):  # an image keeps its label
            assert (split.images[split.labels == label].permute(0, 2, 3, 1).numpy() == images[-label]).all()
    assert data.load(name).test.fingerprint == chosen.test.fingerprint


def test_the_order_is_the_same_everywhere():
    assert files._order(10).tolist() == [5, 6, 2, 0, 4, 9, 1, 3, 8, 7]


@pytest.mark.parametrize("test", ["test", "val"])
def test_npz_folder(tmp_path, test):
    np.savez(tmp_path / "train.npz", images=pixels(4))
    np.savez(tmp_path / f"{test}.npz", images=pixels(2))
    chosen = data.load(f"npz:{tmp_path}")
    assert (len(chosen.train), len(chosen.test), chosen.classes) == (4, 2, ("all",))


NPZ_FAULTS = {
    "float": (dict(images=np.zeros((4, 16, 16, 3), np.float32)), "float32: convert them to uint8"),
    "grey": (dict(images=pixels(4, channels=1)), "grey images"),
    "grey 3-D": (dict(images=pixels(4)[..., 0]), "grey images"),
    "four channels": (dict(images=pixels(4, channels=4)), "of shape 4x16x16x4"),
    "odd size": (dict(images=pixels(4, size=20)), "has the size 20x20"),
    "not square": (dict(images=pixels(4, size=32)[:, :16]), "has the size 32x16"),
    "empty": (dict(images=pixels(0)), "has no images"),
    "one image": (dict(images=pixels(1)), "holds one image"),
    "no images": (dict(pictures=pixels(4)), "has no array 'images' (it holds pictures)"),
    "labels": (dict(images=pixels(4), labels=np.arange(3)), "one integer for each of the 4 images"),
    "float labels": (dict(images=pixels(4), labels=np.zeros(4)), "one integer for each"),
    "negative": (dict(images=pixels(4), labels=np.array([0, 1, -1, 2])), "from -1 to 2"),
    "classes": (dict(images=pixels(4), labels=np.arange(4), classes=["a", "b"]), "give 4 names"),
    "pickle": (dict(images=np.array([{}, []], dtype=object)), "is damaged (Object arrays cannot be loaded"),
    "no test": (dict(train_images=pixels(4)), "has no array 'test_images'"),
    "two sizes": (dict(train_images=pixels(4), test_images=pixels(4, size=32)), "32x32 test images"),
}


@pytest.mark.parametrize("case", NPZ_FAULTS)
def test_npz_faults(tmp_path, case):
    arrays, words = NPZ_FAULTS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    assert words in fault(f"npz:{tmp_path}/a.npz", tmp_path / "a.npz")


def test_npz_damage(tmp_path):
    path = tmp_path / "a.npz"
    assert "does not exist" in fault(f"npz:{path}", path)
    np.savez_compressed(path, images=pixels(20))
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 255
    for content in (b"", b"not an archive", whole[:-30], whole[: len(whole) // 2], bytes(broken)):
        path.write_bytes(content)
        assert "is damaged" in fault(f"npz:{path}", path)
    np.save(tmp_path / "b.npy", pixels(2))
    assert "not an .npz archive" in fault(f"npz:{tmp_path}/b.npy", tmp_path / "b.npy")
    assert "does not exist" in fault(f"npz:{tmp_path}", tmp_path / "train.npz")


def test_npz_is_not_resized(tmp_path):
    np.savez(tmp_path / "a.npz", images=pixels(4))
    assert "holds 16x16 images, not 32x32" in fault(f"npz:{tmp_path}/a.npz", tmp_path / "a.npz", size=32)


def test_relative_paths_are_looked_for_in_the_data_folder_first(tmp_path, monkeypatch):
    for folder, n in (("here", 5), ("there", 7)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "a.npz", images=pixels(n))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("CQLIB_DATA", raising=False)
    assert len(data.load("npz:a.npz").train) == 4
    assert len(data.load("npz:a.npz", data_dir=tmp_path / "there").train) == 6
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path / "there"))
    assert len(data.load("npz:a.npz").train) == 6
    assert f"nor under {tmp_path}/there" in fault("npz:b.npz", "b.npz")
    for odd in ("~no-such-user/a", "x" * 5000):
        assert "does not exist" in fault(f"npz:{odd}", odd)
    for odd in ("nul\0", "half\ud800"):
        with pytest.raises(UsageError, match="no path that can be used"):
            data.load(f"npz:{odd}")


# ---- folder -----------------------------------------------------------------------------------------------


def test_folder_every_tenth_file_is_for_testing_and_sub_folders_are_classes(tmp_path):
    made = [save(tmp_path / f"{name}/{i:02}.png") for name in ("cat", "dog") for i in range(10)]
    save(tmp_path / "cat/.hidden.png")
    (tmp_path / "notes.txt").write_text("passed over")
    chosen = data.load(f"folder:{tmp_path}")
    assert chosen.classes == ("cat", "dog") and (len(chosen.train), len(chosen.test)) == (18, 2)
    images = [image.transpose(2, 0, 1) for image in made]
    assert bag(chosen.test.images, chosen.test.labels) == bag([images[9], images[19]], [0, 1])
    assert bag(chosen.train.images, chosen.train.labels) == bag(images[:9] + images[10:19], [0] * 9 + [1] * 9)


@pytest.mark.parametrize("test", ["test", "val"])
def test_folder_with_splits(tmp_path, test):
    for name in ("cat", "dog"):
        for i in range(3):
            save(tmp_path / f"train/{name}/deep/{i}.JPEG")  # as Tiny ImageNet lays them out
    save(tmp_path / f"{test}/dog/0.png")
    chosen = data.load(f"folder:{tmp_path}")
    assert (len(chosen.train), len(chosen.test), chosen.classes) == (6, 1, ("cat", "dog"))
    assert chosen.test.labels.tolist() == [1]


def test_folder_without_classes_and_with_few_images(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png")
    chosen = data.load(f"folder:{tmp_path}")
    assert (len(chosen.train), len(chosen.test), chosen.classes) == (2, 1, ("all",))


def test_folder_size_averages_the_middle_square(tmp_path):
    image = RNG.integers(256, size=(32, 72, 3), dtype=np.uint8)
    for i in range(2):
        save(tmp_path / f"{i}.png", image)
    chosen = data.load(f"folder:{tmp_path}", size=16)
    mean = image[:, 20:52].reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(chosen.train.images[0].permute(1, 2, 0).numpy() - mean).max() <= 1  # Pillow rounds twice
    assert "smaller than 64x64" in fault(f"folder:{tmp_path}", tmp_path / "0.png", size=64)
    with pytest.raises(UsageError):
        data.load(f"folder:{tmp_path}", size=24)


def test_folder_heeds_orientation_and_palettes(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    image = save(tmp_path / "0.png", exif=exif)
    Image.fromarray(image).convert("P").save(tmp_path / "1.png")
    chosen = data.load(f"folder:{tmp_path}")
    assert np.array_equal(chosen.train.images[0].permute(1, 2, 0), image[::-1, ::-1])


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "F"])
def test_folder_grey_image(tmp_path, mode):
    save(tmp_path / "0.png")
    name = "1.tiff" if mode == "F" else "1.png"
    Image.new(mode, (16, 16)).save(tmp_path / name)
    assert "is a grey image" in fault(f"folder:{tmp_path}", tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_folder_damaged_image(tmp_path, suffix):
    save(tmp_path / "0.png")
    path = tmp_path / f"1.{suffix}"
    save(path, size=64)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert "is damaged" in fault(f"folder:{tmp_path}", path, size=16)


def test_folder_wrong_sizes(tmp_path):
    save(tmp_path / "0.png")
    save(tmp_path / "1.png", size=32)
    assert "is 32x32, others are 16x16" in fault(f"folder:{tmp_path}", tmp_path / "1.png")
    save(tmp_path / "0.png", size=20)
    assert "has the size 20x20" in fault(f"folder:{tmp_path}", tmp_path / "0.png")


def test_folder_layout_faults(tmp_path):
    assert "does not exist" in fault(f"folder:{tmp_path}/none", tmp_path / "none")
    assert "holds no images" in fault(f"folder:{tmp_path}", tmp_path)
    save(tmp_path / "0.png")
    assert "holds 1 image" in fault(f"folder:{tmp_path}", tmp_path)
    assert "is not a folder" in fault(f"folder:{tmp_path}/0.png", tmp_path / "0.png")
    save(tmp_path / "cat/1.png")
    assert "lies beside folders" in fault(f"folder:{tmp_path}", tmp_path / "0.png")
    (tmp_path / "s/test").mkdir(parents=True)
    save(tmp_path / "s/train/cat/0.png")
    assert "holds no images" in fault(f"folder:{tmp_path}/s", tmp_path / "s/test")
    save(tmp_path / "s/test/dog/0.png")
    stray = tmp_path / "s/test/dog/0.png"
    assert "'dog', which has no training images" in fault(f"folder:{tmp_path}/s", stray)


def test_a_file_name_with_a_line_break_still_gives_one_line(tmp_path):
    save(tmp_path / "0.png")
    (tmp_path / "a\nb.png").write_bytes(b"")
    assert "a?b.png" in fault(f"folder:{tmp_path}", tmp_path)
