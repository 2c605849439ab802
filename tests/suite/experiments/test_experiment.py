"""Experiments: equal ones share a hash and a run, and a wrong name is told with the nearest right one."""

from dataclasses import replace

import pytest

from cqlib.data import usual_lambda
from cqlib.models.registry import RECIPES
from cqlib.suite.experiments import paper, rows
from cqlib.suite.experiments.experiment import experiment, image_size
from cqlib.util.errors import UsageError


def test_aliases_share_one_experiment():
    for alias, row in paper.SAME_MODEL.items():
        if row in RECIPES:
            assert experiment(alias) == experiment(row) and experiment(alias).row == row


@pytest.mark.parametrize("profile", rows.PROFILES)
def test_hashes_tell_experiments_apart(profile):
    for row in rows.ROWS:
        e = experiment(row, profile)
        assert e.config_hash == experiment(row, profile).config_hash
        assert e.config_hash != experiment(row, profile, seed=1).config_hash
        assert e.training_hash != experiment(row, profile, "npz:x.npz").training_hash
        assert e.cost > 0
    systems = {experiment(row, profile).row for row in rows.ROWS}
    assert len({experiment(row, profile).config_hash for row in rows.ROWS}) == len(systems)


def test_hash_depends_on_every_part_but_training_not_on_evaluation():
    e = experiment("table1/cq-f")
    measured = replace(e, evaluation=replace(e.evaluation, bpd_images=7))
    assert measured.config_hash != e.config_hash and measured.training_hash == e.training_hash
    trained = replace(e, recipe=replace(e.recipe, training=replace(e.recipe.training, steps=7)))
    assert trained.training_hash != e.training_hash


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table1/cqf",), "did you mean 'table1/cq-f'"),
        (("table1/cq-f", "quik"), "did you mean 'quick'"),
        (("table1/cq-f", "quick", "photo10"), "did you mean 'photos10'"),
        (("table1/cq-f", "quick", "photos10", -1), "seed -1"),
    ],
)
def test_wrong_names(arguments, message):
    with pytest.raises(UsageError, match=message):
        experiment(*arguments)


def test_sizes_are_the_papers_or_the_data_sets_own_under_paper():
    assert {name: image_size(name, "paper") for name in paper.DATA_SETS} == {
        name: item.shape[-1] for name, item in paper.DATA_SETS.items()
    }
    assert [image_size("tiny-imagenet", profile) for profile in ("quick", "study", "paper")] == [32, 32, 64]
    assert {image_size("tiny-imagenet:64", profile) for profile in ("quick", "study", "paper")} == {64}
    assert [image_size("photos10", profile) for profile in ("quick", "study", "paper")] == [16, 32, 32]


@pytest.mark.parametrize("profile", rows.PROFILES)
def test_everything_is_trained_in_fp32(profile):
    for row in rows.ROWS:
        recipe = experiment(row, profile).recipe
        stages = [recipe.training, *([recipe.frozen_decoder.training] if recipe.frozen_decoder else [])]
        assert {training.precision for training in stages} == {"fp32"}, row


def test_each_precision_has_a_hash_of_its_own():
    """That fp32 has the hash of before there were three, the tests of published records see."""
    three = [experiment("table1/gan", changes={"training.precision": name}) for name in ("fp32", "tf32", "bf16")]
    assert three[0] == experiment("table1/gan") and len({e.config_hash for e in three}) == 3
    assert len({e.training_hash for e in three}) == len({e.folder for e in three}) == 3


@pytest.mark.parametrize(("data", "classes"), [("tiny-imagenet:64", 200), ("celeba", 1), ("photodigits", 10)])
def test_the_rival_with_labels_tells_the_classes_of_the_data_apart(data, classes):
    assert experiment("table3/improved-gan", "study", data).recipe.system.classes == classes


@pytest.mark.parametrize("row", ["table1/cq", "table1/cq-f", "table2/cqf-residual", "extra/cq-f-conditional"])
@pytest.mark.parametrize("profile", rows.PROFILES)
def test_lambda_is_decided_in_one_place(row, profile):
    for size in (16, 32, 64):
        assert RECIPES[row](row, profile, size).system.quality_weight == usual_lambda(None, size)
    for data in ("photodigits", "photos10", "tiny-imagenet:64", "npz:x.npz"):
        e = experiment(row, profile, data)
        assert e.recipe.system.quality_weight == usual_lambda(data, e.size)
    assert (usual_lambda("photodigits"), usual_lambda("photos10"), usual_lambda(None, 16, 1)) == (100, 25, 25 / 3)
    assert (usual_lambda("photodigits", 32), usual_lambda("photos10", 32)) == (100, 100)


def test_digits_are_not_mirrored():
    digits, photographs = (experiment("table1/gan", "quick", data).recipe for data in ("photodigits", "photos10"))
    assert photographs.training.flips and not digits.training.flips
    assert photographs.frozen_decoder.training.flips and not digits.frozen_decoder.training.flips
