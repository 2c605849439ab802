"""Lesson 04: what it draws and counts is what the couplings do, and the flow of the moons is a density."""

import math

import pytest
import torch
from bs4 import BeautifulSoup

from cqlib.lessons.coupling_layers import inverse as coupling_inverse
from cqlib.lessons.coupling_layers import jacobian as coupling_jacobian
from cqlib.lessons.coupling_layers import jacobians, moons
from cqlib.lessons.coupling_layers import steps as coupling_steps
from cqlib.lessons.coupling_layers.steps import flow, small_image
from cqlib.nets.coupling import MAX_LOG_SCALE, FlowConfig, RealNVP


def cells(html):
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows]


def value(text):
    return float(text.replace("−", "-").replace(",", ""))


def photos(n=16, size=8):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


# --- Jacobians -----------------------------------------------------------------------------------------------


def test_the_jacobian_is_autograd_s_own():
    f, x = flow(3, 3), torch.rand(3, 6, 8, dtype=torch.float64) * 2 - 1  # more values than rows of one pass
    found = jacobians.jacobian(lambda v: f(v)[0], x)
    expected = torch.autograd.functional.jacobian(lambda v: f(v[None])[0][0], x).view(144, 144)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_log_abs_det_of_a_known_matrix():
    assert jacobians.log_abs_det(torch.tensor([[0.0, 2.0], [3.0, 5.0]])) == pytest.approx(math.log(6))


def test_in_the_order_of_the_partition_the_jacobian_is_a_triangle():
    f, x = flow(1), small_image()
    order = jacobians.partition_order(coupling_steps.SMALL)
    assert sorted(order.tolist()) == list(range(16))
    matrix = jacobians.jacobian(lambda v: f(v)[0], x[0])
    arranged = matrix[order][:, order]
    assert torch.equal(arranged[:8, :8], torch.eye(8, dtype=torch.float64))
    assert (arranged[:8, 8:] == 0).all() and (arranged[8:, :8] != 0).all()
    scales = arranged[8:, 8:]
    assert torch.equal(scales, torch.diag(scales.diagonal())) and scales.diagonal().std() > 0.05
    assert not torch.equal(matrix.triu(1), torch.zeros_like(matrix))  # pixel by pixel it is none
    _, log_s = f.couplings[0].net(coupling_steps.split_checkerboard(x)[0])
    torch.testing.assert_close(scales.diagonal(), log_s.exp().flatten())


def test_random_weights_are_neither_the_identity_nor_torch_s_state():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    f, g = flow(2, 3), flow(2, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(f.parameters(), g.parameters(), strict=True))
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64) * 2 - 1
    y, log_det = f(x)
    assert (y - x).abs().max() > 0.3 and log_det.abs().min() > 0.1 and x.dtype == y.dtype == torch.float64
    start = RealNVP(3, FlowConfig(2, 16, 1)).double()
    assert start(x)[1].abs().max() == 0


def test_the_table_of_determinants():
    lines = cells(coupling_jacobian.determinants([(1, (1, 4, 4), 1), (3, (3, 4, 4), 1), (2, (3, 4, 4), 2)]))
    assert [line[1] for line in lines] == ["16 × 16", "48 × 48", "48 × 48"]
    for line in lines:
        assert line[2] == line[3] and float(line[4]) < 1e-11 and abs(value(line[2])) > 1e-3


def test_first_couplings_are_the_beginnings_of_the_flow():
    whole, x = flow(3), small_image()
    parts = coupling_jacobian.first_couplings(whole)
    assert [len(part.couplings) for part in parts] == [1, 2, 3]
    assert torch.equal(parts[-1](x)[0], whole(x)[0])
    zeros = [int((jacobians.jacobian(lambda v, f=f: f(v)[0], x[0]) == 0).sum()) for f in parts]
    assert zeros == [8 * 7 + 8 * 8 + 8 * 7, 8 * 7, 0]


def test_the_masks_that_are_drawn_are_those_of_the_couplings():
    x = small_image()
    for k, parity in ((0, 1), (1, 0)):  # the first coupling changes odd pixels, the second even ones
        part = flow(2)
        kept = [c for i, c in enumerate(part.couplings) if i != k]
        for coupling in kept:
            coupling.net = coupling_inverse.Fixed(lambda v: 0 * v, lambda v: 0 * v)
        changed = (part(x)[0] != x)[0, 0]
        rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
        assert torch.equal(changed, (rows + columns) % 2 == parity)
    assert all(count == "0" for _, count in cells(coupling_steps.partition_check()))


# --- keep, transform, invert ---------------------------------------------------------------------------------


