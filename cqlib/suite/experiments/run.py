"""Train and evaluate one experiment once: a finished run is read, an interrupted one resumed.

A run is stored in `runs_dir`/<row>--<data>--<profile>--<seed>/, with its changes, if any, at the end of the name:

    record.json         what was measured (`cqlib.suite.experiments.record`)
    experiment.json     the experiment that the folder belongs to
    model.safetensors   the averaged weights, with the hash of their experiment
    training.jsonl      losses, in nats per image
    encoder.safetensors, encoder.jsonl    weights and losses of the encoder that gives a GAN its BPD
    samples.png         a grid of samples
    *.checkpoint        while training
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cqlib.data.grids import grid_png
from cqlib.metrics import evaluation
from cqlib.metrics.baselines import Curves, SampleScorer, baselines, metrics_during_training
from cqlib.metrics.bpd import bits_per_dimension
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.features import Features, features_for
from cqlib.metrics.metric import Metric
from cqlib.metrics.quantities import SCORES
from cqlib.metrics.resumable import PartialResults
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.cqf_conditional import ConditionalCQF
from cqlib.suite.experiments.experiment import Experiment, check_nets, experiment
from cqlib.suite.experiments.load import RUNS, load_data
from cqlib.suite.experiments.model_file import RECORD
from cqlib.suite.experiments.record import MAX_CURVE, DataInfo, Record, read_record, write_record
from cqlib.suite.experiments.run_folder import LOCK, archive_stale_run, remove_temporary_files, temporary_files
from cqlib.suite.experiments.stages import Stages, fingerprint
from cqlib.suite.experiments.variants import Changes
from cqlib.training.device import check_precision
from cqlib.training.loop import CHECKPOINT_SECONDS, Progress, TrainingResult
from cqlib.training.snapshots import snapshots
from cqlib.util import locks, provenance
from cqlib.util.device import fork_rng, select_device
from cqlib.util.errors import StoppedEarly, UserError, to_stderr
from cqlib.util.files import write_atomic
from cqlib.util.stop import StopRequest

LOG, SAMPLES = "training.jsonl", "samples.png"
NOT_DRAWN = ("gradient_penalty", "drift", "total", "gradient")
"""What the log has of a critic and a record's curves leave out."""


def ended_record(e: Experiment, runs_dir: Path | str) -> Record | None:
    """The record of a run of exactly this experiment, finished or diverged (`Record.done`); None if there is none, or a
    damaged one."""
    record = record_in_folder(e, runs_dir)
    return record if record and record.config_hash == e.config_hash else None


def record_in_folder(e: Experiment, runs_dir: Path | str) -> Record | None:
    """The record in the folder of an experiment's run, perhaps of another evaluation or recipe; None as for
    `ended_record`."""
    try:
        return read_record(Path(runs_dir) / e.folder / RECORD)
    except (OSError, UserError):
        return None


def run(
    row: str,
    *,
    profile: str = "quick",
    data: str | None = None,
    seed: int = 0,
    changes: Changes | None = None,
    **options: Any,
) -> Record:
    """`run_experiment` for a row of the tables, with `changes` such as {"system.quality_weight": 25.0}. UsageError for
    a wrong name or value."""
    return run_experiment(experiment(row, profile, data, seed, changes), **options)


