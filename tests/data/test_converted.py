"""Conversion to cached arrays: once, whole or absent, keyed by content, mapped into memory."""

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import weakref
from collections import namedtuple
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cqlib.data import arrays, converted, counter, digest, files
from cqlib.data.catalogue import Entry, File
from cqlib.data.dataset import Split
from cqlib.data.reading import Chunk, Reading
from cqlib.util.errors import UserError

ENTRY = Entry("made", "Made", (4,), 7, 3, 3, ((File("source.bin", 5, "http://example.org/source.bin", exact=False),),),
              "source/", "none")  # fmt: skip

MD5 = hashlib.md5(b"bytes").hexdigest()


def pixels(n, size=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, size, size), np.uint8)


@dataclass
class Loader:
    """Seven training and three test images, in chunks of two; `read` is counted."""

    counts: dict = field(default_factory=lambda: {"train": 7, "test": 3})
    shuffle: bool = False
    VERSION: int = 1
    calls: int = 0

    def find(self, folder):
        raise AssertionError

    def read(self, path, size):
        self.calls += 1
        return Reading(("a", "b", "c"), self.counts, lambda: self.chunks(size), self.shuffle, "as made")

    def chunks(self, size):
        for split, n in (("train", 7), ("test", 3)):
            for i in range(0, n, 2):
                yield Chunk(split, pixels(n, size)[i : i + 2], np.arange(n)[i : i + 2] % 3)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.bin"
    path.write_bytes(b"bytes")
    return path


@pytest.fixture
def load(tmp_path, source):
    return lambda loader, size=4: converted.load(ENTRY, loader, source, size, [tmp_path / "cache"])


def entries(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if path.is_dir() and path.name != "sources")


# ---- what comes out ---------------------------------------------------------------------------------------


def test_images_labels_and_words_come_back(load):
    made = load(Loader())
    for split, n in ((made.train, 7), (made.test, 3)):
        assert np.array_equal(split.images.numpy(), pixels(n)) and split.labels.tolist() == [i % 3 for i in range(n)]
    assert (made.name, made.size, made.classes, made.how) == ("made", 4, ("a", "b", "c"), "as made")


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_stored_fingerprint_is_what_the_split_would_compute(load, shuffle):
    made = load(Loader(shuffle=shuffle))
    for split in (made.train, made.test):
        assert "fingerprint" in vars(split)  # nothing is hashed when a data set is loaded
        assert split.fingerprint == Split(split.name, split.images, split.labels).fingerprint
    part = made.train.first(2)
    assert part.fingerprint == Split("train", part.images, part.labels).fingerprint != made.train.fingerprint
    assert replace(made.train, labels=made.train.labels.flip(0)).fingerprint != made.train.fingerprint


def test_a_sorted_source_is_stored_in_the_order_of_folder_and_npz(load):
    made = load(Loader(shuffle=True))
    order = files._order(7)
    assert sorted(order) == list(range(7)) and list(order) != list(range(7))
    assert np.array_equal(made.train.images.numpy(), pixels(7)[order])
    assert made.train.labels.tolist() == [int(i) % 3 for i in order]


def test_what_is_done_in_memory_leaves_the_file_alone(load):
    made = load(Loader())
    made.train.images.zero_()
    assert np.array_equal(load(Loader()).train.images.numpy(), pixels(7))


def test_at_most_two_chunks_are_alive(load):
    alive, most = weakref.WeakValueDictionary(), []

    class Watched(Loader):
        def chunks(self, size):
            for i, chunk in enumerate(super().chunks(size)):
                images = chunk.images.copy()
                alive[i] = images
                most.append(len(alive))
                yield replace(chunk, images=images)
                del images, chunk

    load(Watched())
    assert len(most) == 6 and max(most) <= 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_a_bar_on_a_terminal_and_plain_lines_elsewhere(load, monkeypatch, terminal):
    shown = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    load(Loader())
    assert ("made: converting" in shown.getvalue()) == terminal  # a short conversion is silent in a log
    assert ("\r" in shown.getvalue()) == terminal and not shown.getvalue().endswith("\n")
    if not terminal:
        monkeypatch.setattr(counter, "EVERY", 0.0)
        load(Loader(), 8)
        assert shown.getvalue().splitlines()[:2] == [f"made: converting: {n} of 10 images" for n in (2, 4)]


# ---- the key ----------------------------------------------------------------------------------------------


def test_it_is_converted_once_and_hashed_once(load, source, tmp_path, monkeypatch):
    loader = Loader()
    first = load(loader)
    with monkeypatch.context() as patch:
        patch.setattr(digest, "_hash", lambda *_: pytest.fail("hashed again"))
        assert torch.equal(load(loader).train.images, first.train.images)
    os.utime(source, ns=(1, 1))  # touched, but the same content: hashed again, not converted
    load(loader)
    assert loader.calls == 1 and len(entries(tmp_path)) == 1


