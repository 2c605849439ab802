"""BPD and Fréchet distance along training: each kept step is measured as it was, and the last as it is."""

import copy
from dataclasses import replace

import pytest
import torch

from cqlib import data
from cqlib.experiments import experiment as experiments
from cqlib.experiments import run
from cqlib.experiments.experiment import experiment
from cqlib.metrics import features, milestones
from cqlib.metrics.baselines import Distances
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.models.registry import build
from cqlib.recipe import EVALUATION


@pytest.fixture(scope="module")
def images():
    return data.load("photos10", size=16).first(300, 300)


@pytest.mark.parametrize(("row", "kinds"), [("table1/cq-f", 2), ("table1/gan", 1)])
def test_each_step_is_measured_with_its_own_weights(tmp_path, images, row, kinds):
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        made.append(build(experiment(row, "smoke").recipe.system).eval())
    before, last = (copy.deepcopy(model) for model in made)
    distances = Distances(images, replace(EVALUATION["smoke"], fidelity_images=32), features.lite0(),
                          cache_dir=tmp_path, device=torch.device("cpu"))  # fmt: skip
    curves = milestones.along(last, 20, {10: before.state_dict()}, images, distances, seed=0)
    assert len(curves) == kinds and all([step for step, _ in curve] == [10, 20] for curve in curves.values())
    for k, model in enumerate((before, last)):
        assert curves["FD-lite0@T1 (n = 32)"][k][1] == round(distances.of_system(model, "test", 10_000).value, 2)
        if kinds == 2:
            nats = held_out_nats(model, images.test.images[:250])
            bpd = float(bits_per_dimension(nats.mean(), 3 * 16 * 16))
            assert curves["BPD on 250 test images (bits/dim)"][k][1] == round(bpd, 4)
    assert curves["FD-lite0@T1 (n = 32)"][0][1] != curves["FD-lite0@T1 (n = 32)"][1][1]


def test_table_1_under_study_has_them_and_a_record_keeps_them(tmp_path, monkeypatch):
    for row in ("table1/vae", "table1/gan"):
        e = experiment(row, "study")
        assert e.recipe.training.snapshots == experiments.MILESTONES
        assert e.evaluation.milestone_images == experiments.MILESTONE_IMAGES
    for e in (experiment("table1/vae", "quick"), experiment("table2/cqf-residual", "study")):
        assert e.recipe.training.snapshots == 0 and e.evaluation.milestone_images is None
    smoke = experiment("table1/vae", "smoke")
    training, evaluation = replace(smoke.recipe.training, snapshots=3), replace(smoke.evaluation, milestone_images=32)
    kept = replace(smoke, recipe=replace(smoke.recipe, training=training), evaluation=evaluation)
    monkeypatch.setattr(run, "experiment", lambda *_: kept)
    record = run.run("table1/vae", profile="smoke", runs_dir=tmp_path)
    assert [step for step, _ in record.curve["FD-lite0@T1 (n = 32)"]] == [5, 10, 15, 20]
    assert "L_C (bits/dim)" in record.curve and not any("best" in name for name in record.metrics)
