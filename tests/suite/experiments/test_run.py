"""One run from images to record: cached, resumable, evaluated again without training again."""

import errno
import itertools
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from scores import Projection
from small_models import flat

import cqlib
from cqlib.data.grids import grid_png
from cqlib.metrics import evaluation, features
from cqlib.metrics.metric import Metric, Protocol
from cqlib.metrics.quantities import SCORES
from cqlib.models.cq import CoverageQuality
from cqlib.models.registry import RECIPES, build
from cqlib.recipe import EVALUATION
from cqlib.suite.experiments import run, stages
from cqlib.suite.experiments.experiment import MILESTONE_IMAGES, MILESTONES, experiment
from cqlib.suite.experiments.load import model_of
from cqlib.suite.experiments.record import MAX_CURVE, read_record, write_record
from cqlib.suite.experiments.run_folder import archive_stale_run
from cqlib.suite.experiments.selection import Selection
from cqlib.util.checkpoint import load_checkpoint
from cqlib.util.errors import StoppedEarly
from cqlib.util.paths import ROOT
from cqlib.util.provenance import GitInfo
from cqlib.util.stop import StopRequest

ROW = {"row": "table1/gan", "profile": "smoke"}


@pytest.fixture(scope="module", autouse=True)
def few_images():
    """Metrics of a few images, on features that cost nothing: what they are is tested elsewhere."""
    cheap, extractor = Projection(), features._extractor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_extractor", lambda asked, device: (
            cheap if asked.extractor_name == features.LITE0_NAME else extractor(asked, device)))  # fmt: skip
        patch.setitem(EVALUATION, "smoke", replace(EVALUATION["smoke"], fidelity_images=6, bpd_images=16))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished smoke run of the row with two trainings."""
    runs = tmp_path_factory.mktemp("runs")
    torch.manual_seed(11)
    before = torch.get_rng_state()
    record = run.run(**ROW, runs_dir=runs)
    return runs, record, torch.equal(before, torch.get_rng_state())


@pytest.fixture(scope="module")
def finished_vae(tmp_path_factory):
    """A finished smoke run of a VAE: (runs folder, record)."""
    runs = tmp_path_factory.mktemp("vae")
    return runs, run.run("table1/vae", profile="smoke", runs_dir=runs)


@pytest.fixture
def vae(finished_vae, tmp_path):
    """A copy of the finished VAE's run that a test may change: (runs folder, folder of the run, record)."""
    shutil.copytree(finished_vae[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, tmp_path / experiment("table1/vae", "smoke").folder, finished_vae[1]


def test_record_says_everything(finished):
    runs, record, random_state_was_left_alone = finished
    assert random_state_was_left_alone
    e = experiment("table1/gan", "smoke")
    folder = runs / experiment("table2/gan", "smoke").folder
    assert read_record(folder / "record.json") == record
    assert record.status == "done" and record.config_hash == e.config_hash
    assert record.steps == e.recipe.training.steps
    assert {"BPD", "BPD-IW", "FD-lite0", "IS-lite0", "Coverage-lite0", "KD-lite0-floor"} <= set(record.metrics)
    assert record.metrics["BPD"].protocol.starred and record.metrics["BPD"].protocol.bound == "ELBO"
    assert record.metrics["BPD"].n == 16
    assert record.parameters["critic"] > 0 and record.peak_memory_bytes > 10**7
    seconds = json.loads((folder / "training.jsonl").read_text().splitlines()[-1])["seconds"]
    images = record.steps * e.recipe.training.batch_size
    assert record.images_per_second == pytest.approx(images / seconds, rel=0.1)
    assert str(runs) not in (folder / "record.json").read_text()
    assert {"samples.png", "model.safetensors"} <= {p.name for p in folder.iterdir()}
    assert not list(folder.glob("*.checkpoint*"))


def test_what_has_to_be_beaten_is_measured_and_samples_are_those_of_the_runs_seed(tmp_path, monkeypatch):
    beaten, baselines = [], run.baselines
    monkeypatch.setattr(run, "baselines", lambda system, *more: beaten.append(flat(system)) or baselines(system, *more))
    steps = {"training.steps": 8}
    one, other = (
        run.run("table3/dcgan", profile="smoke", runs_dir=tmp_path, seed=seed, changes=steps) for seed in (1, 2)
    )
    assert {"FD-lite0-untrained", "FD-lite0-gaussian"} <= one.metrics.keys()
    torch.manual_seed(1)
    assert torch.equal(beaten[0], flat(build(experiment("table3/dcgan", "smoke").recipe.system)))
    assert other.metrics["FD-lite0-untrained"].value != one.metrics["FD-lite0-untrained"].value
    drawn = evaluation.draw_samples(model_of(other, tmp_path), 6, seed=evaluation.TEST_SEED + 2)
    assert (tmp_path / other.folder / "samples.png").read_bytes() == grid_png(drawn)


def test_an_ablation_that_scores_means_says_so_in_its_record(vae, monkeypatch):
    runs, _, plain = vae
    record = run.run("table1/vae", profile="smoke", runs_dir=runs, changes={"scores_of": "means"})
    assert record.changes == {"scores_of": "means"} and record.metrics["BPD"] == plain.metrics["BPD"]
    assert record.metrics["FD-lite0"].protocol.of == "decoder's means"
    assert record.metrics["FD-lite0"].value != plain.metrics["FD-lite0"].value


def test_a_diverged_run_keeps_what_it_logged(tmp_path, monkeypatch):
    """And it is a record, with the state of the last checkpoint: here the first, whose BPD and scores are finite."""
    losses, calls = CoverageQuality.generator_losses, itertools.count()

    def diverging(self, x):
        return {name: value * (1.0 if next(calls) < 12 else float("nan")) for name, value in losses(self, x).items()}

    monkeypatch.setattr(CoverageQuality, "generator_losses", diverging)
    record = run.run("table1/vae", profile="smoke", runs_dir=tmp_path, changes={"training.max_nonfinite": 3})
    assert record.status == "diverged" and record.steps == 0 and record.ending == "diverged at step 0"
    assert [step for step, _ in record.curve["KL"]][:1] == [5] and record.metrics["FD-lite0"].value > 0
    lines = (tmp_path / record.folder / "training.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["skipped"] == 3


def test_a_run_whose_samples_are_not_finite_diverged_and_has_no_scores(vae, monkeypatch):
    runs, folder, plain = vae
    (folder / "record.json").unlink()
    monkeypatch.setattr(CoverageQuality, "sample", lambda self, n, **_: torch.full((n, *self.shape), torch.nan))
    record = run.run("table1/vae", profile="smoke", runs_dir=runs)
    assert record.status == "diverged" and record.steps == plain.steps and record.notes[-1].startswith("diverged")
    assert record.metrics["BPD"] == plain.metrics["BPD"] and "FD-lite0" not in record.metrics
    monkeypatch.setattr(run, "_run", lambda *a: pytest.fail("ran again"))
    assert run.run("table1/vae", profile="smoke", runs_dir=runs) == record


def test_a_finished_run_is_read_and_not_run_again(finished, monkeypatch):
    runs, record, _ = finished
    monkeypatch.setattr(run, "_run", lambda *a: pytest.fail("ran again"))
    assert run.run(**ROW, runs_dir=runs) == record
    assert Selection(["table2/gan"], "smoke", runs_dir=runs).run() == [record]


@pytest.mark.parametrize("name", ["training.checkpoint", "training.step-4.safetensors", ".record.json.x.tmp"])
def test_what_a_kill_left_in_a_finished_run_goes_at_the_next_start(finished, name):
    runs, record, _ = finished
    left = runs / experiment(**ROW).folder / name
    left.touch()
    assert run.run(**ROW, runs_dir=runs) == record and not left.exists()


def test_scores_on_other_features_are_not_taken_for_those_asked_for(finished):
    _, record, _ = finished
    lite0 = features.lite0(224)
    inception = replace(lite0, name="inception")
    assert run.has_scores(record, lite0) and not run.has_scores(record, inception)
    scores = {quantity.name: Metric(1.0, None, 4, Protocol(features="inception")) for quantity in SCORES}
    scored = replace(record, metrics={**record.metrics, **scores})
    assert run.has_scores(scored, inception)
    del scored.metrics["Coverage"]  # a score that came later is measured too
    assert not run.has_scores(scored, inception)


def test_load_gives_the_trained_system(finished):
    runs, *_ = finished
    model = cqlib.load("table1/gan", profile="smoke", runs_dir=runs)
    stored = load_checkpoint(runs / experiment("table1/gan", "smoke").folder / "model.safetensors")
    assert not model.training
    assert all(torch.equal(v, stored["weights"][k]) for k, v in model.state_dict().items())


def test_another_evaluation_does_not_train_again(finished, monkeypatch):
    runs, record, _ = finished
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setitem(EVALUATION, "smoke", replace(EVALUATION["smoke"], bpd_images=8))
    facts = {"versions": {"torch": "of the training"}, "peak_memory_bytes": 10**15}
    write_record(replace(record, **facts), runs / record.folder, "record.json")
    again = run.run(**ROW, runs_dir=runs)
    assert again.metrics["BPD"].n == 8 and again.config_hash != record.config_hash
    assert again.metrics["FD-lite0"] == record.metrics["FD-lite0"]  # the same weights
    assert again.versions == {"torch": "of the training"} and again.peak_memory_bytes == 10**15


def with_steps(monkeypatch, steps):
    """The VAE's recipe, but for its number of steps."""
    recipe = RECIPES["table1/vae"]

    def changed(*arguments):
        return replace(recipe(*arguments), training=replace(recipe(*arguments).training, steps=steps))

    monkeypatch.setitem(RECIPES, "table1/vae", changed)


def test_another_recipe_trains_again_and_loses_nothing(vae, monkeypatch):
    runs, _, first = vae
    with_steps(monkeypatch, 3)
    lines = []
    second = run.run("table1/vae", profile="smoke", runs_dir=runs, tell=lines.append)
    assert (first.steps, second.steps) == (20, 3)
    kept = list((runs / "stale").glob("*/record.json"))
    assert len(kept) == 1 and read_record(kept[0]) == first
    assert len(lines) == 1 and str(kept[0].parent) in lines[0]
    run.run("table1/vae", profile="smoke", runs_dir=runs, tell=lines.append)
    assert len(lines) == 1


def test_a_run_whose_mark_cannot_be_read_just_now_is_not_set_aside(tmp_path, monkeypatch):
    e, folder = experiment("table1/vae", "smoke"), tmp_path / "a-run"
    folder.mkdir()
    archive_stale_run(e, "0" * 16, folder, tmp_path, print)
    (folder / "model.safetensors").touch()

    def away(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Stale"):
        patched.setattr(Path, "read_text", away)
        archive_stale_run(e, "0" * 16, folder, tmp_path, print)
    archive_stale_run(e, "0" * 16, folder, tmp_path, pytest.fail)
    assert (folder / "model.safetensors").exists() and not (tmp_path / "stale").exists()
    told = []
    archive_stale_run(e, "1" * 16, folder, tmp_path, told.append)  # other data
    assert len(told) == 1 and not (folder / "model.safetensors").exists()


@pytest.mark.slow
def test_changed_data_behind_a_path_is_noticed(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.npz"
    records = []
    for _ in range(2):
        np.savez(path, images=rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8))
        records.append(run.run("table1/vae", profile="smoke", data=f"npz:{path}", runs_dir=tmp_path / "runs"))
    assert records[0].data.fingerprint != records[1].data.fingerprint
    folder = tmp_path / "runs" / experiment("table1/vae", "smoke", f"npz:{path}").folder
    old = next((tmp_path / "runs" / "stale").glob("*/model.safetensors"))
    first, second = (load_checkpoint(p)["weights"] for p in (old, folder / "model.safetensors"))
    assert not torch.equal(first["decoder.out.weight"], second["decoder.out.weight"])  # trained again


def test_a_damaged_record_is_measured_again(vae, monkeypatch):
    runs, folder, first = vae
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("trained again"))
    path = folder / "record.json"
    path.write_text(path.read_text()[:100])
    second = run.run("table1/vae", profile="smoke", runs_dir=runs)
    assert second.metrics["seconds"].n == first.metrics["seconds"].n
    metrics = [{name: value for name, value in r.metrics.items() if name != "seconds"} for r in (first, second)]
    assert metrics[0] == metrics[1] and second.config_hash == first.config_hash
    assert json.loads(path.read_text())["row"] == "table1/vae"


@pytest.mark.slow
def test_a_stop_while_measuring_keeps_the_trained_model(tmp_path, monkeypatch):
    class AfterTraining(StopRequest):
        def reason(self):
            return "a test" if list(tmp_path.glob("*/model.safetensors")) else None

    with monkeypatch.context() as patched:
        patched.setattr(run, "StopRequest", AfterTraining)
        with pytest.raises(StoppedEarly, match="while measuring"):
            run.run("table1/vae", profile="smoke", runs_dir=tmp_path)
    monkeypatch.setattr(stages, "train", lambda *a, **k: pytest.fail("trained again"))
    assert run.run("table1/vae", profile="smoke", runs_dir=tmp_path).status == "done"


@pytest.mark.slow
def test_a_diverged_second_stage_is_told(tmp_path, monkeypatch):
    real = stages.train

    def diverging(*arguments, name, **options):
        result = real(*arguments, name=name, **options)
        return replace(result, status="diverged") if name == "encoder" else result

    monkeypatch.setattr(stages, "train", diverging)
    record = run.run(**ROW, runs_dir=tmp_path)
    assert record.status == "diverged" and run.ended_record(experiment("table1/gan", "smoke"), tmp_path) == record
    monkeypatch.setattr(run, "_run", lambda *a: pytest.fail("measured again"))
    assert run.run(**ROW, runs_dir=tmp_path) == record


@pytest.mark.slow
def test_a_record_names_the_code_of_the_training_and_is_dirty_if_any_code_was(tmp_path, monkeypatch):
    """A GAN is trained by clean code, its encoder by dirty code, and it is measured by clean code again."""

    def set_code(letter, dirty):
        monkeypatch.setattr(run.provenance, "git_info", lambda: GitInfo(letter * 40, dirty))

    set_code("a", False)
    with monkeypatch.context() as patched, pytest.raises(IndexError):
        patched.setattr(stages.Stages, "train_encoder", lambda *_: [].pop())
        run.run(**ROW, runs_dir=tmp_path)
    set_code("b", True)
    record = run.run(**ROW, runs_dir=tmp_path)
    (tmp_path / record.folder / "record.json").unlink()
    set_code("c", False)
    assert record.git == run.run(**ROW, runs_dir=tmp_path).git == GitInfo("a" * 40, True)


def test_every_row_leaves_a_curve_of_its_losses():
    curves = {}
    for row, numbers in json.loads((ROOT / "tests" / "training" / "pinned.json").read_text()).items():
        names = {name.replace("critic's ", "critic/").replace("generator's ", "") for name in numbers}
        line = {"step": 50, **dict.fromkeys(names - {"critic/gradient"}, 1.0)}
        curves[row] = {*run.loss_curves([line], dimensions=768)}
        assert curves[row], row
    assert curves["table1/cq-f"] == {"L_C (bits/dim)", "KL", "L_Q", "discriminator"}
    assert curves["table3/prog-gan"] == {"wasserstein"} and curves["table3/improved-gan"] == {"unlabelled", "labelled"}


@pytest.mark.parametrize("n", [0, 1, 2, 59, 60, 61, 119, 4500])
def test_a_log_is_thinned_evenly_to_what_a_record_takes_and_keeps_its_ends(tmp_path, n):
    log = tmp_path / "training.jsonl"
    log.write_text("".join(f'{{"step": {step}}}\n' for step in range(1, n + 1)))
    steps = [line["step"] for line in run.read_log(log)]
    assert len(steps) == min(n, MAX_CURVE) and steps[:1] + steps[-1:] == [1, n] * (n > 0)
    assert n < 2 or max(np.diff(steps)) - min(np.diff(steps)) <= 1


def test_scores_on_other_features_stand_beside_what_was_measured_before(vae, monkeypatch):
    runs, folder, first = vae
    told = replace(first, curve={**first.curve, "FD-lite0 along": [(1, 2.0)]})
    write_record(told, folder, "record.json")
    monkeypatch.setattr(run, "features_for", lambda *_, **__: replace(features.lite0(224), name="inception"))
    second = run.run("table1/vae", profile="smoke", runs_dir=runs)
    assert {"FID", "FD-lite0"} <= second.metrics.keys()
    assert second.curve == told.curve


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak cannot be reset here")
def test_the_peak_of_memory_is_the_runs_own(tmp_path):
    """What an earlier row of the same notebook used, and gave back, does not count."""
    before = psutil.Process().memory_info().rss
    earlier = torch.ones(3 * 10**8)  # 1.2 GB
    del earlier
    record = run.run("table1/vae", profile="smoke", runs_dir=tmp_path)
    assert record.peak_memory_bytes < before + 10**9


def test_table_1_under_study_is_measured_along_its_training_and_a_record_keeps_it(tmp_path):
    for row in ("table1/vae", "table1/gan"):
        e = experiment(row, "study")
        assert (e.recipe.training.snapshots, e.evaluation.milestone_images) == (MILESTONES, MILESTONE_IMAGES)
    for e in (experiment("table1/vae", "quick"), experiment("table2/cqf-residual", "study")):
        assert (e.recipe.training.snapshots, e.evaluation.milestone_images) == (0, None)
    smoke = experiment("table1/vae", "smoke", changes={"training.snapshots": 1})
    e = replace(smoke, evaluation=replace(smoke.evaluation, milestone_images=8))
    record = run.run_experiment(e, runs_dir=tmp_path)
    assert [step for step, _ in record.curve["Coverage-lite0 (n = 8)"]] == [10, 20]
    assert "L_C (bits/dim)" in record.curve
