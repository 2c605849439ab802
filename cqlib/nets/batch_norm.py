"""Batch normalisation whose running averages outlive a batch that is not finite.

The loop skips the step of such a batch, but by then `nn.BatchNorm2d` has averaged its moments in, and one NaN there
stays for good: every later sample in evaluation mode would be NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm


class _Lasting(nn.modules.batchnorm._BatchNorm):
    """Moments that are not finite leave the running averages as they were; all else is torch's."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        self.num_batches_tracked += 1
        # of copies, for the backward pass keeps hold of what the averages were given in
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        y = batch_norm(x, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
        finite = torch.isfinite(mean + variance).all()
        for average, new in ((self.running_mean, mean), (self.running_var, variance)):
            average.copy_(torch.where(finite, new, average))
        return y


class BatchNorm1d(_Lasting, nn.BatchNorm1d):
    """`nn.BatchNorm1d`, (N, C) -> (N, C)."""


class BatchNorm2d(_Lasting, nn.BatchNorm2d):
    """`nn.BatchNorm2d`, (N, C, H, W) -> the same shape."""
