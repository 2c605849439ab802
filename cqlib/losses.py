"""The equations of the paper, in its symbols, and losses of its baselines. Losses are batch means, in nats per image.

D(x) = sigmoid(l(x)): the nets return the logit l, so that every formula below is stable for any l.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Eq. (1), negated for descent: -E_train[ln D(x)] - E_theta[ln(1 - D(x))]; logits (N,), (M,) -> scalar."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def quality_loss(fake_logits: Tensor) -> Tensor:
    """Eq. (2): L_Q = -E[ln (D(G(z)) / (1 - D(G(z))))] = -E[l(G(z))], since D = sigmoid(l); (N,) -> scalar.

    The sum of Goodfellow's two generator losses; for the optimal D it is KL(p_theta || p_train). It is also the
    generator's loss where the critic has the hinge loss (Miyato et al. 2018, Eq. 17) or estimates W_1 (Arjovsky et al.
    2017, theorem 3).
    """
    return -fake_logits.mean()


def coverage_loss(log_p_x_given_z: Tensor, kl: Tensor) -> Tensor:
    """Minus the evidence lower bound: an upper bound on L_C = -(1/n) sum ln p_theta(x_i), Eqs. (3) and (4);
    (N,), (N,) -> scalar.

    The slides' Eq. (4) lacks the minus sign before the sum.
    """
    return (kl - log_p_x_given_z).mean()


def gaussian_log_density(y: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Eqs. (5) and (6): ln N(y; mu, diag(sigma^2)) in nats, summed over all but the first dimension:
    y (N, ...) -> (N,). `mean` and `log_sigma`, the log of the standard deviation, broadcast to the shape of `y`."""
    squared = ((y - mean) * (-log_sigma).exp()).square()
    terms = -0.5 * squared - log_sigma - 0.5 * math.log(2 * math.pi)
    return terms.flatten(1).sum(1)


def decoder_log_density(y: Tensor, log_det: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Eq. (8): ln p_x(x|z) = ln p_y(f(x)|z) + ln |det df/dx| in nats, from y = f(x) (N, ...), `log_det` =
    ln |det df/dx| (N,), and the decoder's `mean` and `log_sigma`, which broadcast to y; -> (N,)."""
    return gaussian_log_density(y, mean, log_sigma) + log_det


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) || N(0, I)) in closed form; (N, ...), (N, ...) -> (N,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    """-ln (1/k) sum_k w_k in nats, from ln w = ln p(x, z) - ln q(z|x) of k draws z, (k, N) -> (N,).

    The negative of Burda et al. 2016, Eq. 8; for k = 1 it is minus the ELBO. Its expectation never rises with k and
    never falls below -ln p(x).
    """
    return math.log(len(log_weights)) - torch.logsumexp(log_weights, dim=0)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, *, target: float = 1.0) -> Tensor:
    """E[(||grad_x l(x)||_2 / gamma - 1)^2] on random interpolates of real and fake (N, ...), gamma = `target`
    (Gulrajani et al. 2017; Karras et al. 2018, section 6.5, for gamma other than 1); -> scalar."""
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    x = torch.lerp(fake.detach(), real, alpha).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) / target - 1).square().mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """-E[ln D(G(z))], the generator's loss that goes with `discriminator_loss` (Goodfellow et al. 2014, section 3);
    (N,) -> scalar."""
    return softplus(-fake_logits).mean()


def saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """E[ln(1 - D(G(z)))], the generator's side of Eq. (1); (N,) -> scalar."""
    return -softplus(fake_logits).mean()


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E_train[max(0, 1 - l(x))] + E_theta[max(0, 1 + l(x))] (Miyato et al. 2018, Eq. 16, negated for descent);
    logits (N,), (M,) -> scalar."""
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def wasserstein_critic_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E_theta[l(x)] - E_train[l(x)]: for a 1-Lipschitz l, minus a lower bound on the distance W_1 (Arjovsky et al.
    2017); logits (N,), (M,) -> scalar."""
    return fake_logits.mean() - real_logits.mean()
