"""Metrics along training: which rows have them, and that a record keeps them."""

from dataclasses import replace

from cqlib.experiments import experiment as experiments
from cqlib.experiments import run
from cqlib.experiments.experiment import experiment


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
