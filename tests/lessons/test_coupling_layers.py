"""Lesson 04: Jacobians, masks and round trips are those of the couplings, and the flow of the moons is a density."""

import math
from types import SimpleNamespace

import pytest
import torch
from functions import Functions
from lesson_cells import run_cell, run_cells
from notebook_cells import cells

from cqlib.lessons import coupling_layers, moons, toy2d
from cqlib.lessons.coupling_layers import jacobian, random_flow, random_image, round_trip_error
from cqlib.lessons.coverage_and_quality.distances import Lattice
from cqlib.nets.coupling import MAX_LOG_SCALE, FlowConfig, RealNVP, split_checkerboard

# --- Jacobians -----------------------------------------------------------------------------------------------


def test_jacobian_is_that_of_autograd():
    f, x = random_flow(3, 3), torch.rand(3, 6, 8, dtype=torch.float64) * 2 - 1  # more values than rows of one pass
    expected = torch.autograd.functional.jacobian(lambda v: f(v[None])[0][0], x).view(144, 144)
    torch.testing.assert_close(jacobian(lambda v: f(v)[0], x), expected, rtol=1e-10, atol=1e-12)
    assert coupling_layers.log_abs_det(torch.tensor([[0.0, 2.0], [3.0, 5.0]])) == pytest.approx(math.log(6))


def test_in_the_order_of_the_partition_the_jacobian_is_a_triangle():
    f, x = random_flow(1), random_image()
    matrix = jacobian(lambda v: f(v)[0], x[0])
    arranged = coupling_layers.in_order(matrix)
    assert sorted(arranged.flatten().tolist()) == sorted(matrix.flatten().tolist())
    assert torch.equal(arranged[:8, :8], torch.eye(8, dtype=torch.float64))
    assert (arranged[:8, 8:] == 0).all() and (arranged[8:, :8] != 0).all()
    scales = arranged[8:, 8:]
    _, log_s = f.couplings[0].net(split_checkerboard(x)[0])
    torch.testing.assert_close(scales, torch.diag(log_s.exp().flatten()))
    assert scales.diagonal().std() > 0.05 and not torch.equal(matrix.triu(1), torch.zeros_like(matrix))


def test_random_flow_is_reproducible_and_not_the_identity():
    before = torch.get_rng_state()
    f, g = random_flow(2, 3), random_flow(2, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(f.parameters(), g.parameters(), strict=True))
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64) * 2 - 1
    y, log_det = f(x)
    assert (y - x).abs().max() > 0.3 and log_det.abs().min() > 0.1
    assert RealNVP(3, FlowConfig(2, 16, 1)).double()(x)[1].abs().max() == 0


def test_small_flows_are_the_beginnings_of_larger_ones():
    x, flows, larger = random_image(), [random_flow(k) for k in (1, 2, 3)], random_flow(3)
    larger.couplings = larger.couplings[:2]
    assert torch.equal(flows[1](x)[0], larger(x)[0])
    zeros = [int((jacobian(lambda v, f=f: f(v)[0], x[0]) == 0).sum()) for f in flows]
    assert zeros == [8 * 7 + 8 * 8 + 8 * 7, 8 * 7, 0]


def test_masks_are_those_of_the_couplings():
    x, place = random_image(), torch.arange(4)
    for k, parity in ((0, 1), (1, 0)):  # the first coupling changes odd pixels, the second even ones
        flow = random_flow(2)
        flow.couplings[1 - k].net = Functions(lambda v: 0 * v, lambda v: 0 * v)
        changed = (flow(x)[0] != x)[0, 0]
        assert torch.equal(changed, (place[:, None] + place) % 2 == parity)


# --- transform and invert ------------------------------------------------------------------------------------


def test_small_scales_lose_digits_as_one_over_s():
    epsilon = torch.finfo(torch.float32).eps
    error = round_trip_error(-10.0, torch.float32)
    assert 0.1 < error / (epsilon * math.exp(10)) < 1.5
    assert round_trip_error(-10.0, torch.float64) < 1e-7 * error
    assert round_trip_error(4.0, torch.float32) < 2 * epsilon


def test_scales_overflow_beyond_88_and_those_of_the_nets_stay_within_4(lesson):
    lines = cells(run_cell("04", "∞: overflow")["_"])
    assert lines[-1] == ["89", "∞", "∞"] and float(lines[2][2]) < 1e-5
    net = lesson.PlaneNet(4)
    torch.nn.init.constant_(net.layers[-1].bias, 1e6)
    assert net(torch.zeros(1, 1))[1].item() == MAX_LOG_SCALE == 4


# --- the flow in the plane -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lesson():
    """The classes of the lesson, and its `train`."""
    texts = ("def split_checkerboard", "class Coupling(", "class Flow(", "class PlaneNet", "def train(")
    return SimpleNamespace(**run_cells("04", texts))


@pytest.fixture(scope="module")
def train(lesson):
    return lesson.train


@pytest.fixture(scope="module")
def trained(train):
    return train(60, couplings=4)


def test_flow_is_invertible_with_autograd_s_determinant(trained):
    flow, _ = trained
    x = moons.DATA.sample(20, torch.Generator().manual_seed(1))
    y, log_det = flow(x)
    torch.testing.assert_close(flow.inverse(y), x, rtol=0, atol=1e-12)
    matrices = torch.stack([torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], point) for point in x])
    torch.testing.assert_close(log_det, torch.linalg.slogdet(matrices)[1], rtol=1e-9, atol=1e-10)
    assert log_det.std() > 0.1


def test_inverse_steps_change_one_coordinate_at_a_time(trained):
    y = torch.randn(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    points = moons.inverse_steps(trained[0], y)
    assert len(points) == 5
    torch.testing.assert_close(points[0], y, rtol=0, atol=1e-12)
    torch.testing.assert_close(points[-1], trained[0].inverse(y))
    for k, (before, after) in enumerate(zip(points, points[1:], strict=False)):
        changed = ((before - after).abs() > 1e-9).any(0).tolist()
        assert changed == ([True, False] if k % 2 == 0 else [False, True])  # the last coupling changes the first


def test_training_reduces_the_divergence_and_keeps_the_mass(lesson, train, trained):
    flow, curve = trained
    before, after = (float(moons.log_ratios(flow, 5000).mean()) for flow in (lesson.PlaneFlow(4).double(), flow))
    assert 0 < after < before - 1 and curve[-1][1] < curve[0][1] - 1
    assert moons.mass(flow) == pytest.approx(1, abs=0.02)
    a, b = (train(2, couplings=2)[0].parameters() for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_divergence_of_a_standard_normal_has_its_closed_form(lesson):
    """KL = -h + E|x|^2 / 2 + ln 2 pi, with E|x|^2 of the moons by their exact density."""
    lattice = Lattice(toy2d.density("two-moons"))
    squared = lattice.integral(lattice.log_p.exp() * lattice.points.square().sum(1))
    entropy = lattice.integral(torch.special.entr(lattice.log_p.exp()))
    ratios = moons.log_ratios(lesson.PlaneFlow(2).double())
    expected = squared / 2 - entropy + math.log(2 * math.pi)
    assert float(ratios.mean()) == pytest.approx(expected, abs=4 * float(ratios.std()) / len(ratios) ** 0.5)


def test_without_scales_volume_is_kept(train):
    flow, _ = train(20, couplings=2, scales=False)
    x = moons.DATA.sample(50, torch.Generator().manual_seed(1))
    y, log_det = flow(x)
    assert log_det.abs().max() == 0 and (y - x).abs().max() > 0.05
    assert flow.log_prob(x).max() <= -math.log(2 * math.pi)
