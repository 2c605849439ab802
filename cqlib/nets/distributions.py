"""Distributions of 8-bit pixels: discretised logistics and their mixtures.

References: Kingma et al. 2016, appendix; Salimans et al., "PixelCNN++", ICLR 2017, sections 2.1 and 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cqlib.pixels import LEVELS_PER_UNIT, cell_centres, to_uint8

MIN_LOG_SCALE = -7.0
"""A scale of e^-7 is about an eighth of a cell; smaller ones are raised to it."""


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """ln P(v) of values v in {0..255} for a logistic of location `mean` and scale exp(`log_scale`), both in units of
    [-1, 1]; elementwise over shapes that broadcast. The first and the last cell reach to infinity: the sum is 1.

    With a and b the standardised upper and lower edge and S the sigmoid, S(a) - S(b) = S(a) S(-b) (1 - e^(b - a)),
    which is exact in the tails, where the difference is 0.
    """
    log_scale = log_scale.clamp(min=MIN_LOG_SCALE)
    scale = (-log_scale).exp()
    lower = (x / LEVELS_PER_UNIT - 1 - mean) * scale
    width = scale / LEVELS_PER_UNIT
    below = logsigmoid(lower + width)  # ln P(value <= v)
    above = logsigmoid(-lower)  # ln P(value >= v)
    inside = below + above + torch.log(-torch.expm1(-width))
    return torch.where(x == 0, below, torch.where(x == 255, above, inside))


def outputs_per_component(channels: int) -> int:
    """How many numbers describe a component of a `LogisticMixture` at a pixel: weight, means, scales, coefficients."""
    return 1 + 2 * channels + channels * (channels - 1) // 2


@dataclass(frozen=True)
class LogisticMixture:
    """K components over C channels; "..." is any shape of pixels, the same throughout. With the discretised logistic P,

        P(x) = sum_k pi_k prod_c P(x_c | mu_kc(x_<c), s_kc),    mu_kc = m_kc + sum_{d<c} a_kcd x_d

    The channels of a pixel share the component k. Sums to 1 over all 256^C pixels, since each conditional does.
    """

    log_weights: Tensor
    """ln pi (N, K, ...)."""
    means: Tensor
    """m (N, C, K, ...), in units of [-1, 1]."""
    log_scales: Tensor
    """ln s (N, C, K, ...), clamped to at least `MIN_LOG_SCALE` in use."""
    coefficients: Tensor
    """a in (-1, 1) (N, C (C - 1) / 2, K, ...), in the order (1, 0), (2, 0), (2, 1) of (c, d)."""

    @classmethod
    def of(cls, outputs: Tensor, channels: int) -> LogisticMixture:
        """The mixture that a net's outputs (N, K `outputs_per_component`, ...) describe."""
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
        centres = cell_centres(x).to(self.means.dtype)
        terms = self.log_weights
        for c in range(x.shape[1]):
            mean = self.mean(c, centres[:, :c])
            terms = terms + discretised_logistic(x[:, c : c + 1], mean, self.log_scales[:, c])
        return terms.logsumexp(1)

    def sample(self, u: Tensor) -> Tensor:
        """Pixels (N, C, ...) as centres of cells, by inverting the distribution function: u (N, 1 + C, ...), uniform on
        [0, 1), selects the component, then one channel after the other."""
        below = self.log_weights.exp().cumsum(1) <= u[:, :1]
        k = below.sum(1, keepdim=True).clamp(max=below.shape[1] - 1).unsqueeze(1)  # (N, 1, 1, ...)

        def select(parameters: Tensor) -> Tensor:
            return parameters.gather(2, k.expand(-1, parameters.shape[1], *k.shape[2:]))

        one = LogisticMixture(k, select(self.means), select(self.log_scales), select(self.coefficients))
        noise = one.log_scales.clamp(min=MIN_LOG_SCALE).exp() * torch.logit(u[:, 1:]).unsqueeze(2)
        x = torch.empty_like(one.means.squeeze(2))
        for c in range(x.shape[1]):
            x[:, c] = cell_centres(to_uint8(one.mean(c, x[:, :c]) + noise[:, c])).squeeze(1)
        return x
