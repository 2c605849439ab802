"""The published data sets: what is known of them, how they are fetched, and the line that says how to get them."""

import hashlib
import http.server
import subprocess
import sys
import threading
import types
import urllib.error
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from torchvision import datasets

from cqlib import data
from cqlib.cli import doctor
from cqlib.data import fetch, published
from cqlib.data.catalogue import ENTRIES, GDRIVE, File
from cqlib.metrics import features
from cqlib.util.errors import UsageError, UserError

CONTENT = b"0123456789" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()
FETCHED = ("cifar10", "stl10", "celeba", "tiny-imagenet")


@pytest.fixture(autouse=True)
def away(monkeypatch, tmp_path):
    """No copies but those that a test makes."""
    monkeypatch.delenv("CQLIB_DATA", raising=False)
    monkeypatch.setattr(published.names, "ROOT", tmp_path / "repository")


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def of_one_file(monkeypatch, name, /, **changes):
    """The catalogue's entry with one file, other than published."""
    file = replace(File("cifar-10-binary.tar.gz", len(CONTENT), "http://127.0.0.1/", MD5), **changes)
    monkeypatch.setitem(ENTRIES, name, replace(ENTRIES[name], files=((file,),)))
    return ENTRIES[name]


# ---- the catalogue ----------------------------------------------------------------------------------------


def test_files_and_hashes_are_those_of_torchvision():
    cifar, stl = ENTRIES["cifar10"], ENTRIES["stl10"]
    python, archive = cifar.known(datasets.CIFAR10.filename), stl.known(datasets.STL10.filename)
    assert (python.url, python.md5) == (datasets.CIFAR10.url, datasets.CIFAR10.tgz_md5)
    assert (archive.url, archive.md5) == (datasets.STL10.url.replace("http:", "https:"), datasets.STL10.tgz_md5)
    theirs = {name: (f"{GDRIVE}{key}", md5) for key, md5, name in datasets.CelebA.file_list}
    for file in ENTRIES["celeba"].files[0]:
        assert (file.url, file.md5) == theirs[file.name]


def test_every_entry_is_a_data_set_that_can_be_read():
    for name, entry in ENTRIES.items():
        assert name == entry.name and name in data.names() and data.sizes(name) == entry.sizes
        reader = published.loader(name)
        assert isinstance(reader.VERSION, int) and callable(reader.read) and reader.find(Path("/nowhere")) is None
        assert entry.terms and entry.files and len(entry.about.splitlines()) == 1
        for file in (file for alternative in entry.files for file in alternative):
            assert file.url.startswith("https://") and file.bytes > 10**6
            assert (file.md5 is not None) == (not entry.by_hand)  # nothing is fetched that cannot be checked
    assert tuple(name for name, entry in ENTRIES.items() if not entry.by_hand) == FETCHED
    with pytest.raises(UsageError, match="data set 'cifar10' has no size 16: did you mean 32"):
        data.load("cifar10", size=16)


def test_sizes_are_told_in_words():
    sizes = {10**6: "1 MB", 170_498_071: "170 MB", 2_640_397_119: "2.6 GB", 42_800_000_000: "43 GB"}
    assert {n: File("f", n, "u").size for n in sizes} == sizes
    assert File("f", 6_000_000, "u", exact=False).size == "about 6 MB"


# ---- not there, and no network ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_without_a_network_one_line_names_file_size_source_and_folder(tmp_path, offline, name):
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError) as caught:
        data.load(name, data_dir=tmp_path / "data")
    line = str(caught.value)
    assert caught.value.exit_code == 1 and "\n" not in line
    assert line.startswith(f"{name} is not in {tmp_path / 'data'}")
    for file in ENTRIES[name].files[0]:
        assert file.name in line and file.size in line and file.url in line
    assert ("could not be fetched (no connection to" in line) == (name in FETCHED)
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in FETCHED])
def test_what_is_huge_or_behind_terms_is_not_even_tried(tmp_path, monkeypatch, name):
    monkeypatch.setattr(fetch, "_reach", lambda _: pytest.fail("tried"))
    with pytest.raises(UserError, match="is not in"):
        data.load(name, data_dir=tmp_path)
    with pytest.raises(UserError, match=f"{name} is not in"):
        fetch.fetch(ENTRIES[name], tmp_path)


def test_the_folder_is_the_named_one_or_the_repository_s(tmp_path, monkeypatch):
    assert published.home() == tmp_path / "repository" / "data"
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path))
    assert published.home() == tmp_path
    assert published.caches(tmp_path) == (tmp_path / "converted", tmp_path / "repository" / "data" / "converted")
    with pytest.raises(UserError, match=f"there is no folder {tmp_path}/x"):
        data.load("cifar10", data_dir=tmp_path / "x")


