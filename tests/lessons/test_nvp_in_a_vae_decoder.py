"""Lesson 05: the checks of the equations see errors, linear flows give exact Gaussians, frequencies are named well."""

import math
from dataclasses import replace

import pytest
import torch
from bs4 import BeautifulSoup
from fake_records import records
from torch import nn
from torch.distributions import Normal

from cqlib import data as data_sets
from cqlib.experiments import paper
from cqlib.experiments.claims import CLAIMS
from cqlib.lessons import at_hand
from cqlib.lessons.coupling_layers.inverse import Functions
from cqlib.lessons.coupling_layers.jacobians import jacobian
from cqlib.lessons.factorised_decoders import residuals
from cqlib.lessons.nvp_decoder import given_one_code, sensitivity, what_f_buys
from cqlib.lessons.nvp_decoder import two_ways as nvp_in_a_vae_decoder
from cqlib.pixels import dequantise
from cqlib.report.run_sets import run_sets


def cells(html):
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text(" ") for cell in row.find_all(["th", "td"])] for row in rows]


def value(text):
    return float(text.replace("−", "-").replace(",", ""))


@pytest.fixture(scope="module")
def images():
    return data_sets.load("photos10", size=16).first(100, 100)


def small_model(images):
    """CQ-F of the smoke profile with a flow that is no longer near the identity."""
    model = at_hand.untrained("table1/cq-f", images).system
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.flow.parameters():
            p.add_(0.15 * torch.randn(p.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def model(images):
    return small_model(images)


class Blur(nn.Module):
    """A linear map of packed pixels with few neighbours: t of a flow that is linear as a whole."""

    def forward(self, x):
        return 0.3 * x + 0.2 * x.roll(1, dims=2) - 0.1 * x.roll(1, dims=1)


@pytest.fixture(scope="module")
def linear(images):
    """The model with an f that is linear: t(x1) = a fixed filter of x1, s constant."""
    model = small_model(images)
    for coupling in model.flow.couplings:
        coupling.net = Functions(Blur(), lambda x: torch.full_like(x, -0.4))
    return model


# --- the equations -------------------------------------------------------------------------------------------


def computed(model, images):
    generator = torch.Generator().manual_seed(0)
    photos = images.test.images[:3]
    with torch.no_grad():
        x = dequantise(photos, generator=generator)
        q = model.infer(x, generator)
        mean, log_sigma = model.decode(q.z)
        p_y = Normal(mean, log_sigma.exp())
        y = p_y.sample()
        f_x, log_det = model.flow(x)
        log_p_x = p_y.log_prob(f_x).flatten(1).sum(1) + log_det
        found = {"x": x, "q": q, "p_y": p_y, "y": y, "drawn": model.flow.inverse(y)}
        return photos, {**found, "log_det": log_det, "log_p_x": log_p_x}


def test_every_line_of_the_check_agrees(model, images):
    photos, found = computed(model, images)
    lines = cells(nvp_in_a_vae_decoder.check(model, photos, 0, **found))
    assert len(lines) == 5
    for line in lines:
        assert float(line[-1]) < 5e-3, line
    assert abs(value(lines[2][1])) > 1  # a determinant that is not 1


@pytest.mark.parametrize("wrong, row", [("log_det", 2), ("log_p_x", 3), ("drawn", 1)])
def test_the_check_sees_a_wrong_value(model, images, wrong, row):
    photos, found = computed(model, images)
    found[wrong] = found[wrong] + 0.5
    lines = cells(nvp_in_a_vae_decoder.check(model, photos, 0, **found))
    assert float(lines[row][-1]) > 0.1
    assert float(lines[0][-1]) < 1e-2


def test_the_check_leaves_the_model_as_it_is(model, images):
    photos, found = computed(model, images)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    nvp_in_a_vae_decoder.check(model, photos, 0, **found)
    assert all(torch.equal(p, before[name]) and p.dtype == before[name].dtype for name, p in model.state_dict().items())


def test_a_model_is_found_or_made(images, tmp_path):
    wanted = {"profile": "smoke", "seeds": [0], "runs_dir": tmp_path}
    assert list(nvp_in_a_vae_decoder.systems(images, **wanted)) == ["table1/cq-f"]
    other = replace(images, name="npz:cats.npz")  # no run of these, and nothing is published
    found = nvp_in_a_vae_decoder.systems(other, **wanted)["table1/cq-f"]
    assert found.label == "CQ-F, untrained" and found.system.shape == (3, 16, 16)


# --- one code ------------------------------------------------------------------------------------------------


def test_a_linear_flow_gives_exactly_the_gaussian_of_first_order(linear, images):
    of = residuals.explain(linear, images.test.images[:2])
    g = given_one_code.given(linear, of, 1, n=3000)
    torch.testing.assert_close(g.log_p, g.linear_log_p, rtol=0, atol=2e-2)
    error = (g.covariance - g.linear_covariance).norm() / g.linear_covariance.norm()
    trace, size = g.linear_covariance.trace(), g.linear_covariance.norm()
    assert error < 1.2 * math.sqrt((trace**2 / size**2 + 1) / 3000)  # what 3,000 draws leave
    place = torch.arange(g.x[0].numel()).view(g.x.shape[1:])
    deviations = g.linear_covariance.diagonal().sqrt()
    correlation = g.linear_covariance / torch.outer(deviations, deviations)
    expected = float(correlation[place[:, :, :-1].flatten(), place[:, :, 1:].flatten()].mean())
    assert abs(expected) > 0.05 and residuals.at_offset(g.x, 0, 1) == pytest.approx(expected, abs=0.01)
    normal = torch.distributions.MultivariateNormal(g.centre.flatten().double(), g.linear_covariance)
    torch.testing.assert_close(normal.log_prob(g.x[:5].flatten(1).double()), g.linear_log_p[:5], rtol=0, atol=1e-4)


def test_a_curved_flow_does_not(model, images):
    of = residuals.explain(model, images.test.images[:2])
    hot = replace(of, log_sigma=of.log_sigma + math.log(4))
    calm, wild = (given_one_code.given(model, which, 0, n=250) for which in (of, hot))
    gaps = [float((g.log_p - g.linear_log_p).mean()) for g in (calm, wild)]
    assert 0 < gaps[0] < gaps[1] and gaps[1] > 0.5


def test_the_density_of_draws_is_equation_8(model, images):
    of = residuals.explain(model, images.test.images[:1])
    g = given_one_code.given(model, of, 0, n=250)
    y, log_det = model.features(g.x[:4])
    mean, sigma = of.mean.double(), of.log_sigma.exp().double()
    expected = Normal(mean, sigma).log_prob(y.double()).flatten(1).sum(1) + log_det.double()
    torch.testing.assert_close(g.log_p[:4], expected.detach(), rtol=1e-4, atol=0.05)


def test_chosen_images_go_from_calm_to_restless(model, images):
    of = residuals.explain(model, images.test.images)
    chosen = given_one_code.restless(of)
    spread = [float(of.x[i].std((1, 2)).mean()) for i in chosen]
    assert len(set(chosen)) == 3 and spread == sorted(spread)


# --- sensitivity ---------------------------------------------------------------------------------------------


def test_singular_values_multiply_to_the_determinant_and_stretch_their_directions(model, images):
    x = residuals.explain(model, images.test.images[:1]).x[0]
    s = sensitivity.at(model, x)
    assert float(s.values.log().sum()) == pytest.approx(s.log_det, abs=2e-3) and abs(s.log_det) > 1
    flat = s.directions.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(768, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close((s.matrix @ flat.T).norm(dim=0), s.values, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(s.matrix.float(), jacobian(lambda v: model.flow(v)[0], x))


def test_waves_are_a_basis_with_their_frequencies():
    basis, frequency = sensitivity.waves((3, 8, 8))
    flat = basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(192, dtype=torch.float64), rtol=0, atol=1e-12)
    constant = (basis[:64, 0].flatten(1).std(1) < 1e-9).nonzero()
    assert constant.tolist() == [[0]] and frequency[0] == 0
    # cos(pi (x + 1/2) k / 8) has k half periods over the side
    across = basis[1, 0, 0] / basis[1, 0, 0, 0]
    expected = torch.cos(math.pi * (torch.arange(8, dtype=torch.float64) + 0.5) / 8)
    torch.testing.assert_close(across, expected / expected[0])
    assert frequency[1] == frequency[8] == 0.5 and frequency[63] == pytest.approx(7 * math.sqrt(2) / 2)


def test_bands_hold_root_mean_squares():
    frequency = torch.tensor([0.0, 0.5, 1.0, 1.9, 2.0], dtype=torch.float64)
    energy = torch.tensor([1.0, 7.0, 9.0, 9.0, 5.0], dtype=torch.float64)
    middle, values = sensitivity.by_frequency(energy, frequency)
    assert middle == [0.5, 1.5] and values == pytest.approx([2.0, 3.0])


# --- records -------------------------------------------------------------------------------------------------


def test_table_1_with_and_without_f():
    made = records(5, what_f_buys.ROWS)
    runs = run_sets(made, [])[0]
    lines = cells(what_f_buys.numbers(runs))
    assert [line[0] for line in lines] == ["VAE", "VAE-F", "CQ", "CQ-F"] and {line[-1] for line in lines} == {"5"}
    for row, line in zip(what_f_buys.ROWS, lines, strict=True):
        for name, text in zip(("BPD", "IS-lite0@T1", "FD-lite0@T1"), line[1:-1], strict=True):
            mean = sum(run.metrics[name].value for run in runs.of(row)) / 5
            assert value(text.split()[0]) == pytest.approx(mean, rel=2e-3)


def test_the_claims_are_all_those_about_f_and_no_others():
    ids = [claim for claim in CLAIMS if claim.id.startswith(what_f_buys.CLAIMS)]
    pairs = {(paper.canonical(claim.row_a), paper.canonical(claim.row_b)) for claim in ids}
    assert pairs == {("table1/vae-f", "table1/vae"), ("table1/cq-f", "table1/cq")} and len(ids) == 6
    page = what_f_buys.verdicts(records(2, what_f_buys.ROWS)).data
    assert all(claim.sentence in page for claim in ids)
