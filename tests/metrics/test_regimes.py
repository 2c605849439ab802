"""sigma at codes of images and at drawn codes: closed forms of a decoder whose sigma is the length of its code."""

import math

import pytest
import torch
from small_models import images, system
from torch import nn

from cqlib.metrics.metric import sentence
from cqlib.metrics.quantities import DRAWN, ENCODED, SHARE
from cqlib.metrics.regimes import regimes, share_within

ROWS = ("table1/vae", "table1/cq-f", "extra/cq-f-conditional", "table2/cqf-residual", "extra/vae-full-covariance")


@pytest.mark.parametrize("row", ROWS)
def test_every_decoder_with_sigma_has_the_numbers(row):
    found = regimes(system(row, shake=0.05), images(6))
    assert found.keys() == {ENCODED, DRAWN, SHARE} and 0 <= found[SHARE].value <= 1
    assert all(metric.n == 6 and "σ(z)" in sentence(name, metric) for name, metric in found.items())


class FirstCode(nn.Module):
    """A decoder's output: mu = 0, and raw = z_1 at every feature."""

    def forward(self, z):
        raw = z[:, :1, None, None].expand(-1, 3, 16, 16)
        return torch.cat([torch.zeros_like(raw), raw], dim=1)


class Encoder(nn.Module):
    """Mean and log-variance of every image's code."""

    def __init__(self, mean, log_variance):
        super().__init__()
        self.values, self.weight = (mean, log_variance), nn.Parameter(torch.zeros(1))

    def forward(self, v):
        mean, log_variance = (torch.full((len(v), 16), value) for value in self.values)
        return mean, log_variance


def test_a_decoder_in_two_regimes_is_told_from_one_in_one():
    """Images are encoded at z_1 = `at`, far from the prior or at its middle."""
    model = system("table1/vae", sigma_floor=0.0)
    model.decoder = FirstCode()
    for at in (5.0, 0.0):
        model.encoder = Encoder(at, -30.0)
        found = regimes(model, images(1000))
        expected = {z: math.log(math.log1p(math.exp(z - 1.5))) for z in (at, 0.0)}
        assert found[ENCODED].value == pytest.approx(expected[at], abs=1e-4)
        assert found[DRAWN].value == pytest.approx(expected[0.0], abs=0.1)  # the median of z_1 is 0
        assert found[SHARE].value < 0.01  # all images have the same sigma, and hardly any drawn code has it
    model.encoder = Encoder(0.0, 0.0)  # encoded codes are the prior's
    assert regimes(model, images(1000))[SHARE].value == pytest.approx(0.99, abs=0.01)


def test_the_central_part_lies_between_two_quantiles():
    reference = torch.linspace(0, 100, 1001, dtype=torch.float64)
    assert share_within(torch.tensor([0.4, 0.6, 99.4, 99.6, 50.0]).double(), reference) == pytest.approx(3 / 5)
    assert share_within(torch.tensor([-1.0, 101.0]).double(), reference) == 0


@pytest.mark.parametrize("row", ROWS)
def test_one_sigma_for_all_codes_is_learned_for_each_feature(row):
    model = system(row, sigma="shared", shake=0.05)
    encoded, drawn = model.log_sigma_at_codes(images(3))
    torch.testing.assert_close(encoded, encoded[:1].expand_as(encoded), rtol=0, atol=0)
    torch.testing.assert_close(drawn, encoded, rtol=0, atol=0)
    assert encoded[0].shape == model.shared_sigma.shape and encoded[0].unique().numel() > 500
    model.generator_losses(images(3))["total"].backward()
    assert model.shared_sigma.grad.abs().min() > 0
    assert regimes(model, images(6))[SHARE].value == 1
    starts = system(row, sigma="shared").log_sigma_at_codes(images(1))[0].exp()
    assert starts.min() > 0.2 and starts.max() < 0.21


def test_a_sigma_that_is_not_finite_has_no_regimes(monkeypatch):
    model = system("table1/vae")
    broken = (torch.full((6, 2), torch.nan), torch.zeros(6, 2))
    monkeypatch.setattr(type(model), "log_sigma_at_codes", lambda *_: broken)
    assert regimes(model, images(6)) == {}
