"""Masked convolutions that leak nowhere, one pixel at a time or all at once, and draws from a softmax."""

import pytest
import torch
from small_models import jacobian, randomised

from cqlib.nets.raster import (
    PixelSoftmax,
    RasterConv2d,
    degrees,
    pixel_nats,
    raster_sample,
    sample_categorical,
)

HEIGHT, WIDTH = 4, 5


def order(groups):
    """(features, H, W) -> flat: when a feature of each group becomes known, pixel after pixel, colour after colour."""
    pixel = torch.arange(HEIGHT * WIDTH).view(HEIGHT, WIDTH)
    return (10 * pixel + groups[:, None, None]).flatten()


def near(kernel):
    """(HW, HW): whether a pixel lies in the window of another."""
    i, j = torch.arange(HEIGHT * WIDTH) // WIDTH, torch.arange(HEIGHT * WIDTH) % WIDTH
    return ((i[:, None] - i).abs() <= kernel // 2) & ((j[:, None] - j).abs() <= kernel // 2)


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("features, out, colours, copies", [(3, 3, 3, 1), (5, 4, 3, 2), (6, 7, 3, 1), (2, 3, 1, 2)])
def test_a_layer_sees_exactly_what_comes_before(kind, kernel, features, out, colours, copies):
    """Every allowed entry of the Jacobian is there, and no other, at every position and for every feature."""
    layer = randomised(RasterConv2d(kind, features, out, kernel, ordered_groups=colours, copies=copies))
    found = jacobian(layer, torch.randn(1, features, HEIGHT, WIDTH)) != 0
    before, after = order(degrees(features, colours)), order(degrees(out, colours)).repeat(copies)
    allowed = before < after[:, None] if kind == "A" else before <= after[:, None]
    assert torch.equal(found, allowed & near(kernel).repeat(out * copies, features))


def test_features_of_colours_are_those_of_the_paper():
    """Mask A on pixels: red sees no colour of its own pixel, green red, blue both."""
    centre = RasterConv2d("A", 3, 3, 7, ordered_groups=3).mask[:, :, 3, 3]
    assert centre.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert degrees(3 * 256, 3).tolist() == [0] * 256 + [1] * 256 + [2] * 256


@pytest.mark.parametrize("features, width, colours", [(6, 9, 3), (5, 7, 3), (4, 5, 1)])
def test_the_logits_of_a_colour_come_from_its_own_features_and_those_before(features, width, colours):
    head = randomised(PixelSoftmax(features, width, colours=colours, levels=4))
    assert head(torch.randn(2, features, HEIGHT, WIDTH).double()).shape == (2, colours, 4, HEIGHT, WIDTH)
    with torch.no_grad():  # every ReLU open
        head.first.bias.fill_(50.0)
        head.second.bias.fill_(500.0)
    found = jacobian(head, torch.rand(1, features, HEIGHT, WIDTH)) != 0
    before, after = order(degrees(features, colours)), order(torch.arange(colours).repeat_interleave(4))
    here = near(1).repeat(colours * 4, features)
    assert torch.equal(found, (before <= after[:, None]) & here)


def test_nats_are_the_sum_over_pixels_and_colours():
    logits = torch.randn(2, 3, 4, 2, 5).double()
    x = torch.randint(0, 4, (2, 3, 2, 5))
    by_hand = torch.zeros(2).double()
    for n, c, i, j in torch.cartesian_prod(*map(torch.arange, x.shape)):
        by_hand[n] -= torch.log_softmax(logits[n, c, :, i, j], 0)[x[n, c, i, j]]
    torch.testing.assert_close(pixel_nats(logits, x.to(torch.uint8)), by_hand)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_each_value_is_drawn_for_its_share_of_the_noise(temperature):
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.5]]).double()
    u = ((torch.arange(20_000) + 0.5) / 20_000).double()
    share = sample_categorical(logits.expand(len(u), 4), u, temperature).bincount(minlength=4) / len(u)
    torch.testing.assert_close(share.double(), torch.softmax(logits[0] / temperature, 0), rtol=0, atol=2e-4)


def test_a_value_without_probability_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    assert sample_categorical(logits, torch.tensor([0.0])).item() == 1
    assert sample_categorical(logits, torch.tensor([0.5])).item() == 3
    assert sample_categorical(logits, torch.tensor([1 - 2**-24])).item() == 3
    assert sample_categorical(logits - torch.tensor([0, 0, 0, 1.0, 0]), torch.tensor([0.99]), 0.0).item() == 1


def test_values_are_drawn_in_raster_order_each_given_those_before():
    u = torch.rand(2, 3, 2, 3)
    asked = []

    def logits_at(x, row, column):
        asked.append((row, column))
        known = x.flatten(2).ne(0).sum((1, 2))  # every value drawn is 1 or more
        assert known.tolist() == [len(asked) - 1] * 2
        return torch.tensor([-1e9, 0.0, 0.0]).expand(2, 3, 3)

    x = raster_sample(logits_at, u)
    assert torch.equal(x, 1 + (u >= 0.5).long())
    assert asked == [(i, j) for i in range(2) for j in range(3) for _ in range(3)]
