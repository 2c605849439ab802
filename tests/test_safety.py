"""What protects a user's data: no pickle runs, no name becomes markup, nothing of the machine gets into what is
published, and a killed training goes on where it was."""

from __future__ import annotations

import ast
import contextlib
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
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image
from scores import Projection

from cqlib import data
from cqlib.metrics import cache, features
from cqlib.recipe import EVALUATION, Evaluation
from cqlib.suite.cli import commands
from cqlib.suite.experiments import run
from cqlib.suite.experiments.load import load
from cqlib.suite.experiments.record import load_records, read_record
from cqlib.suite.figures import common as show
from cqlib.suite.report import page as report
from cqlib.training.loop import Loop
from cqlib.util.checkpoint import CheckpointError, load_checkpoint
from cqlib.util.errors import UserError

ROOT = Path(__file__).parent.parent
SOURCES = [path for folder in ("cqlib", "tools", "benchmarks", "examples")
           for path in sorted((ROOT / folder).rglob("*.py"))]  # fmt: skip
ROW, DATA = "table1/vae", "photos10"


@pytest.fixture(autouse=True)
def nothing_published(monkeypatch, tmp_path):
    """Reports of these tests show these tests' records alone: rendering the published ones takes long."""
    monkeypatch.setattr(report, "PUBLISHED", tmp_path / "published")


@contextlib.contextmanager
def measured_briefly():
    """Runs inside are measured on few images, by features that cost nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EVALUATION, "smoke", Evaluation(8, 8, 2, 4))
        patch.setattr(features, "_extractor", lambda *_: Projection())
        yield patch


# --- code that would run what a file says ----------------------------------------------------------------------


def unsafe(code: str):
    """What in a program would run or unpack what a stranger wrote."""
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call):
            continue
        name, given = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
        last = name.rpartition(".")[2]
        if (
            (name == "torch.load" and given.get("weights_only") != "True")
            or (last in ("load", "read_array") and given.get("allow_pickle", "False") not in ("None", "False"))
            or re.match(r"((pickle|marshal|dill|cloudpickle)\.(loads?|Unpickler)|(shelve|joblib|yaml)\.)", name)
            or name in ("eval", "exec", "os.system", "os.popen", "tempfile.mktemp")
            or last in ("extractall", "extract_archive", "unpack_archive")
            or "shell" in given
        ):
            yield name


def test_no_code_runs_what_a_file_says():
    found = [(path.name, name) for path in SOURCES for name in unsafe(path.read_text())]
    assert len(SOURCES) > 100 and not found
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert not list(unsafe(re.sub(r"(?m)^%.*$", "", code))) and not re.search(r"(?m)^!", code)


# --- files that would run something ----------------------------------------------------------------------------

SECRET, HOST = "s3cr3t-t0ken", "machine-of-these-tests"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The runs folder of a finished run; host and environment hold secrets."""
    runs = tmp_path_factory.mktemp("finished")
    with measured_briefly() as patch:
        patch.setenv("CQLIB_SECRET", SECRET)
        patch.setattr(socket, "gethostname", lambda: HOST)
        patch.setattr(platform, "node", lambda: HOST)
        run.run(ROW, profile="smoke", data=DATA, runs_dir=runs)
    return runs


class Harm:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_any_artefact_is_not_run(finished, tmp_path):
    """A checkpoint, a published model, the weights of features, an array file, a cache of statistics, a record."""
    harm = tmp_path / "harm"
    content = pickle.dumps(Harm(harm))
    pickle.loads(content)
    assert harm.exists()  # it would have
    harm.unlink()

    torch_zip, array = io.BytesIO(), io.BytesIO()
    torch.save({"weight": Harm(harm)}, torch_zip)
    np.save(array, np.array([Harm(harm)], object))
    whole = tmp_path / "whole"
    shutil.copytree(finished, whole)
    kinds = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert {path.suffix for path in kinds} >= {".safetensors", ".json", ".png"}
    for hostile in (content, torch_zip.getvalue(), array.getvalue()):
        weights, npz, checkpoint = (tmp_path / name for name in ("weights.pth", "images.npz", "x.checkpoint"))
        for path in (weights, npz, checkpoint):
            path.write_bytes(hostile)
        with pytest.raises(CheckpointError):
            load_checkpoint(checkpoint)
        with pytest.raises(UserError):
            features.inception(weights).extractor()
        with pytest.raises(UserError):
            data.load(f"npz:{npz}")
        for path in kinds:
            (whole / path).write_bytes(hostile)
            with contextlib.suppress(UserError):
                load(ROW, profile="smoke", data=DATA, seed=0, runs_dir=whole)
    for path in (whole / "features").iterdir():
        path.write_bytes(content)
        assert cache._read(path) is None
    report.render(tmp_path / "out", runs_dir=whole)  # of a record and pictures that are pickles
    assert not harm.exists()


