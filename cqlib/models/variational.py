"""Variational inference for models with one vector of latent codes: the ELBO in training and in evaluation.

References: Kingma and Welling 2014 (reparametrised ELBO); Burda et al. 2016 (importance weights); Theis et al.
2016 (uniform dequantisation).
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from cqlib import losses
from cqlib.data.pixels import LN_LEVELS, dequantise
from cqlib.models.base import LikelihoodSystem, Losses


class VariationalModel(LikelihoodSystem):
    """z ~ N(0, I), x ~ p(x|z), q(z|x) = N(mean, diag(variance)) by `encoder`. Subclasses give ln p(x|z)."""

    bound = "ELBO"
    decoder_noise = True
    encoder: nn.Module

    def log_density(self, v: Tensor, z: Tensor) -> Tensor:
        """ln p(v|z) of dequantised images v (N, C, H, W) in [-1, 1) given z (N, d); -> (N,)."""
        raise NotImplementedError

    def _log_probability(self, v: Tensor, z: Tensor) -> Tensor:
        """ln p(v|z) in units of 8-bit cells, each of volume 128^-D."""
        return self.log_density(v, z) - math.prod(v.shape[1:]) * LN_LEVELS

    def _encode(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Dequantised images, mean and log-variance of q(z|x), and one draw of z."""
        v = dequantise(x, generator=generator)
        mean, log_variance = self.encoder(v)
        noise = torch.randn(mean.shape, device=mean.device, generator=generator)
        return v, mean, log_variance, mean + (0.5 * log_variance).exp() * noise

    def coverage_losses(self, x: Tensor) -> Losses:
        """L_C, Eqs. (3) and (4), by one reparametrised draw of z and the closed-form KL; uint8 (N, C, H, W)."""
        v, mean, log_variance, z = self._encode(x)
        kl = losses.kl_to_standard_normal(mean, log_variance)
        return {"coverage": losses.coverage_loss(self._log_probability(v, z), kl), "kl": kl.mean()}

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C alone."""
        terms = self.coverage_losses(x)
        return {**terms, "total": terms["coverage"]}

    def nats(self, x: Tensor, *, importance_samples: int = 1, generator: Generator | None = None) -> Tensor:
        """An upper bound on -ln P(x): the ELBO, or with k > 1 the importance-weighted bound over (u, z)."""
        draws = [self._log_weight(x, generator) for _ in range(importance_samples)]
        return losses.importance_weighted(torch.stack(draws))

    def _log_weight(self, x: Tensor, generator: Generator | None) -> Tensor:
        """ln p(x + u, z) / q(z|x + u) in units of 8-bit cells, for one draw of u and z: E[exp(.)] = P(x)."""
        v, mean, log_variance, z = self._encode(x, generator)
        zero = z.new_zeros(())
        log_prior = losses.gaussian_log_density(z, zero, zero)
        log_posterior = losses.gaussian_log_density(z, mean, 0.5 * log_variance)
        return self._log_probability(v, z) + log_prior - log_posterior
