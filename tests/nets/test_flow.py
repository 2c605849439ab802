"""f of Eqs. (6) to (8): invertible, with the Jacobian that autograd finds, and a density that integrates to 1."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import jacobian, shaken, shaken_flow

from cqlib import losses
from cqlib.nets.coupling import (
    MAX_LOG_SCALE,
    ColourConvolution,
    Coupling,
    FlowConfig,
    RealNVP,
    colour_rotation,
    join_checkerboard,
    split_checkerboard,
)
from cqlib.nets.real_nvp import MultiScaleConfig, MultiScaleRealNVP


def flow(channels=3, couplings=3, width=8, seed=0, size=0.3, scales=1, colours="learned") -> RealNVP:
    return shaken(RealNVP(channels, FlowConfig(couplings, width, 1, scales, colours)), size, seed)


def authors_flow(channels, scales, seed=0) -> MultiScaleRealNVP:
    """The Real NVP of Table 3, with batch norm."""
    return shaken_flow(MultiScaleRealNVP(channels, MultiScaleConfig(scales, 4, 1)), seed)


def test_checkerboard_split_takes_every_pixel_once_and_joins_back():
    x = torch.arange(2 * 3 * 6 * 8, dtype=torch.float32).view(2, 3, 6, 8)
    even, odd = split_checkerboard(x)
    rows, columns = torch.arange(6)[:, None], torch.arange(8)[None]
    is_even = ((rows + columns) % 2 == 0).expand(2, 3, 6, 8)
    assert set(even.flatten().tolist()) == set(x[is_even].tolist())
    assert set(odd.flatten().tolist()) == set(x[~is_even].tolist())
    torch.testing.assert_close(join_checkerboard(even, odd), x, rtol=0, atol=0)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    couplings=st.integers(1, 4),
    channels=st.sampled_from([1, 2, 3]),
    size=st.sampled_from([2, 4, 8, 16]),
    n=st.integers(1, 5),
)
def test_inverse_undoes_forward(seed, couplings, channels, size, n):
    f = flow(channels, couplings, seed=seed)
    x = 2 * torch.rand(n, channels, size, size) - 1
    with torch.no_grad():
        y, log_det = f(x)
        assert (y - x).abs().max() > 1e-3  # not the identity
        assert y.shape == x.shape and log_det.shape == (n,)
        torch.testing.assert_close(f.inverse(y), x, rtol=0, atol=1e-4)
        torch.testing.assert_close(f(f.inverse(x))[0], x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size, scales", [(8, 1), (16, 3), (48, 3)])
@pytest.mark.parametrize("kind", [flow, authors_flow])
def test_inverse_undoes_forward_at_several_scales(kind, size, scales):
    f = kind(3, scales=scales, seed=size)
    x = 2 * torch.rand(2, 3, size, size) - 1
    with torch.no_grad():
        y, log_det = f(x)
        assert (y - x).abs().mean() > 0.1 and y.shape == x.shape and log_det.shape == (2,)
        for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
            f, x = f.to(dtype), x.to(dtype)
            torch.testing.assert_close(f.inverse(f(x)[0]), x, rtol=0, atol=tolerance)
            torch.testing.assert_close(f(f.inverse(x))[0], x, rtol=0, atol=tolerance)


@pytest.mark.parametrize("couplings, scales", [(1, 1), (2, 1), (3, 1), (1, 2), (3, 2)])
def test_log_determinant_is_that_of_the_autograd_jacobian(couplings, scales):
    check_log_determinant(flow(2, couplings, scales=scales), 2, 4)


@pytest.mark.parametrize("channels, size, scales", [(1, 4, 1), (2, 4, 1), (1, 4, 2), (2, 4, 2), (1, 8, 3)])
def test_log_determinant_of_the_authors_flow(channels, size, scales):
    check_log_determinant(authors_flow(channels, scales), channels, size)


def check_log_determinant(f, channels, size):
    x = torch.randn(2, channels, size, size, dtype=torch.double)
    _, log_det = f.double()(x)
    for i in range(2):
        found = torch.linalg.slogdet(jacobian(lambda v: f(v)[0], x[i : i + 1])).logabsdet
        assert log_det[i].item() == pytest.approx(found.item(), abs=1e-8)
    assert log_det.abs().min() > 1e-3


def convolution(channels=3, seed=0) -> ColourConvolution:
    return shaken(ColourConvolution(colour_rotation(channels)), 0.3, seed).double()


def test_the_colours_are_luma_and_two_opponents_at_equal_length():
    """Closed form: grey pixels have luma alone, and (r, g, b) keeps its length."""
    rotation = ColourConvolution(colour_rotation(3), fixed=True)
    grey, colour = torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    (of_grey, _), (turned, log_det) = rotation(grey), rotation(colour)
    torch.testing.assert_close(of_grey[:, 0], 3**0.5 * grey[:, 0])
    assert of_grey[:, 1:].abs().max() < 1e-6 and log_det.abs().max() < 1e-5
    r, g, b = colour.unbind(1)
    opponents = (r + g + b) / 3**0.5, (r - b) / 2**0.5, (2 * g - r - b) / 6**0.5
    torch.testing.assert_close(turned, torch.stack(opponents, dim=1))
    torch.testing.assert_close(turned.square().sum(1), colour.square().sum(1))
    torch.testing.assert_close(rotation.inverse(turned), colour)
    assert not [*rotation.parameters()] and len([*convolution().parameters()]) == 3


@pytest.mark.parametrize("seed", range(4))
def test_a_convolution_of_colours_starts_as_the_given_matrix(seed):
    """Whatever its rows' order and the signs of its pivots: the factors are those of this matrix."""
    start = torch.randn(3, 3, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    f = ColourConvolution(start).double()
    torch.testing.assert_close(f.weight, start, atol=1e-6, rtol=1e-6)
    assert (f.signs < 0).any()


@pytest.mark.parametrize("channels", [2, 3])
def test_a_convolution_of_colours_has_the_jacobian_of_its_matrix_at_every_pixel(channels):
    f = convolution(channels)
    x = torch.randn(1, channels, 2, 2, dtype=torch.double)
    found = jacobian(lambda v: f(v)[0], x)
    torch.testing.assert_close(found, torch.kron(f.weight, torch.eye(4, dtype=torch.double)))
    assert f.weight.diag().diag().sub(f.weight).abs().max() > 0.1
    y, log_det = f(x)
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(found).logabsdet)
    assert log_det.abs() > 0.1
    torch.testing.assert_close(f.inverse(y), x)


