"""Virtual batch normalisation: each example by statistics of a fixed reference batch and of itself.

Reference: Salimans et al., "Improved Techniques for Training GANs", NIPS 2016, section 3.5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VirtualBatchNorm(nn.Module):
    """(R + N, C) or (R + N, C, H, W), the R reference examples first -> the same shape, normalised per channel, plus b.

    An example's mean and mean square are those of the reference batch and of the example together, it weighing as
    much as any of the R; the reference examples are normalised by their own. No example depends on another one.
    """

    def __init__(self, channels: int, reference: int, eps: float = 1e-6):
        super().__init__()
        self.reference, self.eps = reference, eps
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()
        moments = torch.stack([h, h.square()])
        if h.dim() == 4:
            moments = moments.mean((3, 4))  # (2, R + N, C)
        r = self.reference
        shared = moments[:, :r].mean(1, keepdim=True)
        mixed = torch.lerp(shared, moments[:, r:], 1 / (r + 1))
        mean, square = torch.cat([shared.expand(-1, r, -1), mixed], dim=1)
        factor = (square - mean.square() + self.eps).rsqrt()
        shift = self.bias - mean * factor
        if h.dim() == 4:
            factor, shift = factor[..., None, None], shift[..., None, None]
        return h * factor + shift
