"""Each loss against its formula, written out the slow way, and against closed forms."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from cqlib import losses


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_discriminator_loss_is_equation_1_negated():
    real, fake = torch.randn(7), torch.randn(5)
    d = torch.sigmoid
    expected = -(d(real).log().mean() + (1 - d(fake)).log().mean())
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected.item(), rel=1e-6)


def test_losses_are_finite_where_their_formulas_are_not():
    made, real = torch.tensor([-1e4]), torch.tensor([1e4])
    assert losses.discriminator_loss(made, real).item() == pytest.approx(2e4)
    assert losses.non_saturating_generator_loss(made).item() == pytest.approx(1e4)
    assert losses.saturating_generator_loss(real).item() == pytest.approx(-1e4)


def test_quality_loss_is_equation_2():
    logits = torch.randn(6)
    d = torch.sigmoid(logits)
    assert losses.quality_loss(logits).item() == pytest.approx(-(d / (1 - d)).log().mean().item(), rel=1e-5)


def test_quality_loss_with_the_optimal_discriminator_is_the_reverse_kl():
    p_theta, p_train = Normal(0.5, 1.0), Normal(0.0, 1.5)
    x = p_theta.sample((400_000,))
    optimal_logit = p_train.log_prob(x) - p_theta.log_prob(x)  # ln D/(1-D) = ln p_train/p_theta
    assert losses.quality_loss(optimal_logit).item() == pytest.approx(kl_divergence(p_theta, p_train).item(), abs=5e-3)


def test_coverage_loss_has_the_sign_that_equation_4_lacks():
    log_p, kl = torch.tensor([-10.0, -20.0]), torch.tensor([1.0, 3.0])
    assert losses.coverage_loss(log_p, kl).item() == pytest.approx(17.0)  # -E[ln p] + E[KL], to be minimised


def test_gaussian_log_density_matches_torch_distributions():
    y, mean, log_sigma = (torch.randn(4, 3, 5, 5) for _ in range(3))
    expected = Independent(Normal(mean, log_sigma.exp()), 3).log_prob(y)
    torch.testing.assert_close(losses.gaussian_log_density(y, mean, log_sigma), expected)
    shared = losses.gaussian_log_density(y, mean, torch.tensor(-0.7))
    torch.testing.assert_close(shared, Independent(Normal(mean, math.exp(-0.7)), 3).log_prob(y))


def test_decoder_log_density_of_a_linear_f_is_the_density_of_x():
    """Eq. (8) with y = f(x) = a x: x is Gaussian too, with mean and sigma divided by a."""
    x, mean, log_sigma, a = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5), 2.5
    log_det = torch.full((4,), 75 * math.log(a))
    expected = Independent(Normal(mean / a, log_sigma.exp() / a), 3).log_prob(x)
    torch.testing.assert_close(losses.decoder_log_density(a * x, log_det, mean, log_sigma), expected)


@pytest.mark.parametrize("shape", [(6, 8), (6, 2, 3, 3)])
def test_kl_matches_torch_distributions(shape):
    mean, log_variance = torch.randn(shape), torch.randn(shape)
    q = Independent(Normal(mean, (0.5 * log_variance).exp()), len(shape) - 1)
    p = Independent(Normal(torch.zeros(shape), torch.ones(shape)), len(shape) - 1)
    torch.testing.assert_close(losses.kl_to_standard_normal(mean, log_variance), kl_divergence(q, p))


def test_importance_weighted_is_minus_log_of_the_mean_weight():
    weights = torch.rand(5, 3) + 0.1
    torch.testing.assert_close(losses.importance_weighted_bound(weights.log()), -weights.mean(0).log())
    shifted = losses.importance_weighted_bound(weights.log() - 5000.0)  # exp would underflow
    torch.testing.assert_close(shifted, -weights.mean(0).log() + 5000.0)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2,)])
@pytest.mark.parametrize(("slope", "target"), [(0.0, 1.0), (1.0, 1.0), (2.5, 1.0), (3.0, 0.5), (3.0, 750.0)])
def test_gradient_penalty_of_a_linear_critic_is_closed_form_in_units_of_its_target(slope, target, shape):
    direction = torch.randn(shape)
    direction = slope * direction / direction.norm()
    real, fake = torch.randn(5, *shape), torch.randn(5, *shape)
    penalty = losses.gradient_penalty(lambda x: (x * direction).flatten(1).sum(1), real, fake, target=target)
    assert penalty.item() == pytest.approx((slope - target) ** 2 / target**2, rel=1e-4, abs=1e-5)


def test_gradient_penalty_is_taken_between_real_and_fake_and_reaches_the_critic():
    seen = []
    weight = torch.tensor(1.0, requires_grad=True)

    def critic(x):
        seen.append(x.detach())
        return weight * x.square().sum((1, 2, 3))

    real, fake = torch.zeros(64, 1, 2, 2), torch.ones(64, 1, 2, 2, requires_grad=True)
    losses.gradient_penalty(critic, real, fake).backward()
    points = seen[0][:, 0, 0, 0]
    assert 0 <= points.min() < 0.2 and 0.8 < points.max() <= 1
    torch.testing.assert_close(seen[0], points[:, None, None, None].expand(-1, 1, 2, 2))  # one alpha per image
    assert weight.grad.abs() > 0 and fake.grad is None
