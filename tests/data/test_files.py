"""npz:PATH and folder:PATH: what is read, and the one line that tells what is wrong."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from published_copies import bag

from cqlib import data
from cqlib.cli.options import absolute_data_path
from cqlib.data import files
from cqlib.data.dataset import fixed_order
from cqlib.experiments.experiment import experiment
from cqlib.util.errors import UsageError, UserError, one_line

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
    train, test = pixels(5, 32), pixels(3, 32)
    np.savez_compressed(
        tmp_path / "a.npz",
        train_images=train,
        test_images=test,
        train_labels=np.array([0, 1, 0, 1, 0], np.uint8),
        test_labels=[1, 0, 1],
    )
    chosen = data.load(f"npz:{tmp_path}/a.npz", size=32)
    assert chosen.classes == ("0", "1")
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
    assert fixed_order(10).tolist() == [5, 6, 2, 0, 4, 9, 1, 3, 8, 7]


def test_npz_folder(tmp_path):
    np.savez(tmp_path / "train.npz", images=pixels(4))
    np.savez(tmp_path / "test.npz", images=pixels(2))
    chosen = data.load(f"npz:{tmp_path}")
    assert (len(chosen.train), len(chosen.test), chosen.classes) == (4, 2, ("all",))


NPZ_FAULTS = {
    "float": (dict(images=np.zeros((4, 16, 16, 3), np.float32)), "float32: convert them to uint8"),
    "four channels": (dict(images=pixels(4, channels=4)), "of shape 4x16x16x4"),
    "odd size": (dict(images=pixels(4, size=20)), "has the size 20x20 and not 16, 32, 48 or 64"),
    "not square": (dict(images=pixels(4, size=32)[:, :16]), "has the size 32x16"),
    "empty": (dict(images=pixels(0)), "has no images"),
    "one image": (dict(images=pixels(1)), "holds one image"),
    "no images": (dict(pictures=pixels(4)), "has no array 'images' (it holds pictures)"),
    "labels": (dict(images=pixels(4), labels=np.arange(3)), "one integer for each of the 4 images"),
    "float labels": (dict(images=pixels(4), labels=np.zeros(4)), "one integer for each"),
    "negative": (dict(images=pixels(4), labels=np.array([0, 1, -1, 2])), "from -1 to 2"),
    "pickle": (dict(images=np.array([{}, []], dtype=object)), "is damaged (Object arrays cannot be loaded"),
    "no test": (dict(train_images=pixels(4)), "has no array 'test_images'"),
    "half labelled": (dict(train_images=pixels(4), test_images=pixels(4), train_labels=np.arange(4)),
                      "has labels of one split alone: give labels of both"),
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
    exists = Path.exists

    def closed(path):
        if tmp_path / "there" in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", closed)
        assert len(data.load("npz:a.npz").train) == 4  # of the current folder
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


def test_folder_with_links(tmp_path):
    """Linked folders are classes as others are, loops end, and a link to nothing is an image that cannot be used."""
    for i in range(10):
        save(tmp_path / f"far/dogs/{i}.png")
        save(tmp_path / f"near/cat/{i}.png")
    (tmp_path / "near/dog").symlink_to(tmp_path / "far/dogs")
    (tmp_path / "near/cat/again").symlink_to(tmp_path / "near")
    chosen = data.load(f"folder:{tmp_path}/near")
    assert chosen.classes == ("cat", "dog") and (len(chosen.train), len(chosen.test)) == (18, 2)
    (tmp_path / "near/cat/gone.png").symlink_to("nowhere.png")
    assert "has 1 of 21 images that cannot be used (cat/gone.png " in fault(f"folder:{tmp_path}/near", tmp_path)


def test_folder_with_one_that_cannot_be_read(tmp_path, monkeypatch):
    save(tmp_path / "cat/0.png")
    walk = os.walk

    def refusing(top, onerror, **options):
        onerror(PermissionError(13, "Permission denied", f"{top}/private"))
        return walk(top, **options)

    monkeypatch.setattr(os, "walk", refusing)
    assert "cannot be read (Permission denied)" in fault(f"folder:{tmp_path}", tmp_path / "private")


def test_an_image_in_a_closed_folder_is_named(tmp_path, monkeypatch):
    for i in range(3):
        save(tmp_path / f"cat/{i}.png")
    closed, stat, opened = tmp_path / "cat/1.png", os.stat, Image.open

    def refusing(of):
        def call(path, *args, **options):
            if os.fspath(path) == str(closed):
                raise PermissionError(13, "Permission denied", str(path))
            return of(path, *args, **options)

        return call

    monkeypatch.setattr(os, "stat", refusing(stat))
    monkeypatch.setattr(Image, "open", refusing(opened))
    assert "has 1 of 3 images that cannot be used (cat/1.png may not be read)" in fault(f"folder:{tmp_path}", tmp_path)


def test_folder_with_a_class_whose_only_image_is_for_testing(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}/0.png")
    chosen = data.load(f"folder:{tmp_path}")
    assert chosen.classes == ("a", "b") and chosen.test.labels.tolist() == [1]


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
    assert "smaller than 64x64" in fault(f"folder:{tmp_path}", tmp_path, size=64)
    with pytest.raises(UsageError):
        data.load(f"folder:{tmp_path}", size=24)


def test_a_size_after_the_path_is_that_of_the_images(tmp_path, monkeypatch):
    """For every profile; other numbers are no sizes, and a relative path is made absolute before it."""
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
    assert data.split_size("cats:064") == ("cats:064", None) and data.split_size("a:64:32") == ("a:64", 32)
    assert data.own_path("npz:~/a.npz:64") == "~/a.npz" and data.own_path("folder:cats") == "cats"
    assert [data.own_path(name) for name in ("photos10", "toy2d:spiral", "tiny-imagenet:64")] == [None] * 3
    assert data.split_size("runs/epoch:12") == ("runs/epoch:12", None)
    with pytest.raises(UserError, match="has no size 32: did you mean 64"):
        data.load(f"folder:{tmp_path}/cats:64", size=32)
    monkeypatch.chdir(tmp_path)
    assert absolute_data_path("folder:cats:64", None) == f"folder:{tmp_path}/cats:64"
    assert absolute_data_path("folder:cats", None) == f"folder:{tmp_path}/cats"


def test_folder_converts_what_is_not_rgb_and_counts_it(tmp_path):
    image, rotation = save(tmp_path / "00.png"), Image.Exif()
    rotation[0x0112] = 3  # by 180 degrees
    save(tmp_path / "01.png", image, exif=rotation)
    Image.fromarray(image).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "02.png")
    Image.fromarray(image[..., 0]).save(tmp_path / "03.png")
    Image.fromarray(image[..., 0]).convert("LA").save(tmp_path / "04.png")  # opaque
    Image.fromarray(255 - np.dstack([image, image[..., :1] * 0])).convert("CMYK").save(tmp_path / "05.tif")
    Image.fromarray(image[..., 0].astype(np.uint16) * 256 + 7).save(tmp_path / "06.png")
    alpha = np.dstack([image, np.full((16, 16), 255, np.uint8)])
    alpha[:8, :, 3] = 0
    Image.fromarray(alpha).save(tmp_path / "07.png")
    Image.fromarray(alpha[8:].repeat(2, 0)).save(tmp_path / "08.png")  # opaque: nothing is converted
    save(tmp_path / "09.jpg", image[..., 0], exif=rotation)
    chosen = data.load(f"folder:{tmp_path}")
    counts = "4 grey, 2 rotated by EXIF, 1 palette, 1 CMYK, 1 16-bit, 1 transparent"
    assert chosen.notes == (f"8 of 10 images were converted to RGB: {counts}",)
    order = [*fixed_order(9)]  # the tenth is for testing
    made = [chosen.train.images[order.index(i)].permute(1, 2, 0).numpy() for i in range(9)]
    grey = image[..., :1].repeat(3, 2)
    assert np.array_equal(made[0], image) and np.array_equal(made[1], image[::-1, ::-1])
    for i in (3, 4, 6):
        assert np.array_equal(made[i], grey), i
    assert (made[7][:8] == 255).all() and np.array_equal(made[7][8:], image[8:])
    assert chosen.first(3, 1).notes == chosen.notes
    assert data.load("photos10").notes == ()


def test_sixteen_bit_colours_keep_their_upper_half(tmp_path):
    import struct
    import zlib

    image = pixels(1)[0]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image.astype(np.uint16).reshape(16, 48) * 256 + 9)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    save(tmp_path / "1.png")
    chosen = data.load(f"folder:{tmp_path}")
    assert chosen.notes == ("1 of 2 images were converted to RGB: 1 16-bit",)
    assert np.array_equal(chosen.train.images[0].permute(1, 2, 0).numpy(), image)


def test_a_set_that_is_all_grey_becomes_rgb(tmp_path):
    images = pixels(20)[..., 0]
    for i, image in enumerate(images):
        save(tmp_path / f"images/{i:02}.png", image)
    np.savez(tmp_path / "a.npz", images=images)
    np.savez(tmp_path / "b.npz", train_images=images[..., None], test_images=pixels(5))
    wanted = ("20 of 20 images were converted to RGB: 20 grey",)
    for name in (f"folder:{tmp_path}/images", f"npz:{tmp_path}/a.npz"):
        chosen = data.load(name)
        assert chosen.notes == wanted and (chosen.train.images == chosen.train.images[:, :1]).all()
        both = torch.cat([chosen.train.images, chosen.test.images])[:, 0]
        assert bag(both, torch.zeros(20)) == bag(images, torch.zeros(20))
    assert data.load(f"npz:{tmp_path}/b.npz").notes == ("20 of 25 images were converted to RGB: 20 grey",)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "ppm"])
def test_folder_damaged_image(tmp_path, suffix):
    save(tmp_path / "0.png")
    path = tmp_path / f"1.{suffix}"
    save(path, size=64)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert f"1 of 2 images that cannot be used (1.{suffix} is damaged" in fault(
            f"folder:{tmp_path}", tmp_path, size=16
        )


def test_all_files_that_cannot_be_used_are_named_together(tmp_path):
    for i in range(6):
        save(tmp_path / f"{i}.png", size=64)
    (tmp_path / "1.png").write_bytes(b"")
    save(tmp_path / "2.png", size=16)
    Image.new("F", (64, 64)).save(tmp_path / "7.tiff")
    save(tmp_path / "8.png", size=16)
    said = fault(f"folder:{tmp_path}", tmp_path, size=32)
    assert said.startswith(f"{tmp_path} has 4 of 8 images that cannot be used (1.png is damaged (")
    assert "; 2.png is 16x16, smaller than 32x32; 7.tiff is damaged (floating-point" in said
    assert "; 8.png is 16x16, smaller than 32x32): replace or remove them" in said
    for i in range(10, 40):
        (tmp_path / f"{i}.png").write_bytes(b"")
    said = fault(f"folder:{tmp_path}", tmp_path, size=32)
    assert "has 34 of 38 images" in said and said.count(" is ") > 5 and said.endswith("; …): replace or remove them")
    assert one_line(said) == said


def test_what_does_not_fit_into_memory_is_not_called_damaged(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    for i in range(3):
        save(tmp_path / f"{i}.png")
    np.savez(tmp_path / "a.npz", images=pixels(4))
    monkeypatch.setattr(Image, "open", full)
    assert "does not fit into memory" in fault(f"folder:{tmp_path}", tmp_path)
    monkeypatch.setattr(np, "load", full)
    said = fault(f"npz:{tmp_path}/a.npz", tmp_path)
    assert "does not fit into memory, or is damaged: free some memory, or replace it" in said


def test_npz_larger_than_memory(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", images=pixels(10_000))
    monkeypatch.setattr(files, "virtual_memory", lambda: SimpleNamespace(available=2e6))
    assert "a.npz takes 23 MB of memory: 2 MB are free" in fault(f"npz:{tmp_path}/a.npz", tmp_path)


def test_folder_wrong_sizes(tmp_path):
    save(tmp_path / "0.png")
    save(tmp_path / "1.png", size=32)
    assert "(1.png is 32x32, others are 16x16)" in fault(f"folder:{tmp_path}", tmp_path)
    save(tmp_path / "0.png", size=20)
    assert "(0.png has the size 20x20" in fault(f"folder:{tmp_path}", tmp_path)


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
