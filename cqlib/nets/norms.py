"""Normalisation layers: batch (Ioffe and Szegedy 2015) and spectral (Miyato et al. 2018).

A batch whose statistics are not finite leaves all running averages as they were: the training loop skips its step, but
a NaN in an average would stay.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def keep_finite(averages: Sequence[Tensor], updated: Sequence[Tensor]) -> None:
    """Copy `updated` moments, each (C,), into the running `averages`, if all of them are finite."""
    finite = torch.stack([torch.isfinite(moment).all() for moment in updated]).all()
    for average, new in zip(averages, updated, strict=True):
        average.copy_(torch.where(finite, new, average))


class _FiniteBatchNorm(nn.modules.batchnorm._BatchNorm):
    """torch's batch normalisation, except that moments that are not finite do not enter the running averages."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        self.num_batches_tracked += 1
        # copies, since the backward pass keeps a reference to the averages it was given
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        y = batch_norm(x, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
        keep_finite((self.running_mean, self.running_var), (mean, variance))
        return y


class BatchNorm1d(_FiniteBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d`, (N, C) -> (N, C)."""


class BatchNorm2d(_FiniteBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d`, (N, C, H, W) -> (N, C, H, W)."""


class ShiftedBatchNorm(nn.Module):
    """Batch normalisation with a learned shift (beta) and no scale (gamma), (N, C, ...) -> the same shape."""

    def __init__(self, channels: int, kind: type[BatchNorm1d] | type[BatchNorm2d] = BatchNorm2d, *, eps: float = 1e-5):
        super().__init__()
        self.norm = kind(channels, eps=eps, affine=False)
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.beta.view(-1, *[1] * (x.dim() - 2))


class SpectrallyNormalised(nn.Module):
    """`net` with every convolution's and dense layer's weight W replaced by W / sigma(W); biases are free.

    sigma is the largest singular value of the matrix with one row per output channel, by one power iteration per
    forward pass in training (Miyato et al. 2018, algorithm 1).
    """

    def __init__(self, net: nn.Module):
        """`net` has its initial weights, from which the power iteration starts."""
        super().__init__()
        self.net = net
        for layer in self.layers():
            spectral_norm(layer)

    def layers(self) -> list[nn.Module]:
        """The layers whose `weight` is normalised."""
        return [layer for layer in self.net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        with parametrize.cached():
            # in fp32 before the pass: under autocast torch's power iteration mixes bf16 with fp32, which fails on a GPU
            with torch.autocast(x.device.type, enabled=False):
                for layer in self.layers():
                    _ = layer.weight
            return self.net(x)
