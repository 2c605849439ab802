"""SNGAN: every weight of the critic has spectral norm 1, evaluation never iterates, losses and nets are the paper's."""

import pytest
import torch
from small_models import conv_size, count, system
from torch import nn
from torch.nn.functional import normalize

from cqlib.models import sngan
from cqlib.nets.norms import SpectrallyNormalised

CNN, RESNET = "table3/sngan", "table3/sngan-resnet-hinge"


def largest_singular_value(weight):
    return torch.linalg.svdvals(weight.detach().double().flatten(1))[0].item()


# --- spectral normalisation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row, layers", [(CNN, 2 * 2 + 2), (RESNET, 4 * 2 + 2 + 1)])
def test_every_weight_of_the_critic_has_spectral_norm_one(row, layers):
    critic = system(row).critic
    with torch.no_grad():
        for p in critic.parameters():
            p.add_(0.3 * torch.randn_like(p))  # far from what the power iteration started with
        for layer in critic.layers():
            for _ in range(300):
                _ = layer.weight  # a power iteration
    critic.eval()
    found = [m for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(found) == layers == len(critic.layers())
    for layer in found:
        original = layer.parametrizations.weight.original
        assert largest_singular_value(layer.weight) == pytest.approx(1.0, abs=1e-3)
        assert largest_singular_value(original) > 1.2
        torch.testing.assert_close(
            layer.weight, original / largest_singular_value(original), atol=1e-3, rtol=1e-3
        )  # a multiple of the original, nothing else


def test_training_takes_one_power_iteration_per_pass_and_evaluation_none():
    critic = system(CNN).critic
    layer = critic.layers()[1]
    norm = layer.parametrizations.weight[0]
    with torch.no_grad():
        layer.parametrizations.weight.original.add_(torch.randn_like(layer.parametrizations.weight.original))
    weight = layer.parametrizations.weight.original.detach().flatten(1)
    u = normalize(weight @ norm._v, dim=0)
    v = normalize(weight.T @ u, dim=0)
    critic(torch.zeros(1, 3, 16, 16))
    torch.testing.assert_close(norm._u, u)
    torch.testing.assert_close(norm._v, v)
    critic.eval()
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    critic(torch.randn(4, 3, 16, 16))
    _ = layer.weight
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())


def test_weights_are_normalised_in_fp32_under_autocast():
    critic = system(CNN).critic
    seen = []
    for layer in critic.layers():
        layer.parametrizations.weight[0].register_forward_pre_hook(
            lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
        )
    with torch.autocast("cpu", torch.bfloat16):
        y = critic(torch.randn(2, 3, 16, 16))
    assert y.dtype == torch.float32 and seen == [False] * len(critic.layers())


def test_gradients_are_those_of_the_normalised_weight():
    """d/dW of (W / sigma) x, sigma = u^T W v with u and v fixed (the paper's Eq. 12), by finite differences."""
    torch.manual_seed(0)
    net = SpectrallyNormalised(nn.Sequential(nn.Linear(3, 2))).double().eval()
    parametrised = net.layers()[0].parametrizations.weight
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: (x @ (w / (parametrised[0]._u @ w @ parametrised[0]._v)).T),
                                    parametrised.original)  # fmt: skip
    net(x).square().sum().backward()
    w = parametrised.original.detach().clone().requires_grad_()
    y = x @ (w / (parametrised[0]._u @ w @ parametrised[0]._v)).T + net.layers()[0].bias.detach()
    y.square().sum().backward()
    torch.testing.assert_close(parametrised.original.grad, w.grad)


# --- losses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", sngan.ROWS)
def test_losses_are_their_formulas(row):
    model = system(row)
    x = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    seen = []
    model.critic.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    loss = model.critic_losses(x, step=0)["total"].item()
    real, fake = seen
    if "hinge" in row:
        expected = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    else:
        expected = -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean())
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    seen.clear()
    loss = model.generator_losses(x)["total"].item()
    (fake,) = seen
    expected = -fake.mean() if "hinge" in row else -fake.sigmoid().log().mean()
    assert loss == pytest.approx(expected.item(), rel=1e-5) and len(fake) == 5


# --- nets and training of the references ---------------------------------------------------------------------


def test_parameters_of_the_cnn_are_those_of_table_3_of_its_paper():
    for size, bottom in ((32, 4), (48, 6)):
        model = system(CNN, size, profile="paper")
        generator = (128 + 1) * bottom**2 * 512 + 2 * 512
        for a, b in ((512, 256), (256, 128), (128, 64)):
            generator += conv_size(a, b, 4) + 2 * b
        generator += conv_size(64, 3, 3)
        critic = conv_size(3, 64, 3) + sum(
            conv_size(a, a, 4) + conv_size(a, b, 3) for a, b in ((64, 128), (128, 256), (256, 512))
        )
        critic += bottom**2 * 512 + 1
        assert (count(model.generator), count(model.critic)) == (generator, critic)


def up(a, b):
    return 2 * a + conv_size(a, b, 3) + 2 * b + conv_size(b, b, 3) + conv_size(a, b, 1)


def down(a, b, hidden, skip):
    return conv_size(a, hidden, 3) + conv_size(hidden, b, 3) + (conv_size(a, b, 1) if skip else 0)


def test_parameters_of_the_residual_nets_are_those_of_the_reference():
    model = system(RESNET, 32, profile="paper")
    generator = (128 + 1) * 4 * 4 * 256 + 3 * up(256, 256) + 2 * 256 + conv_size(256, 3, 3)
    critic = down(3, 128, 128, True) + down(128, 128, 128, True) + 2 * down(128, 128, 128, False) + 128
    assert (count(model.generator), count(model.critic)) == (generator, critic)
    assert model.generator.bottom == (256, 4, 4)


def test_the_residual_critic_sums_over_space_and_its_head_has_no_bias():
    critic = system(RESNET).critic.eval()
    assert critic.net.head.bias is None
    x = torch.randn(2, 3, 16, 16)
    features = critic.net.body(x)
    torch.testing.assert_close(critic(x), features.sum((2, 3)) @ critic.net.head.weight[0])
