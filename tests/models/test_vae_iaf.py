"""VAE-IAF: probabilities of 8-bit images, free bits, layers that start from data, and the reference's net."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from notebook_cells import smooth_images
from scipy.stats import logistic
from small_models import generator, images, system
from torch import nn

from cqlib.nets.autoregressive import IAFStep
from cqlib.nets.distributions import discretised_logistic
from cqlib.nets.hierarchical import conv
from cqlib.nets.weight_norm import lengths
from cqlib.pixels import cell_centres, to_uint8

ROW = "table3/vae-iaf"
system = partial(system, ROW, shake=0.05)  # nothing is at its start


def without_noise(model):
    """Every layer's noise is 0: q's draw is its mean, and what depends on the noise alone is fixed."""
    model.decoder.noise = lambda n, generator=None: [torch.zeros(n, *s) for s in model.decoder.shapes.values()]
    return model


# --- P(x|z) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_scales", [False, True])
def test_probability_given_z_is_the_product_of_differences_of_the_logistic(pixel_scales):
    model = system(log_scale=-1.0, pixel_scales=pixel_scales).double()
    x, z = images(2), torch.randn(2, 8, 8, 8, generator=generator()).double()
    x[0, 0, 0, :2] = torch.tensor([0, 255])
    with torch.no_grad():
        model.head.out.bias[:3] = torch.tensor([-1.5, 0.2, 1.5])  # mu may lie outside
    found = model.log_probability(cell_centres(x).double(), z)
    with torch.no_grad():
        outputs, scale = model.head(z).numpy(), model.log_scale.exp().item()
    mean = outputs[:, :3]
    if pixel_scales:
        scale = scale * np.exp(2 * np.tanh(outputs[:, 3:] / 2))
        assert scale.max() > 1.5 * scale.min()
    low = x.double().numpy() / 128 - 1
    upper = np.where(x == 255, np.inf, low + 1 / 128)
    p = logistic.cdf(upper, mean, scale) - logistic.cdf(np.where(x == 0, -np.inf, low), mean, scale)
    np.testing.assert_allclose(found.detach().numpy(), np.log(p).sum((1, 2, 3)), rtol=1e-9)


def test_nothing_is_dequantised():
    """The encoder sees the cells' centres, and no random number is drawn but the layers' noise."""
    model = without_noise(system())
    x, g = images(), generator()
    state = g.get_state()
    assert torch.equal(model.continuous(x, g), cell_centres(x)) and torch.equal(g.get_state(), state)
    nats = model.nats(x, generator=g)
    assert torch.equal(g.get_state(), state) and torch.equal(model.nats(x), nats)
    assert (model.bound, model.dequantised) == ("ELBO", False)
    q = model.infer(cell_centres(x))
    log_p = discretised_logistic(x.float(), *model.decode(q.z)).flatten(1).sum(1)
    torch.testing.assert_close(nats, -(log_p + q.log_ratio))


# --- bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["iaf", "gaussian"])
def test_the_bound_is_exact_where_x_says_nothing_of_z(posterior):
    """With a decoder that ignores z and q = p every draw gives -ln P(x)."""
    model = system(posterior=posterior, shake=0)
    with torch.no_grad():
        model.head.out.parametrizations.weight.original0.zero_()
        model.head.out.bias.copy_(torch.tensor([-0.5, 0.0, 0.3, 0.0, 0.0, 0.0]))
        for net in (model.encoder, model.decoder):
            for block in net.blocks:
                lengths(block.first).zero_()  # every mean and log-sd is 0
        for step in model.modules():
            if isinstance(step, IAFStep):
                lengths(step.shift).zero_()
                lengths(step.log_scale).zero_()
    x = images()
    mean = torch.tensor([-0.5, 0.0, 0.3]).view(3, 1, 1)
    exact = -discretised_logistic(x.float(), mean, model.log_scale).flatten(1).sum(1)
    torch.testing.assert_close(model.nats(x), exact)
    torch.testing.assert_close(model.nats(x, importance_samples=3), exact)


# --- samples -------------------------------------------------------------------------------------------------


def test_samples_have_the_frequencies_of_the_discretised_logistic():
    model = system(shake=0, log_scale=-3.5)
    bias = torch.tensor([-0.97, 0.1, 0.97, 0.5, -1.0, 0.5])
    log_scales = -3.5 + 2 * torch.tanh(bias[3:] / 2)
    with torch.no_grad():
        model.head.out.parametrizations.weight.original0.zero_()
        model.head.out.bias.copy_(bias)
    drawn = to_uint8(model.sample(400, generator=generator()))
    for channel, (mean, log_scale) in enumerate(zip(bias[:3], log_scales, strict=True)):
        p = discretised_logistic(torch.arange(256.0), mean, log_scale).exp()
        n = drawn[:, channel].numel()
        counts = torch.bincount(drawn[:, channel].flatten().long(), minlength=256)
        assert ((counts - n * p).abs() <= 5 * (n * p).sqrt() + 5).all()
        assert counts[0 if mean < 0 else 255] > 100 or channel == 1  # the outer cells hold their tails


def test_temperature_zero_is_the_mean_and_others_are_centres_of_cells():
    model = system()
    with torch.no_grad():
        model.head.out.bias[:3] += torch.tensor([0.6, -0.6, 0.6])
        exact = model.decode(model.decoder.sample(6, generator()))[0]
        mean, half, full = (model.sample(6, temperature=t, generator=generator()) for t in (0.0, 0.5, 1.0))
        torch.testing.assert_close(mean, exact.clamp(-1, 1))
    assert mean.max() == 1 and exact.max() > 1 and mean.min() == -1 and exact.min() < -1
    assert not torch.equal(mean, cell_centres(to_uint8(mean)))
    for sample in (half, full):
        assert torch.equal(sample, cell_centres(to_uint8(sample)))
    inside = mean.abs() < 0.5
    spread = [(sample - mean)[inside].abs().mean() for sample in (half, full)]
    assert spread[0] / spread[1] == pytest.approx(0.5, abs=0.05)
    assert torch.equal(full, model.sample(6, generator=generator()))


# --- data-dependent start ------------------------------------------------------------------------------------


def recorded(model, x, seed):
    """Every weight-normalised layer's output in a pass of q with the noise of `seed`."""
    found = {}
    handles = [
        layer.register_forward_hook(lambda _, __, h, name=name: found.update({name: h.detach()}))
        for name, layer in model.named_modules()
        if lengths(layer) is not None
    ]
    torch.manual_seed(seed)
    with torch.no_grad():
        model.head(model.infer(cell_centres(x)).z)
    for handle in handles:
        handle.remove()
    return found


