"""The stages of a run: what a training is given, and what is kept of it."""

from dataclasses import replace

import pytest
import torch
from small_models import images

from cqlib.data.dataset import Dataset, Split
from cqlib.suite.experiments import stages
from cqlib.suite.experiments.experiment import experiment
from cqlib.training.loop import TrainingResult
from cqlib.util.stop import StopRequest

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 2])
DATA = Dataset("made", 16, ("a", "b", stages.UNLABELLED),
               *(Split(name, images(7, seed=seed), LABELS) for seed, name in enumerate(("train", "test"))))  # fmt: skip


@pytest.fixture
def trainings(monkeypatch):
    """What trainings were given: (images, config, the rest) of each; none of them takes a step."""
    given = []

    def train(system, x, config, **more):
        given.append((x, config, more))
        return TrainingResult(system, "done", config.steps, 1.0, skipped=2)

    monkeypatch.setattr(stages, "train", train)
    return given


def stages_of(folder, row, **changes):
    e = experiment(row, "smoke", changes=changes)
    return stages.Stages(e, DATA, folder, StopRequest(), None, 60.0, torch.device("cpu"))


def test_labels_of_training_are_the_first_of_each_class_and_none_of_unlabelled_images():
    assert stages.labels(DATA, None).tolist() == [0, 1, 0, -1, 1, 0, -1]
    assert stages.labels(DATA, 2).tolist() == [0, 1, 0, -1, 1, -1, -1]
    assert stages.labels(DATA, 1).tolist() == [0, 1, -1, -1, -1, -1, -1]


def test_a_training_gets_training_images_and_the_labels_of_its_recipe(trainings, tmp_path):
    run = stages_of(tmp_path, "table3/improved-gan", **{"training.labels_per_class": 2})
    run.train_system()
    ((x, config, more),) = trainings
    assert torch.equal(x, DATA.train.images) and config == run.e.recipe.training
    assert torch.equal(more["labels"], stages.labels(DATA, 2)) and more["name"] == "training"
    assert run.notes == ["training: 2 non-finite steps skipped"]


def test_an_encoder_has_a_training_of_its_own_beside_the_generator_that_was_trained(trainings, tmp_path):
    run = stages_of(tmp_path, "table1/gan")
    stage = replace(run.e.recipe.frozen_decoder, training=replace(run.e.recipe.frozen_decoder.training, steps=7))
    generator = run.train_system().system
    encoder = run.train_encoder(generator, stage).system
    assert [(config.steps, more["name"]) for _, config, more in trainings] == [
        (run.e.recipe.training.steps, "training"), (7, "encoder")
    ]  # fmt: skip
    assert encoder.generator is generator


def test_progress_counts_the_steps_and_the_time_of_both_trainings(trainings, tmp_path):
    run = stages_of(tmp_path, "table1/gan")
    shown = []
    run.progress = lambda *step: shown.append(step)
    first, second = run.e.recipe.training.steps, run.e.recipe.frozen_decoder.training.steps
    generator = run.train_system().system
    run.train_encoder(generator, run.e.recipe.frozen_decoder)
    for place, (_, config, more) in enumerate(trainings):
        more["progress"](config.steps - 1, config.steps, 2.0)  # two seconds a step
        before, after = (0, second) if place == 0 else (first, 0)
        assert shown[place] == (before + config.steps - 1, first + second, 2.0 * (1 + after))