def test_a_convolution_of_colours_does_the_same_to_the_pixels_of_a_checkerboard():
    f, x = convolution(), torch.randn(2, 3, 4, 4, dtype=torch.double)
    (even, of_even), (odd, of_odd) = map(f, split_checkerboard(x))
    y, log_det = f(x)
    torch.testing.assert_close(join_checkerboard(even, odd), y)
    torch.testing.assert_close(of_even + of_odd, log_det)


def test_the_colours_of_a_pixel_depend_on_each_other_unless_they_are_apart():
    """Within one coupling, autograd's slope of one colour of a pixel by another: 0 without a convolution of colours."""
    x = torch.randn(1, 3, 4, 4, dtype=torch.double)
    for colours, mixed in (("apart", False), ("rotated", True), ("learned", True)):
        slopes = jacobian(lambda v: flow(3, 1, colours=colours).double()(v)[0], x).view(3, 4, 4, 3, 4, 4)  # noqa: B023
        of_one_pixel = slopes[:, 0, 1, :, 0, 1]  # an odd pixel, which the first coupling changes
        assert (of_one_pixel - of_one_pixel.diag().diag()).any() == mixed


@pytest.mark.parametrize("colours, convolutions", [("apart", 0), ("rotated", 1), ("learned", 3)])
def test_colours_are_mixed_before_each_coupling_or_once_or_never(colours, convolutions):
    """Closed form, with couplings that do nothing: f is the product of the convolutions."""
    f = flow(3, 3, colours=colours).double()
    assert len(f.colours) == convolutions
    for coupling in f.couplings:
        coupling.net.out.parametrizations.weight.original0.data.zero_()
        coupling.net.out.bias.data.zero_()
    x = torch.randn(2, 3, 4, 4, dtype=torch.double)
    product = torch.eye(3, dtype=torch.double)
    for convolution in f.colours:
        product = convolution.weight @ product
    y, log_det = f(x)
    torch.testing.assert_close(y, torch.einsum("dc,nchw->ndhw", product, x))
    torch.testing.assert_close(log_det, 16 * torch.linalg.slogdet(product).logabsdet.expand(2))
    torch.testing.assert_close(f.inverse(y), x)


