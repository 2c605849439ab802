"""ImageNet at 64 x 64: small copies of both official releases in every form, and what is said about broken ones."""

import io
import pickle
import tarfile
import zipfile

import numpy as np
import published_copies
import pytest
from PIL import Image

from cqlib import data
from cqlib.data import image_batches, imagenet64, reading
from cqlib.util.errors import UserError

N_TRAIN, N_TEST = 23, 4
ARCHIVES = {"Imagenet64_train_part1": range(1, 6), "Imagenet64_train_part2": range(6, 11), "Imagenet64_val": ()}


def draw(seed=0):
    """Images uint8 (n, 3, 64, 64) and labels from 1, by split."""
    rng = np.random.default_rng(seed)
    return {split: (rng.integers(256, size=(n, 3, 64, 64), dtype=np.uint8), rng.integers(1, 1001, size=n))
            for split, n in (("train", N_TRAIN), ("test", N_TEST))}  # fmt: skip


def encoded(images, labels, form):
    """One batch as it is written: red, then green, then blue, each by row."""
    data = np.concatenate([images[:, channel].reshape(len(images), -1) for channel in range(3)], axis=1)
    content = {"data": data, "labels": labels.tolist(), "mean": data.mean(0)}
    if form.startswith("pickle"):
        return pickle.dumps(content, protocol=int(form[-1]))
    buffer = io.BytesIO()
    (np.savez_compressed if form == "npz compressed" else np.savez)(buffer, **content)
    return buffer.getvalue()


def batches(home, form="npz", place="loose", made=None):
    """Ten training batches and one for validation below `home`: loose, in the parts' folders, or zipped."""
    made = made or draw()
    suffix, ending = (".npz", "_npz") if form.startswith("npz") else ("", "")
    files = {f"train_data_batch_{i + 1}{suffix}": encoded(*(part[i::10] for part in made["train"]), form)
             for i in range(10)}  # fmt: skip
    files[f"val_data{suffix}"] = encoded(*made["test"], form)
    home.mkdir(parents=True, exist_ok=True)
    for archive, numbers in ARCHIVES.items():
        names = [f"train_data_batch_{i}{suffix}" for i in numbers] or [f"val_data{suffix}"]
        if place == "zipped":
            with zipfile.ZipFile(home / f"{archive}{ending}.zip", "w", zipfile.ZIP_DEFLATED) as opened:
                for name in reversed(names):
                    opened.writestr(f"{archive}{ending}/{name}" if numbers else name, files[name])
        else:
            folder = home if place == "loose" else home / f"{archive}{ending}"
            folder.mkdir(exist_ok=True)
            for name in names:
                (folder / name).write_bytes(files[name])
    return made


def pictures(home, form=".tar"):
    made = draw()
    for split, stem in imagenet64.PICTURES.items():
        files = {f"{stem}/{i:05}.png": png(image.transpose(1, 2, 0)) for i, image in enumerate(made[split][0])}
        files |= {f"{stem}/._00000.png": b"a Macintosh's", f"{stem}/readme.txt": b"not an image"}
        home.mkdir(parents=True, exist_ok=True)
        if form == ".tar":
            with tarfile.open(home / f"{stem}.tar", "w") as archive:
                member = tarfile.TarInfo(stem)
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
                for name, data in files.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        elif form == ".zip":
            with zipfile.ZipFile(home / f"{stem}.zip", "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
        else:
            (home / stem).mkdir()
            for name, data in reversed(files.items()):
                (home / name).write_bytes(data)
    return made


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def contents(source):
    chunks = list(source.chunks())
    assert all(c.labels.dtype == np.int64 and c.images.dtype == np.uint8 for c in chunks)
    joined = {}
    for split in ("train", "test"):
        own = [chunk for chunk in chunks if chunk.split == split]
        joined[split] = np.concatenate([c.images for c in own]), np.concatenate([c.labels for c in own])
    return joined


def fault(path, name=None):
    with pytest.raises(UserError) as caught:
        list(imagenet64.read(path, 64).chunks())
    assert "\n" not in str(caught.value) and str(name or path) in str(caught.value) and caught.value.exit_code == 1
    return str(caught.value)


# ---- batches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["loose", "folders", "zipped"])
@pytest.mark.parametrize("form", ["npz", "npz compressed", "pickle 3", "pickle 4"])
def test_batches(tmp_path, form, place):
    home = tmp_path / ("imagenet64" if form == "npz" else "")
    made = batches(home, form, place)
    path = imagenet64.find(tmp_path)
    source = imagenet64.read(path, 64)
    assert source.counts == {"train": N_TRAIN, "test": N_TEST} and not source.shuffle
    assert len(source.classes) == 1000 and source.classes[0] == "class 1"
    found = contents(source)
    order = np.concatenate([np.arange(N_TRAIN)[i::10] for i in range(10)])  # batch by batch
    assert (found["train"][0] == made["train"][0][order]).all() and (found["test"][0] == made["test"][0]).all()
    assert (found["train"][1] == made["train"][1][order] - 1).all() and (found["test"][1] == made["test"][1] - 1).all()
    assert len(imagenet64.sources(path)) == (3 if place == "zipped" else 11)
    assert source.how == "official 64x64 batches (Chrabaszcz et al.)"


def test_parts_may_lie_in_different_ways(tmp_path):
    batches(tmp_path, place="zipped")
    with zipfile.ZipFile(tmp_path / "Imagenet64_train_part2_npz.zip") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "Imagenet64_train_part2_npz.zip").unlink()
    path = imagenet64.find(tmp_path)
    assert path.name == "Imagenet64_train_part1_npz.zip" and len(imagenet64.sources(path)) == 7
    assert imagenet64.read(path, 64).counts == {"train": N_TRAIN, "test": N_TEST}


