"""The published data sets: what is known of them, how they are fetched, and the line that says how to get them."""

import hashlib
import http.server
import io
import sys
import tarfile
import threading
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import published_copies as copies
import pytest
from torchvision import datasets

from cqlib import data
from cqlib.data import published
from cqlib.data.catalogue import GDRIVE, File
from cqlib.data.sets import ENTRIES
from cqlib.util.errors import UsageError, UserError

FETCHED = ("cifar10", "stl10", "celeba", "tiny-imagenet")
NO_NETWORK = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "NO_PROXY": ""}


@pytest.fixture
def offline(monkeypatch):
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.upper(), value)


def packed(kind="tar"):
    """An archive of a folder "made" with a file."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("made/file", "content")
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            member = tarfile.TarInfo("made/file")
            member.size = 7
            archive.addfile(member, io.BytesIO(b"content"))
    return buffer.getvalue()


CONTENT = packed()


def entry_of(content=CONTENT, /, **changes):
    """An entry of one archive of the folder "made"."""
    md5 = hashlib.md5(content).hexdigest()
    file = File("made.tar.gz", len(content), "https://example.org/made.tar.gz", md5, "made")
    return replace(ENTRIES["cifar10"], name="made", files=(replace(file, **changes),), parts=("made",))


# ---- the cards ------------------------------------------------------------------------------------------------


def test_files_and_hashes_are_those_of_torchvision():
    for name, kind in (("cifar10", datasets.CIFAR10), ("stl10", datasets.STL10)):
        (file,) = ENTRIES[name].files
        theirs = (kind.filename, kind.url.replace("http:", "https:"), kind.tgz_md5, kind.base_folder)
        assert (file.name, file.url, file.md5, file.folder) == theirs
    theirs = {name: (f"{GDRIVE}{key}", md5) for key, md5, name in datasets.CelebA.file_list}
    for file in ENTRIES["celeba"].files:
        assert (file.url, file.md5) == theirs[file.name]


def test_every_entry_is_a_data_set_that_can_be_read():
    for name, entry in ENTRIES.items():
        assert name == entry.name and name in data.SOURCES and data.sizes(name) == entry.sizes and entry.terms
        for file in entry.files:
            assert file.url.startswith("https://") and file.bytes > 10**6
            assert (file.md5 is not None) == (not entry.by_hand)  # nothing is fetched that cannot be checked
    assert {name for name, entry in ENTRIES.items() if not entry.by_hand} == set(FETCHED)
    with pytest.raises(UsageError, match="data set 'cifar10' has no size 16: did you mean 32"):
        data.load("cifar10", size=16)


# ---- not there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_without_a_network_one_line_names_file_size_source_and_folder(home, offline, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace())  # which has no `download`
    with pytest.raises(UserError) as caught:
        data.load(name, data_dir=home)
    line = str(caught.value)
    assert caught.value.exit_code == 1 and "\n" not in line and line.startswith(f"{name} is not in {home}")
    for file in ENTRIES[name].files:
        assert file.name in line and file.size in line and file.url in line
    assert ("could not be fetched" in line) == (name in FETCHED)
    assert {path.name for path in home.iterdir()} <= {f".{name}.lock"}
    with pytest.raises(UserError, match="is not in"):
        data.fetch(name, data_dir=home)


def test_the_folder_is_the_named_one_or_the_repository_s(tmp_path, monkeypatch):
    assert published.data_folder() == tmp_path / "repository" / "data"
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path))
    assert published.data_folder() == tmp_path
    assert published.converted_folder(tmp_path) == tmp_path / "converted"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert published.converted_folder(tmp_path) == tmp_path / "repository" / "data" / "converted"
    with pytest.raises(UserError, match=rf"there is no folder {tmp_path}/x: make it \(mkdir -p {tmp_path}/x\)"):
        data.load("cifar10", data_dir=tmp_path / "x")


def test_a_copy_that_lacks_a_part_is_not_taken_and_not_replaced(home, monkeypatch):
    copies.cifar10(home, monkeypatch)
    (home / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(UserError, match="test_batch is missing.*in place of the incomplete cifar-10-batches-py/"):
        data.load("cifar10", data_dir=home)


# ---- fetching -------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    """A publisher: /good gives CONTENT, /cut breaks off, all else does not exist."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            known = self.path in ("/good", "/cut")
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(CONTENT) if known else 0))
            self.end_headers()
            if known:
                self.wfile.write(CONTENT if self.path == "/good" else CONTENT[:50])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield types.SimpleNamespace(url=f"http://127.0.0.1:{running.server_port}", requests=requests)
        running.shutdown()
        thread.join()


def test_an_archive_is_fetched_once_checked_and_unpacked(tmp_path, server):
    folder = tmp_path / "new" / "data"
    for _ in range(2):
        published.fetch(entry_of(url=f"{server.url}/good"), folder)
    assert (folder / "made" / "file").read_text() == "content" and server.requests == ["/good"]
    assert sorted(path.name for path in folder.iterdir()) == [".made.lock", "made", "made.tar.gz"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_that_lies_there_is_unpacked_if_it_is_the_published_one(home, offline, kind):
    archive = home / ("made.zip" if kind == "zip" else "made.tar.gz")
    content = packed(kind)
    entry = entry_of(content, name=archive.name)
    archive.write_bytes(content[:-1] + b"x")
    with pytest.raises(UserError, match="example.org could not be reached"):
        published.fetch(entry, home)
    assert not (home / "made").exists()
    archive.write_bytes(content)
    (home / f".{archive.name}.part").mkdir()  # left by a killed process
    published.fetch(entry, home)
    assert (home / "made" / "file").read_text() == "content"
    assert sorted(path.name for path in home.iterdir()) == [".made.lock", "made", archive.name]


@pytest.mark.parametrize(
    ("path", "md5", "words"),
    [
        ("/good", "0" * 32, "does not match the known hash"),
        ("/cut", hashlib.md5(CONTENT).hexdigest(), "127.0.0.1 could not be reached, or refused"),
        ("/gone", "0" * 32, "127.0.0.1 could not be reached, or refused"),
    ],
    ids=["altered", "cut off", "gone"],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(home, server, path, md5, words):
    with pytest.raises(UserError, match=rf"made is not in {home}: put made.tar.gz .*could not be fetched: .*{words}"):
        published.fetch(entry_of(url=server.url + path, md5=md5), home)
    assert [path.name for path in home.iterdir()] == [".made.lock"]


def test_celeba_comes_from_google_drive(home, monkeypatch):
    def download(url, output):
        assert url == f"{GDRIVE}key"
        Path(output).write_bytes(CONTENT)

    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=download))
    entry = entry_of(url=f"{GDRIVE}key")
    published.fetch(entry, home)
    assert (home / "made" / "file").is_file()
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(UserError, match=r"needs the package gdown: pip install -e '.\[data\]'"):
        published.fetch(entry, home.parent / "other")
