"""Batch normalisation for flows: batch statistics in training, their running averages in evaluation.

References: Ioffe and Szegedy 2015; Dinh et al. 2017, section 3.7 and appendix E; layers as in the authors' code.

Deviations:
- The running averages start from the first batch (their rate falls as 1 / t down to `DECAY`); the authors' code starts
  them at mean 0 and variance 1.
- A batch whose statistics are not finite leaves no trace: the loop skips its step, and the averages skip it too.
- `OutputNorm` takes its moments over the pixels that it normalises. The authors' code takes them over the masked image,
  the zeros in place of kept pixels included: variances come out halved, so that what a checkerboard coupling hands to
  the N(0, I) prior has variance 2 at best, at a cost of up to (1 - ln 2) / 2 nats, 0.22 bits, in each such dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from cqlib.nets.precision import at_least_fp32

DECAY = 0.1
"""Weight of a new batch in the running averages."""
EPSILON = 1e-4
"""Added to every variance."""


class RunningMoments(nn.Module):
    """Mean and variance by channel, each (C,), averaged over training batches."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Take in the moments of one batch; those of a batch that is not finite are left out."""
        rate = (1 / (self.batches + 1)).clamp(min=DECAY)
        finite = torch.isfinite(mean + variance).all()
        for old, new in ((self.mean, mean), (self.variance, variance)):
            old.copy_(torch.where(finite, old + rate * (new - old), old))
        self.batches += finite


class HiddenNorm(nn.Module):
    """Within the nets: (h - mean) / sqrt(variance + eps) + beta by channel, with no scale; (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(channels))
        self.running = RunningMoments(channels)

    def forward(self, h: Tensor) -> Tensor:
        r, one = self.running, torch.ones_like(self.beta)
        if not self.training:
            return batch_norm(h, r.mean, r.variance, one, self.beta, False, 0.0, EPSILON)
        # at momentum 1 torch leaves the batch's own moments, its variance with Bessel's correction, which is undone
        mean, variance = torch.zeros_like(r.mean), torch.zeros_like(r.variance)
        out = batch_norm(h, mean, variance, one, self.beta, True, 1.0, EPSILON)
        n = h.numel() // h.shape[1]
        r.update(mean, variance * ((n - 1) / n))
        return out


class OutputNorm(nn.Module):
    """After a coupling: (y - mean) / sqrt(variance + eps) by channel, an elementwise map of the flow."""

    def __init__(self, channels: int):
        super().__init__()
        self.running = RunningMoments(channels)

    def moments(self, y: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance + eps, each (1, C, 1, 1), of y (N, C, H, W) where `live` (1, 1, H, W) is 1: the batch's
        in training, with gradients, and the averages in evaluation."""
        r = self.running
        if self.training:
            y = at_least_fp32(y)
            count = len(y) * live.sum()
            mean = (live * y).sum((0, 2, 3), keepdim=True) / count
            variance = (live * (y - mean).square()).sum((0, 2, 3), keepdim=True) / count
            r.update(mean.detach().flatten(), variance.detach().flatten())
        else:
            mean, variance = r.mean.view(1, -1, 1, 1), r.variance.view(1, -1, 1, 1)
        return mean, variance + EPSILON

    def forward(self, y: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised y, and ln |dy'/dy| of each of its elements by channel, (1, C, 1, 1)."""
        mean, variance = self.moments(y, live)
        return (y - mean) * variance.rsqrt(), -0.5 * variance.log()

    def inverse(self, y: Tensor) -> Tensor:
        """What `forward` in evaluation mode sent to y."""
        r = self.running
        return y * (r.variance + EPSILON).sqrt().view(1, -1, 1, 1) + r.mean.view(1, -1, 1, 1)
