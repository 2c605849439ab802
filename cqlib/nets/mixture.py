"""A mixture of discretised logistics over the channels of a pixel, each channel's mean linear in those before.

Reference: Salimans, Karpathy, Chen, Kingma, "PixelCNN++: Improving the PixelCNN with discretized logistic mixture
likelihood and other modifications", ICLR 2017, sections 2.1 and 2.2:

    P(x) = sum_k pi_k prod_c P(x_c | mu_kc(x_<c), s_kc),    mu_kc = m_kc + sum_{d<c} a_kcd x_d

Channels of one pixel share the component k. Sums to 1 over all 256^C pixels whatever the parameters, since each
conditional does (`discretised.discretised_logistic`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cqlib.nets.discretised import MIN_LOG_SCALE, discretised_logistic
from cqlib.pixels import to_signed, to_uint8


def outputs_per_component(channels: int) -> int:
    """Numbers that a net gives per pixel and component: weight, means, scales, coefficients; 10 for three channels,
    3 for one."""
    return 1 + 2 * channels + channels * (channels - 1) // 2


@dataclass(frozen=True)
class LogisticMixture:
    """K components over C channels; "..." is any shape of pixels, the same throughout."""

    log_weights: Tensor
    """ln pi (N, K, ...)."""
    means: Tensor
    """m (N, C, K, ...), in units of [-1, 1]."""
    log_scales: Tensor
    """ln s (N, C, K, ...); what is below `MIN_LOG_SCALE` counts as that."""
    coefficients: Tensor
    """a in (-1, 1) (N, C (C - 1) / 2, K, ...), in the order (1, 0), (2, 0), (2, 1) of (c, d)."""

    @classmethod
    def of(cls, outputs: Tensor, channels: int) -> LogisticMixture:
        """From what a net gives, (N, K `outputs_per_component`, ...)."""
        pairs = channels * (channels - 1) // 2
        table = outputs.unflatten(1, (outputs_per_component(channels), -1))
        logits, means, log_scales, a = table.split([1, channels, channels, pairs], dim=1)
        return cls(logits.squeeze(1).log_softmax(1), means, log_scales, a.tanh())

    def mean(self, c: int, earlier: Tensor) -> Tensor:
        """mu_c (N, K, ...) given the channels before c, (N, c, ...) as centres of cells in (-1, 1)."""
        first = c * (c - 1) // 2
        return self.means[:, c] + (self.coefficients[:, first : first + c] * earlier.unsqueeze(2)).sum(1)

    def log_probability(self, x: Tensor) -> Tensor:
        """ln P of uint8 pixels (N, C, ...), -> (N, ...); of the first channels alone where x has fewer than C."""
        centres = to_signed(x).to(self.means.dtype)
        terms = self.log_weights
        for c in range(x.shape[1]):
            mean = self.mean(c, centres[:, :c])
            terms = terms + discretised_logistic(x[:, c : c + 1], mean, self.log_scales[:, c])
        return terms.logsumexp(1)

    def sample(self, u: Tensor) -> Tensor:
        """Pixels (N, C, ...) as centres of cells, by the inverse of the distribution function: u (N, 1 + C, ...)
        uniform on [0, 1) chooses the component, then channel after channel."""
        below = self.log_weights.exp().cumsum(1) <= u[:, :1]
        k = below.sum(1, keepdim=True).clamp(max=below.shape[1] - 1).unsqueeze(1)  # (N, 1, 1, ...)

        def chosen(of_each: Tensor) -> Tensor:
            return of_each.gather(2, k.expand(-1, of_each.shape[1], *k.shape[2:]))

        one = LogisticMixture(k, chosen(self.means), chosen(self.log_scales), chosen(self.coefficients))
        noise = one.log_scales.clamp(min=MIN_LOG_SCALE).exp() * torch.logit(u[:, 1:]).unsqueeze(2)
        x = torch.empty_like(one.means.squeeze(2))
        for c in range(x.shape[1]):
            x[:, c] = to_signed(to_uint8(one.mean(c, x[:, :c]) + noise[:, c])).squeeze(1)
        return x
