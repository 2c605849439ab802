"""Masks that leak nowhere, and an IAF step whose density is the one of its Jacobian."""

import pytest
import torch
from small_models import jacobian, randomised

from cqlib.nets.autoregressive import MAX_LOG_SCALE, IAFStep, MaskedConv2d
from cqlib.nets.raster import degrees
from cqlib.nets.weight_norm import lengths

LATENT, SIDE = 4, 3
WIDTHS = [4, 8, 12, 10, 3]
"""Hidden widths: as many as latent channels, multiples of it, no multiple, fewer."""


def order(channels, latent=LATENT):
    """(channels, SIDE, SIDE): a number per variable; what it may depend on has lower numbers. Channels of one degree
    share a number."""
    pixel = torch.arange(SIDE * SIDE - 1, -1, -1).view(SIDE, SIDE)
    return pixel * latent + degrees(channels, latent)[:, None, None]


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize(("a", "b"), [(4, 4), (4, 12), (8, 10), (10, 3), (3, 8)])
def test_a_layer_sees_exactly_what_comes_before(a, b, kind):
    """Of its 3x3 window: the later pixels of the raster in all channels, and at the pixel itself the degrees below
    its own (A) or up to it (B). Every allowed entry is there, and no other."""
    layer = randomised(MaskedConv2d(kind, a, b, LATENT))
    found = jacobian(layer, torch.randn(1, a, SIDE, SIDE)) != 0
    before, after = order(a).flatten(), order(b).flatten()
    allowed = before < after[:, None] if kind == "A" else before <= after[:, None]
    pixel = torch.arange(SIDE * SIDE)
    i, j = pixel // SIDE, pixel % SIDE
    near = ((i[:, None] - i).abs() <= 1) & ((j[:, None] - j).abs() <= 1)
    allowed &= near.repeat(b, a)
    assert torch.equal(found, allowed)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_whole_net_is_strictly_autoregressive_with_a_context(width):
    step = randomised(IAFStep(LATENT, width))
    context = torch.randn(1, width, SIDE, SIDE).double()
    before = order(LATENT).flatten()
    for part in (0, 1):
        z = torch.randn(1, LATENT, SIDE, SIDE)
        found = jacobian(lambda z, part=part: step.shift_and_log_scale(z, context)[part], z)
        assert not (found != 0)[before >= before[:, None]].any()
        if width >= LATENT:  # and it sees all of the pixel after it: no dependence is lost on the way
            direct = order(LATENT)[:, 1, 1]
            seen = found.view(LATENT, SIDE, SIDE, LATENT, SIDE, SIDE)[:, 1, 1, :, 1, 1] != 0
            assert torch.equal(seen, direct < direct[:, None])


def test_the_context_reaches_every_output():
    step = randomised(IAFStep(LATENT, 8))
    z = torch.randn(1, LATENT, SIDE, SIDE).double()
    for part in (0, 1):
        found = jacobian(lambda c, part=part: step.shift_and_log_scale(z, c)[part], torch.randn(1, 8, SIDE, SIDE))
        later_pixels_and_channels = found.abs().sum(1)
        assert (later_pixels_and_channels > 0).sum() == LATENT * SIDE**2 - 1  # the first variable has none before


@pytest.mark.parametrize("channels, expected", [(4, [0, 1, 2, 3]), (8, [0, 0, 1, 1, 2, 2, 3, 3]), (2, [1, 3])])
def test_degrees_are_the_groups_of_the_reference(channels, expected):
    assert degrees(channels, 4).tolist() == expected


def test_weight_norm_is_over_what_the_mask_leaves():
    layer = MaskedConv2d("B", 4, 8, 4)
    with torch.no_grad():
        lengths(layer).uniform_(0.5, 2.0)
    impulses = torch.eye(4 * 9).view(36, 4, 3, 3)  # the response at the centre to each input of the window
    filters = layer(impulses)[:, :, 1, 1].T
    torch.testing.assert_close(filters.norm(dim=1), lengths(layer).flatten())


def test_density_of_an_iaf_draw_is_that_of_the_jacobian():
    step = randomised(IAFStep(2, 6))
    context = torch.randn(1, 6, SIDE, SIDE).double()
    z0 = torch.randn(1, 2, SIDE, SIDE).double()
    full = jacobian(lambda z: step(z, context)[0], z0)
    _, s = step(z0, context)
    assert s.abs().max() > 1e-2
    torch.testing.assert_close(torch.linalg.slogdet(full)[1], -s.sum())
    order_ = order(2).flatten().argsort()
    ordered = full[order_][:, order_]
    torch.testing.assert_close(ordered.triu(1), torch.zeros_like(ordered))


def test_it_starts_near_the_identity_and_never_overflows():
    torch.manual_seed(0)
    step = IAFStep(4, 8)
    z, context = torch.randn(5, 4, 6, 6), torch.randn(5, 8, 6, 6)
    m, s = step.shift_and_log_scale(z, context)
    assert m.abs().mean() < 0.2 and s.abs().mean() < 0.2
    with torch.no_grad():
        lengths(step.log_scale).fill_(1e6)
    z, s = step(z, context)
    assert torch.isfinite(z).all() and s.abs().max() <= MAX_LOG_SCALE