def test_other_content_version_or_size_is_converted_anew(load, source, tmp_path):
    loader = Loader()
    load(loader)
    source.write_bytes(b"other")
    load(loader)
    loader.VERSION = 2
    load(loader)
    assert loader.calls == 3 and len(entries(tmp_path)) == 1  # what the same source gave before is gone
    load(loader, 8)
    assert loader.calls == 4 and len(entries(tmp_path)) == 2
    load(loader)
    assert loader.calls == 4


def test_a_tree_s_key_holds_names_and_contents_but_not_what_merely_reading_changes(tmp_path):
    tree = tmp_path / "tree"
    (tree / "b").mkdir(parents=True)
    (tree / "a").write_bytes(b"1")
    (tree / "b" / "c").write_bytes(b"2")

    def key():
        return digest.content(ENTRY, [tree], [tmp_path / "cache"])

    keys = [key()]
    (tree / "lock.mdb").write_bytes(b"x")
    (tree / ".hidden").write_bytes(b"x")
    assert key() == keys[0]
    (tree / "b" / "c").write_bytes(b"3")
    keys.append(key())
    (tree / "b" / "c").rename(tree / "b" / "d")
    keys.append(key())
    (tree / "a").unlink()
    keys.append(key())
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (File("source.bin", 6, "http://x.org/s"), r"altered \(5 bytes instead of 6\): delete it and fetch it again"),
        (File("source.bin", 5, "http://x.org/s", "0" * 32), rf"altered \(MD5 {MD5[:8]}… instead of 00000000…\)"),
    ],
)
def test_a_file_that_is_not_the_published_one_is_refused(source, tmp_path, known, words):
    entry, loader = replace(ENTRY, files=((known,),)), Loader()
    for _ in range(2):  # the second time from the note
        with pytest.raises(UserError, match=words) as caught:
            converted.load(entry, loader, source, 4, [tmp_path / "cache"])
        assert "\n" not in str(caught.value) and "http://x.org/s" in str(caught.value)
    assert loader.calls == 0
    with pytest.raises(UserError, match=words):
        digest.words(entry, [source], [tmp_path / "cache"])


def test_hashes_in_words(source, tmp_path, load, monkeypatch):
    entry = replace(ENTRY, files=((File("source.bin", 5, "u", MD5),),))
    caches = [tmp_path / "cache"]
    (tree := tmp_path / "tree").mkdir()
    assert digest.words(entry, [source], caches) == f"MD5 {MD5} as published"  # read for it
    assert digest.words(ENTRY, [tree], caches) == "not hashed before it is first read"
    key = digest.content(ENTRY, [tree], caches)
    monkeypatch.setattr(digest, "_hash", lambda *_: pytest.fail("hashed again"))
    assert digest.words(ENTRY, [tree], caches) == f"SHA-256 {key[:16]}…"
    assert digest.words(entry, [tree, source], caches) == f"MD5 {MD5} as published, SHA-256 {key[:16]}…"


def test_copies_are_told_by_their_source(source, tmp_path, load):
    load(Loader())
    caches = [tmp_path / "none", tmp_path / "cache"]
    (copy,) = converted.copies(ENTRY.name, source, caches)
    assert copy["size"] == 4 and copy["counts"].keys() == set(converted.SPLITS)
    assert not list(converted.copies(ENTRY.name, tmp_path / "other.bin", caches))
    assert not list(converted.copies("other", source, caches))


# ---- damage, full disks, killed processes -------------------------------------------------------------------


@pytest.mark.parametrize("file", ["train-images.npy", "test-labels.npy", "meta.json"])
@pytest.mark.parametrize("how", ["cut", "garbage", "gone", "longer", "one bit"])
def test_a_copy_that_is_not_whole_is_made_anew(load, tmp_path, file, how):
    loader = Loader()
    wanted = load(loader).train.fingerprint
    (folder,) = entries(tmp_path)
    path = tmp_path / "cache" / folder / file
    content = path.read_bytes()
    path.unlink()
    if how != "gone":
        flipped = content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]  # of a label: another class that exists
        damaged = {"cut": content[:-1], "longer": content + b"\0", "garbage": b"garbage", "one bit": flipped}
        path.write_bytes(damaged[how])
    made = load(loader)
    assert loader.calls == 2 and made.train.fingerprint == wanted
    assert np.array_equal(made.train.images.numpy(), pixels(7)) and entries(tmp_path) == [folder]


