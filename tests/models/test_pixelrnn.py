"""PixelRNN: no value sees itself or a later one, probabilities sum to 1, and caches change nothing."""

import math

import pytest
import torch
from small_models import full_pass, jacobian, randomised, sampled

from cqlib.models.pixelrnn import DiagonalBiLSTM, PixelRNN, PixelRNNConfig, PixelRNNNet, skew, unskew
from cqlib.nets.raster import raster_sample
from cqlib.pixels import cell_centres


def tiny(channels=3, levels=2, size=2):
    config = PixelRNNConfig(size, image_channels=channels, hidden=4, layers=2, width=5, levels=levels)
    return randomised(PixelRNN(config), scale=0.7)


# --- the recurrences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(1, 1), (2, 5), (5, 2), (4, 4), (1, 3), (3, 1)])
def test_skewing_keeps_every_position_and_is_undone(height, width):
    x = torch.arange(2 * height * width).view(2, height, width, 1, 1)
    lines = skew(x)
    assert len(lines) == height + width - 1
    for d, line in enumerate(lines):
        rows = [i for i in range(height) if 0 <= d - i < width]
        assert line.shape == (2, len(rows), 1, 1)
        assert line[1].flatten().tolist() == [x[1, i, d - i].item() for i in rows]
    assert torch.equal(unskew(lines, height, width), x)


def sigmoid(value):
    return 1 / (1 + math.e**-value)


def by_pixels(layer, gates, neighbours, columns):
    """Eq. (3) at one pixel after the other; gates (4 h, H, W) are its input-to-state part. `neighbours` gives, for a
    pixel, the places whose h it sees, the second of them its c; outside the image both are 0."""
    hidden, (height, width) = layer.hidden, gates.shape[1:]
    h, c = {}, {}
    for i in range(height):
        for j in columns(width):
            seen = torch.cat([h.get(place, torch.zeros(hidden).double()) for place in neighbours(i, j)])
            o, f, k, g = (gates[:, i, j] + layer.weight.T @ seen).chunk(4)
            before = c.get(neighbours(i, j)[1], torch.zeros(hidden).double())
            c[i, j] = sigmoid(f) * before + sigmoid(k) * torch.tanh(g)
            h[i, j] = sigmoid(o) * torch.tanh(c[i, j])
    return h


class Direction:
    def __init__(self, lstm, k):
        self.hidden, self.weight = lstm.hidden, lstm.state_to_state[k]


@pytest.mark.parametrize("height, width", [(3, 3), (1, 1), (2, 4)])
def test_the_diagonal_bilstm_is_its_equation_pixel_by_pixel(height, width):
    lstm = randomised(DiagonalBiLSTM(6, 3, colours=3))
    x = torch.randn(2, 6, height, width).double()
    out = lstm(x)
    for n in range(2):
        left, right = lstm.input_to_state(x[n : n + 1])[0].chunk(2)
        from_left = by_pixels(Direction(lstm, 0), left, lambda i, j: [(i - 1, j), (i, j - 1)], range)
        from_right = by_pixels(
            Direction(lstm, 1), right, lambda i, j: [(i - 1, j), (i, j + 1)], lambda w: reversed(range(w))
        )
        for i in range(height):
            for j in range(width):
                expected = from_left[i, j] + (from_right[i - 1, j] if i > 0 else 0)
                torch.testing.assert_close(out[n, :, i, j], expected, rtol=0, atol=1e-12)


def test_layers_are_residual_and_skip_connections_reach_the_output():
    net, x = randomised(PixelRNNNet(4, 2, 6, colours=3, levels=3), scale=0.5), torch.randn(2, 3, 3, 3).double()
    first = net.stem(x)
    one = net.lstms[0](first)
    second = first + net.up[0](one)
    two = net.lstms[1](second)
    expected = net.head(second + net.up[1](two) + net.skip[0](one) + net.skip[1](two))
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)
    h = net.head.second(net.head.first(first.relu()).relu()).relu()
    torch.testing.assert_close(net.head(first), net.head.logits(h).unflatten(1, (3, 3)), rtol=0, atol=1e-12)


# --- the likelihood ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_no_value_sees_itself_or_a_later_one(channels):
    """By gradient, at every position and for every colour; and it sees all that is before."""
    size, net = 4, randomised(PixelRNNNet(5, 2, 7, colours=channels, levels=3), scale=0.4)
    number = torch.arange(size * size).view(size, size) * channels + torch.arange(channels)[:, None, None]
    with torch.no_grad():  # every ReLU open
        for conv in (net.up[-1], net.head.first, net.head.second):
            conv.bias.add_(20.0)
    found = jacobian(net, torch.randn(1, channels, size, size))
    found = found.abs().view(channels, 3, size**2, -1).sum(1).flatten(0, 1) > 0
    before = number.flatten() < number.flatten()[:, None]
    assert torch.equal(found, before)


def test_probabilities_of_all_images_sum_to_one():
    every = torch.cartesian_prod(*[torch.arange(2)] * 12).view(-1, 3, 2, 2).to(torch.uint8)
    p = (-tiny().nats(every)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12) and p.std() > 0


def test_samples_have_the_probabilities_of_the_model():
    model = tiny(channels=1)
    every = torch.cartesian_prod(*[torch.arange(2)] * 4).view(-1, 1, 2, 2).to(torch.uint8)
    p = (-model.nats(every)).exp()
    n = 20_000
    x = model.sample(n, generator=torch.Generator().manual_seed(3))
    number = ((x > 0).long().flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1)
    counts = number.bincount(minlength=16)
    assert ((counts - n * p).abs() < 4.5 * (n * p * (1 - p)).sqrt() + 1).all()


# --- sampling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_cached_logits_and_images_are_the_naive_ones(channels):
    model = tiny(channels, levels=256, size=5)
    u = torch.rand(3, *model.shape, dtype=torch.float64)

    a, fast = sampled(model.cached_logits(3), u)
    b, slow = sampled(full_pass(model.net, 256), u)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
    assert torch.equal(a, b) and slow.std() > 0.1
    drawn = model.sample(3, generator=torch.Generator().manual_seed(0))
    u = torch.rand(u.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, cell_centres(raster_sample(full_pass(model.net, 256), u), 256, u.dtype))