def run_experiment(
    e: Experiment,
    *,
    runs_dir: Path | str = RUNS,
    data_dir: Path | str | None = None,
    feature_weights: Path | str | None = None,
    time_budget: float | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] = to_stderr,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: str | None = None,
) -> Record:
    """Train and evaluate what is missing of an experiment, and return its record.

    `device` as for `cqlib.util.device.select_device`. `time_budget` is in minutes. If the process is killed, at
    most `checkpoint_seconds` of work are lost, and nothing of a finished row. `tell` gets a line while this call waits
    for another process that runs the same experiment, and when a run of an older recipe is moved to `runs_dir`/stale.
    Raises UserError for missing or damaged data and for TF32 where there is none, UsageError for nets that cannot be
    built or do not fit into memory, and StoppedEarly, with the state saved, on SIGTERM, SIGINT or at the end of the
    time budget.
    """
    runs_dir = Path(runs_dir).expanduser()
    folder = runs_dir / e.folder
    where = select_device(device)
    stop = StopRequest(deadline=None if time_budget is None else time.monotonic() + 60 * time_budget)
    provenance.reset_peak_memory(where)
    if e.changes:
        check_nets(e)
    images = load_data(e, data_dir)  # before signals are caught: there is nothing to save yet
    weights = Path(feature_weights).expanduser() if feature_weights else None
    features = features_for(weights, data_dir and Path(data_dir), profile=e.profile, side=e.evaluation.side)

    def existing_record() -> Record | None:
        record = ended_record(e, runs_dir)
        valid = record and record.data.fingerprint == fingerprint(images) and has_scores(record, features)
        return record if valid else None

    def check_for_stop() -> None:
        if reason := stop.reason():
            raise StoppedEarly(f"stopped while another process runs {folder.name}: {reason}")

    if (record := existing_record()) and not temporary_files(folder):
        return record  # without the lock: the folder may be read-only
    check_precision(e.recipe.training, where)
    with stop.listening(second_interrupts=True):
        folder.mkdir(parents=True, exist_ok=True)
        with locks.file_lock(folder / LOCK, e.title, say=tell, while_waiting=check_for_stop), fork_rng(where):
            if (record := existing_record()) is None:
                archive_stale_run(e, fingerprint(images), folder, runs_dir, tell)
                stages = Stages(e, images, folder, stop, progress, checkpoint_seconds, device=where)
                record = _run(stages, features, runs_dir)
            remove_temporary_files(folder)
            return record


def has_scores(record: Record, features: Features) -> bool:
    """Whether the record has all scores on these features, or can have none, as it diverged and has no score."""
    if not record.done and record.metrics.keys().isdisjoint(name for quantity in SCORES for name in quantity.names):
        return True
    return all(features.label(quantity.name) in record.metrics for quantity in SCORES)


def _run(stages: Stages, features: Features, runs_dir: Path) -> Record:
    """Train what is not trained yet, measure, and write the grid of samples and the record."""
    e, images, folder = stages.e, stages.images, stages.folder
    started, clock = provenance.now(), time.monotonic()
    stages.notes += [f"images: {images.how}"] if images.how else []
    trained = stages.train_system()
    if isinstance(trained.system, ConditionalCQF):
        stages.notes.append("samples are drawn for the grey image of training images, and scored as all others")
    likelihood_model = trained.system
    if (stage := e.recipe.frozen_decoder) is not None:
        likelihood_model = stages.train_encoder(trained.system, stage).system
    # if nothing was trained in this call, memory and versions are those of the call that trained
    when_trained = None if stages.seconds_now else record_in_folder(e, runs_dir)
    metrics, curve = _measure(stages, trained, likelihood_model, ended_record(e, runs_dir), features, runs_dir)
    memory = [provenance.peak_memory_bytes(stages.device), when_trained.peak_memory_bytes if when_trained else 0]
    record = Record(
        row=e.row,
        status="done" if stages.finite and all(result.status == "done" for result in stages.results) else "diverged",
        seed=e.seed,
        changes=e.changes,
        profile=e.profile,
        data=DataInfo(e.data, "test", stages.fingerprint, images.test.shape),
        config={**e.config, "n_train": len(images.train)},
        config_hash=e.config_hash,
        parameters=trained.system.parameter_counts(),
        steps=trained.steps,
        seconds=round(sum(r.seconds for r in stages.results) + time.monotonic() - clock - stages.seconds_now, 1),
        images_per_second=round(trained.steps * e.recipe.training.batch_size / max(trained.seconds, 1e-9), 1),
        peak_memory_bytes=max(memory),
        device=trained.device,
        precision=e.recipe.training.precision,
        versions=when_trained.versions if when_trained else provenance.versions(),
        git=stages.git,
        started=started,
        finished=provenance.now(),
        metrics=metrics,
        curve=curve,
        notes=stages.notes,
    )
    write_record(record, folder, RECORD)
    return record


