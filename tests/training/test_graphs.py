"""CUDA graphs of a step, without a GPU: a stand-in for capture that launches nothing until replay, and puts what comes
out where the last replay did."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cqlib.experiments.experiment import AVAILABLE, experiment
from cqlib.models.registry import build
from cqlib.training import loop as training
from cqlib.training.cuda_graphs import WARM_UP, Graphs
from cqlib.training.loop import train
from cqlib.training.optimisers import load_state, optimiser, saved_state, set_rate
from cqlib.util.errors import UserError

IMAGES = torch.randint(256, (70, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Recorder:
    """Captures as a card does: the same call on the same tensors, its results in the same places, overwritten."""

    def __init__(self):
        self.captured = self.replayed = 0

    def __call__(self, part):
        self.captured += 1
        losses, finite = {}, torch.zeros((), dtype=torch.bool)

        def replay():
            self.replayed += 1
            found, good = part()
            for name, value in found.items():
                losses.setdefault(name, torch.empty(())).copy_(value)
            assert found.keys() == losses.keys(), "a graph cannot launch something else"
            finite.copy_(good)

        return replay, (losses, finite)


def trained(row, folder, monkeypatch, recorder=None):
    recipe = experiment(row, "smoke").recipe
    torch.manual_seed(0)
    system = build(recipe.system)
    if recorder is not None:
        graphs = Graphs(recorder)
        for name, value in (("graphs", graphs), ("waits", False)):  # what the loop sets for a CPU does not count
            fixed = property(lambda self, v=value: v, lambda self, v: None)
            monkeypatch.setattr(training._Loop, name, fixed, raising=False)
    result = train(system, IMAGES, replace(recipe.training, flips=True), seed=0, folder=folder)
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return result, [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize("row", ["table1/vae-f", "table1/cq-f", "table1/gan", "table2/cqf-iaf-residual"])
def test_a_training_of_replays_is_the_training(row, tmp_path, monkeypatch):
    """Bit for bit, with each batch, rate and turn of the penalty in its place."""
    plain, lines = trained(row, tmp_path / "plain", monkeypatch)
    recorder = Recorder()
    replayed, same = trained(row, tmp_path / "graphs", monkeypatch, recorder)
    assert same == lines and replayed.notes == plain.notes
    for name, value in plain.system.state_dict().items():
        assert torch.equal(replayed.system.state_dict()[name], value), name
    config = experiment(row, "smoke").recipe.training
    updates = config.steps * (1 if row == "table1/vae-f" else 2)
    assert recorder.replayed == updates - WARM_UP * recorder.captured


class Capturing(TorchDispatchMode):
    """Under it, what cannot be captured on a card raises: the host reading a number, or handing one over (lists as
    indices, tensors made of numbers)."""

    REFUSED = ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "equal")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in self.REFUSED, f"{name} cannot be captured"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("row", AVAILABLE)
def test_systems_that_say_what_they_launch_can_be_captured(row, tmp_path):
    """And launch just that: the same operations at every update of one word."""
    recipe = experiment(row, "smoke").recipe
    system = build(recipe.system).train()
    if system.kernels(0) is None:
        assert not row.startswith(("table1/", "table2/"))
        with pytest.raises(UserError, match="cuda_graphs"):
            train(system, IMAGES, replace(recipe.training, cuda_graphs=True), seed=0, folder=tmp_path,
                  labels=torch.zeros(len(IMAGES), dtype=torch.long))  # fmt: skip
        return
    x = torch.randint(256, (8, *system.shape), dtype=torch.uint8)
    launched = {}

    def names(run):
        system.zero_grad()  # to None, so that gradients are not added to others
        with Capturing(), torch.profiler.profile() as profile:
            run()["total"].backward()
        return sorted((event.key, event.count) for event in profile.key_averages())

    for step in range(6):
        found = [("generator", names(lambda: system.generator_losses(x)))]
        if system.critic is not None:
            found.append((system.kernels(step), names(lambda s=step: system.critic_losses(x, step=s))))
        for word, operations in found:
            assert launched.setdefault(word, operations) == operations, word


def test_what_cannot_be_captured_is_named_with_its_cause():
    def refused(part):
        try:
            raise RuntimeError("an operation is not permitted\nmore lines")
        finally:
            raise RuntimeError("capture failed")

    graphs = Graphs(refused)
    part = lambda x: ({"total": x.sum()}, torch.tensor(True))  # noqa: E731
    for k in range(WARM_UP):
        assert graphs("generator", part, torch.full((2,), float(k)))[0]["total"].item() == 2 * k
    with pytest.raises(UserError, match="^cuda_graphs: the update 'generator' cannot be captured: an operation is not"):
        graphs("generator", part, torch.ones(2))


def test_the_rate_stays_the_tensor_that_graphs_read():
    p = torch.nn.Parameter(torch.ones(3))
    config = experiment("table1/cq-f", "smoke").recipe.training
    made = optimiser([p], config, 0.1)
    assert isinstance(made.param_groups[0]["lr"], float)
    rate = torch.tensor(0.1)
    made.param_groups[0]["lr"] = rate
    p.grad = torch.ones(3)
    made.step()
    set_rate(made, 0.2)
    state = saved_state(made)
    assert json.dumps(state["param_groups"])
    load_state(made, state)
    assert made.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.2)
    assert made.state[p]["exp_avg"].tolist() == pytest.approx([0.5] * 3)
