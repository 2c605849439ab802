"""Hierarchical latent variables: densities, KLs and gradients of the top-down nets, Gaussian and with IAF."""

from dataclasses import replace

import pytest
import torch
from small_models import generator, images, recipe, shaken, system, touched
from torch import nn
from torch.distributions import Normal

from cqlib.data import IMAGE_SIZES
from cqlib.models import cq, hierarchical
from cqlib.models.hierarchical import free_bits_surplus
from cqlib.nets.conv import bounded, num_resolutions, pyramid
from cqlib.nets.hierarchical import (
    MAX_LOG_SD,
    BottomUp,
    BottomUpBlock,
    BottomUpStatistics,
    FlatEncoder,
    FlatGenerator,
    HierarchyConfig,
    KLTerms,
    TopDown,
    TopDownBlock,
)
from cqlib.nets.weight_norm import lengths
from cqlib.pixels import dequantise

GAUSSIAN, IAF = "table2/cqf-residual", "table2/cqf-iaf-residual"


# --- shapes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("posterior", ["gaussian", "iaf"])
def test_up_and_down_agree_at_every_size(size, blocks, posterior):
    """`blocks` layers at each resolution from the bottom to half of the image's, coarsest first, in both nets."""
    layers, widths = HierarchyConfig(3, blocks, posterior, iaf_width=5), pyramid(4, size)
    up, down = BottomUp(widths, layers), TopDown(size, widths, layers)
    found = up(torch.randn(3, 3, size, size))
    bottom = {16: 4, 32: 4, 48: 6, 64: 4}[size]
    sides = [bottom * 2**k for k in range(num_resolutions(size) - 1) for _ in range(blocks)]
    assert [shape[1] for shape in down.shapes.values()] == sides and sides[-1] == size // 2
    for evidence, shape in zip(found, down.shapes.values(), strict=True):
        assert evidence.mean.shape == evidence.log_sd.shape == (3, *shape)
        assert evidence.context is None if posterior == "gaussian" else evidence.context.shape == (3, 5, *shape[1:])
    features, draws = down(down.noise(3), found)
    assert features.shape == (3, widths[0], size, size) and list(draws) == list(down.shapes)
    assert all(draw.kl.shape == (3, *down.shapes[name]) for name, draw in draws.items())


# --- blocks against the reference's formulas -----------------------------------------------------------------


