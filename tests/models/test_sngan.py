"""SNGAN: every weight of the critic has spectral norm 1, evaluation never iterates, losses and nets are the paper's."""

import pytest
import torch
from small_models import system
from torch import nn

from cqlib.models import sngan

CNN, RESNET = "table3/sngan", "table3/sngan-resnet-hinge"


def largest_singular_value(weight):
    return torch.linalg.svdvals(weight.detach().double().flatten(1))[0].item()


# --- spectral normalisation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row, layers", [(CNN, 2 * 2 + 2), (RESNET, 4 * 2 + 2 + 1)])
def test_every_weight_of_the_critic_has_spectral_norm_one(row, layers):
    critic = system(row, shake=0.3).critic  # far from what the power iteration started with
    with torch.no_grad():
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


def test_the_residual_critic_sums_over_space_and_its_head_has_no_bias():
    critic = system(RESNET).critic.eval()
    assert critic.net.head.bias is None
    x = torch.randn(2, 3, 16, 16)
    features = critic.net.body(x)
    torch.testing.assert_close(critic(x), features.sum((2, 3)) @ critic.net.head.weight[0])
