"""f of Eqs. (6) to (8): invertible, with the Jacobian that autograd finds, and a density that integrates to 1."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cqlib import losses
from cqlib.nets.coupling import MAX_LOG_SCALE, Coupling, FlowConfig, RealNVP, join_checkerboard, split_checkerboard


def shaken(module: nn.Module, seed: int = 0, size: float = 0.3) -> nn.Module:
    """Every parameter moved away from its start, so that no map is the identity by initialisation."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))
    return module


def flow(channels=3, couplings=3, width=8, seed=0, size=0.3) -> RealNVP:
    return shaken(RealNVP(channels, FlowConfig(couplings, width, 1)), seed, size)


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


@pytest.mark.parametrize("couplings", [1, 2, 3])
def test_log_determinant_is_that_of_the_autograd_jacobian(couplings):
    f = flow(2, couplings).double()
    x = torch.randn(3, 2, 4, 4, dtype=torch.double)
    _, log_det = f(x)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: f(v.view(1, 2, 4, 4))[0].flatten(), x[i].flatten())
        assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-8)
    assert log_det.abs().min() > 1e-3


def test_one_coupling_keeps_one_group_and_its_jacobian_is_triangular():
    f = flow(1, 1).double()
    x = torch.randn(1, 1, 4, 4, dtype=torch.double)
    y, _ = f(x)
    even, odd = split_checkerboard(x)
    kept, changed = split_checkerboard(y)
    torch.testing.assert_close(kept, even, rtol=0, atol=0)
    assert (changed - odd).abs().min() > 1e-6
    jacobian = torch.autograd.functional.jacobian(lambda v: f.couplings[0](even, v)[0].flatten(), odd)
    assert torch.count_nonzero(jacobian.reshape(8, 8) - torch.diag(jacobian.reshape(8, 8).diag())) == 0


def test_coupling_is_the_slides_formula():
    coupling = shaken(Coupling(2, width=8, blocks=1)).double()
    x1, x2 = torch.randn(3, 2, 4, 4, dtype=torch.double), torch.randn(3, 2, 4, 4, dtype=torch.double)
    t, log_s = coupling.net(x1)
    y2, log_det = coupling(x1, x2)
    torch.testing.assert_close(y2, t + log_s.exp() * x2)
    torch.testing.assert_close(log_det, log_s.exp().log().sum((1, 2, 3)))


def test_log_scale_is_bounded_whatever_the_weights():
    coupling = shaken(Coupling(2, width=8, blocks=1), size=30.0)
    _, log_s = coupling.net(100 * torch.randn(3, 2, 4, 4))
    assert log_s.abs().max() <= MAX_LOG_SCALE + 1e-5


def test_starts_near_the_identity_with_unit_scale():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 8, 8)
    y, log_det = RealNVP(3, FlowConfig(3, 8, 2))(x)
    assert torch.count_nonzero(log_det) == 0
    assert (y - x).abs().max() < 1.0


def test_density_of_two_dimensions_integrates_to_one():
    """p_x(x) = N(f(x); 0, I) |det df/dx|, Eq. (8), on a fine grid of the plane; f is a pair of couplings."""
    torch.manual_seed(3)
    first, second = (shaken(Coupling(1, width=8, blocks=1), seed=s, size=0.5).double() for s in (1, 2))
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


def test_gradients_pass_through_the_inverse():
    f = flow(1, 2, width=4).double()
    y = torch.randn(1, 1, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(f.inverse, (y,))


def test_agrees_with_torchflows_on_checkerboard_masks():
    """An independent assembly: boolean checkerboard masks at full resolution, torchflows' affine transformer."""
    affine = pytest.importorskip("torchflows.bijections.finite.autoregressive.transformers.linear.affine").Affine
    f = flow(1, 3).double()
    x = torch.randn(4, 1, 4, 4, dtype=torch.double)
    i = torch.arange(4)
    even = ((i[:, None] + i[None]) % 2 == 0).expand(1, 4, 4)
    # the order in which the packed groups list the pixels of either colour
    order = [split_checkerboard(torch.arange(16.0, dtype=torch.double).view(1, 1, 4, 4))[k].long() for k in (0, 1)]
    current, log_det = x.flatten(1).clone(), torch.zeros(4, dtype=torch.double)
    with torch.no_grad():
        for k, coupling in enumerate(f.couplings):
            kept, changed = order[k % 2].flatten(), order[1 - k % 2].flatten()
            assert even.flatten()[kept].all() == (k % 2 == 0) and even.flatten()[changed].any() == (k % 2 == 1)
            t, log_s = coupling.net(current[:, kept].view(4, 2, 2, 2))
            transformer = affine(torch.Size([8]), min_scale=1e-12)
            parameters = torch.stack([2 * log_s.flatten(1), t.flatten(1)], dim=-1)
            current[:, changed], term = transformer.forward(current[:, changed], parameters)
            log_det += term
        y, ours = f(x)
    torch.testing.assert_close(y.flatten(1), current, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours, log_det, rtol=1e-8, atol=1e-8)