# --- bad input ---------------------------------------------------------------------------------------------------


def test_a_bad_file_is_one_line_and_leaves_no_run(tmp_path, capsys):
    """An empty archive, one without images, pixels out of range, a program in place of a picture, a folder of none."""
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "other.npz", other=np.zeros(3))
    np.savez(tmp_path / "floats.npz", images=np.full((40, 16, 16, 3), 7.0))
    for name in ("none", "eps"):
        (tmp_path / name).mkdir()
    (tmp_path / "eps" / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n")
    for name in ("npz:empty.npz", "npz:other.npz", "npz:floats.npz", "npz:absent.npz", "folder:none", "folder:eps"):
        kind, _, path = name.partition(":")
        arguments = ("--profile", "smoke", "--data", f"{kind}:{tmp_path / path}", "--runs-dir", str(tmp_path / "runs"))
        with pytest.raises(SystemExit) as stop:
            commands.main(["train", ROW, *arguments])
        line = capsys.readouterr().err
        assert stop.value.code in (1, 2) and line.count("\n") == 1 and path in line and "details" not in line
    assert not list(tmp_path.glob("runs/*/record.json"))


# --- names that would become markup ------------------------------------------------------------------------------

RTL = "\u202e"
MARKUP = "<img src=x onerror=alert(1)>"
HOSTILE = ("<script>alert(1)</script>", f'">{MARKUP}', "'; drop", f"{RTL}txt.exe", "&lt;b&gt;", "{{7*7}}")


def test_hostile_names_are_text_in_the_report_and_in_notebooks(tmp_path):
    """A run on a folder of images whose own name, classes and files are markup."""
    folder, rng = tmp_path / MARKUP, np.random.default_rng(0)
    for name in HOSTILE:
        place = folder / name.replace("/", "∕")
        place.mkdir(parents=True)
        for k in range(10):
            image = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8))
            (image if k else image.convert("L")).save(place / f"{k}{name[:5]}.png")
    with measured_briefly():
        run.run(ROW, profile="smoke", data=f"folder:{folder}", runs_dir=tmp_path / "runs")
    report.render(tmp_path / "out", runs_dir=tmp_path / "runs")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "onerror" in page  # as text
    records, _ = load_records(tmp_path / "runs")
    sets = show.groups_for([ROW], records, "smoke")
    for html in (page, show.table("table1", sets, "smoke").data, show.claims("table1", sets).data):
        soup = BeautifulSoup(html, "html.parser")
        for tag in soup.find_all(True):
            assert not [key for key in tag.attrs if key.startswith("on")] and tag.get("src") != "x", tag
        assert "alert(1)" not in "".join(script.get_text() for script in soup.find_all("script"))
        assert RTL not in html


# --- what is published says nothing of the machine ---------------------------------------------------------------


def test_records_and_report_do_not_name_the_machine(finished, tmp_path):
    report.render(tmp_path / "out", runs_dir=finished)
    texts = "".join(path.read_text() for path in [*finished.rglob("*.json"), tmp_path / "out" / "index.html"])
    for secret in (str(Path.home()), str(tmp_path), str(finished), str(ROOT), SECRET, HOST):
        assert secret == "/" or secret not in texts


# --- a training that is killed -----------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from cqlib.suite.cli import commands
from cqlib.training import loop
one_step = loop.Loop.one_step
def step(self):
    if self.step == 7:
        self.save()
        os.kill(os.getpid(), signal.SIGKILL)
    return one_step(self)
loop.Loop.one_step = step
sys.exit(commands.main())
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_one_that_was_not(finished, tmp_path):
    """By SIGKILL right after a checkpoint: it is resumed there, and the model, its bits and its log are the same."""
    command = (sys.executable, "-c", KILLED, "train", ROW, "--profile", "smoke", "--data", DATA, "--device", "cpu",
               "--runs-dir", str(tmp_path))  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    assert subprocess.run(command, env=environment, capture_output=True).returncode == -9
    steps, one_step = [], Loop.one_step
    with measured_briefly() as patch:
        patch.setattr(Loop, "one_step", lambda self: steps.append(self.step) or one_step(self))
        run.run(ROW, profile="smoke", data=DATA, runs_dir=tmp_path)
    assert steps[0] == 7
    (killed,), (whole,) = (list(runs.glob("*/record.json")) for runs in (tmp_path, finished))
    assert read_record(killed).metrics["BPD"] == read_record(whole).metrics["BPD"]
    weights = [load(ROW, profile="smoke", data=DATA, runs_dir=runs).state_dict() for runs in (tmp_path, finished)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    logs = [(file.parent / "training.jsonl").read_text().splitlines() for file in (killed, whole)]
    assert [json.loads(line)["step"] for line in logs[0]] == [json.loads(line)["step"] for line in logs[1]]