def test_skips_are_nearest_neighbour_and_branches_are_scaled():
    """With the branch's last convolution at zero a block passes its input on, halved or doubled."""
    torch.manual_seed(0)
    layers, elu = HierarchyConfig(2, 1, None, residual=0.1), nn.functional.elu
    x = torch.randn(2, 4, 8, 8)
    up = BottomUpBlock(4, 4, layers, stride=2, last=False)
    down = TopDownBlock(4, 4, layers, double=True)
    noise = torch.randn(2, 2, 8, 8)
    full = [up(x)[1], down(x, noise)[0]]
    h = up.first(elu(x))[:, 4:]
    mean, log_sd, deterministic = down.first(elu(x)).tensor_split([2, 4], dim=1)
    z = mean + bounded(log_sd, MAX_LOG_SD).exp() * noise
    branches = [up.second(elu(h)), down.second(elu(torch.cat([deterministic, z], dim=1)))]
    for block in (up, down):
        nn.init.zeros_(block.second.parametrizations.weight.original0)
    skips = [up(x)[1], down(x, noise)[0]]
    assert torch.equal(skips[0], x[:, :, ::2, ::2])
    assert torch.equal(skips[1], x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    for f, s, branch in zip(full, skips, branches, strict=True):
        torch.testing.assert_close(f - s, 0.1 * branch, rtol=1e-4, atol=1e-5)


def test_a_posterior_adds_means_and_log_sds_of_both_ways():
    """q = N(m_r + m_q, (s_r s_q)^2), bounded; p = N(m_p, s_p^2); z is read off the noise."""
    block = shaken(TopDownBlock(4, 4, HierarchyConfig(2, 1, "gaussian"), double=False), 0.3, seed=0)
    h, noise = torch.randn(3, 4, 5, 5), torch.randn(3, 2, 5, 5)
    evidence = BottomUpStatistics(torch.randn(3, 2, 5, 5), 0.3 * torch.randn(3, 2, 5, 5))
    statistics = block.first(nn.functional.elu(h))[:, :8]
    prior_mean, prior_raw, r_mean, r_raw = statistics.chunk(4, dim=1)
    bounded = lambda raw: MAX_LOG_SD * torch.tanh(raw / MAX_LOG_SD)  # noqa: E731
    q = Normal(r_mean + evidence.mean, bounded(r_raw + evidence.log_sd).exp())
    p = Normal(prior_mean, bounded(prior_raw).exp())
    z = q.mean + q.stddev * noise
    _, draw = block(h, noise, evidence)
    torch.testing.assert_close(draw.log_ratio, p.log_prob(z) - q.log_prob(z))
    torch.testing.assert_close(draw.kl, torch.distributions.kl_divergence(q, p))


# --- one density, two directions -----------------------------------------------------------------------------


def with_posterior_equal_to_prior(model):
    """m_r, s_r take m_p's and s_p's weights, and the image says nothing."""
    with torch.no_grad():
        for block in model.decoder.blocks:
            c = block.latent
            for p in (*block.first.parametrizations.weight.parameters(), block.first.bias):
                p[2 * c : 4 * c] = p[: 2 * c]
            if block.posterior == "iaf":
                for part in (block.iaf.shift, block.iaf.log_scale):
                    lengths(part).zero_()
                    part.bias.zero_()
        for block in model.encoder.blocks:
            block.first.parametrizations.weight.original0[: 2 * block.latent] = 0
            block.first.bias[: 2 * block.latent] = 0
    return model


@pytest.mark.parametrize("row", [GAUSSIAN, IAF])
def test_prior_and_posterior_pass_are_one_when_q_is_p(row):
    model = with_posterior_equal_to_prior(system(row, shake=0.05, blocks=2))
    v = images(3) / 128.0 - 1
    q = model.infer(v, generator())
    torch.testing.assert_close(q.z, model.prior(3, generator()))
    torch.testing.assert_close(q.log_ratio, torch.zeros(3), atol=1e-4, rtol=0)
    for kl in q.kl.values():
        torch.testing.assert_close(kl, torch.zeros(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("blocks", [1, 2])
def test_iaf_switched_to_the_identity_is_the_gaussian_model(blocks):
    plain = system(GAUSSIAN, shake=0.05, blocks=blocks)
    iaf = system(IAF, shake=0.05, seed=5, blocks=blocks)
    missing, unexpected = iaf.load_state_dict(plain.state_dict(), strict=False)
    assert missing and not unexpected and all(".iaf." in name or ".context." in name for name in missing)
    v = images() / 128.0 - 1
    assert not torch.allclose(plain.infer(v, generator()).z, iaf.infer(v, generator()).z)
    with torch.no_grad():
        for block in iaf.decoder.blocks:
            for part in (block.iaf.shift, block.iaf.log_scale):
                lengths(part).zero_()
                part.bias.zero_()
    a, b = (model.infer(v, generator()) for model in (plain, iaf))
    assert torch.equal(a.z, b.z) and torch.equal(a.log_ratio, b.log_ratio)
    x = images()
    assert torch.equal(plain.nats(x, generator=generator()), iaf.nats(x, generator=generator()))
    assert torch.equal(plain.sample(2, generator=generator()), iaf.sample(2, generator=generator()))
    total = sum(b.kl.values())
    torch.testing.assert_close(total, -b.log_ratio)  # one draw's


def test_iaf_draws_have_the_density_that_is_reported():
    """ln q of a layer's z by the change of variables: the noise's density less the autograd log-determinant."""
    block = shaken(TopDownBlock(3, 3, HierarchyConfig(2, 1, "iaf", iaf_width=4), double=False), 0.5, seed=0).double()
    side = 3
    h = torch.randn(1, 3, side, side).double()
    evidence = BottomUpStatistics(*torch.randn(2, 1, 2, side, side).double(), torch.randn(1, 4, side, side).double())
    statistics = block.first(nn.functional.elu(h))[:, :8].chunk(4, dim=1)

    def z(noise):
        noise = noise.view(1, 2, side, side)
        log_sd = MAX_LOG_SD * torch.tanh((statistics[3] + evidence.log_sd) / MAX_LOG_SD)
        start = statistics[2] + evidence.mean + log_sd.exp() * noise
        return block.iaf(start, block.context(nn.functional.elu(h)) + evidence.context)[0].flatten()

    noise = torch.randn(2 * side**2).double()
    log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(z, noise))[1]
    log_q = Normal(0.0, 1.0).log_prob(noise).sum() - log_det
    prior = Normal(statistics[0].flatten(), (MAX_LOG_SD * torch.tanh(statistics[1] / MAX_LOG_SD)).exp().flatten())
    expected = prior.log_prob(z(noise)).sum() - log_q
    _, draw = block(h, noise.view(1, 2, side, side), evidence)
    torch.testing.assert_close(draw.log_ratio.sum(), expected)
    torch.testing.assert_close(draw.kl, -draw.log_ratio)


# --- bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [GAUSSIAN, IAF])
def test_elbo_is_reconstruction_plus_kl_over_all_layers(row):
    model = system(row, shake=0.05, critic=None)
    x = images()
    torch.manual_seed(2)
    terms = model.coverage_losses(x)
    layers = [value for key, value in terms.items() if key.startswith("kl/")]
    assert [key for key in terms if key.startswith("kl/")] == ["kl/4x4-1", "kl/8x8-1"]
    torch.testing.assert_close(terms["kl"], torch.stack(layers).sum())
    torch.manual_seed(2)
    v = dequantise(x)
    q = model.infer(v)
    reconstruction = -model.log_probability(v, q.z).mean()
    torch.testing.assert_close(terms["coverage"], reconstruction + terms["kl"])
    assert terms["total"] is terms["coverage"]
    by_layer = model.kl_by_layer(x, generator=generator())
    assert list(by_layer) == ["4x4-1", "8x8-1"] and all(kl.shape == (4,) for kl in by_layer.values())


# --- free bits -----------------------------------------------------------------------------------------------


def test_free_bits_add_only_what_is_below_them():
    kl = torch.tensor([[1.0, 3.0], [0.0, 1.0]]).view(2, 2, 1, 1)  # channel means 0.5 and 2.0
    for free_bits, surplus in ((0.1, 0.0), (0.8, 0.3), (2.5, 2.5)):
        assert free_bits_surplus({"a": KLTerms(kl, kl)}, free_bits).item() == pytest.approx(surplus)
    twice = free_bits_surplus({"a": KLTerms(kl, kl), "b": KLTerms(kl, kl)}, 0.8)
    assert twice.item() == pytest.approx(0.6)
    spread = kl.view(2, 2, 1, 1).expand(-1, -1, 2, 1) / 2  # summed over pixels it is the same
    assert free_bits_surplus({"a": KLTerms(spread, spread)}, 0.8).item() == pytest.approx(0.3)


# --- who is trained by what ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [GAUSSIAN, IAF])
def test_quality_loss_reaches_the_top_down_nets_and_not_the_bottom_up_one(row):
    model = system(row, shake=0.05, flow_updated_by="both")
    cq.quality_loss(model.critic, model.fakes(images(4))).backward()
    assert touched(model.decoder) and touched(model.head) and touched(model.flow)
    assert not touched(model.encoder) and not touched(model.critic)
    assert all(touched(block) for block in model.decoder.blocks)
    if row == IAF:  # it changes the posterior alone
        assert not any(touched(block.iaf) or touched(block.context) for block in model.decoder.blocks)


# --- GAN, and the encoder round it ---------------------------------------------------------------------------


def test_flat_codes_are_the_layers_noise_in_the_generators_order():
    torch.manual_seed(0)
    net = FlatGenerator(16, (4, 8, 12), HierarchyConfig(3, 2, None), out_channels=3)
    noise = net.top_down.noise(2, generator())
    assert net.latent_size == 3 * 2 * (16 + 64)
    flat = torch.cat([eps.flatten(1) for eps in noise], dim=1)
    torch.testing.assert_close(net(flat), net.head(net.top_down(noise)[0]))


def test_flat_encoder_says_of_each_code_what_the_layer_says():
    torch.manual_seed(0)
    layers = HierarchyConfig(3, 1, None)
    encoder, x = shaken(FlatEncoder((4, 8, 12), layers), seed=0), torch.randn(2, 3, 16, 16)
    mean, log_variance = encoder(x)
    coarse, fine = encoder.bottom_up(x)
    assert coarse.mean.shape == (2, 3, 4, 4) and fine.mean.shape == (2, 3, 8, 8)
    torch.testing.assert_close(mean[:, :48], coarse.mean.flatten(1))
    torch.testing.assert_close(log_variance[:, 48:], 2 * fine.log_sd.flatten(1))
    assert mean.shape[1] == FlatGenerator(16, (4, 8, 12), layers, out_channels=3).latent_size
    with torch.no_grad():
        for block, bias in zip(encoder.bottom_up.blocks, (50.0, -50.0), strict=True):
            block.first.bias[3:6] = bias
    assert encoder(x)[1].unique().tolist() == [-12.0, 12.0]  # where exp is finite


# --- rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["smoke", "quick", "study", "paper"])
def test_each_row_changes_what_its_name_says_and_nothing_else(profile):
    recipes = [recipe(row, profile, 32) for row in hierarchical.ROWS]
    plain, iaf, large, scales = (r.system for r in recipes)
    assert all(r.training == recipes[0].training for r in recipes)
    assert replace(iaf, posterior="gaussian") == plain
    assert replace(large, critic=iaf.critic) == iaf
    assert replace(scales, flow=iaf.flow) == iaf and scales.flow.scales == 2
    assert plain.free_bits == 0.0
    if profile == "paper":
        assert plain.latent == 32 and plain.residual == 0.1