def test_a_copy_whose_files_were_merely_touched_is_read_once_more_and_believed(load, tmp_path, monkeypatch):
    loader = Loader()
    load(loader)
    (folder,) = entries(tmp_path)
    os.utime(tmp_path / "cache" / folder / "train-images.npy", (4e9, 4e9))  # a clock that has gone back since
    load(loader)
    with monkeypatch.context() as patched:
        patched.setattr(converted, "_verified", None)
        load(loader)
    assert loader.calls == 1


def test_no_room_is_told_before_anything_is_written(load, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(UserError, match=r"no room for made at 4x4 \(1 MB needed, 1 MB are free\)"):
        load(Loader())
    assert entries(tmp_path) == []


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no room for made at 4x4"), (errno.EIO, "written")])
def test_a_disk_that_fills_while_writing_leaves_nothing_half_done(load, tmp_path, monkeypatch, number, words):
    put, calls = arrays.RowFile.put, []

    def fails(self, rows, where):
        calls.append(rows)
        if len(calls) == 5:
            raise OSError(number, os.strerror(number))
        put(self, rows, where)

    loader = Loader()
    with monkeypatch.context() as patch:
        patch.setattr(arrays.RowFile, "put", fails)
        with pytest.raises(UserError, match=words) as caught:
            load(loader)
    assert "\n" not in str(caught.value) and entries(tmp_path) == []
    assert np.array_equal(load(loader).train.images.numpy(), pixels(7))


def test_a_loader_that_breaks_its_promise_is_refused(load, tmp_path):
    class Labels(Loader):
        def chunks(self, size):
            yield Chunk("train", pixels(7, size), np.arange(7))

    cases = [
        (Loader({"train": 8, "test": 3}), "gave 7 train images where 8 were announced"),
        (Loader({"train": 6, "test": 3}), "gave 8 train images|gave 7 train images"),
        (Loader({"train": 7, "test": 0}), "holds no test images"),
        (Labels(), "has labels from 0 to 6 for 3 classes"),
    ]
    for loader, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            load(loader)
        assert "source.bin" in str(caught.value) and entries(tmp_path) == []


SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_converted import ENTRY, Loader
    from cqlib.data import converted

    folder, me = Path({folder!r}), sys.argv[1]

    class Mine(Loader):
        def chunks(self, size):
            with open(folder / "log", "a") as log:
                log.write(me)
            for i, chunk in enumerate(super().chunks(size)):
                yield chunk
                if me == "killed" and i == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                while me in "ab" and len(list(folder.glob("started-*"))) < 2:  # the other one is there by now
                    time.sleep(0.01)

    (folder / ("started-" + me)).touch()
    made = converted.load(ENTRY, Mine(), folder / "source.bin", 4, [folder / "cache"])
    print(made.train.fingerprint)
"""


def start(tmp_path, me):
    code = textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    command = [sys.executable, "-c", code, me]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_processes_one_converts_and_both_read(source, tmp_path, load):
    both = [start(tmp_path, me) for me in "ab"]
    outs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    assert (tmp_path / "log").read_text() in ("a", "b")
    loader = Loader()
    assert {out.strip() for out, _ in outs} == {load(loader).train.fingerprint} and loader.calls == 0


def test_what_a_killed_process_left_is_cleared_away(source, tmp_path, load):
    process = start(tmp_path, "killed")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    (left,) = entries(tmp_path)
    assert left.startswith(".made-4-") and left.endswith(".tmp")
    (tmp_path / "cache" / ".made-48-x.tmp").mkdir()  # of another size: perhaps at work
    loader = Loader()
    assert np.array_equal(load(loader).train.images.numpy(), pixels(7)) and loader.calls == 1
    assert [name for name in entries(tmp_path) if name.startswith(".")] == [".made-48-x.tmp"]


# ---- where it lies ----------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_read_and_otherwise_the_next_is_taken(source, tmp_path, monkeypatch):
    closed, other, loader = tmp_path / "closed", tmp_path / "other", Loader()
    converted.load(ENTRY, loader, source, 4, [closed])
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != closed and access(path, mode))
    converted.load(ENTRY, loader, source, 4, [closed, other])
    assert loader.calls == 1 and not other.exists()
    converted.load(ENTRY, loader, source, 8, [closed, other])
    assert loader.calls == 2 and [path.name for path in other.glob("made-8-*/meta.json")] == ["meta.json"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/cache cannot be written to: change its permissions"):
        converted.load(ENTRY, loader, source, 4, [tmp_path / "file" / "cache"])


def test_meta_says_what_it_is(load, source, tmp_path):
    made = load(Loader())
    (folder,) = entries(tmp_path)
    meta = json.loads((tmp_path / "cache" / folder / "meta.json").read_text())
    assert meta["source"] == str(source) and meta["counts"] == {"train": 7, "test": 3}
    assert meta["fingerprints"] == {"train": made.train.fingerprint, "test": made.test.fingerprint}