# ---- fetching -----------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    """A publisher: /good gives CONTENT, /cut breaks off, all else is not there."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.command, self.path))
            known = self.path in ("/good", "/cut")
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(CONTENT) if known else 0))
            self.end_headers()
            if known and self.command == "GET":
                self.wfile.write(CONTENT if self.path == "/good" else CONTENT[:5000])

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield types.SimpleNamespace(url=f"http://127.0.0.1:{running.server_port}", asked=asked)
        running.shutdown()
        thread.join()


def test_a_file_is_fetched_once_checked_and_put_in_its_place(tmp_path, monkeypatch, server, capsys):
    folder = tmp_path / "new" / "data"
    entry = of_one_file(monkeypatch, "cifar10", url=f"{server.url}/good")
    fetch.fetch(entry, folder)
    assert (folder / "cifar-10-binary.tar.gz").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == [".cifar10.lock", "cifar-10-binary.tar.gz"]
    assert capsys.readouterr().err.count("\n") == 1  # plain lines where there is no terminal
    fetch.fetch(entry, folder)
    assert [command for command, _ in server.asked] == ["HEAD", "GET"]


@pytest.mark.parametrize(
    ("path", "md5", "words"),
    [
        ("/good", "0" * 32, r"\(what 127.0.0.1 sent is truncated or altered\)"),
        ("/cut", MD5, r"\(the connection to 127.0.0.1 broke off\)"),
        ("/gone", MD5, r"\(127.0.0.1 answered 404\)"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, server, path, md5, words):
    of_one_file(monkeypatch, "cifar10", url=server.url + path, md5=md5)
    with pytest.raises(UserError, match=f"could not be fetched {words}: put cifar-10-binary.tar.gz") as caught:
        data.load("cifar10", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [".cifar10.lock"]


def test_load_fetches_and_then_reads(tmp_path, monkeypatch, server):
    of_one_file(monkeypatch, "cifar10", url=f"{server.url}/good")
    with pytest.raises(UserError, match="cifar-10-binary.tar.gz is damaged"):  # ten digits are no archive
        data.load("cifar10", data_dir=tmp_path)
    assert ("GET", "/good") in server.asked


def test_a_disk_without_room_is_told_first(tmp_path, monkeypatch, server):
    entry = of_one_file(monkeypatch, "cifar10", url=f"{server.url}/good", bytes=3 * 10**9)
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("usage", "free")(2 * 10**9))
    with pytest.raises(UserError, match=r"has 3 GB, and 2,000 MB are free\)"):
        fetch.fetch(entry, tmp_path)


@pytest.fixture
def drive(monkeypatch):
    """gdown that gives CONTENT; CelebA of two such files."""
    monkeypatch.setattr(fetch, "_reach", lambda _: None)
    files = [replace(file, bytes=len(CONTENT), md5=MD5) for file in ENTRIES["celeba"].files[0]]
    entry = replace(ENTRIES["celeba"], files=(tuple(files),))
    given = types.SimpleNamespace(content=CONTENT, asked=[], entry=entry)

    def download(*, id, output, quiet):
        given.asked.append(id)
        if isinstance(given.content, Exception):
            raise given.content
        Path(output).write_bytes(given.content)

    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=download))
    return given


def test_celeba_comes_from_google_drive(tmp_path, drive):
    fetch.fetch(drive.entry, tmp_path)
    assert drive.asked == ["0B7EVK8r0v71pZjFTYXZWM3FlRnM", "0B7EVK8r0v71pY0NSMzRuSXJEVkk"]
    assert all((tmp_path / file.name).read_bytes() == CONTENT for file in drive.entry.files[0])


def test_google_drive_s_faults_are_one_line(tmp_path, monkeypatch, drive):
    for content, words in (
        (b"<html>", "what drive.google.com sent is truncated or altered"),
        (RuntimeError("Too many users\nhave viewed this"), "Too many users have viewed this"),
        (ConnectionError("x"), "the connection to drive.google.com broke off"),
    ):
        drive.content = content
        with pytest.raises(UserError, match=rf"could not be fetched \({words}\): put img_align_celeba.zip"):
            fetch.fetch(drive.entry, tmp_path)
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(UserError, match=r"gdown is missing: pip install -e '.\[data\]'"):
        fetch.fetch(drive.entry, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".celeba.lock"]


def test_fetch_is_a_command(tmp_path, monkeypatch, server, capsys):
    of_one_file(monkeypatch, "tiny-imagenet", url=f"{server.url}/good", name="tower.zip")
    assert fetch.main(["tiny-imagenet", "--data-dir", str(tmp_path)]) == 0
    assert f"tower.zip in {tmp_path}" in capsys.readouterr().out and (tmp_path / "tower.zip").is_file()
    with pytest.raises(SystemExit) as caught:
        fetch.main(["lsun-towr"])
    assert caught.value.code == 2 and "did you mean 'lsun-tower'?" in capsys.readouterr().err


