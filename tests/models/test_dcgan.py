"""DCGAN: uniform codes, batch normalisation of real and generated images apart."""

from functools import partial

import torch
from small_models import images, system

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


def test_real_and_generated_images_are_normalised_apart():
    model, batches = system(), []
    model.critic.register_forward_hook(lambda module, inputs, output: batches.append(len(inputs[0])))
    model.critic_losses(images(6), step=0)
    assert batches == [6, 6]
