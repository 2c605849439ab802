"""Real NVP as its authors' code has it: masked couplings at full resolution, batch and weight norm, several scales.

Reference: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017, sections 3.3 to 3.7, and the
authors' code (tensorflow/models, research/real_nvp). The f of CQ-F is the smaller one in `coupling.py`.

Deviations:
- The learned scale of ln s is clamped to [-`MAX_LOG_SCALE`, `MAX_LOG_SCALE`], so that exp never overflows.
- Moments of the norm after a coupling are over the pixels that it normalises. The authors' code includes the zeros of
  masked pixels, which halves the variances, at a cost of up to (1 - ln 2) / 2 nats, 0.22 bits, per such dimension.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cqlib.nets.conv import at_least_fp32
from cqlib.nets.coupling import MultiScale
from cqlib.nets.norms import ShiftedBatchNorm
from cqlib.nets.weight_norm import weight_norm

MAX_LOG_SCALE = 4.0
"""|ln s| stays below this: one coupling cannot scale by more than e^4 before its batch norm."""
MOMENTUM = 0.1
"""Weight of a new batch in running averages."""
EPSILON = 1e-4
"""Added to every variance."""


class OutputNorm(nn.Module):
    """After a coupling: (y - mean) / sqrt(variance + eps) per channel, an elementwise map of the flow."""

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, y: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised y (N, C, H, W), and ln |dy'/dy| of each of its elements per channel, (1, C, 1, 1). Moments are
        over the places where `live` (1, 1, H, W) is 1: the batch's in training, the averages in evaluation."""
        if self.training:
            y = at_least_fp32(y)
            count = len(y) * live.sum()
            mean = (live * y).sum((0, 2, 3), keepdim=True) / count
            variance = (live * (y - mean).square()).sum((0, 2, 3), keepdim=True) / count
            self.mean.lerp_(mean.detach().flatten(), MOMENTUM)
            self.variance.lerp_(variance.detach().flatten(), MOMENTUM)
        else:
            mean, variance = self.mean.view(1, -1, 1, 1), self.variance.view(1, -1, 1, 1)
        variance = variance + EPSILON
        return (y - mean) * variance.rsqrt(), -0.5 * variance.log()

    def inverse(self, y: Tensor) -> Tensor:
        """The inverse of `forward` in evaluation mode."""
        return y * (self.variance + EPSILON).sqrt().view(1, -1, 1, 1) + self.mean.view(1, -1, 1, 1)


def conv(a: int, b: int, kernel: int, *, bias: bool = True, scaled: bool = True) -> nn.Module:
    """A weight-normalised convolution: v starts from U(-s, s) with s = sqrt(2 / a), g at s sqrt(k^2 a / 12), or it is 1
    throughout where the layer is not `scaled`."""
    layer, s = nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=bias), math.sqrt(2 / a)
    nn.init.uniform_(layer.weight, -s, s)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return weight_norm(layer, length=s * kernel * math.sqrt(a / 12) if scaled else 1.0, trained_length=scaled)


def normalised_conv(a: int, b: int, kernel: int, **options: bool) -> list[nn.Module]:
    """Batch norm, ReLU and a convolution."""
    return [ShiftedBatchNorm(a, eps=EPSILON), nn.ReLU(), conv(a, b, kernel, **options)]


