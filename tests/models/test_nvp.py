"""Real NVP: invertible, with autograd's Jacobian, a density that integrates to 1, the same in both modes."""

import copy
import math
import re
from dataclasses import replace

import pytest
import torch
from small_models import shaken_flow as shaken
from torch import nn

from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.models.nvp import NVP, NVPConfig, from_logits, recipe, to_logits
from cqlib.nets import real_nvp
from cqlib.nets.real_nvp import (
    EPSILON,
    MAX_LOG_SCALE,
    CouplingResNet,
    MaskedCoupling,
    MultiScaleConfig,
    MultiScaleRealNVP,
    OutputNorm,
    checkerboard,
)
from cqlib.nets.weight_norm import lengths
from cqlib.training.loop import train

ROW = "table3/nvp"


def flow(channels=3, scales=2, width=6, blocks=1, seed=0) -> MultiScaleRealNVP:
    return shaken(MultiScaleRealNVP(channels, MultiScaleConfig(scales, width, blocks)), seed)


def system(size=8, scales=2, width=6, blocks=1, channels=3) -> NVP:
    torch.manual_seed(0)
    return NVP(NVPConfig(size, MultiScaleConfig(scales, width, blocks), image_channels=channels))


def images(n, size=8, channels=3, seed=0):
    """Smooth colour fields with a little noise, uint8."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 3, 3, generator=g) + torch.randn(n, 1, 3, 3, generator=g)
    smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)
    return (128 + 40 * smooth + 3 * torch.randn(smooth.shape, generator=g)).clamp(0, 255).to(torch.uint8)


# --- f -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parity", [0, 1, None])
def test_what_the_nets_see(parity):
    """Normalised values and their negatives through a ReLU; of a checkerboard twice as large, and the mask."""
    coupling = shaken(MaskedCoupling(2, width=6, blocks=1, parity=parity)).double()
    x1 = torch.randn(3, 2, 4, 4, dtype=torch.double)
    x1 = x1 if parity is None else x1 * checkerboard(x1, parity)
    seen = []
    coupling.net.register_forward_hook(lambda net, inputs, out: seen.append((inputs[0], out)))
    t, log_s, _ = coupling.shift_and_log_scale(x1)
    norm = coupling.norm_in.norm
    h = (x1 - norm.running_mean.view(-1, 1, 1)) / (norm.running_var + EPSILON).sqrt().view(-1, 1, 1)
    h = h + coupling.norm_in.beta.view(-1, 1, 1)
    (found, out), live = seen[0], 1.0
    if parity is None:
        expected = torch.cat([h, -h], 1)
    else:
        rows = torch.arange(4)
        mask = ((rows[:, None] + rows) % 2 == parity).double()
        expected, live = torch.cat([2 * h, -2 * h, mask.expand(3, 1, 4, 4)], 1), 1 - mask
    torch.testing.assert_close(found, expected.relu())
    torch.testing.assert_close(t, live * out[:, :2])
    torch.testing.assert_close(log_s, live * coupling.scale * out[:, 2:].tanh())


def test_log_scale_is_bounded_whatever_the_weights():
    coupling = shaken(MaskedCoupling(2, width=6, blocks=1), size=30.0)
    with torch.no_grad():
        coupling.scale.fill_(-1e4)
        t, log_s, _ = coupling.shift_and_log_scale(100 * torch.randn(3, 2, 4, 4))
    assert log_s.abs().max() == MAX_LOG_SCALE and torch.isfinite(t).all()


@pytest.mark.parametrize("scales", [1, 2])
def test_agrees_with_torchflows_on_lists_of_pixels(scales):
    """An independent assembly: indices of the reference's masks and squeezes, torchflows' affine transformer."""
    affine = pytest.importorskip("torchflows.bijections.finite.autoregressive.transformers.linear.affine").Affine
    c, s = 2, 8
    f = flow(c, scales).double()
    index = torch.arange(c * s * s).view(c, s, s)

    def checker(index):
        odd = (torch.arange(index.shape[1])[:, None] + torch.arange(index.shape[2])) % 2 == 1
        return [(index, odd.expand_as(index)), (index, ~odd.expand_as(index))]  # what is changed, by turns

    stages = [(f.couplings, checker(index))]
    if scales == 2:
        cells = torch.stack([index[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1).flatten(0, 1)
        lower, upper = cells.chunk(2)
        on = torch.cat([index[:, ::2, ::2], index[:, 1::2, 1::2]])
        stages += [(f.channel_couplings, [(lower, upper), (upper, lower)]), (f.coarser.couplings, checker(on))]
    x = torch.randn(3, c, s, s, dtype=torch.double)
    current, log_det = x.flatten(1).clone(), torch.zeros(3, dtype=torch.double)
    with torch.no_grad():
        for couplings, turns in stages:
            for k, coupling in enumerate(couplings):
                seen, changed = turns[k % 2]
                if coupling.parity is None:
                    places, select = changed.flatten(), slice(None)
                    net_input = current[:, seen.flatten()].view(3, *seen.shape)
                else:
                    select = changed.flatten()
                    places = seen.flatten()[select]
                    net_input = torch.where(changed, 0, current[:, seen.flatten()].view(3, *seen.shape))
                t, log_s, _ = coupling.shift_and_log_scale(net_input)
                r = coupling.norm_out
                deviation = (r.variance + EPSILON).sqrt().view(-1, 1, 1)
                log_alpha = (log_s - deviation.log()).flatten(1)[:, select]
                beta = ((t * log_s.exp() - r.mean.view(-1, 1, 1)) / deviation).flatten(1)[:, select]
                transformer = affine(torch.Size([len(places)]), min_scale=1e-12)
                parameters = torch.stack([2 * log_alpha, beta], dim=-1)
                current[:, places], term = transformer.forward(current[:, places], parameters)
                log_det += term
        y, ours = f(x)
    torch.testing.assert_close(y.flatten(1), current, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours, log_det, rtol=1e-8, atol=1e-8)


# --- its layers ----------------------------------------------------------------------------------------------


def test_filters_have_the_length_of_their_scale_and_start_as_in_the_reference():
    plain, scaled = real_nvp.conv(6, 5, 3, scaled=False), real_nvp.conv(6, 5, 3)
    assert not lengths(plain).requires_grad and plain.parametrizations.weight.original1.abs().max() <= math.sqrt(2 / 6)
    torch.testing.assert_close(lengths(scaled).flatten(), torch.full((5,), math.sqrt(2 / 6) * math.sqrt(6 * 9 / 12)))
    x = torch.randn(2, 6, 4, 4)
    for conv, length in ((plain, 1.0), (scaled, 1.5)):
        with torch.no_grad():
            v = conv.parametrizations.weight.original1.mul_(7.0)  # only the direction counts
            lengths(conv).fill_(length)
            filters = v * (length / v.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
        torch.testing.assert_close(conv(x), nn.functional.conv2d(x, filters, conv.bias, padding=1))


def test_resnet_is_the_sum_of_its_skips():
    net = shaken(CouplingResNet(3, 4, 5, 2)).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.double)
    first = net.stem(x)
    second = first + net.blocks[0](first)
    third = second + net.blocks[1](second)
    expected = net.out(net.skips[0](first) + net.skips[1](second) + net.skips[2](third))
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("parity", [0, 1, None])
def test_output_norm_and_its_log_determinant(parity):
    norm = OutputNorm(2).double().train()
    y = 3 * torch.randn(6, 2, 4, 4, dtype=torch.double) + torch.tensor([1.0, -5.0]).view(1, 2, 1, 1)
    live = torch.ones(1, 1, 4, 4).double() if parity is None else checkerboard(y, parity)
    chosen = y[(live * torch.ones_like(y)).bool()].view(6, 2, -1).transpose(0, 1).flatten(1)  # (2, values)
    mean, variance = chosen.mean(1).view(1, 2, 1, 1), chosen.var(1, correction=0).view(1, 2, 1, 1)
    out, log_slope = norm(y, live)
    torch.testing.assert_close(out, (y - mean) / (variance + EPSILON).sqrt())
    torch.testing.assert_close(log_slope, -0.5 * (variance + EPSILON).log())
    norm.eval()
    torch.testing.assert_close(norm.mean, 0.1 * mean.flatten())
    torch.testing.assert_close(norm.variance, 0.9 + 0.1 * variance.flatten())
    again, log_slope = norm(y, live)
    deviation = (norm.variance + EPSILON).sqrt().view(1, 2, 1, 1)
    torch.testing.assert_close(again, (y - norm.mean.view(1, 2, 1, 1)) / deviation)
    torch.testing.assert_close(norm.inverse(again), y)
    slope = torch.autograd.functional.jacobian(lambda v: norm(v, live)[0].sum((0, 2, 3)), y)  # (2, 6, 2, 4, 4)
    for c in range(2):
        torch.testing.assert_close(slope[c, :, c].log(), log_slope[0, c].expand(6, 4, 4))
    norm.train()
    assert torch.autograd.gradcheck(lambda v: norm(v, live), (y.requires_grad_(),))  # through the statistics too


def test_logits_are_the_closed_form_and_come_back():
    v = torch.cat([torch.tensor([-1.0, 1 - 2**-17]), 2 * torch.rand(14) - 1]).double().view(1, 1, 4, 4)
    x = (v + 1) / 2  # in [0, 1]
    p = (0.9 * (2 * x - 1) + 1) / 2
    expected = (p / (1 - p)).log()
    logits, log_det = to_logits(v)
    torch.testing.assert_close(logits, expected)
    softplus = nn.functional.softplus
    of_unit_range = softplus(expected) + softplus(-expected) - softplus(torch.tensor(-math.log(0.9 / 0.1)))
    torch.testing.assert_close(log_det.item(), (of_unit_range - math.log(2)).sum().item(), rtol=1e-7, atol=0)
    slope = torch.autograd.functional.jacobian(lambda w: to_logits(w)[0].flatten(), v).view(16, 16)
    assert log_det.item() == pytest.approx(torch.linalg.slogdet(slope).logabsdet.item())
    torch.testing.assert_close(from_logits(logits), v)
    assert to_logits(v.float())[0].isfinite().all()
    torch.testing.assert_close(from_logits(to_logits(v.float())[0]), v.float(), rtol=0, atol=1e-6)


# --- the density ---------------------------------------------------------------------------------------------


def plane(model: NVP, n: int = 240) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Midpoints of a grid over all images of two pixels that have a logit, their density, and a cell's area."""
    edges = torch.linspace(-1 / 0.9, 1 / 0.9, n + 1, dtype=torch.double)
    middle, cell = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0]) ** 2
    points = torch.cartesian_prod(middle, middle)
    with torch.no_grad():
        return points, model.log_density(points.view(-1, 1, 1, 2)).exp(), cell


