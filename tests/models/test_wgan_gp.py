"""WGAN-GP: the penalty in closed form, a critic without normalisation, blocks and sizes of the reference."""

from functools import partial

import pytest
import torch
from small_models import system
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from cqlib.nets.gan_resnet import DownBlock, UpBlock
from cqlib.pixels import dequantise

ROW = "table3/wgan-gp"
system = partial(system, ROW)


class Slope(nn.Module):
    """l(x) = slope times the mean of x over all pixels in units of its norm: a gradient of known length."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)))

    def forward(self, x):
        return self.slope * x.flatten(1).sum(1) / x[0].numel() ** 0.5


@pytest.mark.parametrize("slope", [0.5, 1.0, 3.0])
def test_critic_loss_of_a_linear_critic_is_closed_form(slope):
    model = system()
    model.critic = Slope(slope)
    x = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    torch.manual_seed(3)
    terms = model.critic_losses(x, step=0)
    torch.manual_seed(3)
    fake, real = model.fakes(x), dequantise(x)
    expected = (model.critic(fake).mean() - model.critic(real).mean()).item()
    assert terms["wasserstein"].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert terms["total"].item() == pytest.approx(expected + 10 * (slope - 1) ** 2, rel=1e-4, abs=1e-4)
    terms["total"].backward()
    direction = (fake - real).flatten(1).sum(1).mean().item() / x[0].numel() ** 0.5
    assert model.critic.slope.grad.item() == pytest.approx(direction + 20 * (slope - 1), rel=1e-3, abs=1e-3)


def test_the_critic_judges_each_image_alone():
    critic = system().critic.train()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in critic.modules())
    x = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(critic(x)[:1], critic(x[:1]))


def test_the_critic_averages_over_space():
    critic = system().critic
    x = torch.randn(2, 3, 16, 16)
    expected = critic.body(x).mean((2, 3)) @ critic.head.weight[0] + critic.head.bias
    torch.testing.assert_close(critic(x), expected)


def test_up_block_in_the_order_of_the_reference():
    torch.manual_seed(0)
    block = UpBlock(4, 6)
    x = torch.randn(3, 4, 5, 5)
    h = interpolate(block.norm1(x).relu(), scale_factor=2)
    h = block.conv2(block.norm2(block.conv1(h)).relu())
    torch.testing.assert_close(block(x), h + block.skip(interpolate(x, scale_factor=2)))


@pytest.mark.parametrize("halve", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_down_block_in_the_order_of_the_reference(halve, first):
    torch.manual_seed(0)
    block = DownBlock(4, 6, halve=halve, first=first)
    x = torch.randn(3, 4, 8, 8)
    pool = (lambda h: avg_pool2d(h, 2)) if halve else (lambda h: h)
    h = block.conv2(block.conv1(x if first else x.relu()).relu())
    torch.testing.assert_close(block(x), pool(block.skip(x)) + pool(h))
    assert isinstance(DownBlock(4, 4, halve=False).skip, nn.Identity)
