"""A card's folder: its weights load and give the record's numbers, its metadata are YAML, and nothing in it is markup
that came from a record."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
import yaml
from fake_records import record
from published_models import publish_untrained

import cqlib
from cqlib.cli import commands as cli
from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import load_data
from cqlib.experiments.record import DataInfo, read_record, write_record
from cqlib.experiments.run import run
from cqlib.metrics.evaluation import draw_samples, likelihood_metrics
from cqlib.models.registry import build
from cqlib.report import model_card
from cqlib.util.checkpoint import save_checkpoint
from cqlib.util.errors import UsageError, UserError
from cqlib.util.files import canonical_json
from cqlib.util.paths import ROOT

PUBLISHED_ROW, DATA = "table1/cq-f", "photodigits"


def front_matter(text):
    start, front, body = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(front), body


@pytest.mark.slow
def test_a_run_comes_back_from_its_folder(tmp_path, capsys):
    """With its numbers, without a look at the runs or at what is published."""
    done = run("table1/vae", profile="smoke", runs_dir=tmp_path / "runs")
    assert cli.main(["card", "table1/vae", str(tmp_path / "card"), "--profile", "smoke",
                     "--runs-dir", str(tmp_path / "runs")]) == 0  # fmt: skip
    names = {line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()}
    assert names == {path.name for path in (tmp_path / "card").iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "record.json", "samples.png"}
    e = experiment("table1/vae", "smoke")
    model = cqlib.load(str(tmp_path / "card"), runs_dir=tmp_path / "nothing")
    metrics = likelihood_metrics(model, load_data(e, None), e.evaluation)
    assert metrics["BPD"].value == pytest.approx(done.metrics["BPD"].value, rel=1e-6)
    with pytest.raises(UsageError, match="leave out seed"):
        cqlib.load(str(tmp_path / "card"), seed=3)
    own = tmp_path / "runs" / e.folder
    another = tmp_path / "runs" / "another seed's run"
    shutil.copytree(own, another)
    for folder in (own, another):
        with pytest.raises(UsageError, match="name another folder"):
            model_card.write(e, tmp_path / "runs", folder)
    (own / "record.json").unlink()
    with pytest.raises(UserError, match="has not been measured: "):
        model_card.write(e, tmp_path / "runs", tmp_path / "another")
    save_checkpoint(tmp_path / "card" / "model.safetensors", {"weights": {}}, keep_previous=False)
    with pytest.raises(UserError, match="has not been trained"):
        cqlib.load(str(tmp_path / "card"), runs_dir=tmp_path / "runs")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Untrained models in the place of published ones, with a record and a picture each."""
    rows = (PUBLISHED_ROW, "table1/vae", "table1/gan", "table1/vae-f")
    publish_untrained(tmp_path, monkeypatch, *rows, data=DATA)
    place = tmp_path / "published"
    monkeypatch.setattr(model_card, "PUBLISHED", place)
    for row in rows:
        e = experiment(row, data=DATA)
        images, config = DataInfo(DATA, "test", "d", (1000, 3, 16, 16)), json.loads(canonical_json(e.config))
        made = replace(record(row), data=images, config=config, config_hash=e.config_hash)
        write_record(made, place / "records")
        (place / "samples" / e.folder).mkdir(parents=True)
        (place / "samples" / e.folder / "samples.webp").touch()


def test_a_published_model_has_a_card_with_its_numbers(tmp_path, published):
    e = experiment(PUBLISHED_ROW)
    model_card.write(e, tmp_path / "runs", tmp_path / "card")
    of_card = read_record(tmp_path / "card" / "record.json")
    meta, body = front_matter((tmp_path / "card" / "README.md").read_text())
    (result,) = meta["model-index"][0]["results"]
    values = {metric["name"]: (metric["value"], metric["args"]["protocol"]) for metric in result["metrics"]}
    assert values["BPD"] == (of_card.metrics["BPD"].value, of_card.metrics["BPD"].protocol)
    assert {"FD-lite0", "KD-lite0"} <= values.keys() and not any("real" in name for name in values)
    assert all(metric["type"] in meta["metrics"] for metric in result["metrics"])
    assert (meta["license"], meta["datasets"], result["dataset"]["type"]) == ("mit", [DATA], DATA)
    assert f"| FD-lite0-floor ↓ | {of_card.metrics['FD-lite0-floor'].value:.1f} |" in body
    assert of_card.git.commit in body and "](samples.webp)" in body
    config = json.loads((tmp_path / "card" / "config.json").read_text())
    assert config["recipe"] == of_card.config["recipe"] and config["image"] == [3, 16, 16]
    loaded, published = (cqlib.load(row, runs_dir=tmp_path) for row in (str(tmp_path / "card"), PUBLISHED_ROW))
    samples = [draw_samples(model, 4, seed=0) for model in (loaded, published)]
    assert torch.equal(*samples)