def test_other_sizes_are_means(tmp_path):
    made = batches(tmp_path)
    source = imagenet64.read(imagenet64.find(tmp_path), 32)
    means = made["test"][0].reshape(-1, 3, 32, 2, 32, 2).mean((3, 5))
    assert np.abs(contents(source)["test"][0] - means).max() <= 1 and source.how.endswith(", area-averaged to 32x32")


@pytest.mark.parametrize("form", ["npz", "pickle 3"])
def test_a_batch_is_never_loaded_as_a_whole(tmp_path, monkeypatch, form):
    """The longest read of a batch is one image (or what the zip format needs), whatever the batch's length."""
    made = draw()
    file = Reads(encoded(made["train"][0].repeat(20, 0), made["train"][1].repeat(20), form))
    batch = image_batches.npz if form == "npz" else image_batches.pickled
    assert batch.count(file) == 460 and len(batch.labels(file)) == 460
    assert sum(len(row) for row in batch.images(file)) == 460 * 3 * 64 * 64
    assert file.longest < 2**17


@pytest.mark.parametrize("form", ["npz", "npz compressed", "pickle 3"])
def test_an_archived_batch_is_unpacked_few_times(form):
    made = draw()
    data = encoded(made["train"][0].repeat(20, 0), made["train"][1].repeat(20), form)
    file = ForwardOnly(data)
    unpacked = io.BufferedReader(image_batches.Unpacked(file, len(data)))
    batch = image_batches.pickled if form == "pickle 3" else image_batches.npz
    assert (batch.labels(unpacked) == made["train"][1].repeat(20)).all() and batch.count(unpacked) == 460
    assert b"".join(batch.images(unpacked)) == made["train"][0].repeat(20, 0).tobytes()
    assert file.unpacked < 3.1 * len(data)


class ForwardOnly(io.BytesIO):
    """Like a file in an archive: going back means unpacking from the beginning."""

    unpacked = 0

    def seek(self, offset, whence=0):
        before = self.tell()
        after = super().seek(offset, whence)
        self.unpacked += after - before if after >= before else after
        return after

    def read(self, n=-1, /):
        data = super().read(n)
        self.unpacked += len(data)
        return data


class Reads(io.BytesIO):
    """Remembers the longest read."""

    longest = 0

    def read(self, n=-1, /):
        data = super().read(n)
        self.longest = max(self.longest, len(data))
        return data


@pytest.mark.parametrize("form", ["npz", "pickle 3", ".tar", ".zip", "folder"])
def test_memory_is_bounded(tmp_path, monkeypatch, form):
    """Chunks hold at most CHUNK images, and no image is decoded before its chunk is asked for."""
    if form.startswith((".", "folder")):
        pictures(tmp_path, form)
    else:
        batches(tmp_path, form, "zipped")
    monkeypatch.setattr(reading, "CHUNK", 2)
    decoded, taken, square = [], 0, reading.square
    for module in (imagenet64, reading):
        monkeypatch.setattr(module, "square", lambda *args: decoded.append(1) or square(*args))
    for chunk in imagenet64.read(imagenet64.find(tmp_path), 64).chunks():
        taken += len(chunk.images)
        assert len(chunk.images) <= 2 and len(decoded) == taken
    assert taken == N_TRAIN + N_TEST


class Malicious:
    """What it says is done by whoever unpickles it."""

    def __init__(self, action):
        self.action = action

    def __reduce__(self):
        return self.action, ()


