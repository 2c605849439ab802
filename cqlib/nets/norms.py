"""Normalisation layers.

| layer | statistics | reference |
|---|---|---|
| `BatchNorm1d`, `BatchNorm2d` | torch's | Ioffe and Szegedy 2015 |
| `HiddenNorm`, `OutputNorm` | of flows: running averages from the first batch on | Dinh et al. 2017, sec. 3.7 |
| `GroupNorm` | torch's | Wu and He 2018 |
| `SpectrallyNormalised` | weights divided by their largest singular value | Miyato et al. 2018, sec. 2.1 |

A batch whose statistics are not finite leaves all running averages as they were: the training loop skips its step, but
a NaN in an average would stay.

Deviations:
- The running averages of flows start from the first batch (their rate falls as 1 / t down to `DECAY`); the code of
  Dinh et al. starts them at mean 0 and variance 1.
- `OutputNorm` takes its moments over the pixels that it normalises. The code of Dinh et al. includes the zeros of
  masked pixels, which halves the variances, at a cost of up to (1 - ln 2) / 2 nats, 0.22 bits, per such dimension.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from cqlib.nets.precision import at_least_fp32

DECAY = 0.1
"""Weight of a new batch in the running averages of flows."""
EPSILON = 1e-4
"""Added to every variance of flows."""
SMALL_GROUP = 16
"""Channels per group below which the CPU's bf16 kernel for channels last takes 2 to 6 times as long as fp32."""


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
        finite = torch.isfinite(mean + variance).all()
        for average, new in ((self.running_mean, mean), (self.running_var, variance)):
            average.copy_(torch.where(finite, new, average))
        return y


class BatchNorm1d(_FiniteBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d`, (N, C) -> (N, C)."""


class BatchNorm2d(_FiniteBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d`, (N, C, H, W) -> (N, C, H, W)."""


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, (N, C, H, W) -> (N, C, H, W); on a CPU small groups of bf16 are normalised in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16 and x.device.type == "cpu" and self.num_channels < SMALL_GROUP * self.num_groups:
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class RunningMoments(nn.Module):
    """Mean and variance per channel, each (C,), averaged over training batches."""

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Average in the moments of one batch, unless they are not finite."""
        rate = (1 / (self.batches + 1)).clamp(min=DECAY)
        finite = torch.isfinite(mean + variance).all()
        for old, new in ((self.mean, mean), (self.variance, variance)):
            old.copy_(torch.where(finite, old + rate * (new - old), old))
        self.batches += finite


class HiddenNorm(nn.Module):
    """Inside the nets of a flow: (h - mean) / sqrt(variance + eps) + beta per channel, without scale; (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(channels))
        self.running = RunningMoments(channels)

    def forward(self, h: Tensor) -> Tensor:
        r, one = self.running, torch.ones_like(self.beta)
        if not self.training:
            return batch_norm(h, r.mean, r.variance, one, self.beta, False, 0.0, EPSILON)
        # at momentum 1 torch returns the batch's own moments, the variance with Bessel's correction, undone below
        mean, variance = torch.zeros_like(r.mean), torch.zeros_like(r.variance)
        out = batch_norm(h, mean, variance, one, self.beta, True, 1.0, EPSILON)
        n = h.numel() // h.shape[1]
        r.update(mean, variance * ((n - 1) / n))
        return out


class OutputNorm(nn.Module):
    """After a coupling: (y - mean) / sqrt(variance + eps) per channel, an elementwise map of the flow."""

    def __init__(self, channels: int):
        super().__init__()
        self.running = RunningMoments(channels)

    def forward(self, y: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised y (N, C, H, W), and ln |dy'/dy| of each of its elements per channel, (1, C, 1, 1). Moments are
        over the places where `live` (1, 1, H, W) is 1: the batch's in training, the averages in evaluation."""
        r = self.running
        if self.training:
            y = at_least_fp32(y)
            count = len(y) * live.sum()
            mean = (live * y).sum((0, 2, 3), keepdim=True) / count
            variance = (live * (y - mean).square()).sum((0, 2, 3), keepdim=True) / count
            r.update(mean.detach().flatten(), variance.detach().flatten())
        else:
            mean, variance = r.mean.view(1, -1, 1, 1), r.variance.view(1, -1, 1, 1)
        variance = variance + EPSILON
        return (y - mean) * variance.rsqrt(), -0.5 * variance.log()

    def inverse(self, y: Tensor) -> Tensor:
        """The inverse of `forward` in evaluation mode."""
        r = self.running
        return y * (r.variance + EPSILON).sqrt().view(1, -1, 1, 1) + r.mean.view(1, -1, 1, 1)


class SpectrallyNormalised(nn.Module):
    """`net` with every convolution's and dense layer's weight W replaced by W / sigma(W); biases are free.

    sigma is the largest singular value of the matrix with one row per output channel, by one power iteration per
    forward pass in training (Miyato et al. 2018, algorithm 1).
    """

    def __init__(self, net: nn.Module):
        """`net` has its initial weights, from which the power iteration starts."""
        super().__init__()
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_norm(layer)
        self.net = net

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