def two_pixels() -> NVP:
    model = shaken(NVP(NVPConfig(2, MultiScaleConfig(1, 6, 1), image_channels=1)), size=0.5).double()
    model.shape = (1, 1, 2)
    return model


def test_density_of_two_pixels_integrates_to_one():
    points, p, cell = plane(two_pixels())
    assert p.sum().item() * cell == pytest.approx(1.0, abs=1e-3)
    mean = (p[:, None] * points).sum(0) * cell
    covariance = (p * (points - mean).prod(1)).sum() * cell
    assert covariance.abs() > 1e-3  # the pixels depend on each other


def test_nats_are_those_of_the_cell():
    """-ln of the integral of p over an 8-bit image's cell; k points are averaged before the logarithm."""
    model = two_pixels()
    x = torch.tensor([90, 160], dtype=torch.uint8).view(1, 1, 1, 2)
    side = (torch.arange(24, dtype=torch.double) + 0.5) / 24
    corner = x.double().flatten() / 128 - 1
    points = (corner + torch.cartesian_prod(side, side) / 128).view(-1, 1, 1, 2)
    with torch.no_grad():
        exact = -(model.log_density(points).exp().mean() / 128**2).log()
        model.float()
        g = torch.Generator().manual_seed(0)
        singly = torch.stack([model.nats(x, generator=g) for _ in range(60)])
        together = model.nats(x, importance_samples=60, generator=torch.Generator().manual_seed(0))
    assert singly.std() > 1e-3 and singly.mean() >= together
    torch.testing.assert_close(together, -(-singly.double()).exp().mean(0).log().float())
    assert together.item() == pytest.approx(exact.item(), abs=3e-3)


