"""Files from strangers do no harm: no pickle runs, no archive writes outside its folder, no name becomes markup, and
nothing of the machine gets into what is published."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import os
import pickle
import platform
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image
from scores import Projection

import cqlib
from cqlib import data
from cqlib.data import published
from cqlib.data.catalogue import File
from cqlib.data.sets import ENTRIES
from cqlib.experiments import run
from cqlib.experiments.load import load
from cqlib.experiments.record import load_records
from cqlib.figures import common as show
from cqlib.metrics import cache, features
from cqlib.recipe import EVALUATION, Evaluation
from cqlib.report import page as report
from cqlib.util.checkpoint import CheckpointError, load_checkpoint
from cqlib.util.errors import UserError

ROOT = Path(__file__).parent.parent.parent
SOURCES = [path for folder in ("cqlib", "tools", "benchmarks", "examples")
           for path in sorted((ROOT / folder).rglob("*.py"))]  # fmt: skip


# --- code: what is never called ------------------------------------------------------------------------------


def calls(path: Path):
    """(dotted name, call) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def given(call: ast.Call, name: str) -> object:
    return next((ast.literal_eval(k.value) for k in call.keywords if k.arg == name), None)


def unsafe(path: Path):
    """What in a file would run or unpack what a stranger wrote."""
    for name, call in calls(path):
        last = name.rpartition(".")[2]
        if name == "torch.load" and given(call, "weights_only") is not True:
            yield f"{path.name}:{call.lineno}: torch.load without weights_only=True"
        if last in ("load", "read_array") and given(call, "allow_pickle") not in (None, False):
            yield f"{path.name}:{call.lineno}: {name} with allow_pickle"
        if re.match(r"((pickle|marshal|dill|cloudpickle)\.(loads?|Unpickler)|(shelve|joblib|yaml|jsonpickle)\.)", name):
            yield f"{path.name}:{call.lineno}: {name}"
        if name in ("eval", "exec", "os.system", "os.popen", "tempfile.mktemp"):
            yield f"{path.name}:{call.lineno}: {name}"
        if last in ("extractall", "extract_archive", "unpack_archive"):
            yield f"{path.name}:{call.lineno}: {name}"
        if any(k.arg == "shell" for k in call.keywords):
            yield f"{path.name}:{call.lineno}: a shell"


def test_no_code_runs_what_a_file_says():
    assert len(SOURCES) > 100
    found = [line for path in SOURCES for line in unsafe(path)]
    # what has the published hash is unpacked, and writes nowhere else (below)
    assert len(found) == 1 and re.fullmatch(r"published.py:\d+: shutil.unpack_archive", found[0]), found


def test_no_notebook_runs_what_a_file_says(tmp_path):
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        (tmp_path / f"{path.stem}.py").write_text(re.sub(r"(?m)^[%!].*$", "", code))
        assert list(unsafe(tmp_path / f"{path.stem}.py")) == [] and not re.search(r"(?m)^!", code)


@pytest.mark.parametrize(
    "line",
    ["torch.load(f)", "torch.load(f, weights_only=False)", "pickle.loads(b)", "np.load(f, allow_pickle=True)",
     "eval(x)", "z.extractall()", "run(x, shell=True)", "tarfile.open(p).extractall(d)"],
)  # fmt: skip
def test_the_search_finds_it(tmp_path, line):
    (tmp_path / "x.py").write_text(line)
    assert len(list(unsafe(tmp_path / "x.py"))) == 1


# --- files that would run something --------------------------------------------------------------------------

