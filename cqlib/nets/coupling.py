"""Real-NVP coupling layers: the invertible f between image space x and feature space y, Eqs. (6) to (8).

Reference: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017, sections 3.2 to 3.4.

Deviations:
- y2 = t(x1) + diag(s(x1)) x2 as on the slides (the reference code multiplies after adding).
- Weight normalisation only. Batch normalisation in f would see two populations in hybrid training, images in f
  and samples in f^-1, and evaluate both with one set of running statistics.
- The log-scale is bounded by `MAX_LOG_SCALE`, so that exp never overflows.
- The nets see the two colours of the checkerboard packed as channels at half the resolution (the reference code
  masks them at full resolution and computes twice the pixels, half of them for nothing). The partition, the
  triangular Jacobian and the inverse are the same; a 3x3 convolution here spans 6x6 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torch.nn.utils.parametrizations import weight_norm

from cqlib.nets.precision import at_least_fp32

MAX_LOG_SCALE = 4.0
"""|ln s| stays below this: one layer cannot scale by more than e^4."""


@dataclass(frozen=True)
class FlowConfig:
    """f: `couplings` alternating checkerboard couplings, their nets `width` channels wide with `blocks` blocks."""

    couplings: int = 3
    width: int = 32
    blocks: int = 2


class CouplingNet(nn.Module):
    """The functions t and ln s: a weight-normalised residual CNN, (N, c_in, H, W) -> two of (N, c_out, H, W).

    Real NVP's net: 3x3 convolution, `blocks` pre-activation residual blocks of two 3x3 convolutions, 1x1 out.
    ln s = MAX tanh(a r / MAX) with a learned scalar a that starts at 0: s = 1 at the start.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, blocks: int):
        super().__init__()

        def conv(a: int, b: int, kernel: int) -> nn.Module:
            return weight_norm(nn.Conv2d(a, b, kernel, padding=kernel // 2))

        self.stem = conv(in_channels, width, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), conv(width, width, 3), nn.ReLU(), conv(width, width, 3)) for _ in range(blocks)
        )
        self.out = conv(width, 2 * out_channels, 1)
        self.scale = nn.Parameter(torch.zeros(()))
        with torch.no_grad():  # t starts near 0, so that f starts near the identity
            self.out.parametrizations.weight.original0.mul_(0.1)
            self.out.bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        t, r = at_least_fp32(self.out(h.relu())).chunk(2, dim=1)
        return t, MAX_LOG_SCALE * torch.tanh(self.scale * r / MAX_LOG_SCALE)


class Coupling(nn.Module):
    """y1 = x1; y2 = t(x1) + s(x1) x2 on a pair of groups. ln |det| = sum ln s(x1)."""

    def __init__(self, channels: int, *, width: int, blocks: int):
        super().__init__()
        self.net = CouplingNet(channels, channels, width, blocks)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """The changed group y2, and the log-determinant (N,)."""
        t, log_s = self.net(x1)
        return t + log_s.exp() * x2, log_s.flatten(1).sum(1)

    def inverse(self, y1: Tensor, y2: Tensor) -> Tensor:
        """The group x2 that `forward` sent to y2, in one pass: s and t need not be inverted."""
        t, log_s = self.net(y1)
        return (y2 - t) * (-log_s).exp()


def split_checkerboard(x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W), H and W even -> the pixels with even and with odd row + column, each (N, 2C, H/2, W/2)."""
    n, c, h, w = x.shape
    cells = pixel_unshuffle(x, 2).view(n, c, 4, h // 2, w // 2)  # within a 2x2 cell: 0 1 / 2 3
    return cells[:, :, [0, 3]].flatten(1, 2), cells[:, :, [1, 2]].flatten(1, 2)


def join_checkerboard(even: Tensor, odd: Tensor) -> Tensor:
    """The inverse of `split_checkerboard`."""
    e, o = even.unflatten(1, (-1, 2)), odd.unflatten(1, (-1, 2))
    cells = torch.stack([e[:, :, 0], o[:, :, 0], o[:, :, 1], e[:, :, 1]], dim=2)
    return pixel_shuffle(cells.flatten(1, 2), 2)


class RealNVP(nn.Module):
    """f of Eqs. (7) and (8): alternating checkerboard couplings at one scale, x and y both (N, C, S, S)."""

    def __init__(self, channels: int, config: FlowConfig):
        super().__init__()
        self.couplings = nn.ModuleList(
            Coupling(2 * channels, width=config.width, blocks=config.blocks) for _ in range(config.couplings)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x), and ln |det df/dx| (N,)."""
        groups = list(split_checkerboard(x))
        log_det = x.new_zeros(len(x))
        for k, coupling in enumerate(self.couplings):
            kept, changed = k % 2, 1 - k % 2
            groups[changed], term = coupling(groups[kept], groups[changed])
            log_det = log_det + term
        return join_checkerboard(*groups), log_det

    def inverse(self, y: Tensor) -> Tensor:
        """x = f^-1(y), Eq. (7); as fast as `forward`, and differentiable in y and in the parameters."""
        groups = list(split_checkerboard(y))
        for k, coupling in reversed(list(enumerate(self.couplings))):
            kept, changed = k % 2, 1 - k % 2
            groups[changed] = coupling.inverse(groups[kept], groups[changed])
        return join_checkerboard(*groups)