def test_train_ends_at_once_when_the_data_are_missing(tmp_path):
    (tmp_path / "data").mkdir()
    code = "import urllib.request, urllib.error, sys\n"
    code += "def refuse(*_, **__): raise urllib.error.URLError('off')\n"
    code += "urllib.request.urlopen = refuse\nfrom cqlib.cli.commands import main\nmain(sys.argv[1:])"
    given = ["train", "table1/vae", "--data", "cifar10", "--data-dir", "data", "--runs-dir", "runs"]
    done = subprocess.run([sys.executable, "-c", code, *given], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    wanted = ENTRIES["cifar10"].wanted
    assert done.stderr.count("\n") == 1 and wanted in done.stderr and "(170 MB) from https://www.cs." in wanted
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


# ---- doctor -------------------------------------------------------------------------------------------------


def test_doctor_says_what_is_there_and_how_to_get_the_rest(tmp_path, monkeypatch):
    of_one_file(monkeypatch, "cifar10")
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(CONTENT)
    (tmp_path / "tiny-imagenet-200").mkdir()
    (tmp_path / "img_align_celeba").mkdir()

    def lines():
        return {line.split(":")[0].strip(): line for line in doctor._data(tmp_path)}

    found = lines()
    assert found["+   cifar10"].startswith(f"+   cifar10: {path} (0 MB, MD5 {MD5} as published); CIFAR-10")
    assert found["-   celeba"].endswith("put CelebA's list_eval_partition.txt beside img_align_celeba")
    assert "lacks wnids.txt" in found["-   tiny-imagenet"]
    assert not any(line.startswith("+   tiny-imagenet") for line in found)  # nor at one of its sizes
    every = "\n".join(doctor._data(tmp_path))
    for other in ENTRIES.values():
        assert other.terms in every
    for name in ("stl10", "lsun-church", "imagenet64"):
        assert f"-   {name}: not in {tmp_path}" in every and ENTRIES[name].wanted in every
    assert "MD5: stl10_binary.tar.gz 91f7769df0f17e558f3565bffb0c7dfb" in every
    assert "by hand: no hash is published" in every and "by hand: sign up" in every
    assert "  converted copies in" in every
    for content in (CONTENT[:-1], CONTENT[::-1]):  # truncated; altered
        path.write_bytes(content)
        line = lines()["-   cifar10"]
        assert "truncated or altered" in line and "delete it and fetch it again from http" in line


def test_doctor_says_what_was_converted_and_of_a_part_that_it_is_one(tmp_path, monkeypatch):
    tree = tmp_path / "lsun" / "church_outdoor_train"
    for folder, n in ((tree, 20), (tree.with_name("church_outdoor_val"), 3)):
        folder.mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (64, 64), (i, 0, 0)).save(folder / f"{i}.png")
    assert "not hashed before it is first read" in "\n".join(doctor._data(tmp_path))
    loaded = data.load("lsun-church", data_dir=tmp_path)
    part = "18 training images of 116,527, 5 test images of 10,000"
    assert loaded.how.endswith(f"held out from training; {part}")
    assert data.load("lsun-church", data_dir=tmp_path).how == loaded.how  # from the converted copy
    mark = loaded.train.fingerprint[:8] + loaded.test.fingerprint[:8]
    every = "\n".join(doctor._data(tmp_path))
    assert f"converted to 64x64: {part}, fingerprint {mark}" in every and "SHA-256" in every


def test_doctor_on_feature_weights(tmp_path, monkeypatch):
    def lines(folder=tmp_path):
        return "\n".join(doctor._features(folder))

    monkeypatch.setattr(features, "_hub_file", lambda: tmp_path / "hub")
    assert f"- Inception features: not in {tmp_path}" in lines() and "Apache 2.0" in lines().splitlines()[-1]
    assert f"put there {features.INCEPTION_FILE} (95 MB, SHA-256 6726825d…) from https://" in lines()
    assert lines(tmp_path / "no").count("Inception features: ") == 1
    assert f"SHA-256 {features.LITE0_SHA256[:16]}… as published" in lines()
    (tmp_path / features.INCEPTION_FILE).write_bytes(CONTENT)
    assert "truncated or altered (sha256 begins" in lines()
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(features, "INCEPTION_SHA256_PREFIX", digest[:8])
    assert f"+ Inception features: {tmp_path / features.INCEPTION_FILE} (0 MB, SHA-256 {digest[:16]}… as pub" in lines()