ROW = "table1/vae"


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch, tmp_path):
    """Reports of these tests show these tests' records alone: rendering the published ones takes long."""
    monkeypatch.setattr(report, "PUBLISHED", tmp_path / "published")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The runs folder of a finished run, measured on few images; host and environment hold secrets."""
    runs = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EVALUATION, "smoke", Evaluation(8, 8, 2, 4))
        patch.setattr(features, "_extractor", lambda *_: Projection())
        patch.setenv("CQLIB_SECRET", SECRET)
        patch.setattr(socket, "gethostname", lambda: HOST)
        patch.setattr(platform, "node", lambda: HOST)
        run.run(ROW, profile="smoke", runs_dir=runs)
    return runs


SECRET, HOST = "s3cr3t-t0ken", "machine-of-these-tests"


class Harm:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_any_artefact_is_not_run(finished, tmp_path, monkeypatch):
    """A checkpoint, a published model, the weights of features, an array file, a cache of statistics, a record."""
    harm = tmp_path / "harm"
    content = pickle.dumps(Harm(harm))
    with pytest.raises((ValueError, TypeError, UnicodeDecodeError)):
        json.loads(content)
    pickle.loads(content)
    assert harm.exists()  # it would have
    harm.unlink()

    torch_zip = io.BytesIO()
    torch.save({"weight": Harm(harm)}, torch_zip)
    array = io.BytesIO()
    np.save(array, np.array([Harm(harm)], object))
    whole = tmp_path / "whole"
    shutil.copytree(finished, whole)
    kinds = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    assert {path.suffix for path in kinds} >= {".safetensors", ".json", ".png"} and len(kinds) > 5
    for hostile in (content, torch_zip.getvalue(), array.getvalue()):
        weights, npz = tmp_path / "weights.pth", tmp_path / "images.npz"
        for path in (weights, npz, tmp_path / "x.checkpoint"):
            path.write_bytes(hostile)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "x.checkpoint")
        with pytest.raises(UserError):
            features.inception(weights).extractor()
        with pytest.raises(UserError):
            data.load(f"npz:{npz}")
        for path in kinds if hostile is content else ():
            kept = (whole / path).read_bytes()
            (whole / path).write_bytes(hostile)
            try:
                load(ROW, profile="smoke", data="photos10", seed=0, runs_dir=whole)
            except UserError as error:
                assert "\n" not in str(error)
            if path.suffix not in (".json", ".png"):
                (whole / path).write_bytes(kept)
    for path in (whole / "features").iterdir():
        path.write_bytes(content)
        assert cache._read(path) is None
    report.render(tmp_path / "out", runs_dir=whole)  # of a record and pictures that are pickles
    assert not harm.exists()


# --- archives that would write elsewhere ---------------------------------------------------------------------

EVIL = ("../evil", "../../evil", "/evil-of-cqlib", "x/../../evil", "..\\evil", "C:\\evil", "made/../../evil")


def poisoned(kind: str) -> bytes:
    """An archive of a folder "made", and of members and links that point outside."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in (*EVIL, "made/file"):
                archive.writestr(zipfile.ZipInfo(name), b"evil")
            link = zipfile.ZipInfo("link")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, b"/etc")
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("made/file", *((kind,) if kind in EVIL else ())):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
        links = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}
        if kind in links:
            member = tarfile.TarInfo("made/link")
            member.type, member.linkname = links[kind], "../../../outside"
            archive.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", *EVIL, "link", "hard link", "device"])
def test_an_archive_of_the_right_hash_writes_nowhere_else(tmp_path, kind):
    content, home = poisoned(kind), tmp_path / "a" / "data"
    home.mkdir(parents=True)
    (tmp_path / "outside").write_text("outside")
    name = "made.zip" if kind == "zip" else "made.tar.gz"
    (home / name).write_bytes(content)
    file = File(name, 1, "https://example.org", hashlib.md5(content).hexdigest(), "made")
    with contextlib.suppress(UserError):
        published.fetch(replace(ENTRIES["cifar10"], files=(file,), parts=("made",)), home)
    elsewhere = {path for path in tmp_path.rglob("*") if not path.is_relative_to(home)}
    assert elsewhere == {home.parent, tmp_path / "outside"}
    assert {path.name for path in home.iterdir()} <= {name, "made", ".cifar10.lock"}
    assert not Path("/evil-of-cqlib").exists() and not any(path.is_symlink() for path in tmp_path.rglob("*"))


# --- names that would become markup --------------------------------------------------------------------------

