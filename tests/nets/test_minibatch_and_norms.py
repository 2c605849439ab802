"""Layers of the Improved Training GAN: minibatch features, weight norm that starts from data; batch norm."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.utils import parametrizations

from cqlib.models.improved_gan import MinibatchDiscrimination
from cqlib.nets.autoregressive import MaskedConv2d
from cqlib.nets.norms import ShiftedBatchNorm
from cqlib.nets.weight_norm import initialising, lengths, normal_weight_norm, weight_norm

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
    found.initialise(f)
    torch.testing.assert_close(found(f)[:, 7:].mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    kernels = found.theta / found.theta.norm(dim=0) * found.log_scale.exp()
    m = torch.einsum("na,akd->nkd", f, kernels)
    distance = (m[:, None] - m[None]).abs().sum(3) + 1e6 * torch.eye(20)[:, :, None]
    torch.testing.assert_close(distance.amin(1).mean(0), torch.full((4,), 2.0))


# --- weight normalisation ------------------------------------------------------------------------------------

LAYERS = {
    "conv": (lambda: nn.Conv2d(3, 5, 3, padding=1), (16, 3, 6, 6)),
    "deconv": (lambda: nn.ConvTranspose2d(3, 5, 5, stride=2, padding=2, output_padding=1), (16, 3, 6, 6)),
    "linear": (lambda: nn.Linear(3, 5), (64, 3)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("trained_length", [True, False])
def test_weight_norm_is_torchs(kind, trained_length):
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    plain = make()
    found = weight_norm(copy.deepcopy(plain), trained_length=trained_length)
    oracle = parametrizations.weight_norm(copy.deepcopy(plain), dim=1 if kind == "deconv" else 0)
    assert found.state_dict().keys() == oracle.state_dict().keys()
    x = torch.randn(shape)
    torch.testing.assert_close(found(x), plain(x))  # the weight is what it was
    with torch.no_grad():
        lengths(found).uniform_(0.5, 2.0)
        found.parametrizations.weight.original1.normal_()
    oracle.load_state_dict(found.state_dict())
    assert torch.equal(found(x), oracle(x))
    assert isinstance(lengths(found), nn.Parameter) == lengths(found).requires_grad == trained_length


@pytest.mark.parametrize("prefix", ["", "layer."])
@pytest.mark.parametrize("g", [torch.full((5, 1, 1, 1), 1.5), None])
def test_weights_of_older_versions_are_read(prefix, g):
    """Some rows had another weight norm, with other names, or without g where that is 1."""
    v, b, x = torch.randn(5, 3, 3, 3), torch.randn(5), torch.randn(2, 3, 6, 6)
    net = nn.Sequential(weight_norm(nn.Conv2d(3, 5, 3), length=1.0))
    net.load_state_dict({f"0.{prefix}weight": v, f"0.{prefix}bias": b} | ({} if g is None else {"0.g": g}))
    filters = (1.0 if g is None else g) * v / v.flatten(1).norm(dim=1).view(5, 1, 1, 1)
    torch.testing.assert_close(net(x), conv2d(x, filters, b))


@pytest.mark.parametrize("kind", [*LAYERS, "masked"])
def test_a_first_batch_gives_mean_zero_and_the_deviations_asked_for(kind):
    make, shape = LAYERS.get(kind, (None, (16, 3, 6, 6)))
    torch.manual_seed(0)
    layer, x = normal_weight_norm(make()) if make else MaskedConv2d("A", 3, 5, 3), 3 + 5 * torch.randn(shape)
    layer.start = [0.1] * 2 + [1.0] * 3
    directions = layer.parametrizations.weight.original1.clone()
    for _ in range(2):  # a second time changes nothing
        with initialising(layer):
            passed = layer(x)
        torch.testing.assert_close(layer(x), passed, rtol=1e-4, atol=1e-4)
        h = passed.transpose(0, 1).flatten(1)
        torch.testing.assert_close(h.mean(1), torch.zeros(5), atol=1e-4, rtol=0)
        torch.testing.assert_close(h.std(1, correction=0), torch.tensor(layer.start), atol=0, rtol=1e-3)
    assert torch.equal(layer.parametrizations.weight.original1, directions)


def test_a_channel_that_says_nothing_keeps_its_length():
    layer = weight_norm(nn.Conv2d(2, 3, 1))
    before = lengths(layer).clone()
    with initialising(layer):
        layer(torch.ones(2, 2, 4, 4))
    assert torch.equal(lengths(layer), before) and layer(torch.ones(1, 2, 1, 1)).abs().max() < 1e-6


# --- batch norm ----------------------------------------------------------------------------------------------


def test_shifted_batch_norm_shifts_and_does_not_scale():
    torch.manual_seed(0)
    norm = ShiftedBatchNorm(4)
    with torch.no_grad():
        norm.beta.copy_(torch.arange(4.0))
    y = norm(5 * torch.randn(8, 4, 6, 6) + 3)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.arange(4.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3), correction=0), torch.ones(4), atol=1e-4, rtol=0)