def _measure(
    stages: Stages, trained: TrainingResult, likelihood_model: System, earlier: Record | None,
    features: Features, runs_dir: Path,
) -> tuple[dict[str, Metric], Curves]:  # fmt: skip
    """The metrics and curves of a run: bounds on the likelihood, the time of sampling, scores, and what is kept of an
    `earlier` record of the same experiment, with scores on other features. Writes the grid of samples."""
    e, folder, model = stages.e, stages.folder, trained.system
    results = PartialResults(folder, f"{e.config_hash} {stages.key}", stages.checkpoint_seconds, stages.stop)
    if earlier and not (earlier.done and earlier.data.fingerprint == stages.fingerprint):
        earlier = None
    metrics = dict(earlier.metrics) if earlier else {}
    losses = loss_curves(read_log(folder / LOG), stages.images.train.images[0].numel())
    if isinstance(likelihood_model, LikelihoodSystem):
        metrics |= evaluation.likelihood_metrics(likelihood_model, stages.images, e.evaluation,
                                                 starred=likelihood_model is not model, results=results)  # fmt: skip
    metrics["seconds"] = evaluation.sampling_time(model, results=results)
    cache = FeatureCache(features, runs_dir / "features", stages.device, results)
    scores, during_training = _quality(stages, trained, cache)
    curve = {**(earlier.curve if earlier else {}), **losses, **during_training}
    return metrics | scores, curve


def _quality(stages: Stages, trained: TrainingResult, cache: FeatureCache) -> tuple[dict[str, Metric], Curves]:
    """The scores of samples and of the baselines; and scores during training. Writes the grid of samples. A model whose
    samples are not finite has no scores: its run has diverged."""
    e, images, model = stages.e, stages.images, trained.system
    try:
        metrics, grid, notes = evaluation.sample_metrics(model, images, e.evaluation, cache, seed=e.seed,
                                                         of=e.recipe.scores_of)  # fmt: skip
    except evaluation.NonFiniteSamples as error:
        stages.finite = False
        stages.notes.append(f"diverged: {error}")
        return {}, {}
    stages.notes += notes
    write_atomic(stages.folder / SAMPLES, grid_png(grid))
    curve: Curves = {}
    unsaved = replace(cache, results=PartialResults(stop=stages.stop))
    scorer = SampleScorer(images, e.evaluation.fidelity_images, unsaved)
    saved = snapshots(stages.folder, "training", stages.key)
    if saved and (n := e.evaluation.milestone_images) is not None:
        curve = metrics_during_training(model, trained.steps, saved, replace(scorer, n=n), e.seed)
    if e.evaluation.baselines:
        metrics |= baselines(stages.untrained(), scorer, e.seed)
    return metrics, curve


def read_log(log: Path) -> list[dict[str, Any]]:
    """The lines of a training's log, thinned to the length of a record's curve with the first and the last line kept;
    empty if the log is lost or damaged."""
    try:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    except (OSError, ValueError):
        return []
    if len(lines) <= MAX_CURVE:
        return lines
    return [lines[k * (len(lines) - 1) // (MAX_CURVE - 1)] for k in range(MAX_CURVE)]


def loss_curves(lines: list[dict[str, Any]], dimensions: int) -> Curves:
    """The losses of training without `NOT_DRAWN`; L_C is in bits per dimension."""
    names = {"coverage": "L_C (bits/dim)", "kl": "KL", "quality": "L_Q"}
    critic = (key for line in lines for key in line if key.startswith("critic/"))
    names |= {key: term for key in critic if (term := key.removeprefix("critic/")) not in NOT_DRAWN}
    curves = {}
    for key, name in names.items():
        scale = bits_per_dimension(1.0, dimensions) if key == "coverage" else 1.0
        curves[name] = [(line["step"], round(line[key] * scale, 4)) for line in lines if key in line]
    return {name: points for name, points in curves.items() if points}
