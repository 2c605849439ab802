"""Hierarchical latent variables: a residual bottom-up encoder and a residual top-down generator.

References: Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", NIPS 2016, section 5
(the ResNet VAE) and its published code; Sonderby et al. 2016 (ladder networks).

A layer l has latent variables z_l, one map of `latent` channels. Top-down, h (N, width, S_l, S_l) gives

    p(z_l | z_above) = N(m_p, s_p^2),   q(z_l | z_above, x) = N(m_r + m_q, (s_r s_q)^2)

with m_p, s_p, m_r, s_r from h and m_q, s_q from the image by the bottom-up net; then h <- h + residual f(z_l, h),
`residual` being 0.1 in the reference. With "iaf" an autoregressive step follows the draw from q.

Deviations:
- Initial weights are scaled by the fan-in, those of statistics and output are a quarter of that, so that means
  and log-sds start near 0. In the reference the first batch sets them, an option here (`nets/weight_norm.py`).
- log-sds are bounded by `MAX_LOG_SD` through a tanh.
- 3x3 stem and output at full resolution, widths that may grow with depth, 1x1 convolutions on skips where they
  change. The reference has `stem` 2 and equal widths.
- Doubling the resolution is a 4x4 transposed convolution, which covers pixels evenly (the reference: 3x3).
- No deterministic output from the last bottom-up block, which nothing would read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import elu, interpolate

from cqlib.nets.autoregressive import IAFStep
from cqlib.nets.conv import at_least_fp32, bottom_size, bounded
from cqlib.nets.weight_norm import lengths, weight_norm

MAX_LOG_SD = 4.0
"""|ln s| of every prior and posterior stays below this."""
START = 0.25
"""Initial scale of the output, where features inside the nets have 1; also the default for means and log-sds."""

Posterior = Literal["gaussian", "iaf"]


@dataclass(frozen=True)
class HierarchyConfig:
    """The latent variables of a hierarchy."""

    latent: int
    """Channels of each layer's map."""
    blocks: int
    """Layers at each resolution."""
    posterior: Posterior | None = None
    """None: there is no q, as in a GAN."""
    iaf_width: int = 64
    """Hidden channels of IAF's masked net, and of its context."""
    residual: float = 0.1
    """Factor of each block's residual branch."""
    stem: Literal[1, 2] = 1
    """Stride of the first and the last convolution. 1: 3x3 ones; the finest layers sit after the first halving.
    2: 5x5 ones; the finest layers sit at the stem's own resolution, half of the image's."""
    start: float = START
    """Initial scale of means and log-sds, where features inside the nets have 1."""


@dataclass(frozen=True)
class BottomUpStatistics:
    """The bottom-up net's output for one layer: m_q and ln s_q (N, latent, H, W), and a context for IAF."""

    mean: Tensor
    log_sd: Tensor
    context: Tensor | None = None


@dataclass(frozen=True)
class KLTerms:
    """The terms of one layer's KL at a draw from q, elementwise (N, latent, H, W)."""

    kl: Tensor
    """KL(q || p): in closed form for Gaussian posteriors, at the draw for IAF."""
    log_ratio: Tensor
    """ln p(z) - ln q(z) at the draw."""


