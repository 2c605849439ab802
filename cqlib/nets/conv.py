"""Convolutional encoder, decoder and critic for square images.

The "standard CNN" of the GAN literature (Radford et al. 2016; Miyato et al. 2018, table 3; layers as in the codes
chainer-gan-lib, commit cf9efba, and pytorch-gan-collections, 860e90b): a pyramid of stride-2 convolutions and its
mirror image. `widths` lists the channels from the finest resolution to the bottom: (64, 128, 256, 512) has its bottom
at 4x4 for 32 pixels and 6x6 for 48.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn


def at_least_fp32(x: Tensor) -> Tensor:
    """What leaves a net: bf16 and fp16 -> fp32, since densities and losses are never computed in less; fp32 and fp64
    stay."""
    return x if x.dtype == torch.float64 else x.float()


def bounded(x: Tensor, limit: float) -> Tensor:
    """limit tanh(x / limit), in [-limit, limit], so that exp does not overflow; near x for small x."""
    return limit * torch.tanh(x / limit)


def bottom_size(size: int, widths: tuple[int, ...]) -> int:
    """Side of the coarsest feature map; ValueError if `size` cannot be halved so often."""
    halvings = len(widths) - 1
    if size % 2**halvings:
        raise ValueError(f"{size} pixels cannot be halved {halvings} times")
    return size // 2**halvings


def num_resolutions(size: int) -> int:
    """How many widths a net needs at `size`, which is halved while it is even and at least 8: 3 at 16, 4 at 32 and 48,
    5 at 64."""
    halvings = 0
    while size >= 8 and size % 2 == 0:
        size, halvings = size // 2, halvings + 1
    return halvings + 1


def pyramid(base: float, size: int, *, multiple: int = 1) -> tuple[int, ...]:
    """Widths that double at each halving of the resolution: `base`, 2 `base`, …, rounded to `multiple`."""
    return tuple(max(multiple, round(base * 2**k / multiple) * multiple) for k in range(num_resolutions(size)))


def group_norm(channels: int) -> nn.Module:
    """Group normalisation (Wu and He 2018): at most eight groups, of at least four channels each."""
    groups = max(g for g in (8, 4, 2, 1) if channels % g == 0 and channels // g >= min(4, channels))
    return nn.GroupNorm(groups, channels)


def halving_layers(a: int, b: int) -> list[nn.Module]:
    """4x4 convolution of stride 2, normalisation and ELU: (N, a, S, S) -> (N, b, S / 2, S / 2)."""
    return [nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False), group_norm(b), nn.ELU()]


def doubling_layers(a: int, b: int) -> list[nn.Module]:
    """`halving_layers` with a transposed convolution: (N, a, S, S) -> (N, b, 2 S, 2 S)."""
    return [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False), group_norm(b), nn.ELU()]


class Encoder(nn.Module):
    """q_phi(z|x): (N, C, S, S) -> mean and log-variance of z, each (N, latent); the latter is clamped to [-12, 12]."""

    def __init__(self, size: int, widths: tuple[int, ...], latent: int, *, image_channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 3, padding=1), nn.ELU()]
        for a, b in pairwise(widths):
            layers += halving_layers(a, b)
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * bottom_size(size, widths) ** 2, 2 * latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = at_least_fp32(self.head(self.body(x).flatten(1))).chunk(2, dim=1)
        return mean, log_variance.clamp(-12.0, 12.0)


class Decoder(nn.Module):
    """z (N, latent) -> (N, out_channels, S, S), linear and small at the end, so that mu(z) starts near 0."""

    def __init__(self, size: int, widths: tuple[int, ...], latent: int, *, out_channels: int):
        super().__init__()
        side = bottom_size(size, widths)
        self.bottom = (widths[-1], side, side)
        self.head = nn.Linear(latent, widths[-1] * side**2)
        layers: list[nn.Module] = [group_norm(widths[-1]), nn.ELU()]
        for a, b in pairwise(widths[::-1]):
            layers += doubling_layers(a, b)
        self.body = nn.Sequential(*layers)
        self.out = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        with torch.no_grad():
            self.out.weight.mul_(0.5)

    def forward(self, z: Tensor) -> Tensor:
        h = self.head(z).unflatten(1, self.bottom)
        if self.out.weight.is_contiguous(memory_format=torch.channels_last):
            h = h.contiguous(memory_format=torch.channels_last)
        return at_least_fp32(self.out(self.body(h)))


class Critic(nn.Module):
    """The discriminator as a logit l(x) = ln (D(x) / (1 - D(x))): (N, C, S, S) -> (N,).

    A 3x3 convolution per resolution and 4x4 ones of stride 2 between them, leaky ReLU of `slope`, dense. `norm`
    follows all convolutions but the first; with a gradient penalty it is left out (Gulrajani et al. 2017, section 4).
    The 4x4 ones widen, as in the public codes, or with `widen_in_3x3` the others, as in table 3 of Miyato et al.
    """

    def __init__(
        self, size: int, widths: tuple[int, ...], *, image_channels: int = 3, slope: float = 0.2,
        norm: Callable[[int], nn.Module] | None = None, widen_in_3x3: bool = False,
    ):  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 3, padding=1), nn.LeakyReLU(slope)]
        for a, b in pairwise(widths):
            c = a if widen_in_3x3 else b
            for convolution in (nn.Conv2d(a, c, 4, stride=2, padding=1), nn.Conv2d(c, b, 3, padding=1)):
                layers += [convolution, *([norm(convolution.out_channels)] if norm else []), nn.LeakyReLU(slope)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * bottom_size(size, widths) ** 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.body(x).flatten(1)).squeeze(1))
