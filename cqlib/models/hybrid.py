"""The equations of CQ-F: a Gaussian decoder in the feature space of f, trained by L_C + lambda L_Q.

    z ~ p(z),   y ~ N(mu(z), diag(sigma(z)^2)),   x = f^-1(y)

Subclasses give the nets: latent variables with prior and posterior, the decoder, f. Reference and deviations are those
of `coverage_quality.py`.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from cqlib import losses
from cqlib.models.adversarial import AdversarialSystem, CriticConfig
from cqlib.models.base import Losses, frozen
from cqlib.models.variational import VariationalModel
from cqlib.nets.coupling import FlowConfig, RealNVP


@dataclass(frozen=True)
class CoverageQualityConfig:
    """Nets and switches of a model; f and critic are absent where None.

    `widths` and `norm` are the channels (finest resolution first) and the normalisation of encoder and decoder;
    `latent` is the dimension of z; `sigma_floor` the least sigma, in units of y, without f those of pixels in [-1, 1];
    `quality_weight` the lambda of L_C + lambda L_Q. `critic_input`: the critic sees a "sample"
    x ~ p_theta, as in Eq. (1), or, in ablations, the "mean" f^-1(mu(z)). `flow_updated_by`: which losses train f.
    """

    size: int
    widths: tuple[int, ...]
    latent: int = 64
    image_channels: int = 3
    norm: Literal["batch", "group", "none"] = "group"
    sigma_floor: float = 1 / 256
    flow: FlowConfig | None = None
    critic: CriticConfig | None = None
    quality_weight: float = 100.0
    critic_input: Literal["sample", "mean"] = "sample"
    flow_updated_by: Literal["both", "coverage"] = "both"


def mean_and_log_sigma(raw: Tensor, sigma_floor: float) -> tuple[Tensor, Tensor]:
    """A decoder's output (N, 2 C, S, S) -> mu and ln sigma, (N, C, S, S) each; sigma > `sigma_floor`."""
    mean, raw = raw.chunk(2, dim=1)
    # for raw near 0, as at the start of `Decoder`, sigma is near softplus(-1.5) = 0.2
    return mean, (sigma_floor + softplus(raw - 1.5)).log()


class HybridModel(VariationalModel, AdversarialSystem):
    """p_theta(x) = int p(z) p(x|z) dz with decoder mu, sigma, encoder q_phi(z|x), and perhaps f and a critic."""

    config: CoverageQualityConfig
    flow: RealNVP | None

    def prior(self, n: int, generator: Generator | None = None) -> Any:
        """n draws of z ~ p(z), the argument of `raw_decode`."""
        raise NotImplementedError

    def raw_decode(self, z: Any) -> Tensor:
        """The decoder's output (N, 2 C, S, S): mu(z), and sigma(z) before its activation."""
        raise NotImplementedError

    def decode(self, z: Any) -> tuple[Tensor, Tensor]:
        """mu(z) and ln sigma(z) of Eq. (6), two of (N, C, S, S)."""
        return mean_and_log_sigma(self.raw_decode(z), self.config.sigma_floor)

    def features(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(v) (N, C, S, S) and ln |det df/dv| (N,) of images v (N, C, S, S) in [-1, 1); without f, v and 0."""
        return self.flow(v) if self.flow is not None else (v, v.new_zeros(len(v)))

    def image(self, y: Tensor) -> Tensor:
        """x = f^-1(y), Eq. (7)."""
        return self.flow.inverse(y) if self.flow is not None else y

    def sample_features(self, z: Any, temperature: float, generator: Generator | None = None) -> Tensor:
        """y = mu(z) + T sigma(z) eps, (N, C, S, S), with T = `temperature` and eps ~ N(0, I)."""
        mean, log_sigma = self.decode(z)
        if temperature == 0:
            return mean
        noise = torch.randn(mean.shape, device=mean.device, generator=generator)
        return mean + temperature * log_sigma.exp() * noise

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """x = f^-1(y)."""
        return self.image(self.sample_features(self.prior(n, generator), temperature, generator))

    def log_density(self, v: Tensor, z: Any) -> Tensor:
        """ln p_x(v|z), Eq. (8), of dequantised images v (N, C, S, S) in [-1, 1); -> (N,)."""
        y, log_det = self.features(v)
        return losses.decoder_log_density(y, log_det, *self.decode(z))

    def fakes(self, x: Tensor) -> Tensor:
        """The critic's input (N, C, S, S): x ~ p_theta or f^-1(mu(z)), as `critic_input` says. With `flow_updated_by`
        "coverage" no gradient reaches the parameters of f."""
        fixed = self.flow if self.config.flow_updated_by == "coverage" else None
        with nullcontext() if fixed is None else frozen(fixed):
            return self.generate_like(x, 1.0 if self.config.critic_input == "sample" else 0.0)

    def generate_like(self, x: Tensor, temperature: float) -> Tensor:
        """One generated image for each of x, uint8 (N, C, S, S), at `temperature`; a conditional model takes the
        conditions of x."""
        return self.generate(len(x), temperature)

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C + lambda L_Q; L_C alone without a critic."""
        terms = self.coverage_losses(x)
        if self.critic is None:
            return terms
        terms["quality"] = self.quality_loss(self.fakes(x))
        return {**terms, "total": terms["total"] + self.config.quality_weight * terms["quality"]}
