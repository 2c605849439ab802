"""Models with a latent z, trained and measured by the bound of an encoder q(z|x)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from cqlib import losses
from cqlib.models.base import LikelihoodSystem, Losses
from cqlib.pixels import LN_LEVELS, cell_centres, dequantise


@dataclass(frozen=True)
class Inference:
    """One reparametrised draw from q_phi(z|x)."""

    z: Any
    """The draw: a vector (N, latent), or what else the model's `log_density` takes."""
    kl: dict[str, Tensor]
    """Layer -> (N,): KL(q || p) of that layer's latent variables, in nats; closed form where there is one."""
    log_ratio: Tensor
    """(N,): ln p(z) - ln q(z|x) at the draw."""
    free_bits: Tensor | None = None
    """(): >= 0, what the training objective adds to the true KL to make up the free bits; None without free bits."""


class VariationalModel(LikelihoodSystem):
    """p(x) = int p(z) p(x|z) dz, trained and measured by the ELBO (Kingma and Welling 2014; Burda et al. 2016).

    A subclass defines `log_density`, ln p(v|z), and has an `encoder` that returns mean and log-variance of a vector z,
    or overrides `infer`. One whose decoder gives probabilities of 8-bit values sets `dequantised` to False and
    overrides `log_probability` instead.
    """

    bound = "ELBO"
    encoder: nn.Module

    def continuous(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """uint8 images x -> the nets' input v in [-1, 1): a uniform point of each pixel's cell, or its centre where the
        model is not `dequantised`."""
        return dequantise(x, generator=generator) if self.dequantised else cell_centres(x)

    def infer(self, v: Tensor, generator: Generator | None = None) -> Inference:
        """z ~ q_phi(z|v) = N(mean, variance) for images v (N, C, H, W) in [-1, 1); the prior is N(0, I)."""
        mean, log_variance = self.encoder(v)
        noise = torch.randn(mean.shape, device=mean.device, generator=generator)
        z = mean + (0.5 * log_variance).exp() * noise
        zero = z.new_zeros(())
        log_prior = losses.gaussian_log_density(z, zero, zero)
        log_posterior = losses.gaussian_log_density(z, mean, 0.5 * log_variance)
        return Inference(z, {"z": losses.kl_to_standard_normal(mean, log_variance)}, log_prior - log_posterior)

    def log_density(self, v: Tensor, z: Any) -> Tensor:
        """ln p(v|z) of dequantised images v (N, C, H, W) in [-1, 1) given z; -> (N,)."""
        raise NotImplementedError

    def log_probability(self, v: Tensor, z: Any) -> Tensor:
        """ln P(x|z) of 8-bit images, (N,) in nats. For dequantised models: ln p(v|z) - D ln 128, the density times the
        volume 128^-D of an 8-bit cell."""
        return self.log_density(v, z) - math.prod(v.shape[1:]) * LN_LEVELS

    def coverage_losses(self, x: Tensor) -> Losses:
        """L_C, Eqs. (3) and (4), by one draw of z, on uint8 (N, C, H, W); "total" is L_C plus `Inference.free_bits`.

        "kl" is the true KL summed over layers; where there are several, "kl/NAME" is that of one.
        """
        v = self.continuous(x)
        q = self.infer(v)
        kl = torch.stack(list(q.kl.values())).sum(0)
        terms = {"coverage": losses.coverage_loss(self.log_probability(v, q.z), kl), "kl": kl.mean()}
        if len(q.kl) > 1:
            terms |= {f"kl/{name}": value.mean() for name, value in q.kl.items()}
        if q.free_bits is None:
            return {**terms, "total": terms["coverage"]}
        return {**terms, "free_bits": q.free_bits, "total": terms["coverage"] + q.free_bits}

    def generator_losses(self, x: Tensor) -> Losses:
        return self.coverage_losses(x)

    def kl_by_layer(self, x: Tensor, *, generator: Generator | None = None) -> dict[str, Tensor]:
        """uint8 (N, C, H, W) -> layer -> (N,): the KL of each layer's latent variables, in nats per image."""
        return self.infer(self.continuous(x, generator), generator).kl

    def log_weight(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """ln (p(v, z) / q(z|v)) (N,), p(v|z) in units of 8-bit cells; the mean over draws of v and z is the ELBO."""
        v = self.continuous(x, generator)
        q = self.infer(v, generator)
        return self.log_probability(v, q.z) + q.log_ratio
