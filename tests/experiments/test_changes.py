"""Changes to a recipe: typed by its fields, refused in one line where they are wrong, never taken for the plain row."""

import random
import string
from dataclasses import replace

import pytest
import torch
from fake_records import record

from cqlib.cli import commands
from cqlib.experiments.changes import leaves
from cqlib.experiments.experiment import experiment, experiment_of
from cqlib.experiments.rows import ROWS
from cqlib.experiments.sheet import sheet
from cqlib.experiments.variants import row_and_changes, variant
from cqlib.report.run_sets import run_sets
from cqlib.util.errors import UsageError

LAMBDA = "system.quality_weight"


def changed(row="table1/cq-f", **changes):
    return experiment(row, "smoke", changes={path.replace("__", "."): value for path, value in changes.items()})


def test_no_row_is_trained_in_two_precisions():
    """The encoder that gives a GAN its BPD follows, unless it is changed itself."""

    def precisions(**changes):
        recipe = changed("table1/gan", **changes).recipe
        return recipe.training.bf16, recipe.frozen_decoder.training.bf16

    assert precisions() == precisions(training__steps=3) == (False, False)
    assert precisions(training__bf16=True) == (True, True)
    assert precisions(training__bf16=True, frozen_decoder__training__bf16=False) == (True, False)


@pytest.mark.parametrize(
    "path, text, value",
    [
        ("system.quality_weight", "25", 25.0),
        ("system.widths", "10,20,40", (10, 20, 40)),
        ("system.critic_input", "mean", "mean"),
        ("training.betas", "0.9, 0.999", (0.9, 0.999)),
        ("training.flips", "false", False),
        ("training.gradient_clip", "10", 10.0),
        ("training.critic_learning_rate", "none", None),
    ],
)
def test_texts_are_read_by_the_type_of_their_field(path, text, value):
    assert dict(leaves(experiment("table1/cq-f", "smoke", changes={path: text}).recipe))[path] == value
    assert experiment("table1/cq-f", "smoke", changes={path: value}) == experiment(
        "table1/cq-f", "smoke", changes={path: text}
    )


def test_a_changed_run_has_a_hash_a_folder_and_a_name_of_its_own():
    plain, other = changed(), changed(system__quality_weight=25)
    assert other.config_hash != plain.config_hash and other.training_hash != plain.training_hash
    assert other.folder == plain.folder + "--quality-weight-25.0-8f85501e" and other.changes == {LAMBDA: 25.0}
    assert "--set system.quality_weight=25.0" in other.command and other.config.keys() == plain.config.keys()
    assert row_and_changes(other.variant) == ("table1/cq-f", {LAMBDA: 25.0})
    assert changed(system__quality_weight=25, training__steps=7).variant.endswith("training.steps=7")


def test_a_change_to_the_value_that_is_there_is_none():
    steps = str(changed().recipe.training.steps)
    assert changed(training__steps=steps) == changed() and changed(training__steps=steps).folder == changed().folder


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("system.qualty_weight", 1, f"did you mean '{LAMBDA}'"),
        ("system.flow", None, "did you mean 'system.flow"),
        ("system.size", 32, "unknown setting"),
        ("training.steps", "many", "takes a whole number, not 'many'"),
        ("training.steps", 2.5, "takes a whole number, not 2.5"),
        ("training.steps", True, "takes a whole number, not True"),
        ("training.steps", 10**9, "whole numbers from 0 to"),
        ("training.flips", 1, "takes true or false"),
        ("system.critic_input", "median", "takes sample or mean, not 'median'"),
        ("system.quality_weight", "nan", "takes a number"),
        ("system.quality_weight", "{[]: 1}", "takes a number"),
        ("training.critic_betas", "x", "takes numbers such as 0.5,0.9 or none, not 'x'"),
        ("system.quality_weight", float("inf"), "finite"),
        ("system.widths", "8,8,8,8,8,8", "16 pixels cannot be halved 5 times"),
        ("system.flow.scales", 9, "parameters are too many"),
    ],
)
def test_a_wrong_change_is_refused_in_one_line_that_names_the_row(path, value, message):
    with pytest.raises(UsageError, match="table1/cq-f") as error:
        experiment("table1/cq-f", "smoke", changes={path: value})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_change_is_checked_without_making_weights_or_training(monkeypatch):
    """Else `show` would take minutes and gigabytes for nets of the paper's size."""
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, *_, **__: tensor if tensor.is_meta else 1 / 0)
    monkeypatch.setattr(torch.Tensor, "backward", None)
    changes = {"training.learning_rate": 5e-4}
    assert experiment("table3/pixelcnnpp", "paper", changes=changes).recipe.training.learning_rate == 5e-4


