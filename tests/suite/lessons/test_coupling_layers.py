"""Lesson 04: its couplings are the package's, Jacobians are triangles, the flow of the moons is a density, and
dequantisation bounds probabilities."""

import math
from types import SimpleNamespace

import pytest
import torch
from functions import Functions
from lesson_cells import run_cells

from cqlib.nets import coupling, real_nvp
from cqlib.nets.coupling import MAX_LOG_SCALE, FlowConfig, RealNVP
from cqlib.suite.lessons.lattice import Lattice

CELLS = ("def split_checkerboard", "class Coupling(", "class ConvNet", "class Flow(", "class TwoScales(",
         "class PlaneNet", "def train(", "P = torch.tensor")  # fmt: skip


@pytest.fixture(scope="module")
def lesson():
    lesson = SimpleNamespace(**run_cells("04", CELLS, profile="smoke", changes={}))
    lesson.moons = lesson.train.__globals__["moons"] = lesson.toy2d.density("two-moons")
    return lesson


# --- cells and the package -----------------------------------------------------------------------------------


def test_partitions_are_the_package_s(lesson):
    x = torch.rand(2, 3, 8, 8)
    for split, join, theirs in (
        (lesson.split_checkerboard, lesson.join_checkerboard, coupling.split_checkerboard),
        (lesson.split_channels, lesson.join_channels, coupling.split_channels),
    ):
        assert torch.equal(join(*split(x)), x)
        assert all(torch.equal(a, b) for a, b in zip(split(x), theirs(x), strict=True))
    x1, x2 = lesson.split_checkerboard(x)
    masked = lesson.join_checkerboard(x1, torch.zeros_like(x2))
    assert torch.equal(masked, x * real_nvp.checkerboard(x, 0))


@pytest.mark.parametrize("scales", [1, 2])
def test_flows_are_the_package_s(lesson, scales):
    """With the same nets: y, ln |det|, and the inverse."""
    torch.manual_seed(0)
    theirs = RealNVP(3, FlowConfig(3, 16, 1, scales, "apart")).double().eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))

    def chain(couplings, *how):
        return lesson.Flow([lesson.Coupling(one.net) for one in couplings], *how)

    mine = chain(theirs.couplings)
    if scales == 2:
        channels = chain(theirs.channel_couplings, lesson.split_channels, lesson.join_channels)
        mine = lesson.TwoScales(mine, channels, chain(theirs.coarser.couplings))
    x = torch.rand(4, 3, 16, 16, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        (y, log_det), (their_y, their_log_det) = mine(x), theirs(x)
        assert (y - x).abs().max() > 0.1 and log_det.abs().min() > 0.1
        torch.testing.assert_close(y, their_y, rtol=0, atol=1e-10)
        torch.testing.assert_close(log_det, their_log_det, rtol=0, atol=1e-9)
        torch.testing.assert_close(mine.inverse(y), x, rtol=0, atol=1e-9)


# --- Jacobians -----------------------------------------------------------------------------------------------


def test_in_the_order_of_the_partition_the_jacobian_is_a_triangle(lesson):
    f, x = lesson.Flow(lesson.random_couplings(1, 2)), lesson.random_image(1, 4, 4)
    places = lesson.split_checkerboard(torch.arange(16).view(1, 1, 4, 4))
    order = torch.cat([group.flatten() for group in places])
    matrix = lesson.jacobian(f, x)
    arranged = matrix[order][:, order]
    assert torch.equal(arranged[:8, :8], torch.eye(8, dtype=torch.float64))
    assert (arranged[:8, 8:] == 0).all() and (arranged[8:, :8] != 0).all()
    _, log_s = f.couplings[0].net(lesson.split_checkerboard(x)[0])
    torch.testing.assert_close(arranged[8:, 8:], torch.diag(log_s.exp().flatten()))
    assert log_s.std() > 0.05 and not torch.equal(matrix.triu(1), torch.zeros_like(matrix))


def test_zeros_of_the_jacobians_are_those_that_the_text_counts(lesson):
    x, flows = lesson.random_image(1, 4, 4), [lesson.Flow(lesson.random_couplings(k, 2)) for k in (1, 2, 3)]
    assert [int((lesson.jacobian(f, x) == 0).sum()) for f in flows] == [176, 8 * 7, 0]
    for k, parity in ((0, 1), (1, 0)):  # the first coupling changes odd pixels, the second even ones
        flow = lesson.Flow(lesson.random_couplings(2, 2))
        flow.couplings[1 - k].net = Functions(lambda v: 0 * v, lambda v: 0 * v)
        place = torch.arange(4)
        assert torch.equal((flow(x)[0] != x)[0, 0], (place[:, None] + place) % 2 == parity)


@pytest.mark.parametrize("scales", [1, 2])
def test_log_determinants_are_those_of_elimination(lesson, scales):
    f, x = lesson.Flow(lesson.random_couplings(3, 2)), lesson.random_image(1, 8, 8)
    if scales == 2:
        channels = lesson.Flow(lesson.random_couplings(3, 2), lesson.split_channels, lesson.join_channels)
        f = lesson.TwoScales(f, channels, lesson.Flow(lesson.random_couplings(3, 4)))
    expected = torch.linalg.slogdet(lesson.jacobian(f, x))[1]
    assert float(f(x)[1]) == pytest.approx(float(expected), abs=1e-9) and abs(expected) > 0.5


# --- bounds --------------------------------------------------------------------------------------------------


def round_trip_error(lesson, log_s, dtype):
    """The largest error of x2 in [-1, 1) after one coupling of this scale and its inverse."""
    t, x2 = (torch.rand(2, 2500, 1, generator=torch.Generator().manual_seed(0)).double() * 2 - 1).to(dtype)
    layer = lesson.Coupling(lambda _: (t, torch.full_like(t, log_s)))
    return float((layer.inverse(t, layer(t, x2)[0]) - x2).abs().max())


def test_small_scales_lose_digits_as_one_over_s_and_large_ones_overflow(lesson):
    epsilon = torch.finfo(torch.float32).eps
    error = round_trip_error(lesson, -10.0, torch.float32)
    assert 0.1 < error / (epsilon * math.exp(10)) < 1.5
    assert round_trip_error(lesson, -10.0, torch.float64) < 1e-7 * error
    assert round_trip_error(lesson, -MAX_LOG_SCALE, torch.float32) < 100 * epsilon  # two digits at worst
    assert math.isfinite(round_trip_error(lesson, 88.0, torch.float32))
    assert not any(math.isfinite(round_trip_error(lesson, s, torch.float32)) for s in (-89.0, 89.0))


def test_bounded_scales_do_not_protect_a_chain(lesson):
    errors, x = [], lesson.random_image(1, 16, 16)
    for k in (1, 12):
        f = lesson.Flow(lesson.random_couplings(k, 2)).float()
        errors.append(float((f.inverse(f(x.float())[0]) - x).abs().max()))
    assert errors[0] < 1e-5 and errors[1] > 100 * errors[0]
    for net in (lesson.PlaneNet(4), lesson.ConvNet(2)):
        torch.nn.init.constant_(net.layers[-1].bias, 1e6)
        shape = (1, 1) if isinstance(net, lesson.PlaneNet) else (1, 2, 2, 2)
        assert net(torch.zeros(shape))[1].max().item() == MAX_LOG_SCALE == 4


# --- the flow in the plane -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(lesson):
    return lesson.train(60, couplings=4)


def test_flow_is_invertible_with_autograd_s_determinant(lesson, trained):
    flow, _ = trained
    x = lesson.moons.sample(20, torch.Generator().manual_seed(1))
    y, log_det = flow(x)
    torch.testing.assert_close(flow.inverse(y), x, rtol=0, atol=1e-12)
    matrices = torch.stack([torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], point) for point in x])
    torch.testing.assert_close(log_det, torch.linalg.slogdet(matrices)[1], rtol=1e-9, atol=1e-10)
    assert log_det.std() > 0.1