FED_BY_A_CONSTANT = {f"decoder.blocks.0.{part}" for part in ("first", "context", "skip")}
"""These read the learned start alone, which no batch can tell a scale."""


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_the_first_batch_gives_every_layer_unit_pre_activations(profile):
    """All of them in one pass: 1 inside, `start` for means and log-sds, START for mu; before it they are elsewhere."""
    model, x = system(profile=profile, shake=0), smooth_images(16, 2)
    torch.manual_seed(7)
    model.initialise(x)
    found = recorded(model, x, 7)
    weights = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(found) == len(weights)
    for name, h in found.items():
        layer = model.get_submodule(name)
        wanted = torch.as_tensor(layer.start).expand(h.shape[1])
        if name in FED_BY_A_CONSTANT:
            assert h.std((0, 2, 3)).max() < 1e-6
            continue
        torch.testing.assert_close(h.std((0, 2, 3), correction=0), wanted, rtol=1e-2, atol=0, msg=name)
        torch.testing.assert_close(h.mean((0, 2, 3)), torch.zeros(h.shape[1]), rtol=0, atol=1e-3, msg=name)
    latent = model.config.latent
    block = model.decoder.blocks[0]
    assert block.first.start[: 4 * latent] == [model.config.start] * 4 * latent
    assert set(block.first.start[4 * latent :]) == {1.0} and set(model.head.out.start) == {0.25}
    before = recorded(system(profile=profile, shake=0), x, 7)
    assert max((h.std((0, 2, 3)) / 1.0 - 1).abs().max() for name, h in before.items() if "second" in name) > 0.3


# --- nets ----------------------------------------------------------------------------------------------------


def test_a_doubling_convolution_of_five_covers_the_image_and_keeps_place():
    """Away from the borders a shift by one pixel below is a shift by two above, and pixel i lies under pixel 2 i."""
    torch.manual_seed(0)
    layer = conv(1, 1, 5, double=True)
    x = torch.zeros(1, 1, 8, 8)
    x[..., 3, 4] = 1
    y = layer(x)
    assert y.shape == (1, 1, 16, 16)
    rows, columns = (y[0, 0] != 0).any(1).nonzero().flatten(), (y[0, 0] != 0).any(0).nonzero().flatten()
    assert rows.tolist() == [4, 5, 6, 7, 8] and columns.tolist() == [6, 7, 8, 9, 10]


# --- the row -------------------------------------------------------------------------------------------------


def test_pixels_are_drawn_with_the_scale_of_their_likelihood(monkeypatch):
    """Narrower ones have scale e^-7: a mean just above the edge of cell 128 is that cell with probability 0.634."""
    model, mean = system(), torch.full((8, 3, 16, 16), 0.0005)
    monkeypatch.setattr(model, "decode", lambda z: (mean, torch.full_like(mean, -20.0)))
    share = (to_uint8(model.generate(8, generator=generator())) == 128).float().mean().item()
    assert share == pytest.approx(1 / (1 + math.exp(-0.0005 * math.exp(7))), abs=0.03)