def test_nothing_that_a_pickle_says_is_done(tmp_path):
    malicious = Malicious((tmp_path / "harm").touch)
    batches(tmp_path, "pickle 3")
    file = tmp_path / "train_data_batch_1"
    arrays = pickle.loads(file.read_bytes())
    for content in (malicious, {"data": malicious}):
        file.write_bytes(pickle.dumps(content, protocol=3))
        assert "no array 'data' in it" in fault(file)
    file.write_bytes(pickle.dumps(arrays | {"also": malicious}, protocol=3))
    assert len(contents(imagenet64.read(file, 64))["train"][0]) == N_TRAIN  # arrays are read, nothing else is done
    batches(tmp_path / "npz")
    file = tmp_path / "npz" / "val_data.npz"
    np.savez(file, data=arrays["data"], labels=np.array([malicious] * len(arrays["data"]), object))
    assert "is damaged (Object arrays cannot be loaded" in fault(imagenet64.find(tmp_path / "npz"), file)
    assert not (tmp_path / "harm").exists()


PICKLES = {
    "protocol 2": lambda content: pickle.dumps(content, protocol=2),
    "protocol 5": lambda content: pickle.dumps(content, protocol=5),
    "by column": lambda content: pickle.dumps(content | {"data": np.asfortranarray(content["data"])}, protocol=3),
    "32x32": lambda content: pickle.dumps(content | {"data": content["data"][:, :3072]}, protocol=3),
    "signed": lambda content: pickle.dumps(content | {"data": content["data"].astype(np.int8)}, protocol=3),
    "labels": lambda content: pickle.dumps(content | {"labels": content["labels"][1:]}, protocol=3),
    "label 0": lambda content: pickle.dumps(content | {"labels": [0] * len(content["labels"])}, protocol=3),
    "label 1001": lambda content: pickle.dumps(content | {"labels": [1001] * len(content["labels"])}, protocol=3),
    "no labels": lambda content: pickle.dumps({"data": content["data"]}, protocol=3),
    "no dict": lambda content: pickle.dumps([1, 2, 3]),
    "half": lambda content: pickle.dumps(content, protocol=3)[:20_000],
    "no end": lambda content: pickle.dumps(content, protocol=3)[:-1],
    "empty": lambda content: b"",
    "a page": lambda content: b"<html>not found</html>",
}


@pytest.mark.parametrize("case", PICKLES)
def test_wrong_pickles(tmp_path, case):
    batches(tmp_path, "pickle 3")
    file = tmp_path / "train_data_batch_7"
    file.write_bytes(PICKLES[case](pickle.loads(file.read_bytes())))
    words = fault(imagenet64.find(tmp_path), file)
    assert "is damaged" in words
    assert ("not uint8 (N, 12288)" in words) == (case in ("by column", "32x32", "signed"))
    assert ("labels from 1 to 1000" in words) == (case in ("labels", "no labels", "label 0", "label 1001"))


NPZ = {
    "by column": {"data": np.zeros((12288, 2), np.uint8).T},
    "32x32": {"data": np.zeros((2, 3072), np.uint8)},
    "float": {"data": np.zeros((2, 12288))},
    "labels": {"labels": np.ones(3, int)},
    "float labels": {"labels": np.ones(2)},
    "label 0": {"labels": np.zeros(2, int)},
    "label 1001": {"labels": np.full(2, 1001)},
    "no labels": {"labels": None},
    "no data": {"data": None},
}


@pytest.mark.parametrize("case", NPZ)
def test_wrong_npz(tmp_path, case):
    batches(tmp_path)
    content = {"data": np.zeros((2, 12288), np.uint8), "labels": np.ones(2, int)} | NPZ[case]
    file = tmp_path / "train_data_batch_7.npz"
    np.savez(file, **{key: value for key, value in content.items() if value is not None})
    words = fault(imagenet64.find(tmp_path), file)
    assert "is damaged" in words
    assert ("not uint8 (N, 12288)" in words) == (case in ("by column", "32x32", "float"))
    assert ("labels from 1 to 1000" in words) == (case in ("labels", "label 0", "label 1001"))


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
@pytest.mark.parametrize(("form", "place"), [("npz", "loose"), ("npz", "zipped"), ("pickle 3", "zipped")])
def test_truncated_parts(tmp_path, form, place, keep):
    batches(tmp_path, form, place)
    names = {"loose": "val_data.npz", "zipped": f"Imagenet64_train_part2{'_npz' * (form == 'npz')}.zip"}
    file = tmp_path / names[place]
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data))])
    assert "is damaged" in fault(imagenet64.find(tmp_path), file)


@pytest.mark.parametrize("form", ["npz", "pickle 3"])
def test_a_missing_part_is_named_with_its_archive(tmp_path, form):
    ending = "_npz" if form == "npz" else ""
    batches(tmp_path, form, "zipped")
    path = imagenet64.find(tmp_path)
    for archive in (f"Imagenet64_val{ending}.zip", f"Imagenet64_train_part2{ending}.zip"):
        (tmp_path / archive).unlink()
        assert f"is missing: put {archive} or what it holds into {tmp_path}" in fault(path, tmp_path)
    batches(tmp_path / "loose", form)
    lost = tmp_path / "loose" / ("train_data_batch_3" + ".npz" * (form == "npz"))
    lost.unlink()
    assert f"put Imagenet64_train_part1{ending}.zip" in fault(imagenet64.find(tmp_path / "loose"), lost)


