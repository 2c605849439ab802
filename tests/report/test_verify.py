"""`verify`: whole and right weights pass and are not trained; a changed byte, another seed or config do not pass."""

import json
import shutil
from dataclasses import replace

import pytest

from cqlib.cli import commands as cli
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import read_record, write_record
from cqlib.experiments.run import run
from cqlib.report import publish
from cqlib.report.verify import Check, MetricCheck, allowed, published
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import StoppedEarly

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
        patch.setattr("cqlib.experiments.load.PUBLISHED", place)
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
    monkeypatch.setattr("cqlib.experiments.load.PUBLISHED", tmp_path / "published")
    monkeypatch.setattr("cqlib.report.verify.PUBLISHED", tmp_path / "published")
    monkeypatch.setattr("cqlib.experiments.stages.train", None)
    return tmp_path / "published"


def test_what_was_published_passes_and_leaves_a_receipt(place, tmp_path, capsys):
    """A GAN's BPD too, by the encoder that is published with it, around the generator that is published once."""
    encoder = load_checkpoint(weights(place, GAN).with_suffix(".encoder.safetensors"))["weights"]
    assert encoder and not any(name.startswith("generator.") for name in encoder)
    assert cli.main(["verify", "--json", str(tmp_path / "receipt.json")]) == 0
    assert capsys.readouterr().out.count(": as recorded (") == 2
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert receipt["passed"] and [entry["passed"] for entry in receipt["runs"]] == [True, True]
    gan = receipt["runs"][0]
    assert len(gan["weights"]) == 2 and gan["seconds"] > 0
    assert [n["metric"] for n in gan["numbers"]] == ["BPD", "BPD-IW", "FD-lite0"]
    recorded = read_record(record_file(place, GAN)).metrics
    assert all(n["recorded"] == recorded[n["metric"]].value for n in gan["numbers"])
    assert all(n["measured"] != n["recorded"] for n in gan["numbers"])  # half precision: really measured


def changed_byte(place):
    content = bytearray(weights(place).read_bytes())
    content[-100] ^= 1
    weights(place).write_bytes(content)


def other_seed(place):
    shutil.copy(weights(place, seed=1), weights(place))


def other_seed_that_says_it_is_this(place):
    other, this = load_checkpoint(weights(place, seed=1)), load_checkpoint(weights(place))
    save_checkpoint(weights(place), {**this, "weights": other["weights"]}, keep_previous=False)


def other_config(place):
    changed = experiment(VAE, "smoke", changes={"training.learning_rate": 0.01})
    state = load_checkpoint(weights(place)) | {"training_hash": changed.training_hash}
    save_checkpoint(weights(place), state, keep_previous=False)


def other_nets(place):
    state = load_checkpoint(weights(place))
    state["weights"] = load_checkpoint(weights(place, GAN))["weights"]
    save_checkpoint(weights(place), state, keep_previous=False)


def record_of_another_config(place):
    write_record(replace(read_record(record_file(place)), config_hash="0" * 16), place / "records")


def record_on_other_images(place):
    record = read_record(record_file(place))
    write_record(replace(record, data=replace(record.data, fingerprint="0" * 16)), place / "records")


def trained_on_other_images(place):
    state = load_checkpoint(weights(place)) | {"data": "0" * 16}
    save_checkpoint(weights(place), state, keep_previous=False)


def number_that_was_never_measured(place):
    record = read_record(record_file(place))
    better = replace(record.metrics["FD-lite0"], value=0.98 * record.metrics["FD-lite0"].value)
    write_record(replace(record, metrics={**record.metrics, "FD-lite0": better}), place / "records")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (changed_byte, "is damaged"),
        (other_seed, "those of another run"),
        (other_seed_that_says_it_is_this, " off\n"),
        (other_config, "those of another run"),
        (other_nets, "holds other weights"),
        (record_of_another_config, "recipe is another one"),
        (record_on_other_images, "other images here"),
        (trained_on_other_images, "those of another run"),
        (number_that_was_never_measured, " off\n"),
    ],
)
def test_what_is_not_of_its_record_fails(place, tmp_path, capsys, broken, told):
    broken(place)
    assert cli.main(["verify", VAE, "--json", str(tmp_path / "receipt.json")]) == 1
    assert told in capsys.readouterr().out
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert not receipt["passed"] and str(tmp_path) not in json.dumps(receipt)


def test_a_gan_without_its_encoder_fails(place, capsys):
    weights(place, GAN).with_suffix(".encoder.safetensors").unlink()
    assert cli.main(["verify", GAN]) == 1
    assert "encoder" in capsys.readouterr().out


def test_a_row_without_weights_is_one_line(place, capsys):
    there = "table1_gan--photodigits--smoke--0, table1_vae--photodigits--smoke--0"
    cases = {"table1/cq": "table1/cq", "--profile study": "study", "--data cifar10": "cifar10",
             "table1/vae --seed 1": "table1/vae, seed 1"}  # fmt: skip
    for given, which in cases.items():
        with pytest.raises(SystemExit):
            cli.main(["verify", *given.split()])
        assert f"no weights of {which} are published; there are: {there}\n" in capsys.readouterr().err


def test_published_weights_are_chosen_by_what_other_commands_take(place):
    for given, rows in ((), [GAN, VAE]), ((None, "smoke", "photodigits", 0), [GAN, VAE]), ((VAE,), [VAE]):
        assert [record.row for record in published(*given)] == rows


def test_the_tolerance():
    """A hundredth of a bit, a hundredth of a Fréchet distance; nothing else, nor that of real images, is held."""
    assert (allowed("BPD", 5.0), allowed("FD-lite0", 440.0), allowed("FID", 20.0)) == (0.01, 4.4, 0.2)
    assert {allowed(name, 1.0) for name in ("FD-lite0-floor", "IS-lite0", "seconds", "BPD-IW-gain")} == {None}
    assert MetricCheck("BPD", 5.0, 4.991, 0.01).passed and not MetricCheck("BPD", 5.0, 5.011, 0.01).passed
    assert not MetricCheck("BPD", 5.0, float("nan"), 0.01).passed


def test_a_receipt_of_what_was_stopped_is_not_one_of_all(tmp_path, monkeypatch, capsys):
    passed = iter([Check("a", {}, (MetricCheck("BPD", 4.0, 4.0, 0.01),), "", 1.0)])

    def stopped_in_the_second(*a, **k):
        if check := next(passed, None):
            return check
        raise StoppedEarly("SIGINT")

    monkeypatch.setattr("cqlib.report.verify.verify", stopped_in_the_second)
    with pytest.raises(SystemExit, match="3"):
        cli.main(["verify", "--json", str(tmp_path / "receipt.json")])
    assert "receipt.json has what was measured: run it again" in capsys.readouterr().err
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert not receipt["passed"] and receipt["of"] > len(receipt["runs"]) == 1 and receipt["runs"][0]["passed"]