RTL = "\u202e"
MARKUP = "<img src=x onerror=alert(1)>"
HOSTILE = ("<script>alert(1)</script>", f'">{MARKUP}', "'; drop", f"{RTL}txt.exe", "&lt;b&gt;", "{{7*7}}")


@pytest.fixture(scope="module")
def of_hostile_names(tmp_path_factory):
    """A run on a folder of images whose own name, classes and files are markup."""
    home = tmp_path_factory.mktemp("hostile")
    folder = home / MARKUP
    rng = np.random.default_rng(0)
    for name in HOSTILE:
        place = folder / name.replace("/", "∕")
        place.mkdir(parents=True)
        for k in range(10):
            image = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8))
            (image if k else image.convert("L")).save(place / f"{k}{name[:5]}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EVALUATION, "smoke", Evaluation(8, 8, 2, 4))
        patch.setattr(features, "_extractor", lambda *_: Projection())
        run.run(ROW, profile="smoke", data=f"folder:{folder}", runs_dir=home / "runs")
    return home, f"folder:{folder}"


def harmless(html: str) -> None:
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(True):
        assert not [key for key in tag.attrs if key.startswith("on")], tag
        assert tag.get("src") != "x", tag
    assert "alert(1)" not in "".join(script.get_text() for script in soup.find_all("script"))
    assert RTL not in html


def test_the_report_of_hostile_names_is_text(of_hostile_names):
    home, _ = of_hostile_names
    report.render(home / "out", runs_dir=home / "runs")
    page = (home / "out" / "index.html").read_text()
    assert "onerror" in page  # it is told, as text
    harmless(page)


def test_what_notebooks_show_of_hostile_names_is_text(of_hostile_names):
    home, name = of_hostile_names
    records, _ = load_records(home / "runs")
    assert records[0].data.name == name
    n = len(HOSTILE)
    assert f"images: {n} of {10 * n} images were converted to RGB: {n} grey" in records[0].notes
    sets = show.at_hand([ROW], records, "smoke")
    assert any(runs.data == name for runs in sets)
    for shown in (show.table("table1", sets, "smoke"), show.claims("table1", sets)):
        harmless(shown.data)


# --- what is published says nothing of the machine -----------------------------------------------------------


def test_records_and_report_do_not_name_the_machine(finished, tmp_path):
    report.render(tmp_path / "out", runs_dir=finished)
    texts = "".join(path.read_text() for path in [*finished.rglob("*.json"), tmp_path / "out" / "index.html"])
    for secret in (str(Path.home()), str(tmp_path), str(finished), str(ROOT), SECRET, HOST):
        assert secret == "/" or secret not in texts


def test_published_records_do_not_name_a_machine():
    for path in sorted((ROOT / "reports" / "published").rglob("*.json")):
        assert not re.search(r"/(home|root|Users|tmp|work|mnt)/", path.read_text()), path


NOBODY = 65534


def readable_by_nobody(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: every run shows it")
def test_run_all_needs_no_root():
    """As nobody, from a repository that belongs to another, with a folder of its own to write to."""
    python = Path(sys.executable)
    if not all(readable_by_nobody(place) for place in (ROOT, python.parent, python.resolve().parent)):
        pytest.skip("nobody else may read this repository or its Python")
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        home = {"HOME": folder, "TMPDIR": folder, "PATH": os.environ["PATH"], "VIRTUAL_ENV": str(python.parent.parent)}
        places = ["--runs-dir", f"{folder}/runs", "--out", f"{folder}/out"]
        command = [ROOT / "run_all.sh", "--profile", "smoke", "--only", "table1/vae", *places]
        nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        done = subprocess.run(command, cwd=folder, env=home, capture_output=True, text=True, **nobody)
        assert done.returncode == 0, done.stderr
        assert (Path(folder) / "out" / "index.html").is_file()


def test_a_published_model_opens_without_a_pickle():
    for path in sorted((ROOT / "reports" / "published" / "models").iterdir()):
        assert path.suffix == ".safetensors"
    assert cqlib.load("table1/cq-f", profile="quick", data="photos10", seed=0) is not None
