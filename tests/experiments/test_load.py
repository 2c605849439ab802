"""The finder of trained models: local runs, published weights, and the sentence where there is neither."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import cqlib
from cqlib.experiments import load, run
from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import (
    ENCODER,
    WEIGHTS,
    fetch_published,
    find_model,
    load_data,
    load_system,
    load_weights,
    published_weights,
    stored_training,
)
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.training.loop import train
from cqlib.util.errors import UserError
from cqlib.util.paths import ROOT


def test_a_published_model_is_found_with_its_images(tmp_path):
    found = find_model(experiment("table1/cq-f"), tmp_path)
    assert (found.name, found.origin, found.source) == ("CQ-F", "published", "photos10 16×16, quick, seed 0")
    assert found.data.test.images.shape[1:] == found.model.shape and not found.model.training
    assert not list(tmp_path.iterdir())


def test_published_weights_lack_the_critic_and_are_not_trained_further(tmp_path):
    for row in ("table1/cq-f", "table1/gan"):
        e = experiment(row)
        model = load_system(e, tmp_path)
        assert model.critic is None
        with pytest.raises(ValueError, match="published weights lack the critic"):
            train(model, torch.zeros(4, 3, 16, 16, dtype=torch.uint8), e.recipe.training, seed=0, folder=tmp_path)
    assert not load_system(experiment("table1/vae"), tmp_path).lacks_critic


def test_a_local_run_comes_first(tmp_path):
    e = experiment("table1/cq-f", "quick", None, 0)
    assert fetch_published(e, tmp_path)
    assert find_model(experiment("table1/cq-f"), tmp_path).origin == "local"


def test_what_a_cut_fetch_left_out_is_fetched(tmp_path):
    """Else the encoder around a GAN would be trained anew, and its BPD not that of the published weights."""
    e = experiment("table1/gan")
    assert fetch_published(e, tmp_path)
    encoder = tmp_path / e.folder / ENCODER
    whole = encoder.read_bytes()
    encoder.unlink()
    assert fetch_published(e, tmp_path) and encoder.read_bytes() == whole
    assert not fetch_published(e, tmp_path)
    encoder.unlink()
    (tmp_path / e.folder / WEIGHTS).write_bytes(b"of another run")
    assert not fetch_published(e, tmp_path) and not encoder.exists()


def test_a_published_encoder_takes_the_generator_that_it_was_trained_for(tmp_path):
    e = experiment("table1/gan")
    generator = load_system(e, tmp_path)
    file = published_weights(e.folder, ENCODER)
    stored = stored_training(file, e)["weights"]
    assert not any("generator" in name for name in stored)
    model = FrozenDecoder(e.recipe.frozen_decoder.config, generator)
    load_weights(model, dict(stored), file)
    assert all(torch.equal(model.state_dict()[name], value.float()) for name, value in stored.items())
    assert all(torch.equal(of, model.state_dict()[f"generator.{name}"]) for name, of in generator.state_dict().items())
    stored.popitem()
    with pytest.raises(UserError, match="holds other weights than its name says"):
        load_weights(model, stored, file)


def test_a_tilde_in_runs_dir_is_the_home_folder(tmp_path, monkeypatch):
    def found(e, folder):
        raise UserError(f"looked in {folder}")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(load, "load_system", found)
    monkeypatch.setattr(run, "ended_record", found)
    for call in (cqlib.load, cqlib.run):
        with pytest.raises(UserError, match=f"^looked in {tmp_path}/runs$"):
            call("table1/vae", profile="smoke", runs_dir="~/runs")


def test_a_set_too_small_for_its_scores_is_told_with_what_it_has_and_what_is_needed(tmp_path):
    def few(n):
        np.savez(tmp_path / "few.npz", images=np.zeros((n, 16, 16, 3), np.uint8))
        return load_data(experiment("table1/vae", "smoke", f"npz:{tmp_path}/few.npz"), None)

    with pytest.raises(UserError, match="it has 35 for training and 3 for testing, and at least 4 of each are needed"):
        few(38)
    assert len(few(40).test) == 4


@pytest.mark.slow
def test_installed_without_the_repository_it_says_where_weights_lie_and_works_in_the_current_folder(tmp_path):
    shutil.copytree(ROOT / "cqlib", tmp_path / "site" / "cqlib", ignore=shutil.ignore_patterns("__pycache__"))
    info = tmp_path / "site" / "cq_companion-1.dist-info"
    for folder in (info, tmp_path / "here"):
        folder.mkdir()
    text = "Metadata-Version: 2.4\nName: cq-companion\nVersion: 1\n"
    (info / "METADATA").write_text(text)
    code = "import cqlib.experiments.load as l; print(l.RUNS, l.__file__); l.load('table1/cq-f')"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path / "here", env=environment, text=True,
                          capture_output=True)  # fmt: skip
    assert done.stdout == f"{tmp_path}/here/runs {tmp_path}/site/cqlib/experiments/load.py\n"
    line = done.stderr.splitlines()[-1]
    assert "published weights lie in the repository: start in a clone of it" in line