class CouplingResNet(nn.Module):
    """(N, a, H, W) -> (N, b, H, W): 3x3 convolution, `blocks` pre-activation residual blocks, and a 1x1 convolution
    of the sum of the outputs of stem and blocks, each through a 1x1 convolution of its own (the skip path)."""

    def __init__(self, a: int, b: int, width: int, blocks: int):
        super().__init__()
        w = width
        self.stem = conv(a, w, 3, scaled=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(*normalised_conv(w, w, 3, bias=False, scaled=False), *normalised_conv(w, w, 3))
            for _ in range(blocks)
        )
        self.skips = nn.ModuleList(conv(w, w, 1) for _ in range(blocks + 1))
        self.out = nn.Sequential(*normalised_conv(w, b, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        total = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            h = h + block(h)
            total = total + skip(h)
        return self.out(total)


def checkerboard(x: Tensor, parity: int) -> Tensor:
    """(1, 1, H, W): 1 at the pixels of x (N, C, H, W) whose row + column is of that parity, 0 elsewhere."""
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape[2:])
    return ((rows[:, None] + columns + parity) % 2 == 0).to(x.dtype)[None, None]


class MaskedCoupling(nn.Module):
    """y1 = x1; y2 = norm((x2 + t(x1)) exp(ln s(x1))), with ln s = a tanh(.) and a learned scalar a.

    Groups of a checkerboard are whole images, 0 at the other group's pixels: `parity` says which pixels x1 has, and
    the net sees the mask too. Without `parity` the groups are different channels. Either has `channels` channels.
    """

    def __init__(self, channels: int, *, width: int, blocks: int, parity: int | None = None):
        super().__init__()
        self.parity = parity
        masked = parity is not None
        self.norm_in, self.norm_out = ShiftedBatchNorm(channels, eps=EPSILON), OutputNorm(channels)
        self.net = CouplingResNet(2 * channels + masked, 2 * channels, width, blocks)
        self.scale = nn.Parameter(torch.tensor(0.0 if masked else 1.0))

    def shift_and_log_scale(self, x1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """t and ln s (N, C, H, W), and where the second group lives, (1, 1, H, W) of 0 and 1."""
        h = self.norm_in(x1)
        if self.parity is None:
            live = x1.new_ones(1, 1, *x1.shape[2:])
            h = torch.cat([h, -h], dim=1)
        else:
            mask = checkerboard(x1, self.parity)
            live = 1 - mask
            h = torch.cat([2 * h, -2 * h, mask.expand(len(h), -1, -1, -1)], dim=1)
        t, raw = at_least_fp32(self.net(h.relu())).chunk(2, dim=1)
        return live * t, live * self.scale.clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE) * raw.tanh(), live

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """The changed group y2, and the log-determinant (N,)."""
        t, log_s, live = self.shift_and_log_scale(x1)
        y, of_norm = self.norm_out((x2 + t) * log_s.exp(), live)
        return live * y, (log_s + live * of_norm).flatten(1).sum(1)

    def inverse(self, y1: Tensor, y2: Tensor) -> Tensor:
        """The inverse of `forward` in evaluation mode: x2."""
        t, log_s, live = self.shift_and_log_scale(y1)
        return live * (self.norm_out.inverse(y2) * (-log_s).exp() - t)


@dataclass(frozen=True)
class MultiScaleConfig:
    """Number of `scales`; `width` of the coupling nets at the finest scale, which doubles at each halving of the
    resolution; residual `blocks` per coupling net."""

    scales: int
    width: int
    blocks: int


def masked(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (N, C, H, W) with the pixels of odd, and of even row + column set to 0."""
    return checkerboard(x, 0) * x, checkerboard(x, 1) * x


def by_place(x: Tensor) -> Tensor:
    """Channels (image channel, place in the 2x2 cell) -> (place, image channel), as the authors' squeeze orders them:
    the next scale's channel couplings then set one place against the other."""
    return x.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)


def by_channel(x: Tensor) -> Tensor:
    """The inverse of `by_place`."""
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


class MultiScaleRealNVP(MultiScale):
    """The f of NVP on images (N, channels, S, S), S a multiple of 2^(scales - 1) and greater.

    Every scale but the last: three checkerboard couplings; squeezed, three channel couplings; then the pixels of odd
    row + column are factored out. The last scale: four checkerboard couplings. In evaluation mode it is invertible.
    """

    split, join = staticmethod(masked), staticmethod(torch.add)
    to_coarser, from_coarser = staticmethod(by_place), staticmethod(by_channel)

    def __init__(self, channels: int, config: MultiScaleConfig):
        super().__init__()
        c, last = config, config.scales == 1
        self.couplings = nn.ModuleList(
            MaskedCoupling(channels, width=c.width, blocks=c.blocks, parity=k % 2) for k in range(4 if last else 3)
        )
        if not last:
            self.channel_couplings = nn.ModuleList(
                MaskedCoupling(2 * channels, width=2 * c.width, blocks=c.blocks) for _ in range(3)
            )
            self.coarser = MultiScaleRealNVP(2 * channels, replace(c, scales=c.scales - 1, width=2 * c.width))