def test_training_reduces_the_divergence_and_keeps_the_mass(lesson, trained):
    flow, curve = trained
    lattice = Lattice(lesson.moons)
    x = lesson.moons.sample(5000, torch.Generator().manual_seed(99))
    before, after = (
        float((lesson.moons.log_prob(x) - f.log_prob(x).detach()).mean()) for f in (lesson.PlaneFlow(4).double(), flow)
    )
    assert 0 < after < before - 1 and curve[-1][1] < curve[0][1] - 1
    assert lattice.integral(lattice.log_density(flow.log_prob).exp()) == pytest.approx(1, abs=0.02)
    a, b = (lesson.train(2, couplings=2)[0].parameters() for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_without_scales_volume_is_kept(lesson):
    flow, _ = lesson.train(20, couplings=2, scales=False)
    x = lesson.moons.sample(50, torch.Generator().manual_seed(1))
    y, log_det = flow(x)
    assert log_det.abs().max() == 0 and (y - x).abs().max() > 0.05
    assert flow.log_prob(x).max() <= -math.log(2 * math.pi)


# --- dequantisation ------------------------------------------------------------------------------------------


def test_dequantised_spikes_never_beat_the_entropy(lesson):
    entropy = float(-(lesson.P @ lesson.P.log2()))
    spikes, dequantised = (torch.stack(lesson.bits[name]) for name in ("spikes", "dequantised"))
    assert spikes[0] < 0 < entropy < dequantised.min() and (spikes[1:] > spikes[:-1]).all()
    # the bound, level by level: E[ln p(k + u)] <= ln P(k)
    p = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(lesson.P), torch.distributions.Normal(lesson.middles, 0.3)
    )
    mass = p.cdf(torch.arange(1.0, 5.0)) - p.cdf(torch.arange(4.0))
    assert (p.log_prob(torch.arange(4)[:, None] + lesson.u).mean(1) < mass.log()).all()
