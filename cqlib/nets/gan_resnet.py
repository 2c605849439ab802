"""The residual nets of WGAN-GP and SNGAN: batch-normalised generator, critic without normalisation of its own.

References: Gulrajani et al. 2017, appendix C, and its code improved_wgan_training (commit fa66c57); Miyato et al.
2018, tables 4 and 5, and its code sngan_projection (e84b1a5). Both start from Glorot's uniform weights, sqrt(2)
times as wide inside the blocks. Where a 1x1 convolution commutes with resampling, it is applied to the smaller map.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from cqlib.nets.conv import at_least_fp32, bottom_size, num_resolutions, pyramid


def block_widths(size: int, generator: int, critic: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(widths of the generator, widths of the critic, how many of the critic's blocks halve the resolution).

    Up to 32 pixels every block has `generator` or `critic` channels (table 4); above, the widths of both nets double
    from critic / 2 at each halving (table 5).
    """
    if size <= 32:
        return (generator,) * num_resolutions(size), (critic,) * 4, 2
    base = critic // 2
    return pyramid(base, size), tuple(base * 2**k for k in range(5)), num_resolutions(size)


def init_glorot(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Module:
    """`layer` with Glorot's uniform weights times `gain` and, where it has one, a bias of 0."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def convolution(a: int, b: int) -> nn.Module:
    """A 3x3 convolution inside a block."""
    return init_glorot(nn.Conv2d(a, b, 3, padding=1), 2**0.5)


class UpBlock(nn.Module):
    """Doubles the resolution: skip 1x1 (x) + conv(relu(bn(conv(up(relu(bn(x))))))); a -> b channels."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(a), nn.BatchNorm2d(b)
        self.conv1, self.conv2 = convolution(a, b), convolution(b, b)
        self.skip = init_glorot(nn.Conv2d(a, b, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(interpolate(self.norm1(x).relu(), scale_factor=2))
        return self.conv2(self.norm2(h).relu()) + interpolate(self.skip(x), scale_factor=2)


class DownBlock(nn.Module):
    """skip(x) + conv(relu(conv(relu(x)))), a -> b channels; `halve` average-pools the sum 2x2. The skip is a 1x1
    convolution, or the identity where shapes stay; the `first` block of a net has no ReLU on its input."""

    def __init__(self, a: int, b: int, *, halve: bool, first: bool = False):
        super().__init__()
        self.halve, self.first = halve, first
        hidden = b if first else a
        self.conv1, self.conv2 = convolution(a, hidden), convolution(hidden, b)
        self.skip = init_glorot(nn.Conv2d(a, b, 1)) if halve or a != b else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.conv1(x if self.first else x.relu()).relu())
        return self.skip(avg_pool2d(x, 2)) + avg_pool2d(h, 2) if self.halve else self.skip(x) + h


class ResNetGenerator(nn.Module):
    """z (N, latent) -> (N, C, S, S) in [-1, 1]: dense layer, an `UpBlock` per doubling, then bn, relu, conv, tanh."""

    def __init__(self, size: int, widths: tuple[int, ...], latent: int, *, image_channels: int = 3):
        super().__init__()
        bottom = bottom_size(size, widths)
        self.bottom = (widths[-1], bottom, bottom)
        self.head = init_glorot(nn.Linear(latent, widths[-1] * bottom**2))
        blocks = [UpBlock(a, b) for a, b in pairwise(widths[::-1])]
        self.body = nn.Sequential(*blocks, nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.out = init_glorot(nn.Conv2d(widths[0], image_channels, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        return at_least_fp32(self.out(self.body(self.head(z).unflatten(1, self.bottom)))).tanh()


class ResNetCritic(nn.Module):
    """(N, C, S, S) -> scores (N,): a `DownBlock` per width, the first `halvings` of which halve the resolution; ReLU;
    the mean over positions (with `summed`: the sum); a dense layer (with `summed`: without bias)."""

    def __init__(self, widths: tuple[int, ...], halvings: int, *, image_channels: int = 3, summed: bool):
        super().__init__()
        inputs = (image_channels, *widths)
        self.body = nn.Sequential(
            *(DownBlock(inputs[k], b, halve=k < halvings, first=k == 0) for k, b in enumerate(widths)), nn.ReLU()
        )
        self.pool = torch.sum if summed else torch.mean
        self.head = init_glorot(nn.Linear(widths[-1], 1, bias=not summed))

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.pool(self.body(x), (2, 3))).squeeze(1))