def conv(a: int, b: int, kernel: int | None = None, *, stride: int = 1, double: bool = False) -> Any:
    """A weight-normalised convolution that divides the resolution by `stride` (3x3) or, with `double`, doubles it
    (4x4); `kernel` replaces either size. A first batch may give its outputs the standard deviation `start`."""
    kernel = kernel or (4 if double else 3)
    layer: Any
    if double:
        layer = nn.ConvTranspose2d(a, b, kernel, stride=2, padding=(kernel - 1) // 2, output_padding=kernel % 2)
        fan_in = kernel**2 * a / 4
    else:
        layer = nn.Conv2d(a, b, kernel, stride=stride, padding=kernel // 2)
        fan_in = kernel**2 * a
    with torch.no_grad():
        layer.weight.normal_(std=fan_in**-0.5)
        layer.bias.zero_()
    return weight_norm(layer)


def _start_small(layer: Any, channels: int, start: float) -> None:
    """Scale the first `channels` output channels by `start`, also when a first batch sets the layer."""
    g = lengths(layer)
    with torch.no_grad():
        g.flatten()[:channels].mul_(start)
    layer.start = [start] * channels + [1.0] * (g.numel() - channels)


class _Gaussian(NamedTuple):
    """A diagonal Gaussian, (N, latent, H, W) each."""

    mean: Tensor
    log_sd: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """The draw that standard normal `noise` gives."""
        return self.mean + self.log_sd.exp() * noise

    def log_density(self, z: Tensor) -> Tensor:
        """ln N(z; mean, sd^2), elementwise, without the constant -ln sqrt(2 pi)."""
        return -0.5 * ((z - self.mean) * (-self.log_sd).exp()).square() - self.log_sd


def gaussian_kl(mean: Tensor, log_sd: Tensor, prior_mean: Tensor, prior_log_sd: Tensor) -> Tensor:
    """KL(N(mean, sd^2) || N(prior_mean, prior_sd^2)), elementwise."""
    squares = ((2 * log_sd).exp() + (mean - prior_mean).square()) * (-2 * prior_log_sd).exp()
    return prior_log_sd - log_sd + 0.5 * (squares - 1)


class BottomUpBlock(nn.Module):
    """Bottom-up: x (N, a, H, W) -> statistics of this layer's z, and the stream (N, b, H / stride, W / stride)."""

    def __init__(self, a: int, b: int, layers: HierarchyConfig, *, stride: int, last: bool):
        super().__init__()
        latent = self.latent = layers.latent
        self.stride, self.residual = stride, layers.residual
        self.first = conv(a, 2 * latent + (0 if last else b), stride=stride)
        _start_small(self.first, 2 * latent, layers.start)
        self.context = conv(a, layers.iaf_width, stride=stride) if layers.posterior == "iaf" else None
        self.second = None if last else conv(b, b)
        self.skip = conv(a, b, 1) if a != b and not last else nn.Identity()

    def forward(self, x: Tensor) -> tuple[BottomUpStatistics, Tensor | None]:
        activated = elu(x)
        statistics, h = self.first(activated).tensor_split([2 * self.latent], dim=1)
        mean, log_sd = at_least_fp32(statistics).chunk(2, dim=1)
        of_z = BottomUpStatistics(mean, log_sd, self.context(activated) if self.context is not None else None)
        if self.second is None:
            return of_z, None
        skipped = x[:, :, :: self.stride, :: self.stride]  # nearest neighbour
        return of_z, self.skip(skipped) + self.residual * self.second(elu(h))


class TopDownBlock(nn.Module):
    """One layer top-down: draws z from the prior, or from the posterior where the image's statistics are given, and
    maps h (N, a, H, W) and z to the next h, (N, b, H, W), or (N, b, 2 H, 2 W) with `double`."""

    def __init__(self, a: int, b: int, layers: HierarchyConfig, *, double: bool):
        super().__init__()
        latent = self.latent = layers.latent
        self.doubles, self.posterior, self.residual = double, layers.posterior, layers.residual
        self.statistics = latent * (2 if layers.posterior is None else 4)
        self.first = conv(a, self.statistics + a)
        _start_small(self.first, self.statistics, layers.start)
        self.second = conv(latent + a, b, double=double)
        self.skip = conv(a, b, 1) if a != b else nn.Identity()
        if layers.posterior == "iaf":
            self.context = conv(a, layers.iaf_width)
            self.iaf = IAFStep(latent, layers.iaf_width)

    def forward(
        self, h: Tensor, noise: Tensor, bottom_up: BottomUpStatistics | None = None
    ) -> tuple[Tensor, KLTerms | None]:
        """The next h, and the terms of the KL where `bottom_up` is given; `noise` (N, latent, H, W) is N(0, 1)."""
        activated = elu(h)
        statistics, deterministic = self.first(activated).tensor_split([self.statistics], dim=1)
        mean, log_sd, *top_down = at_least_fp32(statistics).chunk(self.statistics // self.latent, dim=1)
        prior = _Gaussian(mean, bounded(log_sd, MAX_LOG_SD))
        if bottom_up is None:
            z, terms = prior.at(noise), None
        else:
            z, terms = self._infer(prior, top_down, bottom_up, activated, noise)
        branch = self.residual * self.second(elu(torch.cat([deterministic, z.to(deterministic.dtype)], dim=1)))
        skipped = self.skip(h)
        return (interpolate(skipped, scale_factor=2.0) if self.doubles else skipped) + branch, terms

    def _infer(
        self, prior: _Gaussian, top_down: Sequence[Tensor], bottom_up: BottomUpStatistics, activated: Tensor,
        noise: Tensor,
    ) -> tuple[Tensor, KLTerms]:  # fmt: skip
        """z ~ q, whose mean and log-sd are sums of the generator's m_r, ln s_r (`top_down`) and the encoder's m_q,
        ln s_q; and the terms of its KL."""
        mean_r, log_sd_r = top_down
        q = _Gaussian(mean_r + bottom_up.mean, bounded(log_sd_r + bottom_up.log_sd, MAX_LOG_SD))
        z, log_q = q.at(noise), -0.5 * noise.square() - q.log_sd
        if self.posterior == "iaf":
            z, s = self.iaf(z, self.context(activated) + bottom_up.context)
            log_q = log_q + s
        log_ratio = prior.log_density(z) - log_q  # both without the constant
        kl = gaussian_kl(*q, *prior) if self.posterior == "gaussian" else -log_ratio
        return z, KLTerms(kl, log_ratio)


class BottomUp(nn.Module):
    """The encoder: (N, C, S, S) -> statistics of every layer's z, in the generator's order (coarsest first)."""

    def __init__(self, widths: tuple[int, ...], layers: HierarchyConfig, *, image_channels: int = 3):
        super().__init__()
        plan = [(*level, k) for level in _levels(widths, layers.stem) for k in range(layers.blocks)]
        self.stem = conv(image_channels, widths[0], 2 * layers.stem + 1, stride=layers.stem)
        self.blocks = nn.ModuleList(
            BottomUpBlock(b if k else a, b, layers, stride=1 if k else stride, last=position == len(plan) - 1)
            for position, (a, b, stride, k) in enumerate(plan)
        )

    def forward(self, x: Tensor) -> list[BottomUpStatistics]:
        h = self.stem(x)
        statistics = []
        for block in self.blocks:
            of_z, h = block(h)
            statistics.append(of_z)
        return statistics[::-1]


class TopDown(nn.Module):
    """The generator: noise of every layer -> a feature map (N, widths[0], S / stem, S / stem), starting from a learned
    h that is the same vector at every position.

    There are `blocks` layers at each resolution, from the coarsest up. The map's own resolution has layers only with
    stem 2, where it is half of the image's.
    """

    def __init__(self, size: int, widths: tuple[int, ...], layers: HierarchyConfig):
        super().__init__()
        side = self.bottom = bottom_size(size // layers.stem, widths)
        self.start = nn.Parameter(torch.zeros(1, widths[-1], 1, 1))
        self.blocks = nn.ModuleList()
        self.shapes: dict[str, tuple[int, int, int]] = {}
        for finer, width, stride in reversed(_levels(widths, layers.stem)):
            for k in range(layers.blocks):
                last = k == layers.blocks - 1
                self.blocks.append(TopDownBlock(width, finer if last else width, layers, double=last and stride == 2))
                self.shapes[f"{side}x{side}-{k + 1}"] = (layers.latent, side, side)
            side *= stride

    def noise(self, n: int, generator: Generator | None = None) -> list[Tensor]:
        """Standard normal noise of every layer, (n, latent, H, W) each."""
        device = self.start.device
        return [torch.randn((n, *shape), device=device, generator=generator) for shape in self.shapes.values()]

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """The feature map (n, width, S / stem, S / stem) of draws from the priors."""
        return self(self.noise(n, generator))[0]

    def forward(
        self, noise: Sequence[Tensor], bottom_up: Sequence[BottomUpStatistics] | None = None
    ) -> tuple[Tensor, dict[str, KLTerms]]:
        """The feature map; and with `bottom_up` the terms of each layer's KL, by name."""
        h = self.start.expand(len(noise[0]), -1, self.bottom, self.bottom)
        kl_terms = {}
        per_layer: Sequence[BottomUpStatistics | None] = bottom_up or [None] * len(self.blocks)
        for name, block, eps, of_z in zip(self.shapes, self.blocks, noise, per_layer, strict=True):
            h, terms = block(h, eps, of_z)
            if terms is not None:
                kl_terms[name] = terms
        return h, kl_terms


class Head(nn.Module):
    """From the feature map to the image: ELU, convolution; (N, width, S / stem, S / stem) -> (N, channels, S, S)."""

    def __init__(self, width: int, channels: int, stem: Literal[1, 2] = 1):
        super().__init__()
        self.out = conv(width, channels, 2 * stem + 1, double=stem == 2)
        _start_small(self.out, channels, START)

    def forward(self, h: Tensor) -> Tensor:
        return at_least_fp32(self.out(elu(h)))


class FlatGenerator(nn.Module):
    """z (N, latent_size) -> (N, out_channels, S, S): the top-down generator of a GAN; z is the noise of all `layers`,
    which have no posterior, in order."""

    def __init__(self, size: int, widths: tuple[int, ...], layers: HierarchyConfig, *, out_channels: int):
        super().__init__()
        self.top_down = TopDown(size, widths, layers)
        self.head = Head(widths[0], out_channels, layers.stem)
        self.sizes = [math.prod(shape) for shape in self.top_down.shapes.values()]
        self.latent_size = sum(self.sizes)

    def forward(self, z: Tensor) -> Tensor:
        shapes = self.top_down.shapes.values()
        noise = [part.unflatten(1, shape) for part, shape in zip(z.split(self.sizes, dim=1), shapes, strict=True)]
        return self.head(self.top_down(noise)[0])


class FlatEncoder(nn.Module):
    """q(z|x) of a `FlatGenerator`'s z: (N, C, S, S) -> mean and log-variance, each (N, latent_size);
    `layers` as for the generator."""

    def __init__(self, widths: tuple[int, ...], layers: HierarchyConfig, *, image_channels: int = 3):
        super().__init__()
        self.bottom_up = BottomUp(widths, layers, image_channels=image_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        statistics = self.bottom_up(x)
        mean = torch.cat([layer.mean.flatten(1) for layer in statistics], dim=1)
        log_variance = 2 * torch.cat([layer.log_sd.flatten(1) for layer in statistics], dim=1)
        return mean, log_variance.clamp(-12.0, 12.0)


def _levels(widths: tuple[int, ...], stem: int) -> list[tuple[int, int, int]]:
    """Per resolution that has layers, finest first: width of the next finer one, its own width, stride between them."""
    halvings = [(a, b, 2) for a, b in pairwise(widths)]
    return halvings if stem == 1 else [(widths[0], widths[0], 1), *halvings]
