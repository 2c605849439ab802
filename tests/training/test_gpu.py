"""The GPU path: training, resuming, metrics and placement on a CUDA device. Skipped without one."""

import numpy as np
import pytest
import torch
from small_models import StopAfter

from cqlib import data as data_sets
from cqlib.metrics import evaluation, features
from cqlib.metrics.bpd import held_out_nll
from cqlib.models.base import LikelihoodSystem
from cqlib.models.registry import build
from cqlib.recipe import TrainingConfig
from cqlib.suite.experiments import run
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import load
from cqlib.suite.experiments.rows import ROWS
from cqlib.training.device import images_to_device
from cqlib.training.loop import Loop, train
from cqlib.training.optimisers import make_optimiser
from cqlib.util.fp32 import full_fp32

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = torch.device("cuda")


def trained(row: str, folder, **options):
    e = experiment(row, "smoke")
    torch.manual_seed(0)
    split = data_sets.load("photos10", size=e.size).train.first(128)
    return train(build(e.recipe.system), split.images, e.recipe.training, seed=0, folder=folder, labels=split.labels,
                 device=CUDA, key="", **options)  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_no_step_waits_for_the_card(row, tmp_path):
    """But the first, which may initialise weights; CUDA itself reports a wait."""
    e = experiment(row, "smoke")
    split = data_sets.load("photos10", size=e.size).train.first(2000)  # of which a first step leaves many
    loop = Loop(build(e.recipe.system), split.images, split.labels, e.recipe.training, 0, tmp_path, "x", CUDA)
    for mode in ("default", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            loop.one_step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        loop.step += 1


@pytest.mark.parametrize("optimiser", ["adam", "adamax", "rmsprop"])
def test_a_step_is_skipped_on_the_card(optimiser):
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], device=CUDA))
    one = make_optimiser([weight], TrainingConfig(steps=1, optimiser=optimiser), 0.1, (0.5, 0.99))
    seen = []
    for bad in (0.0, 1.0, 1.0, 0.0):
        weight.grad = torch.full_like(weight, float("nan") if bad else 1.0)
        one.found_inf = torch.tensor(bad, device=CUDA)
        one.step()
        seen.append(torch.stack([weight.detach(), *(v.expand(2) for v in one.state[weight].values())]))
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[3])


def weights(system):
    """All parameters in one vector on the host, whatever their layout."""
    return torch.cat([p.detach().flatten().cpu() for p in system.parameters()])


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains_and_is_measured(row, tmp_path):
    result = trained(row, tmp_path)
    assert result.status == "done" and result.skipped == 0
    assert all(p.is_cuda for p in result.system.parameters())
    fake = evaluation.draw_samples(result.system, 8, temperature=1.0, seed=0)
    assert fake.dtype == torch.uint8 and fake.device.type == "cpu" and len(fake) == 8
    if isinstance(result.system, LikelihoodSystem):
        images = data_sets.load("photos10", size=fake.shape[-1]).test.images[:8]
        on_card = held_out_nll(result.system, images)
        assert torch.isfinite(on_card).all()
        # other random numbers: the same bound, up to its noise
        on_host = held_out_nll(result.system.cpu(), images)
        assert abs(float((on_card - on_host).mean() / on_host.mean())) < 0.05


@pytest.mark.parametrize("row", ["table1/cq-f", "table1/gan"])
def test_a_whole_run_finds_the_card_by_itself(row, tmp_path):
    """The second also trains an encoder around its frozen generator."""
    record = run.run(row, profile="smoke", runs_dir=tmp_path)
    assert record.status == "done" and torch.cuda.get_device_name() in record.device
    assert record.precision == "fp32" and record.peak_memory_bytes > 10**6
    assert {"BPD", "IS-lite0", "FD-lite0-floor"} <= set(record.metrics)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_run", lambda *_: pytest.fail("ran again"))
        assert run.run(row, profile="smoke", runs_dir=tmp_path) == record
    assert len(evaluation.draw_samples(load(row, profile="smoke", runs_dir=tmp_path), 2, temperature=1.0, seed=0)) == 2


def test_a_stopped_training_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    whole = trained("table1/cq-f", tmp_path / "whole").system.state_dict()
    with pytest.raises(Exception, match="a test"):
        trained("table1/cq-f", tmp_path / "parts", stop=StopAfter(10))
    parts = trained("table1/cq-f", tmp_path / "parts").system.state_dict()
    for name, value in whole.items():  # cuDNN may sum in another order
        torch.testing.assert_close(parts[name], value, rtol=0.05, atol=0.02, msg=name)


def test_metrics_use_true_fp32_whatever_is_allowed_outside():
    torch.manual_seed(0)
    a, b = torch.randn(256, 256, device=CUDA), torch.randn(256, 256, device=CUDA)
    exact = (a.double() @ b.double()).float()
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with full_fp32():
            assert (a @ b - exact).abs().max() < 1e-3
        with full_fp32(tf32=True):  # as a training may ask for
            assert (a @ b - exact).abs().max() > 1e-3
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def test_features_on_the_card_are_those_of_the_cpu():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8))
    lite0 = features.lite0(224)
    host = features.extract(images, lite0, lite0.pooled)[lite0.pooled]
    card = features.extract(images, lite0, lite0.pooled, device=CUDA)[lite0.pooled]
    torch.testing.assert_close(card, host, rtol=1e-3, atol=1e-3)


def test_images_lie_on_the_card_unless_they_are_too_many(monkeypatch):
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    assert images_to_device(images, CUDA).is_cuda
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (images.nbytes, 0))
    assert not images_to_device(images, CUDA).is_cuda
