"""--device and --tensorboard: what a run gets of them, and the one line where it cannot be had."""

from __future__ import annotations

import argparse
import json
import sys
import types

import pytest
import torch
from small_models import system

from cqlib.recipe import TrainingConfig
from cqlib.suite.cli import commands, doctor, options, tasks
from cqlib.training.loop import train
from cqlib.training.tensorboard import summary_writer
from cqlib.util import provenance
from cqlib.util.device import select_device
from cqlib.util.errors import UserError


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Nothing is asked for; what a test sets is gone after it."""
    for name in ("CQLIB_DEVICE", "CQLIB_TENSORBOARD", "PYTORCH_ENABLE_MPS_FALLBACK", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def cards(monkeypatch, n: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


def test_a_device_is_the_named_one_or_the_environment_s_or_a_card_or_the_cpu(monkeypatch):
    cards(monkeypatch, 0)
    assert select_device() == select_device("auto") == select_device("cpu") == torch.device("cpu")
    assert select_device(torch.device("cpu")) == torch.device("cpu")
    cards(monkeypatch, 2)
    assert select_device() == torch.device("cuda") and select_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setenv("CQLIB_DEVICE", "cpu")
    assert select_device() == torch.device("cpu") and select_device("cuda") == torch.device("cuda")


@pytest.mark.parametrize(("n", "name", "there"), [(0, "cuda", "cpu"), (2, "cuda:2", "cpu, cuda, cuda:0, cuda:1"),
                                                  (1, "cuda:1", "cpu, cuda, cuda:0"), (0, "tpu", "cpu")])  # fmt: skip
def test_a_device_that_is_not_there_is_one_line(monkeypatch, n, name, there):
    cards(monkeypatch, n)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as caught:
        select_device(name)
    assert str(caught.value) == f"device {name} is not available (available: {there})"


def test_doctor_names_every_device_and_the_one_that_is_used(monkeypatch):
    cards(monkeypatch, 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: argparse.Namespace(total_memory=8e9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: "a card")
    told = "\n".join(doctor.devices())
    assert told.startswith("+ device: cuda (")
    assert "+   cuda:1: a card, 8,000 MB" in told and "+   mps: " in told and "+   cpu: " in told
    monkeypatch.setenv("CQLIB_DEVICE", "cpu")
    assert next(doctor.devices()).startswith("+ device: cpu (")
    monkeypatch.setenv("CQLIB_DEVICE", "cuda:7")
    assert next(doctor.devices()).startswith("- device: $CQLIB_DEVICE: device cuda:7 is not available (")


def test_mps_falls_back_to_the_cpu_and_says_so(monkeypatch, capsys):
    options.set_environment(argparse.Namespace(device="mps"))
    assert options.os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    with monkeypatch.context() as without, pytest.raises(UserError, match="device mps is not"):
        without.setattr(torch.backends.mps, "is_available", lambda: False)
        select_device()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device() == torch.device("mps") and len(tasks.slots(None)) == 1
    said = capsys.readouterr().err
    assert "run on the CPU" in said and said.count("\n") == 1
    assert "on the CPU, fp32" in provenance.device_name(torch.device("mps"))


def test_tf32_on_a_cpu_is_refused_in_one_line_before_anything_is_written(capsys, tmp_path):
    options_of_run = ["--profile", "smoke", "--set", "training.precision=tf32", "--runs-dir", str(tmp_path)]
    with pytest.raises(SystemExit):
        commands.main(["train", "table1/vae", "--device", "cpu", *options_of_run])
    assert "precision tf32 needs an NVIDIA GPU" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_tensorboard_gets_the_losses_of_the_log(monkeypatch, tmp_path):
    scalars = []

    class Writer:
        def __init__(self, folder):
            assert folder == str(tmp_path / "tensorboard" / "training")

        def add_scalar(self, name, value, step):
            scalars.append((name, value, step))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    images = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8)
    config = TrainingConfig(steps=4, batch_size=4, log_every=2)
    train(system("table1/vae"), images, config, seed=0, folder=tmp_path / "quiet")
    assert scalars == []
    options.set_environment(argparse.Namespace(tensorboard=True))
    train(system("table1/vae"), images, config, seed=0, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert scalars == [(name, line[name], line["step"]) for line in lines for name in list(line)[3:]]
    assert [step for name, _, step in scalars if name == "total"] == [2, 4]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="--tensorboard needs a package: pip install tensorboard"):
        summary_writer()
