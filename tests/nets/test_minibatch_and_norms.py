"""Layers of the Improved Training GAN: minibatch features, weight norm that starts from data; batch norm."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from cqlib.experiments.experiment import experiment
from cqlib.experiments.rows import ROWS
from cqlib.models.improved_gan import MinibatchDiscrimination
from cqlib.models.registry import build
from cqlib.nets.norms import BatchNorm1d, BatchNorm2d
from cqlib.nets.weight_norm import WeightNormed, initialising
from cqlib.training.loop import train

# --- minibatch discrimination --------------------------------------------------------------------------------


def layer(features=7, kernels=4, dimensions=3):
    torch.manual_seed(0)
    found = MinibatchDiscrimination(features, kernels, dimensions)
    with torch.no_grad():
        found.log_scale.normal_(std=0.3)
        found.bias.normal_()
    return found


def direct(found, f):
    """o_k(i), term by term."""
    kernels = found.theta.shape[1]
    out = torch.zeros(len(f), kernels)
    for k in range(kernels):
        t = found.theta[:, k]
        t = t / t.square().sum(0).sqrt() * found.log_scale[k].exp()
        for i, f_i in enumerate(f):
            out[i, k] = found.bias[k]
            for j, f_j in enumerate(f):
                if j != i:
                    out[i, k] += torch.exp(-(f_i @ t - f_j @ t).abs().sum())
    return out


def test_minibatch_features_are_the_sum_over_the_others():
    found, f = layer(), torch.randn(6, 7)
    y = found(f)
    assert y.shape == (6, 7 + 4)
    torch.testing.assert_close(y[:, :7], f)
    torch.testing.assert_close(y[:, 7:], direct(found, f))
    order = torch.randperm(6)
    torch.testing.assert_close(found(f[order]), y[order])
    assert torch.equal(found(f[:1])[:, 7:], found.bias[None])  # nobody else


def test_a_collapsed_batch_is_told_by_its_minibatch_features():
    found = layer()
    same = torch.randn(1, 7).expand(5, -1)
    torch.testing.assert_close(found(same)[:, 7:], 4 + found.bias.expand(5, -1))
    assert (found(torch.randn(5, 7))[:, 7:] < 4 + found.bias).all()


def test_minibatch_features_start_at_mean_zero_and_distance_two():
    found, f = layer(), 30 * torch.randn(20, 7)
    with initialising(found):
        first = found(f)
    y = found(f)
    torch.testing.assert_close(y[:, 7:].mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(first, y)
    kernels = found.theta / found.theta.norm(dim=0) * found.log_scale.exp()
    m = torch.einsum("na,akd->nkd", f, kernels)
    distance = (m[:, None] - m[None]).abs().sum(3) + 1e6 * torch.eye(20)[:, :, None]
    torch.testing.assert_close(distance.amin(1).mean(0), torch.full((4,), 2.0))


def test_minibatch_features_are_fp32_under_autocast():
    found, f = layer(), torch.randn(6, 7)
    expected = found(f)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(found(f), expected, atol=1e-6, rtol=1e-6)


# --- weight normalisation ------------------------------------------------------------------------------------

LAYERS = {
    "conv": (lambda: nn.Conv2d(3, 5, 3, padding=1), (16, 3, 6, 6), 0),
    "deconv": (lambda: nn.ConvTranspose2d(3, 5, 5, stride=2, padding=2, output_padding=1), (16, 3, 6, 6), 1),
    "linear": (lambda: nn.Linear(3, 5), (64, 3), 0),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_weight_norm_is_torchs_at_equal_lengths(kind):
    make, shape, dim = LAYERS[kind]
    torch.manual_seed(0)
    found, oracle = WeightNormed(make()), weight_norm(make(), dim=dim)
    x = torch.randn(shape)
    with torch.no_grad():
        found.layer.weight.normal_()
        found.g.uniform_(0.5, 2.0)
        found.layer.bias.normal_()
        oracle.parametrizations.weight.original0.copy_(found.g)
        oracle.parametrizations.weight.original1.copy_(found.layer.weight)
        oracle.bias.copy_(found.layer.bias)
    torch.testing.assert_close(found(x), oracle(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_weight_norm_starts_at_mean_zero_and_the_given_deviation(kind):
    make, shape, _ = LAYERS[kind]
    torch.manual_seed(0)
    found, x = WeightNormed(make(), start=0.4), 3 + 5 * torch.randn(shape)
    assert (found(x).mean().abs() > 0.1) or (found(x).std() > 1)
    for _ in range(2):  # a second time changes nothing
        with initialising(found):
            found(x)
        y = found(x).transpose(0, 1).flatten(1)
        torch.testing.assert_close(y.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
        torch.testing.assert_close(y.std(1, correction=0), torch.full((5,), 0.4), atol=1e-4, rtol=0)
    assert not found.initialising


def test_a_filter_of_zeros_stays_one():
    found = WeightNormed(nn.Linear(3, 2))
    nn.init.zeros_(found.layer.weight)
    assert torch.equal(found.weight(), torch.zeros(2, 3))


def test_lengths_train_only_where_asked():
    assert {name for name, _ in WeightNormed(nn.Linear(3, 2)).named_parameters()} == {"layer.weight", "layer.bias"}
    assert "g" in dict(WeightNormed(nn.Linear(3, 2), train_scale=True).named_parameters())


# --- batch norm that outlives a bad batch --------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs", "shape"), [(BatchNorm1d, nn.BatchNorm1d, (8, 5)),
                                                       (BatchNorm2d, nn.BatchNorm2d, (8, 5, 4, 4))])  # fmt: skip
def test_a_batch_that_is_not_finite_leaves_no_trace(ours, theirs, shape):
    a, b = ours(5), theirs(5)
    assert a.state_dict().keys() == b.state_dict().keys()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 2
    for bad in (float("nan"), float("inf")):
        assert torch.equal(a(x), b(x))
        spoilt = x.clone()
        spoilt[0, 1] = bad
        assert not a(spoilt).isfinite().all()  # the loop must see it
    assert torch.equal(a.running_mean, b.running_mean) and torch.equal(a.running_var, b.running_var)
    assert torch.equal(a.eval()(x), b.eval()(x))


def has_batch_norm(row):
    with torch.device("meta"):
        system = build(experiment(row, "smoke").recipe.system)
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in system.modules())


@pytest.mark.parametrize("row", [row for row in ROWS if row.startswith("table3/") and has_batch_norm(row)])
def test_no_system_loses_its_averages_to_a_bad_batch(row, tmp_path):
    """A step amid the others whose codes are NaN is skipped, and samples are finite all the same."""
    recipe = experiment(row, "smoke").recipe
    torch.manual_seed(0)
    system = build(recipe.system)
    seen = 0

    def spoil(module, arguments):
        nonlocal seen
        seen += module.training
        return (arguments[0] * float("nan"),) if seen == 5 and module.training else None

    normed = [m for m in system.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    normed[0].register_forward_pre_hook(spoil)
    images = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 10
    result = train(system, images, replace(recipe.training, steps=6), seed=0, folder=tmp_path, labels=labels)
    assert seen > 5 and 1 <= result.skipped <= 2 and result.status == "done"
    with torch.no_grad():
        assert result.system.sample(4, generator=torch.Generator().manual_seed(0)).isfinite().all()
