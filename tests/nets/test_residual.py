"""The residual critic: a residual block as in the literature, one logit per image judged alone, a penalty that has
its second derivative; and what nets cost."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d

from cqlib.data import IMAGE_SIZES
from cqlib.nets.conv import pyramid
from cqlib.nets.residual_critic import ResidualBlock, ResidualCritic


@pytest.mark.parametrize("halve", [False, True])
@pytest.mark.parametrize("a, b", [(4, 4), (4, 6)])
def test_a_block_is_its_formula(a, b, halve):
    torch.manual_seed(0)
    block, x = ResidualBlock(a, b, halve=halve), torch.randn(2, a, 8, 8)
    pool = (lambda h: avg_pool2d(h, 2)) if halve else (lambda h: h)
    h = pool(conv2d(x.relu(), block.first.weight, block.first.bias, padding=1).relu())
    expected = conv2d(h, block.second.weight, block.second.bias, padding=1)
    skipped = pool(x) if a == b else conv2d(pool(x), block.skip.weight, block.skip.bias)
    torch.testing.assert_close(block(x), skipped + expected)


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("blocks", [1, 2])
def test_one_logit_per_image_judged_alone(size, blocks):
    torch.manual_seed(0)
    critic, x = ResidualCritic(size, pyramid(4, size), blocks), torch.randn(3, 3, size, size)
    logits = critic(x)
    assert logits.shape == (3,)
    torch.testing.assert_close(logits[:1], critic(x[:1]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_slope_and_scores_start_at_order_one(blocks):
    """Torch's own start leaves a slope of a few thousandths, from which the penalty alone has to lift the critic."""
    torch.manual_seed(0)
    critic = ResidualCritic(32, (32, 64, 128, 128), blocks)
    x = (2 * torch.rand(8, 3, 32, 32) - 1).requires_grad_()
    features = critic.body(critic.stem(x)).detach()
    assert 0.3 < features.square().mean().sqrt() < 10  # activations keep their size through the net
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    assert 0.03 < slope.flatten(1).norm(dim=1).mean() < 3