def test_a_grey_image_has_no_colours_to_mix():
    assert len(RealNVP(1, FlowConfig()).colours) == 0


def test_f_mixes_colours_and_no_other_channels():
    with pytest.raises(ValueError, match="f mixes 1, 2 or 3 colours, not 4: take colours='apart'"):
        RealNVP(4, FlowConfig())
    x = torch.rand(1, 4, 8, 8)
    f = flow(4, colours="apart")
    torch.testing.assert_close(f.inverse(f(x)[0]), x, rtol=0, atol=1e-4)


def test_coupling_is_the_slides_formula():
    coupling = shaken(Coupling(2, width=8, blocks=1), 0.3).double()
    x1, x2 = torch.randn(3, 2, 4, 4, dtype=torch.double), torch.randn(3, 2, 4, 4, dtype=torch.double)
    t, log_s = coupling.net(x1)
    y2, log_det = coupling(x1, x2)
    torch.testing.assert_close(y2, t + log_s.exp() * x2)
    torch.testing.assert_close(log_det, log_s.exp().log().sum((1, 2, 3)))


def test_log_scale_is_bounded_whatever_the_weights():
    coupling = shaken(Coupling(2, width=8, blocks=1), 30.0)
    _, log_s = coupling.net(100 * torch.randn(3, 2, 4, 4))
    assert log_s.abs().max() <= MAX_LOG_SCALE + 1e-5


def test_starts_near_the_identity_with_unit_scale():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 8, 8)
    f = RealNVP(3, FlowConfig(3, 8, 2))
    y, log_det = f(x)
    assert log_det.abs().max() < 1e-4
    assert (f.colours[0].inverse(y) - x).abs().max() < 0.2  # 0.55 without the small gains


def test_density_of_two_dimensions_integrates_to_one():
    """p_x(x) = N(f(x); 0, I) |det df/dx|, Eq. (8), on a fine grid of the plane; f is a pair of couplings."""
    torch.manual_seed(3)
    first, second = (shaken(Coupling(1, width=8, blocks=1), 0.5, s).double() for s in (1, 2))
    side = torch.linspace(-15, 15, 401, dtype=torch.double)
    a, b = torch.meshgrid(side, side, indexing="ij")
    x1, x2 = a.reshape(-1, 1, 1, 1), b.reshape(-1, 1, 1, 1)
    with torch.no_grad():
        y2, log_det_1 = first(x1, x2)
        y1, log_det_2 = second(y2, x1)
        zero = x1.new_zeros(())
        log_p = losses.decoder_log_density(torch.cat([y1, y2], dim=1), log_det_1 + log_det_2, zero, zero)
    assert (log_det_1 + log_det_2).abs().max() > 0.05
    cell = float(side[1] - side[0]) ** 2
    assert log_p.exp().sum().item() * cell == pytest.approx(1.0, abs=2e-3)


def test_gradient_of_the_inverse_is_the_inverse_jacobian():
    """At two scales, in y and in the parameters: x(y, psi) = f^-1(y) solves f(x, psi) = y."""
    f = flow(1, 2, width=4, scales=2).double()
    y = torch.randn(1, 1, 4, 4, dtype=torch.double)
    x = f.inverse(y).detach()
    forwards, backwards = jacobian(lambda v: f(v)[0], x), jacobian(f.inverse, y)
    torch.testing.assert_close(forwards @ backwards, torch.eye(16, dtype=torch.double), rtol=0, atol=1e-9)
    direction = torch.randn(16, dtype=torch.double)
    parameters = list(f.parameters())
    found = torch.autograd.grad(f.inverse(y).flatten() @ direction, parameters)
    expected = torch.autograd.grad(-f(x)[0].flatten() @ (backwards.T @ direction), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
    assert all(a.abs().max() > 0 for a in found)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 48])
