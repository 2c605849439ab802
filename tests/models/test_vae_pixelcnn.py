"""A VAE with a PixelCNN decoder: no leak, conditionals that sum to 1, a bound on P(x), caches that change nothing."""

from functools import partial

import pytest
import torch
from small_models import full_pass, generator, images, randomised, sampled, system

from cqlib import losses
from cqlib.models.vae_pixelcnn import PixelCNN
from cqlib.nets.raster import pixel_nats
from cqlib.pixels import cell_centres, dequantise

ROW = "extra/vae-pixelcnn"
system = partial(system, ROW)


# --- the decoder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_no_value_sees_itself_or_a_later_one_and_all_see_the_context(channels):
    size, net = 4, PixelCNN(5, 2, 7, stem=5, condition=2, colours=channels, levels=3)
    net = randomised(net, scale=0.4)
    with torch.no_grad():  # every ReLU open
        for conv in (net.out[-1], net.head.first, net.head.second):
            conv.bias.add_(20.0)
    x, s = torch.randn(1, channels, size, size).double(), torch.randn(1, 2, size, size).double()
    of_x, of_s = torch.autograd.functional.jacobian(lambda x, s: net(x, net.contexts(s)), (x, s), vectorize=True)
    found = of_x.reshape(channels, 3, size**2, -1).abs().sum(1).flatten(0, 1) > 0
    number = torch.arange(size * size).view(size, size) * channels + torch.arange(channels)[:, None, None]
    before = number.flatten() < number.flatten()[:, None]
    assert not found[~before].any()
    i, j = torch.arange(size**2) // size, torch.arange(size**2) % size
    neighbour = ((i[:, None] - i <= 2) & ((j[:, None] - j).abs() <= 2)).repeat(channels, channels)  # the stem's window
    assert found[before & neighbour].all()
    here = of_s.reshape(channels, 3, size**2, 2, size**2).abs().sum(1).diagonal(dim1=1, dim2=3)
    assert (here > 0).all()


def test_a_block_is_gated_by_features_and_context():
    net = randomised(PixelCNN(4, 1, 6, stem=3, condition=2, colours=3, levels=3), scale=0.5)
    x, s = torch.randn(2, 3, 3, 3).double(), torch.randn(2, 2, 3, 3).double()
    h, v, u = net.stem(x), net.gates[0], net.contexts.weight[..., 0, 0]
    f, g = (v(h) + torch.einsum("oc,nchw->nohw", u, s)).split(4, 1)
    expected = net.head(h + net.out[0](torch.tanh(f) / (1 + (-g).exp())))
    torch.testing.assert_close(net(x, net.contexts(s)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_cached_logits_and_images_are_the_naive_ones(channels):
    model = randomised(system(image_channels=channels, features=5, blocks=2, width=7), scale=0.5)
    model.shape, whole = (channels, 6, 6), model.context  # a cut of the context, to be quick
    model.context = lambda z: whole(z)[..., 5:11, 5:11]
    z, u = model.noise(3, generator())
    assert u.shape == (3, channels, 6, 6) and z.dtype == u.dtype == torch.float64

    a, fast = sampled(model.cached_logits(z), u)
    context = model.context(z)
    b, slow = sampled(full_pass(lambda x: model.pixelcnn(x, context), 256), u)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
    assert torch.equal(a, b) and slow.std() > 0.1
    assert torch.equal(model.sample(3, generator=generator()), cell_centres(a, 256, u.dtype))


# --- the bound -----------------------------------------------------------------------------------------------


def test_the_place_within_a_cell_does_not_matter():
    model, x = randomised(system(), scale=0.2), images()
    z = torch.randn(4, model.config.latent).double()
    results = []
    for v in (dequantise(x), dequantise(x), cell_centres(x)):
        q = model.infer(v, generator())
        results.append(torch.cat([model.log_probability(v, z), q.kl["z"], q.log_ratio]))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    torch.testing.assert_close(-results[0][:4], pixel_nats(model.logits(x, z), x), rtol=0, atol=0)


def test_coverage_is_reconstruction_and_kl():
    model, x = randomised(system(), scale=0.2), images()
    torch.manual_seed(3)
    terms = model.generator_losses(x)
    torch.manual_seed(3)
    mean, log_variance = model.encoder(cell_centres(x, 256, torch.double))
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape)
    kl = losses.kl_to_standard_normal(mean, log_variance)
    torch.testing.assert_close(terms["coverage"], (pixel_nats(model.logits(x, z), x) + kl).mean())
    torch.testing.assert_close(terms["kl"], kl.mean())
    assert model.bound == "ELBO" and not model.dequantised


def test_free_bits_hold_up_the_kl_in_the_objective_alone():
    """Below the threshold its gradient is that of the reconstruction; above, that of the bound."""
    x = images()
    kl = randomised(system(free_bits=0.0), scale=0.2).kl_by_layer(x, generator=generator())["z"].mean().item()
    nats, gradients = [], []
    for free_bits in (0.0, 0.5 * kl, 2 * kl):
        model = randomised(system(free_bits=free_bits), scale=0.2)
        torch.manual_seed(3)
        terms = model.generator_losses(x)
        surplus = max(0.0, free_bits - terms["kl"].item())
        torch.testing.assert_close(terms["total"], terms["coverage"] + surplus)
        terms["total"].backward()
        gradients.append(model.encoder.head.bias.grad)
        nats.append(model.nats(x, generator=generator()))
    assert torch.equal(nats[0], nats[2]) and torch.equal(gradients[0], gradients[1])
    model = randomised(system(free_bits=0.0), scale=0.2)
    torch.manual_seed(3)
    terms = model.generator_losses(x)
    (terms["coverage"] - terms["kl"]).backward()
    torch.testing.assert_close(gradients[2], model.encoder.head.bias.grad)


def test_the_bound_is_above_the_integral_over_z_and_falls_to_it():
    """One latent variable: -ln P(x) by quadrature. The ELBO lies above it, the importance-weighted bound between."""
    model, x = randomised(system(latent=1, image_channels=1, features=3, width=4), scale=0.15), images(1, channels=1)
    z = torch.linspace(-6, 6, 61).double()
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    with torch.no_grad():
        model.pixelcnn.contexts.weight.mul_(4)  # z matters
        model.encoder.head.bias[1].add_(1.0)  # and q is too wide
        log_p = model.log_probability(cell_centres(x).expand(len(z), -1, -1, -1), z[:, None])
        exact = -torch.logsumexp(log_p + log_prior, 0) - (z[1] - z[0]).log()
        draws = x.expand(20, -1, -1, -1)
        one = generator()
        elbos = torch.stack([model.nats(draws, generator=one) for _ in range(4)])
        weighted = model.nats(draws, importance_samples=4, generator=generator())
        many = model.nats(draws[:2], importance_samples=50, generator=generator())
    torch.testing.assert_close(weighted, losses.importance_weighted_bound(-elbos))
    assert (elbos.mean(0) > weighted).all() and elbos.mean() > weighted.mean() > exact
    torch.testing.assert_close(many.mean(), exact, rtol=0, atol=0.1)
