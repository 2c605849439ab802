"""PixelCNN++: no pixel is seen too early, cached sampling is the naive one, the net is the reference's."""

from dataclasses import replace

import pytest
import torch
from small_models import images

from cqlib.models.pixelcnnpp import PixelCNNPPConfig, PixelCNNPPSystem
from cqlib.models.registry import RECIPES, build
from cqlib.nets.pixelcnnpp_cache import CachedPixelCNNPP
from cqlib.nets.weight_norm import initialising, lengths
from cqlib.pixels import cell_centres

ROW = "table3/pixelcnnpp"
SIZES = (16, 32, 48, 64)


def recipe(profile="smoke", size=16, channels=3):
    found = RECIPES[ROW](ROW, profile, size)
    return replace(found, system=replace(found.system, image_channels=channels))


def tiny(size=16, channels=3, *, width=4, blocks=1, dropout=0.5):
    """A system in fp64 that has seen a first batch, in evaluation mode."""
    torch.manual_seed(0)
    config = PixelCNNPPConfig(size, width, blocks, 2, dropout, image_channels=channels)
    system = PixelCNNPPSystem(config).double().eval()
    with initialising(system.net):
        system.net(cell_centres(images(8, size, channels)).double())
    return system


# --- order ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_no_stream_sees_its_pixel_or_a_later_one(size):
    """By gradient, an image per position: every position at 16 pixels, edges and others beyond."""
    net = tiny(size).net
    rows = range(16) if size == 16 else (0, 1, size // 2 - 1, size - 1)
    positions = [(r, c) for r in rows for c in rows]
    order = torch.arange(size**2).view(size, size)
    x = cell_centres(images(1, size)).double().repeat(len(positions), 1, 1, 1).requires_grad_()
    at = [torch.tensor(values) for values in zip(*positions, strict=True)]
    v, h = net.streams(x)
    for name, stream in {"vertical": v, "horizontal": h, **({"outputs": net(x)} if size == 16 else {})}.items():
        weights = torch.randn(len(positions), stream.shape[1], dtype=torch.float64)
        total = (stream[range(len(positions)), :, *at] * weights).sum()
        (gradient,) = torch.autograd.grad(total, x, retain_graph=True)
        seen = (gradient != 0).any(1)
        for k, (r, c) in enumerate(positions):
            allowed = order < size * r + (0 if name == "vertical" else c)
            assert not seen[k][~allowed].any(), (name, r, c)
            if r > 0:  # above, above left, above right
                assert seen[k][r - 1, max(0, c - 1) : c + 2].all(), (name, r, c)
            if c > 0 and name != "vertical":
                assert seen[k][r, c - 1], (r, c)


def test_the_probabilities_of_the_last_pixel_sum_to_those_before():
    """Images of 4x4 grey pixels, so that nats is -ln P of a distribution."""
    system = tiny(4, 1, width=2)
    every = images(1, 4, 1).repeat(256, 1, 1, 1)
    every.view(256, 16)[:, 15] = torch.arange(256, dtype=torch.uint8)
    with torch.no_grad():
        total = (-system.nats(every)).logsumexp(0)
        before = system.log_probabilities(every[:1]).flatten()[:15].sum()
    assert total.item() == pytest.approx(before.item(), abs=1e-9)


# --- the cache -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "channels", "blocks"), [(8, 3, 2), (16, 1, 1), (24, 3, 1)])
@torch.no_grad()
def test_cached_outputs_are_those_of_a_full_pass(size, channels, blocks):
    """At every pixel, given any pixels before; those after are other ones, and change nothing."""
    system = tiny(size, channels, blocks=blocks)
    x = cell_centres(images(2, size, channels, seed=1)).double()
    full, cache, later = system.net(x), CachedPixelCNNPP(system.net, 2, size), torch.full_like(x, 7.0)
    for r in range(size):
        for c in range(size):
            torch.testing.assert_close(cache(later, r, c), full[:, :, r, c], rtol=0, atol=1e-10)
            later[:, :, r, c] = x[:, :, r, c]


# --- the net -------------------------------------------------------------------------------------------------


def test_a_gated_block_term_by_term():
    net, h, aux = tiny().net, torch.randn(2, 4, 8, 8).double(), torch.randn(2, 8, 8, 8).double()
    block = net.stage.back_horizontal[0]

    def f(x):
        return torch.cat([torch.where(y > 0, y, y.exp() - 1) for y in (x, -x)], dim=1)

    def conv(layer, x):  # zeros above and to the left
        v = layer.parametrizations.weight.original1
        weight = lengths(layer) * v / v.square().sum((1, 2, 3), keepdim=True).sqrt()
        reach = weight.shape[-1] - 1
        padded = torch.zeros(2, x.shape[1], 8 + reach, 8 + reach).double()
        padded[:, :, reach:, reach:] = x
        return torch.conv2d(padded, weight) + layer.bias.view(-1, 1, 1)

    c = conv(block.first.conv, f(h)) + conv(block.short_cut, f(aux))
    a, b = conv(block.second.conv, f(c)).chunk(2, dim=1)
    torch.testing.assert_close(block(h, aux), h + a * torch.sigmoid(b), rtol=1e-4, atol=1e-4)


def test_the_last_layer_is_fp32_under_autocast(monkeypatch):
    """A mean in bf16 would be off by half a cell of 1/128."""
    torch.manual_seed(0)
    net, x = build(recipe().system).net, cell_centres(images(2))
    h = torch.randn(2, 8, 16, 16).bfloat16()
    monkeypatch.setattr(net, "streams", lambda x: (h, h))
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x)
    torch.testing.assert_close(out, net.out(torch.nn.functional.elu(h.float())), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_first_batch_gives_every_layer_mean_0_and_its_deviation(channels):
    torch.manual_seed(0)
    system = build(replace(recipe(channels=channels).system, width=16)).eval()
    x, told = images(16, channels=channels), {}
    system.initialise(x)

    def hook(layer, arguments, output):
        told[layer] = torch.std_mean(output, (0, 2, 3), correction=0)

    layers = [layer for layer in system.modules() if lengths(layer) is not None]
    for layer in layers:
        layer.register_forward_hook(hook)
    with torch.no_grad():
        system.net(cell_centres(x))
    # the beginning; blocks on the way down and up, in both streams; strided layers; the end
    assert len(told) == len(layers) == 3 + 3 * (2 + 3) + (1 + 2 + 2) * (3 + 3) + 8 + 1
    for layer, (deviation, mean) in told.items():
        torch.testing.assert_close(deviation, torch.full_like(deviation, layer.start), rtol=2e-3, atol=0)
        assert mean.abs().max() < 1e-3 * layer.start + 1e-5
    assert {layer.start for layer in layers} == {1.0, 0.1}


def test_dropout_acts_in_training_alone():
    system, x = tiny().train(), images(2)
    assert not torch.equal(system.nats(x), system.nats(x))
    assert torch.equal(system.eval().nats(x), system.nats(x))
    whole = tiny(dropout=0.0)
    torch.testing.assert_close(whole.train().nats(x), tiny().nats(x))
