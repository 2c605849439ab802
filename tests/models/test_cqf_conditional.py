"""CQ-F given the grey image: a bound on P(x given its grey), nets that read it, colourings that keep it."""

import math
from dataclasses import replace

import pytest
import torch
from small_models import dataset, images, system
from torch import nn
from torch.nn.functional import pixel_unshuffle

from cqlib.metrics import evaluation
from cqlib.models.cqf_conditional import ConditionalCQF, ConditionalDecoder
from cqlib.models.registry import RECIPES, build
from cqlib.nets import colour
from cqlib.nets.conv import BOTTOM, pyramid
from cqlib.nets.coupling import FlowConfig, RealNVP
from cqlib.pixels import to_uint8
from cqlib.recipe import EVALUATION
from cqlib.training.loop import train

ROW = "extra/cq-f-conditional"


def model_of(**changes) -> ConditionalCQF:
    return system(ROW, **{"shake": 0.05, **changes})


# --- f given g -----------------------------------------------------------------------------------------------


def flow(size=0.3) -> RealNVP:
    torch.manual_seed(0)
    f = RealNVP(2, FlowConfig(3, 8, 1), context=4)
    with torch.no_grad():
        for p in f.parameters():
            p.add_(size * torch.randn_like(p))
    return f


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
    jacobian = torch.autograd.functional.jacobian(lambda v: f(v, g)[0], c).view(32, 32)
    torch.testing.assert_close(f(c, g)[1][0], torch.linalg.slogdet(jacobian)[1])


def test_a_conditional_f_has_one_scale():
    with pytest.raises(ValueError, match="one scale"):
        RealNVP(2, FlowConfig(3, 8, 1, scales=2), context=4)


@pytest.mark.parametrize("size", sorted(BOTTOM))
def test_the_decoder_reads_the_grey_image_at_every_resolution(size):
    """A change of one pixel of g reaches the whole bottom, and is felt most at its own place."""
    torch.manual_seed(0)
    decoder = ConditionalDecoder(size, pyramid(8, size), pyramid(4, size), 5, norm="group")
    z, g = torch.randn(2, 5), torch.rand(2, 1, size, size)
    out = decoder(z, g)
    assert out.shape == (2, 4, size, size)
    g.requires_grad_()
    (slope,) = torch.autograd.grad(decoder(z, g)[0, 0, 0, 0], g)
    assert not slope[1].any() and slope[0, 0, 0, 0].abs() > 0 and slope[0, 0, -1, -1].abs() > 0
    for layer in decoder.down:  # what each resolution holds matters
        with torch.no_grad():
            kept = [p.clone() for p in layer.parameters()]
            for p in layer.parameters():
                p.zero_()
            assert (decoder(z, g) - out).abs().max() > 1e-4
            for p, old in zip(layer.parameters(), kept, strict=True):
                p.copy_(old)


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


def test_the_chroma_of_a_pixel_have_probabilities_that_sum_to_one():
    """The oracle of the test above: over all 511^2 values of (U, V)."""
    model = model_of()
    model.decoder = FixedDecoder()
    mean, log_sigma = model.decode((torch.zeros(1, 1), torch.full((1, 1, 16, 16), 0.2)))
    cells = torch.arange(-255, 256).double() / 128
    total = 1.0
    for k in range(2):
        normal = torch.distributions.Normal(mean[0, k, 0, 0].double(), log_sigma[0, k, 0, 0].exp().double())
        total *= float((normal.cdf(cells + 1 / 128) - normal.cdf(cells)).sum())
    assert 0.9 < total <= 1


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


def test_at_temperature_zero_nothing_is_drawn_beside_the_code():
    model, g = model_of(), torch.zeros(2, 1, 16, 16)
    used, alone = (torch.Generator().manual_seed(0) for _ in range(2))
    c = model.chroma(g, 0.0, used)
    z = torch.randn(2, model.config.latent, generator=alone)
    assert torch.equal(c, model.flow.inverse(model.decode((z, g))[0], pixel_unshuffle(g, 2)))
    assert torch.equal(used.get_state(), alone.get_state())


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


def coloured_by_grey(n: int) -> torch.Tensor:
    """Images whose dark half is reddish and whose light half is bluish: the grey image tells the colours."""
    generator = torch.Generator().manual_seed(0)
    edge = torch.randint(4, 13, (n, 1, 1, 1), generator=generator)
    light = torch.arange(16).view(1, 1, 1, 16) >= edge
    grey = torch.where(light, 170, 80) + torch.randint(-6, 7, (n, 1, 16, 16), generator=generator)
    tint = torch.where(light, torch.tensor([60, -30]).view(1, 2, 1, 1), torch.tensor([-30, 60]).view(1, 2, 1, 1))
    chroma = (tint + torch.randint(-6, 7, (n, 2, 16, 16), generator=generator)).to(torch.int16)
    return colour.into_gamut(grey.to(torch.uint8).expand(-1, -1, 16, -1), chroma.expand(-1, -1, 16, -1))


@pytest.mark.slow
def test_a_short_training_learns_to_read_the_grey_image(tmp_path):
    """The colours that belong to a grey image become far more probable than those of another one, and are drawn."""
    recipe = RECIPES[ROW](ROW, "smoke", 16)
    torch.manual_seed(0)
    x = coloured_by_grey(64)
    config = replace(recipe.training, steps=60, learning_rate=3e-3, flips=False)
    model = train(build(recipe.system), x, config, seed=0, folder=tmp_path).system
    grey, chroma = colour.split(x)
    mirrored = colour.into_gamut(grey, chroma.flip(3))
    with torch.no_grad():
        right, wrong = (model.nats(v, generator=torch.Generator().manual_seed(0)).mean() for v in (x, mirrored))
    assert wrong - right > 100
    made = colour.split(to_uint8(model.colourise(grey, 1, generator=torch.Generator().manual_seed(0))[:, 0]))[1]
    mean_right, mean_wrong = ((made - c).float().square().mean() for c in (chroma, chroma.flip(3)))
    assert mean_right < 0.5 * mean_wrong


def test_the_record_says_what_is_given():
    model = model_of()
    found = evaluation.likelihood_metrics(model, dataset(images(4), images(4, seed=1)), EVALUATION["smoke"])
    for name in ("BPD", "BPD-IW"):
        assert found[name].protocol.given == "the grey image"