def test_features_keep_the_places_of_their_pixels(channels, size):
    """With couplings that change nothing, every pixel comes back where it was: no dimension lost or moved."""
    f = RealNVP(channels, FlowConfig(3, 4, 1, 3, "apart"))
    with torch.no_grad():
        for module in f.modules():
            if isinstance(module, Coupling):
                module.net.out.parametrizations.weight.original0.zero_()
        x = torch.arange(2 * channels * size**2, dtype=torch.float32).view(2, channels, size, size)
        y, log_det = f(x)
        torch.testing.assert_close(y, x, rtol=0, atol=0)
        torch.testing.assert_close(f.inverse(x), x, rtol=0, atol=0)
        assert torch.count_nonzero(log_det) == 0


@pytest.mark.parametrize("kind", [flow, authors_flow])
def test_the_coarse_scale_changes_the_colour_that_goes_on_and_sees_no_other(kind):
    f = kind(2, scales=2).double()
    other = copy.deepcopy(f)
    shaken(other.coarser, 0.3, seed=1)
    x = torch.randn(2, 2, 8, 8, dtype=torch.double)
    with torch.no_grad():
        (on, done), (on_other, done_other) = (split_checkerboard(g(x)[0]) for g in (f, other))
        torch.testing.assert_close(done, done_other, rtol=0, atol=0)
        assert ((on - on_other).abs() > 1e-6).all()


def colours(index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices (C, H, W) of either colour of the checkerboard, two of (2C, H/2, W/2), by slices."""
    even = torch.stack([index[:, 0::2, 0::2], index[:, 1::2, 1::2]], dim=1).flatten(0, 1)
    odd = torch.stack([index[:, 0::2, 1::2], index[:, 1::2, 0::2]], dim=1).flatten(0, 1)
    return even, odd


def halves(index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices (C, H, W) squeezed, colour by colour and in reading order, and cut in two: two of (2C, H/2, W/2)."""
    cells = [index[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    lower, upper = torch.stack(cells, dim=1).flatten(0, 1).chunk(2)
    return lower, upper


@pytest.mark.parametrize("scales", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_agrees_with_torchflows_on_masked_pixels(channels, scales):
    """An independent assembly: lists of pixels at full resolution, torchflows' affine transformer."""
    affine = pytest.importorskip("torchflows.bijections.finite.autoregressive.transformers.linear.affine").Affine
    f = flow(channels, 3, scales=scales, colours="apart").double()
    x = torch.randn(4, channels, 8, 8, dtype=torch.double)
    index = torch.arange(channels * 64).view(channels, 8, 8)
    if scales == 1:
        stages = [(f.couplings, colours(index))]
    else:
        stages = [
            (f.couplings, colours(index)),
            (f.channel_couplings, halves(index)),
            (f.coarser.couplings, colours(colours(index)[0])),
        ]
    current, log_det = x.flatten(1).clone(), torch.zeros(4, dtype=torch.double)
    with torch.no_grad():
        for couplings, groups in stages:
            for k, coupling in enumerate(couplings):
                kept, changed = groups[k % 2], groups[1 - k % 2]
                t, log_s = coupling.net(current[:, kept.flatten()].view(4, *kept.shape))
                transformer = affine(torch.Size([changed.numel()]), min_scale=1e-12)
                parameters = torch.stack([2 * log_s.flatten(1), t.flatten(1)], dim=-1)
                current[:, changed.flatten()], term = transformer.forward(current[:, changed.flatten()], parameters)
                log_det += term
        y, ours = f(x)
    torch.testing.assert_close(y.flatten(1), current, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours, log_det, rtol=1e-8, atol=1e-8)