# ---- pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [".tar", ".zip", "folder"])
def test_pictures(tmp_path, form):
    made = pictures(tmp_path / ("imagenet64" if form == ".tar" else ""), form)
    path = imagenet64.find(tmp_path)
    assert path.name == ("train_64x64" if form == "folder" else f"train_64x64{form}")
    source = imagenet64.read(path, 64)
    assert source.counts == {"train": N_TRAIN, "test": N_TEST} and source.classes == ("all",) and source.shuffle
    found = contents(source)
    assert all((found[split][0] == made[split][0]).all() and not found[split][1].any() for split in found)
    assert [file.name.split(".")[0] for file in imagenet64.sources(path)] == ["train_64x64", "valid_64x64"]
    assert source.how == "official 64x64 PNG files (van den Oord et al.)"


def test_the_two_archives_may_be_of_different_kinds(tmp_path):
    pictures(tmp_path)
    with tarfile.open(tmp_path / "valid_64x64.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "valid_64x64.tar").unlink()
    assert imagenet64.read(imagenet64.find(tmp_path), 64).counts == {"train": N_TRAIN, "test": N_TEST}


def test_tar_members_are_not_remembered(tmp_path, monkeypatch):
    pictures(tmp_path)
    longest, advance = [], tarfile.TarFile.next
    monkeypatch.setattr(tarfile.TarFile, "next", lambda self: longest.append(len(self.members)) or advance(self))
    contents(imagenet64.read(tmp_path / "train_64x64.tar", 64))
    assert len(longest) > 40 and max(longest) <= 1


def test_without_the_validation_images(tmp_path):
    pictures(tmp_path)
    (tmp_path / "valid_64x64.tar").unlink()
    words = fault(tmp_path / "train_64x64.tar", tmp_path / "valid_64x64.tar")
    assert "is missing: put it beside train_64x64.tar" in words


@pytest.mark.parametrize("form", [".tar", ".zip"])
@pytest.mark.parametrize("keep", [0, 0.1, 0.5, 0.95, "text"])
def test_truncated_archives(tmp_path, form, keep):
    pictures(tmp_path, form)
    file = tmp_path / f"train_64x64{form}"
    data = file.read_bytes()
    if form == ".tar":
        data = data.rstrip(b"\0")
    file.write_bytes(b"<html>not found</html>" if keep == "text" else data[: int(keep * len(data))])
    assert "is damaged" in fault(file)


def test_an_archive_that_ends_between_two_members(tmp_path):
    pictures(tmp_path)
    file = tmp_path / "train_64x64.tar"
    with tarfile.open(file) as archive:
        middle = archive.getmembers()[12].offset
    file.write_bytes(file.read_bytes()[:middle])
    assert "it ends too early" in fault(file)


def test_a_damaged_or_wrongly_sized_picture_is_named(tmp_path):
    pictures(tmp_path, "folder")
    file = tmp_path / "train_64x64" / "00003.png"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    assert "is damaged" in fault(tmp_path / "train_64x64", file)
    file.write_bytes(png(np.zeros((32, 32, 3), np.uint8)))
    assert "32x32 pixels instead of 64x64" in fault(tmp_path / "train_64x64", file)


def test_nothing_is_found_where_nothing_is(tmp_path):
    assert imagenet64.find(tmp_path) is None and imagenet64.find(tmp_path / "nowhere") is None


@pytest.mark.parametrize("form", ["npz", "pickle 3", ".tar"])
def test_it_is_loaded_by_name(tmp_path, monkeypatch, form):
    if form == ".tar":
        pictures(tmp_path)
    else:
        batches(tmp_path, form, "zipped")
    chosen = published_copies.load_twice(monkeypatch, "imagenet64", 64, tmp_path)
    assert chosen.train.shape == (N_TRAIN, 3, 64, 64) and len(chosen.test) == N_TEST


def test_a_change_in_any_part_is_noticed(tmp_path):
    batches(tmp_path, place="zipped")
    first = data.load("imagenet64", data_dir=tmp_path)
    batches(tmp_path / "other", place="zipped", made=draw(1))
    (tmp_path / "other" / "Imagenet64_val_npz.zip").replace(tmp_path / "Imagenet64_val_npz.zip")
    second = data.load("imagenet64", data_dir=tmp_path)
    assert first.train.fingerprint == second.train.fingerprint and first.test.fingerprint != second.test.fingerprint


def test_it_is_not_fetched(tmp_path):
    with pytest.raises(UserError, match=r"put Imagenet64_train_part1_npz.zip \(about 6 GB.*https://image-net.org"):
        data.load("imagenet64", data_dir=tmp_path)