# --- the system ----------------------------------------------------------------------------------------------


def test_the_loss_is_nats_and_the_squares_of_magnitudes_and_checkerboard_scales():
    model = system(width=4).train()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(".scale"):
                p.add_(0.5)
    terms = model.generator_losses(images(8))
    named = dict(model.named_parameters())
    penalised = [name for name in named if name.endswith((".original0", ".scale"))
                 and not re.search(r"channel_couplings\.\d\.scale", name)]  # fmt: skip
    squares = sum(named[name].square().sum() for name in penalised)
    assert sum(name.endswith(".scale") for name in penalised) == 7
    torch.testing.assert_close(terms["penalty"], 5e-5 * squares)
    torch.testing.assert_close(terms["total"], terms["coverage"] + terms["penalty"])
    magnitudes = [name for name in named if name.endswith(".original0")]
    assert len(magnitudes) == 10 * (2 + 1 + 1)  # couplings x (skips, block, out)
    torch.manual_seed(3)
    loss = copy.deepcopy(model).generator_losses(images(8))["coverage"]
    torch.manual_seed(3)
    assert loss.item() == pytest.approx(model.nats(images(8)).mean().item())
    terms["total"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_samples_are_f_inverse_of_normal_noise_as_pixels():
    model = shaken(system())
    sample = model.sample(3, generator=torch.Generator().manual_seed(7))
    y = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        logits = model.flow.inverse(y)
    torch.testing.assert_close(sample, ((2 * torch.sigmoid(logits) - 1) / 0.9).clamp(-1, 1), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_evaluation_agrees_with_training_mode_after_training(tmp_path):
    """Within 0.05 bits per dimension on the same images, at the constant learning rate of `paper`, no step apart."""
    x = images(64)
    model = system(scales=1, width=4)
    training = replace(recipe(ROW, "paper", 32).training, steps=50, batch_size=16, log_every=20)
    trained = train(model, x, training, seed=0, folder=tmp_path).system
    generator = torch.Generator

    def bpd(mode):
        copied = copy.deepcopy(trained).train(mode)
        g = generator().manual_seed(1)
        with torch.no_grad():
            nats = torch.cat([copied.nats(part, generator=g) for part in x.split(32)])
        return bits_per_dimension(nats.mean(), 192).item()

    assert abs(bpd(False) - bpd(True)) < 0.05
    assert bpd(False) < 7.2  # it has learned: 8 is a uniform distribution
    untrained = bits_per_dimension(held_out_nll(system(scales=1, width=4), x).mean(), 192).item()
    assert bpd(False) < untrained - 0.5
    held_out = bits_per_dimension(held_out_nll(trained, images(64, seed=1)).mean(), 192).item()
    assert abs(held_out - bpd(True)) < 0.3
