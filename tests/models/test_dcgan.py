"""DCGAN: uniform codes, batch normalisation in both nets, the layers of the reference, both losses."""

from functools import partial

import pytest
import torch
from small_models import system

system = partial(system, "table3/dcgan")


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