def test_a_folder_with_files_of_ones_own_is_left_alone(tmp_path, published):
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "README.md"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="holds other files, and no card: name another folder"):
        model_card.write(experiment("table1/cq-f"), tmp_path / "runs", mine.parent)
    assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]


def test_a_gan_has_its_encoder_and_weights_without_a_record_have_no_card(tmp_path, published):
    names = {path.name for path in model_card.write(experiment("table1/gan"), tmp_path, tmp_path / "card")}
    assert "encoder.safetensors" in names
    (tmp_path / "card" / "samples.png").touch()  # of a run that a card was written of before
    names = {path.name for path in model_card.write(experiment("table1/vae"), tmp_path, tmp_path / "card")}
    assert names == {path.name for path in (tmp_path / "card").iterdir()}
    assert "samples.webp" in names and "encoder.safetensors" not in names
    e = experiment("table1/vae", "smoke")
    stored = {"training_hash": e.training_hash, "data": "", "git": {}, "status": "done", "steps": 1, "seconds": 1.0,
              "skipped": 0, "notes": [], "weights": dict(build(e.recipe.system).state_dict())}  # fmt: skip
    (tmp_path / e.folder).mkdir()
    save_checkpoint(tmp_path / e.folder / "model.safetensors", stored)
    with pytest.raises(UserError):
        model_card.write(e, tmp_path, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_record_of_other_weights_or_with_a_path_has_no_card(tmp_path, published):
    e = experiment(PUBLISHED_ROW)
    run_folder = tmp_path / e.folder
    model_card.write(e, tmp_path, run_folder)  # which is a run's folder too
    of_card = read_record(run_folder / "record.json")
    for wrong in (
        replace(of_card, config_hash="0" * 16),
        replace(of_card, data=replace(of_card.data, fingerprint="0" * 16)),
        replace(of_card, notes=["images: read from /home/someone/cats.npz"]),
        replace(of_card, notes=["images: read from C:\\Users\\me\\cats.npz"]),
    ):
        write_record(wrong, run_folder, "record.json")
        with pytest.raises(UserError, match="not of today's recipe|a path of this machine"):
            model_card.write(e, tmp_path, tmp_path / "card")
    assert not (tmp_path / "card").exists()


def test_what_comes_from_a_record_is_text(tmp_path, published):
    """Not HTML, a link, a table's cell, a line of its own, a heading, nor YAML."""
    e = experiment(PUBLISHED_ROW)
    model_card.write(e, tmp_path, tmp_path / "card")
    of_card = read_record(tmp_path / "card" / "record.json")
    evil = 'x" ]\n---\n# <script>alert(1)</script> [a](javascript:b) | c | `d` /home/someone/secret.txt & \u202e'
    metrics = of_card.metrics | {"BPD": replace(of_card.metrics["BPD"], protocol=evil)}
    bad = replace(of_card, notes=[evil], device=evil, metrics=metrics, data=replace(of_card.data, name=evil),
                  versions={evil: evil})  # fmt: skip
    plain, text = (model_card.card(r, cqlib.load(PUBLISHED_ROW), []) for r in (of_card, bad))
    meta, body = front_matter(text)
    assert meta["model-index"][0]["results"][0]["dataset"]["name"].startswith('x" ]\n---\n# <script>')
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(body.replace("\\<", "&lt;"))  # as Markdown reads it
    assert not tags and "\\<script\\>" in body
    assert "someone" not in text and "\u202e" not in text and "](javascript" not in body.replace("\\]", "&#93;")
    for start in ("#", "| BPD |", "---", "```"):
        lines = [[line for line in page.splitlines() if line.startswith(start)] for page in (plain, text)]
        assert len(lines[0]) == len(lines[1]), start
        assert [line.replace("\\|", "").count("|") for line in lines[1]] == [line.count("|") for line in lines[0]]


def test_torch_hub_loads_a_published_row(published):
    models = torch.hub.load(str(ROOT), "cqlib_model", "table1/vae-f", source="local"), cqlib.load("table1/vae-f")
    first, second = (draw_samples(model, 2, seed=0) for model in models)
    assert torch.equal(first, second)
