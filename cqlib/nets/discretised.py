"""Probabilities of 8-bit values under a logistic distribution that is cut into cells.

Reference: Kingma et al. 2016, appendix; Salimans et al., "PixelCNN++", ICLR 2017, Eq. (2). A value v owns the cell
[v/128 - 1, (v+1)/128 - 1) of `cqlib.pixels`, the first and the last one reach to infinity: the 256 probabilities
sum to 1 whatever the parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cqlib.pixels import LEVELS_PER_UNIT

MIN_LOG_SCALE = -7.0
"""A scale below e^-7 is an eighth of a cell: whatever is narrower gives the same probabilities."""


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """ln P(v) of values v in {0..255} for a logistic of location `mean` and scale exp(`log_scale`), both in units of
    [-1, 1]; elementwise over shapes that broadcast.

    With a and b the standardised upper and lower edge of the cell and S the sigmoid,
    S(a) - S(b) = S(a) S(-b) (1 - e^(b - a)): exact in the tails, where the difference itself would be 0.
    """
    log_scale = log_scale.clamp(min=MIN_LOG_SCALE)
    scale = (-log_scale).exp()
    lower = (x / LEVELS_PER_UNIT - 1 - mean) * scale
    width = scale / LEVELS_PER_UNIT
    below = logsigmoid(lower + width)  # ln P(value <= v)
    above = logsigmoid(-lower)  # ln P(value >= v)
    inside = below + above + torch.log(-torch.expm1(-width))
    return torch.where(x == 0, below, torch.where(x == 255, above, inside))
