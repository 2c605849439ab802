"""CQ-F given the grey image: a bound on P(x given its grey), nets that read it, colourings that keep it."""

import math

import pytest
import torch
from small_models import dataset, images, jacobian, shaken, system
from torch import nn
from torch.nn.functional import pixel_unshuffle

from cqlib.metrics import evaluation
from cqlib.models.cqf_conditional import ConditionalCQF
from cqlib.nets import colour
from cqlib.nets.coupling import FlowConfig, RealNVP
from cqlib.pixels import to_uint8
from cqlib.recipe import EVALUATION

ROW = "extra/cq-f-conditional"


def model_of(**changes) -> ConditionalCQF:
    return system(ROW, **{"shake": 0.05, **changes})


# --- f given g -----------------------------------------------------------------------------------------------


def flow() -> RealNVP:
    return shaken(RealNVP(2, FlowConfig(3, 8, 1), context=4), 0.3, seed=0)


def test_f_is_invertible_for_every_g_and_another_map_for_another():
    f = flow()
    c, g = torch.randn(5, 2, 8, 8), torch.rand(5, 4, 4, 4)
    with torch.no_grad():
        y, log_det = f(c, g)
        torch.testing.assert_close(f.inverse(y, g), c, rtol=0, atol=1e-4)
        other, other_log_det = f(c, 1 - g)
        assert (y - other).abs().max() > 1e-2 and (log_det - other_log_det).abs().max() > 1e-2


def test_log_determinant_is_that_of_the_autograd_jacobian_along_c():
    f = flow().double()
    c, g = torch.randn(1, 2, 4, 4, dtype=torch.double), torch.rand(1, 4, 2, 2, dtype=torch.double)
    found = torch.linalg.slogdet(jacobian(lambda v: f(v, g)[0], c)).logabsdet
    torch.testing.assert_close(f(c, g)[1][0], found)


# --- the bound -----------------------------------------------------------------------------------------------


class FixedDecoder(nn.Module):
    """Chroma with mean and spread that g alone decides: the sum over all chroma can be taken."""

    def forward(self, z, g):
        raw = g.new_full(g.shape, 0.8)
        return torch.cat([0.5 * g, -0.3 * g, raw, raw - 2], dim=1)


class Identity(nn.Module):
    def forward(self, c, g):
        return c, c.new_zeros(len(c))


class Ignorant(nn.Module):
    """q(z | x, g) = p(z)."""

    def forward(self, v):
        return torch.zeros(len(v), 3), torch.zeros(len(v), 3)


def exact_nats(model: ConditionalCQF, x):
    """-ln P(c | g) with independent pixels, differences of the normal distribution function over cells of 1/128; and
    what uniform dequantisation adds to it, to second order in the cell: sum of r^2 / 24 sigma^2, r in sigmas."""
    grey, chroma = colour.split(x)
    mean, log_sigma = model.decode((torch.zeros(len(x), 1), (grey + 0.5) / 128 - 1))
    sigma = log_sigma.exp().double()
    normal = torch.distributions.Normal(mean.double(), sigma)
    p = normal.cdf((chroma + 1) / 128) - normal.cdf(chroma / 128)
    r = ((chroma + 0.5) / 128 - mean) / sigma
    return -p.log().flatten(1).sum(1), (r / (128 * sigma)).square().flatten(1).sum(1) / 24


