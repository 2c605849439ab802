"""The correlated Gaussian decoder: densities are torch's, integrate to 1, and samples have the covariance claimed."""

import math

import pytest
import torch
from small_models import images, shaken, system
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal

from cqlib.models.vae_full_covariance import VAEFullCovariance, low_rank_log_density
from cqlib.pixels import dequantise

ROW = "extra/vae-full-covariance"


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def tiny() -> VAEFullCovariance:
    """A tiny model of grey images in fp64, moved away from its start."""
    model = shaken(system(ROW, image_channels=1).double(), 0.03)
    with torch.no_grad():
        model.decoder.out.weight[2:].mul_(20)  # factors that matter
    return model.eval()


def covariance(model: VAEFullCovariance, z: torch.Tensor) -> torch.Tensor:
    """That of p(x|z), (N, D, D), element by element as the header of the model's file says."""
    _, log_sigma, factors = model.decode_all(z)
    low = factors.flatten(2)
    return torch.diag_embed((2 * log_sigma.flatten(1)).exp()) + low.mT @ low


# --- the densities -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d, k", [(1, 1), (7, 1), (7, 3), (5, 8), (6, 0)])
def test_low_rank_density_is_torchs(d, k):
    r, log_sigma, factors = double(4, d), 0.5 * double(4, d, seed=1), double(4, k, d, seed=2)
    ours = low_rank_log_density(r, log_sigma, factors)
    dense = torch.diag_embed((2 * log_sigma).exp()) + factors.mT @ factors
    torch.testing.assert_close(ours, MultivariateNormal(torch.zeros(d).double(), dense).log_prob(r))
    if k:
        theirs = LowRankMultivariateNormal(torch.zeros(d).double(), factors.mT, (2 * log_sigma).exp())
        torch.testing.assert_close(ours, theirs.log_prob(r))


def test_low_rank_density_has_its_gradients_and_its_precision():
    leaves = [t.requires_grad_() for t in (double(2, 4), 0.3 * double(2, 4, seed=1), double(2, 2, 4, seed=2))]
    assert torch.autograd.gradcheck(low_rank_log_density, leaves)
    # sigma of an eighth of a cell, factors 1,000 times that and almost parallel: a condition number of 10^9
    factors = 1 + 1e-3 * double(2, 3, 200, seed=3)
    r, log_sigma = (factors * double(2, 3, 1, seed=4)).sum(1), torch.full((2, 200), -7.0, dtype=torch.double)
    exact = low_rank_log_density(r, log_sigma, factors)
    single = low_rank_log_density(r.float(), log_sigma.float(), factors.float())
    assert single.dtype == torch.float32 and torch.isfinite(single).all() and (exact > 500).all()
    torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(low_rank_log_density(r.float(), log_sigma.float(), factors.float()), single)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_told_and_raises_nothing(bad):
    r, log_sigma, factors = double(2, 4), double(2, 4, seed=1), double(2, 2, 4, seed=2)
    whole = low_rank_log_density(r, log_sigma, factors)
    factors[0, 0, 0] = bad
    found = low_rank_log_density(r, log_sigma, factors)
    assert not torch.isfinite(found[0]) and found[1] == whole[1]


# --- the model -----------------------------------------------------------------------------------------------


def test_the_decoders_density_is_the_dense_gaussian():
    model = tiny()
    v, z = dequantise(images(3, channels=1)).double(), double(3, model.config.latent)
    with torch.no_grad():
        dense = covariance(model, z)
        mean, _ = model.decode(z)
        expected = MultivariateNormal(mean.flatten(1), dense).log_prob(v.flatten(1))
        torch.testing.assert_close(model.log_density(v, z), expected, rtol=1e-8, atol=1e-8)
    correlation = dense[0] / (dense[0].diag()[:, None] * dense[0].diag()).sqrt()
    assert (correlation - torch.eye(256).double()).abs().max() > 0.1


def test_samples_have_the_mean_and_the_covariance_of_the_decoder(monkeypatch):
    model = tiny()
    z = double(1, model.config.latent)
    decoded = model.decode_all(z)
    monkeypatch.setattr(model, "prior", lambda n, generator=None: z.expand(n, -1))
    monkeypatch.setattr(model, "decode_all", lambda z: tuple(t.expand(len(z), *t.shape[1:]) for t in decoded))
    n = 20_000
    torch.set_default_dtype(torch.double)  # for the noise
    try:
        with torch.no_grad():
            x = model.generate(n, temperature=1.0, generator=torch.Generator().manual_seed(1)).flatten(1)
            half = model.generate(n, temperature=0.5, generator=torch.Generator().manual_seed(1)).flatten(1)
            features = model.sample_features(z.expand(n, -1), 1.0, torch.Generator().manual_seed(1)).flatten(1)
            none = model.generate(2, temperature=0.0).flatten(1)
    finally:
        torch.set_default_dtype(torch.float)
    mean = decoded[0].flatten(1)
    torch.testing.assert_close(none, mean.expand(2, -1))
    assert torch.equal(features, x)
    torch.testing.assert_close(half - mean, 0.5 * (x - mean))
    directions = torch.cat([torch.eye(256).double()[:5], double(5, 256, seed=5), torch.ones(1, 256).double()])
    directions = torch.cat([directions, decoded[2][0].flatten(1).detach()])  # along the factors
    expected = (directions @ covariance(model, z)[0].detach() * directions).sum(1)
    found = ((x - mean) @ directions.T).square().mean(0)
    torch.testing.assert_close(found, expected, rtol=6 * math.sqrt(2 / n), atol=0)  # 6 standard errors
