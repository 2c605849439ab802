"""What is fast gives what the slow way gives: memory layout, bf16, fused optimisers, the feed and the step.

Caches of pixel by pixel sampling, the packed checkerboard, the lazy penalty and the folded batch norms of lite0 have
their tests beside those of the nets, the losses and the metrics.
"""

from dataclasses import replace

import pytest
import torch
from one_step import losses_and_gradients
from torch.nn.functional import cosine_similarity
from torch.nn.utils import parameters_to_vector

from benchmarks import textbook
from benchmarks.steps import make_step
from cqlib.losses import discriminator_loss
from cqlib.models import cq
from cqlib.models.registry import build
from cqlib.nets.coupling import CouplingNet
from cqlib.suite.experiments.experiment import experiment
from cqlib.training.batches import ImageBatches
from cqlib.training.device import to_device

CPU = torch.device("cpu")
ROWS = (
    "table1/cq-f", "table1/gan", "table2/cqf-iaf-residual", "table2/gan-residual", "table3/dcgan", "table3/sngan",
    "table3/batchgan", "table3/wgan-gp", "table3/improved-gan", "table3/sngan-resnet-hinge", "table3/prog-gan",
    "table3/nvp", "table3/vae-iaf", "table3/pixelrnn", "table3/pixelcnnpp", "table3/cqf-2-scales",
    "extra/vae-full-covariance", "extra/vae-pixelcnn", "extra/cq-f-conditional",
)  # fmt: skip
"""Every net of the package is in one of them."""
BF16_LOSS, BF16_DIRECTION = 0.02, 0.9


@pytest.fixture(autouse=True)
def noise_of_any_layout(monkeypatch):
    """Noise is drawn in the order of memory: here in that of the indices, so that layouts can be compared."""

    def dropout(x, p=0.5, training=True, inplace=False):
        return x * (torch.rand(x.shape) >= p) / (1 - p) if training else x

    monkeypatch.setattr(torch.nn.functional, "dropout", dropout)
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.randn(x.shape))


@pytest.mark.parametrize("row", ROWS)
def test_either_memory_layout_to_rounding_and_bf16_within_its_bound(row):
    """fp32: losses to 1e-5, the gradient to 1e-3 of its length. bf16: losses to 2 % (of themselves, or of 1 where they
    are smaller), the gradient's direction to a cosine of 0.9; the critic's penalty, a double backward, is the worst."""
    plainly = losses_and_gradients(row)
    channels_last, bf16 = losses_and_gradients(row, channels_last=True), losses_and_gradients(row, bf16=True)
    for (losses, gradient), (same, close), (coarse, near) in zip(plainly, channels_last, bf16, strict=True):
        for name, value in losses.items():
            assert same[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
            assert coarse[name] == pytest.approx(value, rel=BF16_LOSS, abs=BF16_LOSS), name
        assert (close - gradient).norm() < 1e-3 * gradient.norm()
        assert cosine_similarity(near, gradient, dim=0) > BF16_DIRECTION


@pytest.mark.parametrize("row", ["table1/cq-f", "table2/cqf-residual"])
def test_one_pass_of_the_critic_gives_the_gradient_of_two(row):
    torch.manual_seed(0)
    system = build(experiment(row, "smoke").recipe.system).double()
    real, fake = (torch.rand(n, *system.shape, dtype=torch.float64) * 2 - 1 for n in (6, 5))
    once = cq.discriminator_loss(system.critic, real, fake)
    twice = discriminator_loss(system.critic(real), system.critic(fake))
    parameters = system.critic_parameters()
    for one, two in zip(*(torch.autograd.grad(loss, parameters) for loss in (once, twice)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_of_f_see_the_layout_that_training_asks_for(channels_last):
    recipe = experiment("table1/cq-f", "smoke").recipe
    system = to_device(build(recipe.system), replace(recipe.training, channels_last=channels_last), CPU)
    seen = []
    for module in system.flow.modules():
        if isinstance(module, CouplingNet):
            module.stem.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    system.flow(torch.rand(4, *system.shape))
    layouts = {x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous() for x in seen}
    assert len(seen) == 3 and layouts == {channels_last}


@pytest.mark.parametrize("n", [7, 40])
def test_the_feed_is_the_loop_over_positions(n):
    """Batches that end an epoch, begin one, or span several: image k of epoch e is entry k of its permutation."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1)
    feed = ImageBatches(images, torch.arange(n), seed=3, flips=False, device=CPU)
    found, labels = [], []
    for size in (5, 8, 30, 1):
        x, named = feed.next(size)
        found += x.flatten().tolist()
        labels += named["labels"].tolist()
    orders = [torch.randperm(n, generator=torch.Generator().manual_seed(3 * 1_000_003 + e)) for e in range(44 // n + 1)]
    assert found == labels == torch.cat(orders)[:44].tolist() and feed.drawn == 44


CHANGED = [
    ("table1/cq-f", {}),
    ("table1/cq-f", {"optimiser": "adamax", "gradient_clip": 1.0, "critic_gradient_clip": 0.1}),
    ("table1/gan", {"n_critic": 2}),
    ("table3/sngan", {}),
]


@pytest.mark.parametrize(("row", "changes"), CHANGED)
def test_a_step_is_that_of_the_textbook_loop(row, changes, monkeypatch):
    """On the same images with the same noise, in fp32: losses and weights after several steps."""
    recipe = experiment(row, "smoke").recipe
    training = replace(recipe.training, channels_last=False, **changes)
    torch.manual_seed(0)
    images = torch.randint(256, (24, *build(recipe.system).shape), dtype=torch.uint8)
    monkeypatch.setattr(ImageBatches, "next", lambda self, size: (images[:size], {}))
    monkeypatch.setattr(textbook, "byte_batches", lambda data, size, **_: iter(lambda: images[:size], None))
    weights, losses = [], []
    ways = (make_step, lambda *given: textbook.TextbookLoop(*given, done=training.steps // 2).step)
    for way in ways:
        torch.manual_seed(0)
        system = build(recipe.system)
        start = parameters_to_vector(system.parameters()).detach()
        step = way(system, images, training, CPU)
        torch.manual_seed(1)
        for _ in range(3):
            named = step()
        losses.append({name: float(value) for name, value in named.items() if "/" not in name})
        weights.append(parameters_to_vector(system.parameters()).detach())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert (weights[0] - weights[1]).norm() < 1e-2 * (weights[0] - start).norm()
