"""`verify`: whole and right weights pass and are not trained; a changed byte, another seed or config do not pass."""

import math
import shutil
from dataclasses import replace

import pytest

from cqlib.suite.cli import commands as cli
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.record import read_record, write_record
from cqlib.suite.experiments.run import run
from cqlib.suite.experiments.verify import Check, lines, published, tolerance, verify
from cqlib.suite.report import publish
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow  # weights are loaded and measured

VAE, GAN = "table1/vae", "table1/gan"


def weights(place, row=VAE, seed=0):
    return place / "models" / f"{experiment(row, 'smoke', seed=seed).folder}.safetensors"


def record_file(place, row=VAE):
    return place / "records" / f"{experiment(row, 'smoke').folder}.json"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A VAE of two seeds and a GAN, of `smoke`, and their weights and records as if they were published."""
    folder, place = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cqlib.suite.experiments.load.PUBLISHED", place)
        for row, seed in ((VAE, 0), (VAE, 1), (GAN, 0)):
            record = run(row, profile="smoke", seed=seed, runs_dir=folder)
            publish._publish_model(folder / record.folder, record.folder)
            if seed == 0:
                write_record(record, place / "records")
    return place


@pytest.fixture
def place(runs, tmp_path, monkeypatch):
    """A copy to break; nothing can be trained."""
    shutil.copytree(runs, tmp_path / "published")
    monkeypatch.setattr("cqlib.suite.experiments.load.PUBLISHED", tmp_path / "published")
    monkeypatch.setattr("cqlib.suite.experiments.verify.PUBLISHED", tmp_path / "published")
    monkeypatch.setattr("cqlib.suite.experiments.stages.train", None)
    return tmp_path / "published"


def test_what_was_published_passes(place, tmp_path, capsys):
    """A GAN's BPD too, by the encoder that is published with it, around the generator that is published once."""
    encoder = load_checkpoint(weights(place, GAN).with_suffix(".encoder.safetensors"))["weights"]
    assert encoder and not any(name.startswith("generator.") for name in encoder)
    assert cli.main(["verify"]) == 0
    assert capsys.readouterr().out.count(": as recorded\n") == 2
    recorded = read_record(record_file(place, GAN))
    gan = verify(recorded, tmp_path)
    assert [name for name, *_ in gan.numbers] == ["BPD", "BPD-IW", "FD-lite0"]
    assert all(then == recorded.metrics[name].value for name, then, *_ in gan.numbers)
    assert all(now != then for _, then, now, _ in gan.numbers)  # half precision: really measured


def changed_byte(place):
    content = bytearray(weights(place).read_bytes())
    content[-100] ^= 1
    weights(place).write_bytes(content)


def other_seed_that_says_it_is_this(place):
    other, this = load_checkpoint(weights(place, seed=1)), load_checkpoint(weights(place))
    save_checkpoint(weights(place), {**this, "weights": other["weights"]})


def record_of_another_config(place):
    write_record(replace(read_record(record_file(place)), config_hash="0" * 16), place / "records")


def number_that_was_never_measured(place):
    record = read_record(record_file(place))
    better = replace(record.metrics["FD-lite0"], value=0.98 * record.metrics["FD-lite0"].value)
    write_record(replace(record, metrics={**record.metrics, "FD-lite0": better}), place / "records")


@pytest.mark.parametrize(("broken", "told"), [
    (changed_byte, "the weights are damaged, or not of"), (other_seed_that_says_it_is_this, " off\n"),
    (record_of_another_config, "recipe has changed"), (number_that_was_never_measured, " off\n"),
])  # fmt: skip
def test_what_is_not_of_its_record_fails(place, capsys, broken, told):
    broken(place)
    assert cli.main(["verify", VAE]) == 1
    assert told in capsys.readouterr().out


def test_published_weights_are_chosen_by_what_other_commands_take(place, capsys):
    for given, rows in ((), [GAN, VAE]), ((None, "smoke", "photodigits", 0), [GAN, VAE]), ((VAE,), [VAE]):
        assert [record.row for record in published(*given)] == rows
    with pytest.raises(SystemExit):
        cli.main(["verify", "table1/cq"])
    assert "no such weights are published; there are: table1_gan--" in capsys.readouterr().err


def test_the_tolerance():
    """A hundredth of a bit, a hundredth of a Fréchet distance; nothing else, nor that of real images, is held."""
    assert (tolerance("BPD", 5.0), tolerance("FD-lite0", 440.0), tolerance("FID", 20.0)) == (0.01, 4.4, 0.2)
    assert {tolerance(name, 1.0) for name in ("FD-lite0-floor", "IS-lite0", "seconds", "BPD-IW-gain")} == {None}
    for value, passed in ((4.991, True), (5.011, False), (float("nan"), False)):
        assert Check("a", [("BPD", 5.0, value, 0.01)]).passed == passed
    for then, now, passed in ((math.inf, math.inf, True), (math.inf, 5.0, False), (440.0, math.inf, False)):
        for name in ("BPD", "FD-lite0"):  # an infinite score is a result like others
            check = Check("a", [(name, then, now, tolerance(name, then))])
            assert check.passed == passed and (" off" in "\n".join(lines(check))) != passed
