"""DCGAN: uniform codes, batch normalisation in both nets, the layers of the reference, both losses."""

from functools import partial

import pytest
import torch
from small_models import conv_size, count, system

from cqlib.models import dcgan
from cqlib.models.dcgan import ShiftingBatchNorm
from cqlib.nets.conv import bottom_size

system = partial(system, "table3/dcgan")


def test_parameters_are_those_of_the_reference():
    model = system(32, profile="paper")
    generator = (128 + 1) * 4 * 4 * 512 + 2 * 4 * 4 * 512  # dense; scale and shift of each unit
    for a, b in ((512, 256), (256, 128), (128, 64)):
        generator += conv_size(a, b, 4) + 2 * b
    generator += conv_size(64, 3, 3)
    critic = conv_size(3, 64, 3)
    for a, b in ((64, 128), (128, 256), (256, 512)):
        critic += conv_size(a, b, 4) + conv_size(b, b, 3) + 2 * b  # two normalisations with a shift each
    critic += 4 * 4 * 512 + 1
    assert (count(model.generator), count(model.critic)) == (generator, critic)


def test_bottoms_are_an_eighth_of_the_paper_images():
    for size, bottom in ((32, 4), (48, 6), (64, 8)):
        assert bottom_size(size, dcgan.recipe("table3/dcgan", "paper", size).system.widths) == bottom
    with pytest.raises(ValueError, match="halved 5 times"):
        bottom_size(48, (1,) * 6)


def test_codes_become_uniform():
    model = system()
    seen = []
    model.generator.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.sample(400)
    u = seen[0].flatten().sort().values
    assert -1 < u.min() and u.max() < 1
    expected = torch.linspace(-1, 1, len(u))
    assert (u - expected).abs().max() < 0.02  # the empirical distribution function: Kolmogorov's distance
    z = torch.tensor([[-1.0, 0.0, 1.0]])
    model.generator = torch.nn.Identity()
    torch.testing.assert_close(model.decode(z), 2 * torch.distributions.Normal(0.0, 1.0).cdf(z) - 1)


def test_critics_normalisation_shifts_and_does_not_scale():
    torch.manual_seed(0)
    norm = ShiftingBatchNorm(4)
    with torch.no_grad():
        norm.beta.copy_(torch.arange(4.0).view(4, 1, 1))
    y = norm(5 * torch.randn(8, 4, 6, 6) + 3)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.arange(4.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3), correction=0), torch.ones(4), atol=1e-4, rtol=0)


def test_losses_are_their_formulas_and_batches_are_normalised_apart():
    model = system()
    x = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    batches, logits = [], []

    def watch(module, inputs, output):
        batches.append(len(inputs[0]))
        logits.append(output.detach())

    model.critic.register_forward_hook(watch)
    loss = model.critic_losses(x, step=0)["total"]
    real, fake = logits
    d = torch.sigmoid
    assert batches == [6, 6]
    assert loss.item() == pytest.approx(-(d(real).log().mean() + (1 - d(fake)).log().mean()).item(), rel=1e-5)
    logits.clear()
    loss = model.generator_losses(x)["total"]
    assert loss.item() == pytest.approx(-d(logits[0]).log().mean().item(), rel=1e-5)


def test_training_is_the_references():
    paper = dcgan.recipe("table3/dcgan", "paper", 32).training
    assert (paper.steps, paper.batch_size, paper.n_critic, paper.decay_from) == (100_000, 64, 1, 1.0)
    assert (paper.optimiser, paper.learning_rate, paper.betas, paper.ema) == ("adam", 2e-4, (0.0, 0.9), 0.0)
