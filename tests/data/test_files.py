"""npz:PATH and folder:PATH: what is read, and the one line that says what is wrong."""

import numpy as np
import pytest
import torch
from PIL import Image
from published_copies import bag

from cqlib import data
from cqlib.data.dataset import fixed_order
from cqlib.suite.cli.options import absolute_data_path
from cqlib.suite.experiments.experiment import experiment
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


def test_npz_with_both_splits(tmp_path):
    """In one file or in two; labels are numbered from 0, whatever they are, and grey images become RGB."""
    train, test = pixels(5, 32), pixels(3, 32)[..., 0]
    arrays = {"train_images": train, "train_labels": np.uint8([7, 9, 7, 9, 7]), "test_images": test}
    np.savez_compressed(tmp_path / "a.npz", **arrays, test_labels=[9, 7, 9])
    chosen = data.load(f"npz:{tmp_path}/a.npz", size=32)
    assert chosen.classes == ("7", "9")
    assert bag(chosen.train.images, chosen.train.labels) == bag(train.transpose(0, 3, 1, 2), [0, 1, 0, 1, 0])
    assert bag(chosen.test.images, chosen.test.labels) == bag(test[:, None].repeat(3, 1), [1, 0, 1])
    np.savez(tmp_path / "train.npz", images=pixels(4))
    np.savez(tmp_path / "test.npz", images=pixels(2))
    chosen = data.load(f"npz:{tmp_path}")
    assert (len(chosen.train), len(chosen.test), chosen.classes) == (4, 2, ("all",))


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
    assert fixed_order(10).tolist() == [5, 6, 2, 0, 4, 9, 1, 3, 8, 7]


NPZ_FAULTS = {
    "float": (dict(images=np.zeros((4, 16, 16, 3), np.float32)), "of type float32 and shape 4x16x16x3: give uint8"),
    "odd size": (dict(images=pixels(4, size=20)), "shape 4x20x20x3: give uint8 images (N, S, S, 3) or (N, 3, S, S)"),
    "one image": (dict(images=pixels(1)), "holds one image"),
    "no images": (dict(pictures=pixels(4)), "has no array 'images' (it holds pictures)"),
    "labels": (dict(images=pixels(4), labels=np.arange(3)), "one whole number for each of the 4 images"),
    "pickle": (dict(images=np.array([{}, []], dtype=object)), "is damaged (Object arrays cannot be loaded"),
    "no test": (dict(train_images=pixels(4)), "has no array 'test_images'"),
    "one labelled": (dict(train_images=pixels(4), train_labels=[7, 9] * 2, test_images=pixels(2)), "in one split"),
    "two sizes": (dict(train_images=pixels(4), test_images=pixels(4, size=32)), "holds 32x32 images, not 16x16"),
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
    said = fault(f"npz:{path}", path, size=32)
    assert "holds 16x16 images, not 32x32" in said and said.endswith(f"npz:{path}:16")
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 255
    for content in (b"", b"not an archive", whole[: len(whole) // 2], bytes(broken)):
        path.write_bytes(content)
        assert "is damaged" in fault(f"npz:{path}", path)
    np.save(tmp_path / "b.npy", pixels(2))
    assert "not an .npz archive" in fault(f"npz:{tmp_path}/b.npy", tmp_path / "b.npy")
    assert "is missing" in fault(f"npz:{tmp_path}", tmp_path / "train.npz")


# ---- paths ------------------------------------------------------------------------------------------------


def test_relative_paths_are_looked_for_in_the_data_folder_first(tmp_path, monkeypatch):
    for folder, n in (("here", 5), ("there", 7)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "a.npz", images=pixels(n))
    monkeypatch.chdir(tmp_path / "here")
    assert len(data.load("npz:a.npz").train) == 4
    assert len(data.load("npz:a.npz", data_dir=tmp_path / "there").train) == 6
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path / "there"))
    assert len(data.load("npz:a.npz").train) == 6
    assert f"nor under {tmp_path}/there" in fault("npz:b.npz", "b.npz")
    for odd in ("~no-such-user/a", "x" * 5000):
        assert "does not exist" in fault(f"npz:{odd}", odd)


def test_a_size_after_the_path_is_that_of_the_images(tmp_path, monkeypatch):
    """For every profile; a relative path is made absolute before it."""
    for n in range(20):
        save(tmp_path / "cats" / f"{n}.png", size=80)
    np.savez(tmp_path / "a.npz", images=pixels(20, 48))
    for name, size in ((f"folder:{tmp_path}/cats:64", 64), (f"npz:{tmp_path}/a.npz:48", 48)):
        chosen = data.load(name)
        assert (chosen.size, chosen.name, data.sizes(name)) == (size, name, (size,))
        assert experiment("table1/cq-f", "smoke", name).size == experiment("table1/cq-f", "study", name).size == size
    for empty in ("folder::64", "npz:PATH:64"):
        with pytest.raises(UserError, match="lacks its path"):
            data.check(empty)
    assert data.own_path("npz:~/a.npz:64") == "~/a.npz" and data.own_path("folder:cats") == "cats"
    assert [data.own_path(name) for name in ("photos10", "tiny-imagenet:64")] == [None] * 2
    with pytest.raises(UsageError, match="has no size 32: did you mean 64"):
        data.load(f"folder:{tmp_path}/cats:64", size=32)
    monkeypatch.chdir(tmp_path)
    assert absolute_data_path("folder:cats:64", None) == f"folder:{tmp_path}/cats:64"


@pytest.mark.parametrize("number", [12, 64])
def test_a_path_that_ends_in_a_number_is_no_size(tmp_path, monkeypatch, number):
    """Where it is no size of images, or where the path exists as it is."""
    for i in range(10):
        save(tmp_path / f"run:{number}/{i}.png", size=32)
    monkeypatch.chdir(tmp_path)
    for name in (f"folder:{tmp_path}/run:{number}", f"folder:run:{number}"):
        assert data.load(name).size == 32 and data.sizes(name) == data.IMAGE_SIZES
        assert data.load(f"{name}:16").size == 16 and data.sizes(f"{name}:16") == (16,)
        assert absolute_data_path(name, None) == f"folder:{tmp_path}/run:{number}"


# ---- folder -----------------------------------------------------------------------------------------------


def test_folder_every_tenth_file_is_for_testing_and_sub_folders_are_classes(tmp_path):
    made = [save(tmp_path / f"set/{name}/{i:02}.png") for name in ("cat", "far") for i in range(10)]
    (tmp_path / "set/far").rename(tmp_path / "far")
    (tmp_path / "set/dog").symlink_to(tmp_path / "far")
    save(tmp_path / "set/cat/.hidden.png")
    save(tmp_path / "set/.ipynb_checkpoints/00.png")
    (tmp_path / "set/notes.txt").write_text("passed over")
    chosen = data.load(f"folder:{tmp_path}/set")
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


def test_folder_size_averages_the_middle_square(tmp_path):
    image = RNG.integers(256, size=(32, 72, 3), dtype=np.uint8)
    for i in range(2):
        save(tmp_path / f"{i}.png", image)
    chosen = data.load(f"folder:{tmp_path}", size=16)
    mean = image[:, 20:52].reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(chosen.train.images[0].permute(1, 2, 0).numpy() - mean).max() <= 1  # Pillow rounds twice
    assert "has 72x32 pixels, fewer than 64x64" in fault(f"folder:{tmp_path}", tmp_path / "0.png", size=64)
    with pytest.raises(UsageError):
        data.load(f"folder:{tmp_path}", size=24)


def test_images_become_rgb_and_upright(tmp_path):
    image, rotation = pixels(1)[0], Image.Exif()
    rotation[0x0112] = 3  # by 180 degrees
    save(tmp_path / "0.png", image, exif=rotation)
    save(tmp_path / "1.png", image[..., 0])
    chosen = data.load(f"folder:{tmp_path}")
    assert np.array_equal(chosen.train.images[0].permute(1, 2, 0).numpy(), image[::-1, ::-1])
    assert np.array_equal(chosen.test.images[0].permute(1, 2, 0).numpy(), image[..., :1].repeat(3, 2))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, suffix):
    save(tmp_path / "0.png")
    path = tmp_path / f"1.{suffix}"
    save(path, size=64)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert f"1.{suffix} is damaged" in fault(f"folder:{tmp_path}", path, size=16)
    path.unlink()
    path.symlink_to("nowhere")
    assert "is missing: replace or remove it" in fault(f"folder:{tmp_path}", path, size=16)