def test_the_equations_of_a_layer():
    lines = cells(coupling_steps.transform_check(photos()))
    assert len(lines) == 3 and all(float(line[1]) < 1e-12 for line in lines)


def test_round_trips_call_each_net_once_either_way():
    lines = cells(coupling_inverse.round_trips(photos(), (1, 3)))
    assert [line[:3] for line in lines] == [["1", "1", "1"], ["3", "3", "3"]]
    for line in lines:
        assert float(line[4]) < 1e-13 < 1e-9 < float(line[5]) < 1e-4


def test_functions_that_forget_can_be_used_all_the_same():
    lines = cells(coupling_inverse.not_invertible())
    assert [line[1] for line in lines] == ["10,000"] * 3
    assert [value(line[2]) for line in lines] == [5000, 2, 1]
    assert all(float(line[3]) < 1e-13 for line in lines)


@pytest.mark.parametrize("log_s", [-4.0, -10.0])
def test_small_scales_lose_digits_as_one_over_s(log_s):
    epsilon = torch.finfo(torch.float32).eps
    found = coupling_inverse.error_at(log_s, torch.float32)
    assert 0.1 < found / (epsilon * math.exp(-log_s)) < 1.5
    assert coupling_inverse.error_at(log_s, torch.float64) < 1e-7 * found
    assert coupling_inverse.error_at(4.0, torch.float32) < 2 * epsilon


def test_scales_overflow_beyond_88_and_those_of_the_nets_stay_within_4():
    lines = cells(coupling_inverse.overflow())
    assert [line[0] for line in lines] == ["4", "40", "88", "89"]
    assert lines[-1][1:] == ["∞", "∞"] and float(lines[2][2]) < 1e-5
    net = moons.VectorNet(4)
    torch.nn.init.constant_(net.out.bias, 1e6)
    assert net(torch.zeros(1, 1))[1].item() == MAX_LOG_SCALE == 4


# --- the flow in the plane -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    return moons.train(60, couplings=4)


def test_the_plane_s_flow_is_invertible_with_autograd_s_determinant(trained):
    flow = trained.flow
    x = moons.DATA.sample(50, torch.Generator().manual_seed(1))
    y, log_det = flow(x)
    torch.testing.assert_close(flow.inverse(y), x, rtol=0, atol=1e-12)
    matrices = torch.stack([torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], point) for point in x])
    torch.testing.assert_close(log_det, torch.linalg.slogdet(matrices)[1], rtol=1e-9, atol=1e-10)
    assert log_det.std() > 0.1


def test_steps_back_undo_one_coordinate_at_a_time(trained):
    y = torch.randn(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    steps = list(trained.flow.steps_back(y))
    assert len(steps) == 5 and torch.equal(steps[0], y) and torch.equal(steps[-1], trained.flow.inverse(y))
    for k, (before, after) in enumerate(zip(steps, steps[1:], strict=False)):
        changed = (before != after).any(0).tolist()
        assert changed == ([True, False] if k % 2 == 0 else [False, True])  # the last coupling changes the first


def test_training_gives_a_density_nearer_to_the_data(trained):
    before, _ = moons.kl(moons.PlaneFlow(4).double())
    after, error = moons.kl(trained.flow)
    assert 5 * error < after < before - 1
    assert moons.mass(trained.flow, side=4.0, n=600) == pytest.approx(1, abs=2e-3)
    assert trained.curve[-1][1] < trained.curve[0][1] - 1
    again = moons.train(60, couplings=4)
    assert all(torch.equal(a, b) for a, b in zip(again.flow.parameters(), trained.flow.parameters(), strict=True))


def test_the_divergence_of_a_standard_normal_is_known():
    """KL = -h + E|x|^2 / 2 + ln 2 pi, with E|x|^2 of the moons by their exact density."""
    density, side = moons.on_grid(moons.DATA, 1.5, 600), 3 / 600
    axis = (torch.arange(600, dtype=torch.float64) + 0.5) * side - 1.5
    squared = (density * (axis[:, None] ** 2 + axis**2)).sum() * side**2
    entropy = torch.special.entr(density).sum() * side**2
    expected = float(squared / 2 - entropy) + math.log(2 * math.pi)
    found, error = moons.kl(moons.PlaneFlow(2).double())
    assert found == pytest.approx(expected, abs=4 * error)


def test_without_scales_volume_is_kept():
    shifts = moons.train(20, couplings=2, scales=False)
    x = moons.DATA.sample(50, torch.Generator().manual_seed(1))
    y, log_det = shifts.flow(x)
    assert log_det.abs().max() == 0 and (y - x).abs().max() > 0.05
    assert shifts.flow.log_prob(x).max() <= -math.log(2 * math.pi)
