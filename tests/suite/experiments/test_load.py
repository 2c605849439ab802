"""The finder of trained models: local runs, published weights, and the sentence where there is neither."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_records import record
from published_models import publish_untrained

import cqlib
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.suite.cli.commands import main
from cqlib.suite.experiments import library, load
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import fetch_published, find_model, load_data, load_system, published_weights
from cqlib.suite.experiments.model_file import ENCODER, WEIGHTS, load_weights, stored_training
from cqlib.suite.experiments.record import DataInfo, write_record
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError
from cqlib.util.paths import ROOT

DATA = {"data": "photos10"}
TRAINED = {"status": "done", "steps": 1, "seconds": 1.0, "skipped": 0, "notes": [], "device": "cpu",
           "git": {"commit": None, "dirty": None}, "data": "d"}  # fmt: skip


@pytest.fixture
def runs_dir(tmp_path, monkeypatch):
    """An empty folder of runs; models of three rows are published."""
    publish_untrained(tmp_path, monkeypatch, "table1/vae", "table1/cq-f", "table1/gan")
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def test_a_published_model_is_found_with_its_images(runs_dir):
    found = find_model(experiment("table1/cq-f", **DATA), runs_dir)
    assert (found.name, found.origin, found.source) == ("CQ-F", "published", "photos10 16×16, quick, seed 0")
    assert found.data.test.images.shape[1:] == found.model.shape and not found.model.training
    assert not list(runs_dir.iterdir())


@pytest.mark.parametrize("row", ["table1/cq-f", "table1/gan", "table1/vae"])
def test_published_weights_are_trained_further(runs_dir, row):
    """Those of the critic are published too."""
    model = cqlib.load(row, runs_dir=runs_dir, **DATA)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.fit(torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8), steps=1, batch_size=4, progress=False)
    after = model.state_dict()
    nets = {name.partition(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert nets == set(dict(model.named_children()))


def test_a_local_run_comes_first(runs_dir):
    e = experiment("table1/cq-f", **DATA)
    assert fetch_published(e, runs_dir)
    assert find_model(e, runs_dir).origin == "local"


def test_a_damaged_model_is_not_replaced_by_the_published_one(runs_dir):
    assert cqlib.load("table1/cq-f", runs_dir=runs_dir, **DATA)
    path = runs_dir / experiment("table1/cq-f", **DATA).folder / WEIGHTS
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.safetensors is not a checkpoint"):
        cqlib.load("table1/cq-f", runs_dir=runs_dir, **DATA)


def test_a_run_of_another_recipe_is_not_replaced_by_the_published_one_without_a_word(runs_dir, capsys):
    """`load` warns, a command prints a line; and the run is found by its folder."""
    e, other = experiment("table1/vae", **DATA), experiment("table1/vae", **DATA, changes={"system.latent": 5})
    torch.manual_seed(1)
    run = Path(library.write_model(runs_dir / e.folder / WEIGHTS, cqlib.VAE(16, latent=5), TRAINED | {
        "training_hash": other.training_hash})).parent  # fmt: skip
    line = rf"{e.folder} is not of today's recipe of table1/vae: .*published.* to train anew: {re.escape(e.command)}"
    with pytest.warns(UserWarning, match=line) as warned:
        model = cqlib.load("table1/vae", runs_dir=runs_dir, **DATA)
    assert len(warned) == 1 and warned[0].filename == __file__ and model.config == e.recipe.system
    out = runs_dir / "samples.png"
    assert main(["sample", "table1/vae", "--data", "photos10", "--runs-dir", str(runs_dir), "--out", str(out)]) == 0
    assert re.search(line, capsys.readouterr().err)
    published_weights(e.folder).unlink()
    with pytest.raises(UserError, match=rf"is not of today's recipe of table1/vae: {re.escape(e.command)}$"):
        cqlib.load("table1/vae", runs_dir=runs_dir, **DATA)
    assert cqlib.load(run).config.latent == cqlib.VAE.load(run).config.latent == 5


@pytest.mark.parametrize("row", ["table1/cq-f", "table1/gan", "table3/dcgan", "extra/cq-f-conditional"])
def test_a_run_of_any_row_is_found_by_its_folder_alone(tmp_path, row):
    """Its file says which model it is; that of a former run is read with its record."""
    e = experiment(row, "smoke", **DATA)
    torch.manual_seed(1)
    system = library.untrained(library.class_of(e.row, e.recipe.system), e.recipe.system)
    library.write_model(tmp_path / WEIGHTS, system, TRAINED | {"training_hash": e.training_hash})
    found = cqlib.load(tmp_path)
    assert type(found) is type(system) and found.config == e.recipe.system and not found.training
    assert all(torch.equal(value, system.state_dict()[name]) for name, value in found.state_dict().items())
    state = load_checkpoint(tmp_path / WEIGHTS)
    save_checkpoint(tmp_path / WEIGHTS, {name: state[name] for name in state if name not in ("model", "config")})
    with pytest.raises(UserError, match="was not written by"):
        cqlib.load(tmp_path)
    images = DataInfo("photos10", "test", "d", (9, 3, 16, 16))
    write_record(replace(record("table1/vae"), row=row, profile="smoke", data=images), tmp_path, "record.json")
    former = cqlib.load(tmp_path)
    assert type(former) is type(system) and former.config == found.config
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in former.state_dict().items())


def test_all_weights_of_a_run_are_fetched_or_none(runs_dir):
    """Else the encoder around a GAN would be trained anew, and its BPD not that of the published weights."""
    e = experiment("table1/gan", **DATA)
    assert fetch_published(e, runs_dir) and stored_training(runs_dir / e.folder / ENCODER, e)
    published_weights(e.folder, ENCODER).unlink()
    assert not fetch_published(e, runs_dir / "others") and not (runs_dir / "others").exists()


def test_a_published_encoder_takes_the_generator_that_it_was_trained_for(runs_dir):
    e = experiment("table1/gan", **DATA)
    generator = load_system(e, runs_dir)
    file = published_weights(e.folder, ENCODER)
    stored = stored_training(file, e)["weights"]
    assert not any("generator" in name for name in stored)
    model = FrozenDecoder(e.recipe.frozen_decoder.config, generator)
    load_weights(model, dict(stored), file)
    assert all(torch.equal(model.state_dict()[name], value.float()) for name, value in stored.items())
    assert all(torch.equal(of, model.state_dict()[f"generator.{name}"]) for name, of in generator.state_dict().items())
    stored.popitem()
    with pytest.raises(UserError, match="does not hold the weights of a FrozenDecoder"):
        load_weights(model, stored, file)


def test_no_test_sees_the_runs_of_a_user():
    assert load.RUNS != ROOT / "runs" and not list(load.RUNS.iterdir())


def test_a_set_too_small_for_its_scores_is_told_with_what_it_has_and_what_is_needed(tmp_path):
    def few(n):
        np.savez(tmp_path / "few.npz", images=np.zeros((n, 16, 16, 3), np.uint8))
        return load_data(experiment("table1/vae", "smoke", f"npz:{tmp_path}/few.npz"), None)

    with pytest.raises(UserError, match="it has 48 for training and 5 for testing, and at least 6 of each are needed"):
        few(53)
    assert len(few(60).test) == 6