def test_nats_bound_the_probability_of_8_bit_chroma_given_grey():
    model = model_of()
    model.encoder, model.decoder, model.flow = Ignorant(), FixedDecoder(), Identity()
    x = torch.stack([torch.full((3, 16, 16), 40, dtype=torch.uint8), images(1)[0] // 4 + 96])
    exact, gap = exact_nats(model, x)
    torch.manual_seed(0)
    bound = torch.stack([model.nats(x) for _ in range(800)]).double()
    error = 4 * bound.std(0) / 800**0.5
    assert (bound.mean(0) > exact).all() and (gap > 2 * error).all()
    assert ((bound.mean(0) - exact - gap).abs() < error).all()


def test_nats_are_a_density_of_chroma_by_the_change_of_variables():
    """f, decoder and encoder of random weights: -ln w is what the definition says, term by term."""
    model, x = model_of(), images(3)
    v = model.continuous(x, torch.Generator().manual_seed(1))
    g, c = v[:, :1], v[:, 1:]
    grey, chroma = colour.split(x)
    assert torch.equal(to_uint8(g), grey) and torch.equal(colour.to_chroma(c), chroma)
    mean, log_variance = model.encoder(v)
    generator = torch.Generator().manual_seed(1)
    torch.rand(c.shape, generator=generator)
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=generator)
    mu, log_sigma = model.decode((z, g))
    y, log_det = model.flow(c, pixel_unshuffle(g, 2))
    normal, prior = torch.distributions.Normal, torch.distributions.Normal(0, 1)
    log_p = normal(mu, log_sigma.exp()).log_prob(y).flatten(1).sum(1) + log_det - 2 * 256 * math.log(128)
    ratio = (prior.log_prob(z) - normal(mean, (0.5 * log_variance).exp()).log_prob(z)).sum(1)
    nats = model.nats(x, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(nats, -log_p - ratio, rtol=1e-4, atol=1e-2)


# --- colourings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_colourings_keep_the_grey_exactly_and_differ(temperature):
    model = model_of(shake=0.3)  # wild weights: most of what is drawn is no colour
    grey = colour.split(images(3))[0]
    made = model.colourise(grey, 5, temperature=temperature, generator=torch.Generator().manual_seed(0))
    assert made.shape == (3, 5, 3, 16, 16) and made.abs().max() < 1
    x = to_uint8(made)
    assert torch.equal(colour.split(x.flatten(0, 1))[0], grey.repeat_interleave(5, 0))
    spread = colour.split(x.flatten(0, 1))[1].float().unflatten(0, (3, 5)).std(1)
    assert (spread.flatten(1).mean(1) > 1).all()
    again = model.colourise(grey, 5, temperature=temperature, generator=torch.Generator().manual_seed(0))
    assert torch.equal(made, again)


def test_samples_colour_greys_of_the_first_batches():
    model = model_of(greys=6)
    untouched = to_uint8(model.sample(3))
    assert (colour.split(untouched)[0] == 128).all()
    x = images(4)
    model.generator_losses(x)
    model.generator_losses(second := images(4, seed=1))
    model.generator_losses(images(4, seed=2))  # there is no more room
    kept = colour.split(torch.cat([x, second[:2]]))[0]
    assert torch.equal(model.greys, kept) and int(model.filled) == 6
    drawn = colour.split(to_uint8(model.sample(40)))[0]
    assert {tuple(g.flatten().tolist()) for g in drawn} == {tuple(g.flatten().tolist()) for g in kept}
    copy = model_of(seed=1, greys=6)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.sample(3, generator=torch.Generator().manual_seed(0)),
                       model.sample(3, generator=torch.Generator().manual_seed(0)))  # fmt: skip


def test_greys_are_kept_after_an_update_that_was_taken_back():
    model, x = model_of(greys=4), images(4)
    before = [buffer.clone() for buffer in model.buffers()]
    model.generator_losses(images(4, seed=1))
    for buffer, value in zip(model.buffers(), before, strict=True):  # as the training does where a gradient is infinite
        buffer.copy_(value)
    model.generator_losses(x)
    assert torch.equal(model.greys, colour.split(x)[0]) and int(model.filled) == 4


# --- who is trained by what, and that it learns --------------------------------------------------------------


def test_the_critic_sees_greys_of_the_batch_and_the_penalty_is_along_chroma():
    model, x, seen = model_of(), images(), []
    critic = model.critic

    class Watched(nn.Module):
        def forward(self, v):
            seen.append(v.detach())
            return critic(v)

    model.critic = Watched()
    terms = model.critic_losses(x, step=0)
    grey = model.continuous(x)[:, :1]
    (real, fake), between = seen[0].chunk(2), seen[1].requires_grad_()
    assert len(seen) == 2 and all(torch.equal(v[:, :1], grey) for v in (real, fake, between))
    whole, part = (v[:, 1:] - fake[:, 1:] for v in (real, between.detach()))
    shares = (whole * part).sum((1, 2, 3), keepdim=True) / whole.square().sum((1, 2, 3), keepdim=True)
    assert ((0 < shares) & (shares < 1)).all()
    torch.testing.assert_close(part, shares * whole)
    (slope,) = torch.autograd.grad(critic(between).sum(), between)
    expected = (slope[:, 1:].flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(terms["gradient_penalty"].detach(), expected)


def test_the_record_says_what_is_given():
    model = model_of()
    found = evaluation.likelihood_metrics(model, dataset(images(4), images(4, seed=1)), EVALUATION["smoke"])
    for name in ("BPD", "BPD-IW"):
        assert found[name].protocol.given == "the grey image"
