"""Prog-GAN: growth is continuous and on schedule, layers are equalised, and the nets are the reference's."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_models import images, system
from torch import nn
from torch.nn.functional import conv2d

from cqlib.data import IMAGE_SIZES
from cqlib.models.prog_gan import (
    TICKS,
    EqualisedConv,
    ProgGAN,
    ProgressiveCritic,
    ProgressiveGenerator,
    ProgressiveNet,
    minibatch_std,
    pixel_norm,
    recipe,
    resolutions,
)

ROW = "table3/prog-gan"
PAPER = recipe(ROW, "paper", 32)
system = partial(system, ROW)


def nets(size=16):
    """A generator and a critic in double precision, with biases that are not 0."""
    torch.manual_seed(0)
    both = ProgressiveGenerator(size, 8, 64, 16), ProgressiveCritic(size, 64, 16)
    for net in both:
        net.double()
        for module in net.modules():
            if isinstance(module, EqualisedConv):
                nn.init.normal_(module.bias, std=0.5)
    return both


def touched(net, x):
    """The parameters that have a gradient after a pass."""
    net.zero_grad()
    net(x).sum().backward()
    return {name for name, p in net.named_parameters() if p.grad is not None}


# --- growth --------------------------------------------------------------------------------------------------


def test_resolutions_double_from_4_or_3_pixels():
    found = {size: resolutions(size) for size in IMAGE_SIZES}
    assert found == {16: (4, 8, 16), 32: (4, 8, 16, 32), 48: (3, 6, 12, 24, 48), 64: (4, 8, 16, 32, 64)}


@pytest.mark.parametrize(
    "kimg, level, alpha",
    [(0, 0, 1), (399, 0, 1), (400, 0, 1), (600, 1, 0.5), (700, 1, 0.75), (800, 1, 1), (1200, 1, 1), (1300, 2, 0.25),
     (1999, 2, 1), (2100, 3, 0.25), (2400, 3, 1), (19_999, 3, 1)],
)  # fmt: skip
def test_stages_of_the_paper_in_thousands_of_images(kimg, level, alpha):
    """400 thousand images per resolution and 400 to fade in the next, of 20,000; shares in shorter trainings."""
    torch.manual_seed(0)
    model = ProgGAN(replace(PAPER.system, latent=8, fmap_base=16, fmap_max=8))
    batch, steps = PAPER.training.batch_size, PAPER.training.steps
    assert steps * batch == 20_000_000
    for step, of in ((kimg * 1000 // batch, steps), (kimg, 20_000)):
        model.schedule(step, of)
        for net in (model.generator, model.critic):
            assert net.stage() == (level, pytest.approx(alpha, abs=0.0011))


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("index", [0, 1])
def test_fade_in_starts_at_the_coarse_path_and_ends_at_the_fine_one(monkeypatch, index, level):
    net = nets()[index]
    x = (torch.randn(3, 8), torch.randn(3, 3, 16, 16))[index].double()

    def at(stage):
        with monkeypatch.context() as patch:
            patch.setattr(ProgressiveNet, "stage", lambda self: stage)
            return net(x).detach()

    coarse, fine = at((level - 1, 1.0)), at((level, 1.0))
    assert (coarse - fine).abs().mean() > 0.05
    torch.testing.assert_close(at((level, 0.0)), coarse)
    torch.testing.assert_close(at((level, 1 - 1e-12)), fine)
    if index == 0:
        torch.testing.assert_close(at((level, 0.3)), 0.7 * coarse + 0.3 * fine)
    else:
        assert (at((level, 0.5)) - coarse).abs().min() > 1e-4 and (at((level, 0.5)) - fine).abs().min() > 1e-4


@pytest.mark.parametrize("size", [16, 48])
def test_a_stage_uses_the_layers_of_its_resolutions_alone(size):
    generator, critic = nets(size)
    z, x = torch.randn(3, 8).double(), torch.randn(3, 3, size, size).double()
    for clock, levels in ((0, {0}), (TICKS + 500, {0, 1}), (2 * TICKS, {1}), (3 * TICKS + 1, {1, 2}), (4 * TICKS, {2})):
        for net, argument, colour in ((generator, z, "to_image"), (critic, x, "from_image")):
            net.grow(clock)
            used = touched(net, argument)
            assert {int(name.split(".")[1]) for name in used if name.startswith(colour)} == levels
            blocks = {int(name.split(".")[1]) for name in used if name.startswith("blocks")}
            assert blocks == set(range(max(levels)))


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_coarse_images_are_blocks_and_the_critic_sees_averages(size):
    generator, critic = nets(size)
    coarsest = resolutions(size)[0]
    for net in (generator, critic):
        net.grow(0)
    sample = generator(torch.randn(2, 8).double()).detach()
    assert sample.shape == (2, 3, size, size)
    blocks = sample.unflatten(3, (coarsest, -1)).unflatten(2, (coarsest, -1))
    assert (blocks == blocks[:, :, :, :1, :, :1]).all() and sample.std() > 0.1
    x = torch.randn(2, 3, size, size).double()
    blocks = x.unflatten(3, (coarsest, -1)).unflatten(2, (coarsest, -1))
    flat = blocks.mean((3, 5), keepdim=True).expand_as(blocks).flatten(4, 5).flatten(2, 3)
    torch.testing.assert_close(critic(x), critic(flat))
    torch.testing.assert_close(critic.at_current_resolution(x), flat)


def test_real_images_fade_in_as_made_ones_do():
    model = system()
    x = images()
    centres = (x.double() + 0.5) / 128 - 1
    half = centres.unflatten(3, (8, 2)).unflatten(2, (8, 2)).mean((3, 5))
    quarter = half.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))

    def full(h, factor):
        return h.repeat_interleave(factor, 2).repeat_interleave(factor, 3).float()

    for clock, expected in (
        (0, full(quarter, 4)),
        (TICKS + 250, 0.75 * full(quarter, 4) + 0.25 * full(half, 2)),
        (2 * TICKS, full(half, 2)),
        (3 * TICKS + 600, 0.4 * full(half, 2) + 0.6 * centres.float()),
        (4 * TICKS, centres.float()),
    ):
        for net in (model.generator, model.critic):
            net.grow(clock)
        real, fake = model.real_and_fake(x)
        torch.testing.assert_close(real, expected)
        assert fake.shape == real.shape and not fake.requires_grad


# --- layers --------------------------------------------------------------------------------------------------


def test_equalised_layers_keep_the_variance_and_learn_alike():
    torch.manual_seed(0)
    for a, b, kernel, gain in ((64, 32, 3, 2**0.5), (16, 256, 1, 1.0), (300, 8, 4, 2**0.5)):
        layer = EqualisedConv(a, b, kernel, gain=gain)
        x = torch.randn(64, a, kernel, kernel)
        he = gain / (a * kernel**2) ** 0.5
        torch.testing.assert_close(layer(x), conv2d(x, layer.weight * he))
        assert layer(x).std().item() == pytest.approx(gain, rel=0.15)
        before = layer.weight.detach() * layer.scale
        optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3, betas=(0.0, 0.99))
        layer(x).square().sum().backward()
        optimiser.step()
        moved = (layer.weight.detach() * layer.scale - before).abs() / he
        torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=0.02, atol=0)


def test_pixel_norm_and_codes_on_the_sphere():
    torch.manual_seed(0)
    x = 7 * torch.randn(2, 5, 3, 3)
    torch.testing.assert_close(pixel_norm(x), x / x.square().mean(1, keepdim=True).sqrt())
    generator, _ = nets()
    z = torch.randn(3, 8).double()
    torch.testing.assert_close(generator(z), generator(5 * z))
    assert (generator(z) - generator(-z)).abs().mean() > 0.01
    shapes = []
    for layer in generator.modules():
        if getattr(layer, "norm", False):
            layer.register_forward_hook(lambda _, __, h: shapes.append(h.square().mean(1)))
    generator(z)
    assert len(shapes) == 6 and all((s - 1).abs().max() < 1e-5 for s in shapes)


def test_minibatch_std_is_one_number_over_the_whole_batch():
    torch.manual_seed(0)
    x = torch.randn(5, 4, 3, 3, dtype=torch.double) * torch.arange(1, 5).view(1, 4, 1, 1)
    h = minibatch_std(x)
    assert torch.equal(h[:, :4], x)
    expected = x.std(0, unbiased=False).mean()
    torch.testing.assert_close(h[:, 4], expected.expand(5, 3, 3))
    torch.testing.assert_close(minibatch_std(x[:1])[:, 4], torch.full((1, 3, 3), 1e-4).double())  # nothing to compare


# --- the reference's net, loss and training ------------------------------------------------------------------


def test_parameter_counts_of_the_paper():
    """Its table 2: 23.1 million each, for 1024 pixels with fmap_base 8192."""
    with torch.device("meta"):
        both = ProgressiveGenerator(1024, 512, 8192, 512), ProgressiveCritic(1024, 8192, 512)
    assert [round(sum(p.numel() for p in net.parameters()) / 1e6, 1) for net in both] == [23.1, 23.1]


class Plane(ProgressiveNet):
    """A critic whose gradient is w everywhere."""

    def __init__(self, w):
        super().__init__(16)
        self.w = nn.Parameter(w)

    def forward(self, x):
        return (x * self.w).flatten(1).sum(1)


@pytest.mark.parametrize("slope", [1.0, 750.0])
def test_critic_loss_against_its_closed_form(slope):
    """With l(x) = <w, x> the penalty is (||w|| / slope - 1)^2, the drift E[<w, x>^2]."""
    model = system(penalty_target=slope)
    w = torch.randn(3, 16, 16)
    model.critic = Plane(w)
    x = images()
    torch.manual_seed(3)
    terms = model.critic_losses(x, step=0)
    torch.manual_seed(3)
    real, fake = (h.flatten(1) @ w.flatten() for h in model.real_and_fake(x))
    penalty = (w.norm() / slope - 1).square()
    torch.testing.assert_close(terms["wasserstein"], fake.mean() - real.mean())
    torch.testing.assert_close(terms["gradient_penalty"], penalty)
    torch.testing.assert_close(terms["drift"], real.square().mean())
    expected = fake.mean() - real.mean() + 10 * penalty + 0.001 * real.square().mean()
    torch.testing.assert_close(terms["total"], expected)
    torch.manual_seed(4)
    loss = model.generator_losses(x)["total"]
    torch.manual_seed(4)
    torch.testing.assert_close(loss, -(model.fakes(images(4)).flatten(1) @ w.flatten()).mean())


# --- in the loop ---------------------------------------------------------------------------------------------


def test_the_clock_of_a_copy_or_of_loaded_weights_is_their_buffer():
    """An average, a snapshot: what was set before says nothing of them."""
    grown = ProgressiveNet(32)
    assert grown.stage() == (3, 1.0)  # as it is built
    grown.grow(0)
    assert grown.stage() == (0, 1.0)
    for other in (copy.deepcopy(grown), grown):
        other.load_state_dict({"clock": torch.tensor(grown.end)})
        assert other.stage()[0] == len(grown.sides) - 1
        other.grow(0)
    average = copy.deepcopy(grown)
    average.clock.fill_(grown.end)
    assert average.stage()[0] == len(grown.sides) - 1 and grown.stage()[0] == 0