def test_rows_without_a_setting_are_named():
    with pytest.raises(UsageError, match="table1/vae 'system.flow.width'"):
        changed("table1/vae", system__flow__width=4)
    with pytest.raises(UsageError, match="dictionary"):
        experiment("table1/vae", changes=["training.steps=3"])


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_every_row_takes_changes(row):
    assert changed(row, training__steps=7).recipe.training.steps == 7


@pytest.mark.slow
def test_random_paths_and_values_end_in_a_usage_error_or_a_recipe():
    draw = random.Random(0)
    rows = ["table1/cq-f", "table1/gan", "table3/vae-iaf", "table3/pixelrnn"]
    numbers = [
        "0",
        "1",
        "2",
        "-1",
        "1e9",
        "1e400",
        "nan",
        "0.5",
        "1,2,3",
        "8,8,8",
        "[]",
        "()",
        "''",
        "None",
        "true",
        "{}",
        "{[]: 1}",
    ]
    accepted = 0
    for _ in range(120):
        row = draw.choice(rows)
        paths = [path for path, _ in leaves(experiment(row, "smoke").recipe)]
        path = draw.choice([*paths, *paths, *paths, "".join(draw.choices(string.printable, k=8))])
        value = draw.choice([*numbers, "".join(draw.choices(string.printable, k=5)), "(" * 300, "9" * 5000])
        try:
            e = experiment(row, "smoke", changes={path: value})
        except UsageError as error:
            assert len(str(error)) < 600
        else:
            accepted += bool(e.changes)
    assert accepted >= 10


def test_changed_records_make_a_set_of_their_own_but_for_those_of_the_trade_off():
    def of_today(row, seed, changes):
        made = replace(record(row, seed), changes=changes)
        return replace(made, config_hash=experiment_of(made).config_hash)

    found = [of_today("table1/cq", seed, {"training.steps": 7}) for seed in (0, 1)]
    weight = {LAMBDA: 400.0}
    plain, named = of_today("table1/cq", 0, {}), of_today("table1/cq-f", 0, dict(weight))
    second, first = run_sets([*found, plain, named], [])
    assert (first.label, len(first.done("table1/cq"))) == ("photos10 16×16, quick, steps: 7", 2)
    assert second.done("table1/cq") == [plain] and second.label == "photos10 16×16, quick"
    assert second.done(variant("table1/cq-f", weight)) == [named]
    assert experiment_of(named).changes == named.changes


def test_the_sheet_says_what_differs_and_can_be_typed_again(capsys):
    assert commands.main(["show", "table1/cq-f", "--set", "system.quality_weight=25"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{LAMBDA} = 25.0") and "changed from 400.0; paper: 100.0" in line for line in lines)
    assert "decoder" in lines[-1] and "critic" in lines[-1]
    e = experiment("table1/gan", "smoke")
    values = dict(line.split("#")[0].strip().split(" = ") for line in sheet(e) if " = " in line)
    assert values.keys() == dict(leaves(e.recipe)).keys()
    assert experiment("table1/gan", "smoke", changes=values) == e
