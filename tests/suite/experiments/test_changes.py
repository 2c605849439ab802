"""Changes to a recipe: typed by its fields, refused in one line where they are wrong, never taken for the plain row."""

import pytest
import torch

from cqlib.suite.cli import commands
from cqlib.suite.cli.options import parse
from cqlib.suite.cli.run_all import plan
from cqlib.suite.experiments.changes import leaves
from cqlib.suite.experiments.experiment import experiment, net_sizes
from cqlib.suite.experiments.run import run
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.experiments.sheet import sheet
from cqlib.suite.experiments.variants import row_and_changes
from cqlib.util.errors import UsageError

LAMBDA = "system.quality_weight"


def changed(row="table1/cq-f", **changes):
    return experiment(row, "smoke", changes={path.replace("__", "."): value for path, value in changes.items()})


def test_no_row_is_trained_in_two_precisions():
    """The encoder that gives a GAN its BPD follows, unless it is changed itself."""

    def precisions(**changes):
        recipe = changed("table1/gan", **changes).recipe
        return recipe.training.precision, recipe.frozen_decoder.training.precision

    assert precisions() == precisions(training__steps=3) == ("fp32", "fp32")
    assert precisions(training__precision="bf16") == ("bf16", "bf16")
    of_encoder = {"frozen_decoder__training__precision": "fp32"}
    assert precisions(training__precision="tf32", **of_encoder) == ("tf32", "fp32")


def test_a_changed_run_has_a_hash_a_folder_and_a_name_of_its_own():
    plain, other = changed(), changed(system__quality_weight=25)
    assert other.config_hash != plain.config_hash and other.training_hash != plain.training_hash
    assert other.folder == plain.folder + "--quality-weight-25.0-8f85501e" and other.changes == {LAMBDA: 25.0}
    assert "--set system.quality_weight=25.0" in other.command and other.config.keys() == plain.config.keys()
    assert row_and_changes(other.variant) == ("table1/cq-f", {LAMBDA: 25.0})
    assert changed(system__quality_weight=25, training__steps=7).variant.endswith("training.steps=7")


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("system.qualty_weight", 1, f"did you mean '{LAMBDA}'"),
        ("system.flow", None, "did you mean 'system.flow"),
        ("system.size", 32, "unknown setting"),
        ("training.steps", "many", "cannot be 'many': Input should be a valid integer"),
        ("training.steps", True, "valid integer"),
        ("training.n_critic", "-1", "whole numbers from 0 on"),
        ("system.quality_weight", "nan", "valid number"),
        ("system.quality_weight", "{[]: 1}", "valid number"),
        ("system.quality_weight", "(" * 300, "valid number"),
        ("training.critic_betas", "x", "valid tuple"),
    ],
)
def test_a_wrong_change_is_refused_in_one_line_that_names_the_row(path, value, message):
    with pytest.raises(UsageError, match="table1/cq-f") as error:
        experiment("table1/cq-f", "smoke", changes={path: value})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_nets_that_cannot_be_built_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    """And without making weights, which would take minutes and gigabytes for nets of the paper's size."""
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, *_, **__: tensor if tensor.is_meta else 1 / 0)
    assert net_sizes(experiment("table3/pixelcnnpp", "paper"))["total"] > 10**6
    changes = {"system.widths": "8,8,8,8,8,8"}
    refuse = (
        lambda: run("table1/cq-f", profile="smoke", changes=changes, runs_dir=tmp_path),
        lambda: Selection(("table1/vae", "table1/cq-f"), "smoke", changes=changes, runs_dir=tmp_path).run(),
        lambda: plan(parse(["--only", "table1/cq-f", "--set", "system.widths=8,8,8,8,8,8"])),
        lambda: [*sheet(changed(system__widths="8,8,8,8,8,8"))],
    )
    for call in refuse:
        with pytest.raises(UsageError, match="cannot be built with widths: 8-8.*16 pixels cannot be halved 5 times"):
            call()
    assert not list(tmp_path.iterdir())


def test_nets_that_do_not_fit_into_memory_are_refused_before_anything_is_written(tmp_path):
    line = "^table1/vae system.latent=100000000: training .* parameters takes .* GB, and"
    with pytest.raises(UsageError, match=line):
        run("table1/vae", profile="smoke", changes={"system.latent": 10**8}, runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())
    assert "parameters" in [*sheet(changed(**{"system.latent": 10**8}))][-1]  # to look costs nothing


def test_the_sheet_says_what_differs_and_can_be_typed_again(capsys):
    """All of its texts are read as what they stand for, and to change nothing is no change."""
    assert commands.main(["show", "table1/cq-f", "--set", "system.quality_weight=25"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{LAMBDA} = 25.0") and "changed from 100.0; paper: 100.0" in line for line in lines)
    assert "decoder" in lines[-1] and "critic" in lines[-1]
    for row in ("table1/gan", "table1/cq-f"):
        e = experiment(row, "smoke")
        values = dict(line.split("#")[0].strip().split(" = ") for line in sheet(e) if " = " in line)
        assert values.keys() == dict(leaves(e.recipe)).keys()
        assert experiment(row, "smoke", changes=values) == e
    widths = changed(system__widths="10, 20, 40")
    assert widths.recipe.system.widths == (10, 20, 40) and widths == changed(system__widths=(10, 20, 40))
