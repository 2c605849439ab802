"""A card's folder: its weights load and give the record's numbers, its metadata are YAML, and nothing in it is markup
that came from a record."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from fake_records import record
from published_models import publish_untrained

import cqlib
from cqlib.metrics.evaluation import draw_samples, likelihood_metrics
from cqlib.metrics.metric import Protocol
from cqlib.suite.cli import commands as cli
from cqlib.suite.experiments import model_card
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import load_data
from cqlib.suite.experiments.record import DataInfo, read_record, write_record
from cqlib.suite.experiments.run import run
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


def test_a_folder_with_files_of_ones_own_and_a_record_of_other_weights_are_left_alone(tmp_path, published):
    e, mine = experiment(PUBLISHED_ROW), tmp_path / "mine" / "README.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match="holds other files, and no card: name another folder"):
        model_card.write(e, tmp_path / "runs", mine.parent)
    assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]
    run_folder = tmp_path / e.folder
    model_card.write(e, tmp_path, run_folder)  # which is a run's folder too
    of_card = read_record(run_folder / "record.json")
    for wrong in (replace(of_card, data=replace(of_card.data, fingerprint="0" * 16)),
                  replace(of_card, notes=["images: read from /home/someone/cats.npz"])):  # fmt: skip
        write_record(wrong, run_folder, "record.json")
        with pytest.raises(UserError, match="not of these weights|a path of this machine"):
            model_card.write(e, tmp_path, tmp_path / "card")


def test_a_gan_has_its_encoder(tmp_path, published):
    names = {path.name for path in model_card.write(experiment("table1/gan"), tmp_path, tmp_path / "card")}
    assert {"encoder.safetensors", "samples.webp", "README.md"} <= names


def test_what_comes_from_a_record_is_text(tmp_path, published):
    """Not HTML, a link, a table's cell, a line of its own, a heading, nor YAML."""
    model_card.write(experiment(PUBLISHED_ROW), tmp_path, tmp_path / "card")
    of_card = read_record(tmp_path / "card" / "record.json")
    evil = 'x" ]\n---\n# <script>alert(1)</script> [a](javascript:b) | c | `d` /home/someone/secret.txt & \u202e'
    metrics = of_card.metrics | {"BPD": replace(of_card.metrics["BPD"], protocol=Protocol(bound=evil))}
    bad = replace(of_card, notes=[evil], device=evil, metrics=metrics, data=replace(of_card.data, name=evil),
                  versions={evil: evil})  # fmt: skip
    plain, text = (model_card.card(r, cqlib.load(PUBLISHED_ROW), []) for r in (of_card, bad))
    meta, body = front_matter(text)
    (model,) = meta["model-index"]
    (result,) = model["results"]
    assert meta["license"] == "mit" and meta["pipeline_tag"] == result["task"]["type"]
    assert {"type": "bpd", "name": "BPD", "value": of_card.metrics["BPD"].value} in result["metrics"]
    assert result["dataset"]["name"].startswith('x" ]\n---\n# <script>')
    assert "\\<script\\>" in body and "<script>" not in body.replace("\\<", "")
    assert "someone" not in text and "\u202e" not in text and "](javascript" not in body.replace("\\]", "")
    for start in ("#", "| BPD |", "---", "```"):
        lines = [[line for line in page.splitlines() if line.startswith(start)] for page in (plain, text)]
        assert len(lines[0]) == len(lines[1]), start
        assert [line.replace("\\|", "").count("|") for line in lines[1]] == [line.count("|") for line in lines[0]]


def test_torch_hub_loads_a_published_row(published):
    models = torch.hub.load(str(ROOT), "cqlib_model", "table1/vae-f", source="local"), cqlib.load("table1/vae-f")
    first, second = (draw_samples(model, 2, seed=0) for model in models)
    assert torch.equal(first, second)