def test_sixteen_bits_are_refused(tmp_path):
    save(tmp_path / "0.png")
    save(tmp_path / "1.png", pixels(1)[0, :, :, 0].astype(np.uint16) * 256)
    assert "pixels of 16 bits or more, and 8 are needed" in fault(f"folder:{tmp_path}", tmp_path / "1.png")


def test_folder_wrong_sizes(tmp_path):
    save(tmp_path / "0.png")
    save(tmp_path / "1.png", size=32)
    said = fault(f"folder:{tmp_path}", tmp_path / "1.png")
    assert "is 32 pixels wide, and 0.png 16: make them equal, or ask for a size" in said
    save(tmp_path / "0.png", size=20)
    assert "has 20x20 pixels, not 16, 32, 48 or 64" in fault(f"folder:{tmp_path}", tmp_path / "0.png")


def test_folder_layout_faults(tmp_path):
    assert "does not exist" in fault(f"folder:{tmp_path}/none", tmp_path / "none")
    assert "holds no images" in fault(f"folder:{tmp_path}", tmp_path)
    save(tmp_path / "0.png")
    assert "holds one image" in fault(f"folder:{tmp_path}", tmp_path)
    assert "is not a folder" in fault(f"folder:{tmp_path}/0.png", tmp_path / "0.png")
    save(tmp_path / "cat/1.png")
    assert "lies beside folders" in fault(f"folder:{tmp_path}", tmp_path / "0.png")
    for i, (train, test) in enumerate((("cat/", ""), ("", "cat/"))):
        save(tmp_path / f"c{i}/train/{train}0.png")
        save(tmp_path / f"c{i}/test/{test}0.png")
        assert "in one split" in fault(f"folder:{tmp_path}/c{i}", tmp_path / f"c{i}")
    (tmp_path / "s/test").mkdir(parents=True)
    save(tmp_path / "s/train/cat/0.png")
    assert "holds no images" in fault(f"folder:{tmp_path}/s", tmp_path / "s/test")
