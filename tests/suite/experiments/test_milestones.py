"""Metrics along training: which rows have them, and that a record keeps them."""

from dataclasses import replace

from scores import Projection

from cqlib.metrics import features
from cqlib.suite.experiments import experiment as experiments
from cqlib.suite.experiments import run
from cqlib.suite.experiments.experiment import experiment


def test_table_1_under_study_has_them_and_a_record_keeps_them(tmp_path, monkeypatch):
    for row in ("table1/vae", "table1/gan"):
        e = experiment(row, "study")
        assert e.recipe.training.snapshots == experiments.MILESTONES
        assert e.evaluation.milestone_images == experiments.MILESTONE_IMAGES
    for e in (experiment("table1/vae", "quick"), experiment("table2/cqf-residual", "study")):
        assert e.recipe.training.snapshots == 0 and e.evaluation.milestone_images is None
    smoke = experiment("table1/vae", "smoke")
    training = replace(smoke.recipe.training, snapshots=1)
    evaluation = replace(smoke.evaluation, fidelity_images=8, milestone_images=8)
    kept = replace(smoke, recipe=replace(smoke.recipe, training=training), evaluation=evaluation)
    monkeypatch.setattr(run, "experiment", lambda *_: kept)
    extractor = Projection()
    monkeypatch.setattr(features, "_extractor", lambda *_: extractor)
    record = run.run("table1/vae", profile="smoke", runs_dir=tmp_path)
    assert [step for step, _ in record.curve["Coverage-lite0 (n = 8)"]] == [10, 20]
    assert "L_C (bits/dim)" in record.curve
