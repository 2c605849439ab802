"""Prog-GAN: generator and critic grow from 4x4 pixels to the image's size while they train; WGAN-GP losses.

Reference: Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018;
settings of its CIFAR-10 experiment as in the authors' Theano code (commit 597967f; their first config, 2609d1f, had 512
feature maps and 15 million images). The table's 8.8 is the best of their runs; the average over ten is 8.56.

    critic     E_theta[l(x)] - E_train[l(x)] + 10 E[(||grad l|| / 750 - 1)^2] + 0.001 E_train[l(x)^2]
    generator  -E[l(G(z))]

The last term of the critic keeps scores from drifting away from 0 (appendix A.1).

Both nets hold the parameters of all resolutions from the start (3x3 is the coarsest for images of 48). Images always
have their full size: at a coarser resolution the generator repeats pixels and the critic averages them.

Deviations:
- That commit updates both nets from one batch of samples (`separate_funcs=False`); here the generator is updated
  after the critic, on fresh samples, as in their first config.
- Adam keeps its moments where the resolution changes; the authors' code resets them.
- The decay of the averaged weights warms up, (1 + t) / (10 + t); the authors' is constant.
- Images averaged to a coarser resolution are not rounded (the authors' are, to 8 bits), and pixels are centres of their
  cells, (v + 1/2) / 128 - 1, where the authors have v / 127.5 - 1.
- In the smaller profiles the penalty asks for a slope of 1 and not of 750, and the rate is 5e-3: a weight is a
  parameter of variance 1 times a small factor, and at 1e-3 hardly moves in few steps (`docs/tuning.md`).
- 48 pixels (STL-10, not in the paper) start from 3x3 and are trained as CIFAR-10 is.
- G ends linearly: the critic sees its output as it is, samples and the frozen-decoder BPD clamp it to [-1, 1].
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu

from cqlib import losses
from cqlib.models.base import Losses
from cqlib.models.frozen_decoder import frozen_decoder_stage
from cqlib.models.gan_baseline import GANBaseline, GANBaselineConfig
from cqlib.nets.conv import at_least_fp32
from cqlib.pixels import cell_centres
from cqlib.recipe import Recipe, TrainingConfig

TICKS = 1000
"""Ticks of the clock per phase."""


def resolutions(size: int) -> tuple[int, ...]:
    """Side lengths from the coarsest to `size`, each twice the one before: 4, 8, …, or 3, 6, … at 48 pixels."""
    coarsest = 3 if size % 3 == 0 else 4
    return tuple(coarsest * 2**level for level in range((size // coarsest).bit_length()))


def feature_maps(size: int, base: int, max_channels: int) -> tuple[int, ...]:
    """Channels of the head and of each resolution, coarsest first: min(base / 2^k, max_channels), k = 0, 1, …"""
    return tuple(min(base // 2**k, max_channels) for k in range(len(resolutions(size)) + 1))


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean over channels of x^2 + 1e-8) at every pixel (section 4.2); (N, C, …) of any rank."""
    return x * torch.rsqrt(at_least_fp32(x).square().mean(1, keepdim=True) + 1e-8).to(x.dtype)


def minibatch_std(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C + 1, H, W): appends the mean of the standard deviations over the batch (section 3)."""
    h = at_least_fp32(x)
    std = ((h - h.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
    return torch.cat([x, std.to(x.dtype).expand(len(x), 1, *x.shape[2:])], dim=1)


class EqualisedConv(nn.Module):
    """Convolution with weights from N(0, 1), scaled by gain / sqrt(fan-in) at run time (section 4.1)."""

    def __init__(self, a: int, b: int, kernel: int, *, padding: int = 0, gain: float = math.sqrt(2)):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(b, a, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(b))
        self.padding, self.scale = padding, gain / math.sqrt(a * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class ActivatedConv(EqualisedConv):
    """Convolution, leaky ReLU 0.2 and, with `norm`, pixel norm."""

    def __init__(self, a: int, b: int, kernel: int, *, padding: int = 0, norm: bool = False):
        super().__init__(a, b, kernel, padding=padding)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        h = leaky_relu(super().forward(x), 0.2)
        return pixel_norm(h) if self.norm else h


class ProgressiveNet(nn.Module):
    """A net that grows by a clock of `TICKS` per phase, saved with the weights. Each resolution after the first takes
    two phases: the coarser one trains, then the finer one fades in. Just built, a net is fully grown."""

    clock: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.sides = resolutions(size)
        self.end = 2 * TICKS * (len(self.sides) - 1)
        self.register_buffer("clock", torch.tensor(self.end))
        self._set: int | None = None  # the clock as `grow` set it, without a read from the device

    def grow(self, clock: int) -> None:
        """Set the clock, at most to the end of the last fade-in."""
        self._set = min(clock, self.end)
        self.clock.fill_(self._set)

    def stage(self) -> tuple[int, float]:
        """The finest resolution in use, 0 for the coarsest, and its weight alpha in the fade-in, 0 < alpha <= 1."""
        level, ticks = divmod(int(self.clock) if self._set is None else self._set, 2 * TICKS)
        return (level, 1.0) if ticks <= TICKS else (level + 1, ticks / TICKS - 1)

    def __getstate__(self) -> dict:
        """Copies read their clock from the buffer, since averaging the weights overwrites it and not `_set`."""
        return {**self.__dict__, "_set": None}

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._set = None
        super()._load_from_state_dict(*args, **kwargs)

    def downsampling(self, level: int) -> int:
        """The factor between the image's resolution and a level's."""
        return self.sides[-1] // self.sides[level]

    def at_current_resolution(self, x: Tensor) -> Tensor:
        """Real images at the current stage: averaged to its resolution, faded in by alpha; (N, C, S, S) -> same."""
        level, alpha = self.stage()
        h = avg_pool2d(x, self.downsampling(level))
        if alpha < 1:
            h = torch.lerp(interpolate(avg_pool2d(h, 2), scale_factor=2), h, alpha)
        return interpolate(h, scale_factor=self.downsampling(level))


class ProgressiveGenerator(ProgressiveNet):
    """z (N, latent), normalised to mean square 1 -> (N, image_channels, S, S), linear at the end."""

    def __init__(self, size: int, latent: int, base: int, max_channels: int, *, image_channels: int = 3):
        super().__init__(size)
        side, (_, *maps) = self.sides[0], feature_maps(size, base, max_channels)
        self.first = nn.Sequential(  # a "full" convolution turns one pixel into side x side
            ActivatedConv(latent, maps[0], side, padding=side - 1, norm=True),
            ActivatedConv(maps[0], maps[0], 3, padding=1, norm=True),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(ActivatedConv(a, b, 3, padding=1, norm=True), ActivatedConv(b, b, 3, padding=1, norm=True))
            for a, b in pairwise(maps)
        )
        self.to_image = nn.ModuleList(EqualisedConv(b, image_channels, 1, gain=1.0) for b in maps)

    def forward(self, z: Tensor) -> Tensor:
        level, alpha = self.stage()
        h = coarse = self.first(pixel_norm(z)[:, :, None, None])
        for block in self.blocks[:level]:
            coarse, h = h, block(interpolate(h, scale_factor=2))
        image = at_least_fp32(self.to_image[level](h))
        if alpha < 1:
            coarser = at_least_fp32(self.to_image[level - 1](coarse))
            image = torch.lerp(interpolate(coarser, scale_factor=2), image, alpha)
        return interpolate(image, scale_factor=self.downsampling(level))


class ProgressiveCritic(ProgressiveNet):
    """(N, image_channels, S, S) -> scores (N,): the generator mirrored, with `minibatch_std` at the coarsest level."""

    def __init__(self, size: int, base: int, max_channels: int, *, image_channels: int = 3):
        super().__init__(size)
        side, (top, *maps) = self.sides[0], feature_maps(size, base, max_channels)
        self.from_image = nn.ModuleList(ActivatedConv(image_channels, b, 1) for b in maps)
        self.blocks = nn.ModuleList(
            nn.Sequential(ActivatedConv(b, b, 3, padding=1), ActivatedConv(b, a, 3, padding=1))
            for a, b in pairwise(maps)
        )
        self.head = nn.Sequential(
            ActivatedConv(maps[0] + 1, maps[0], 3, padding=1),
            ActivatedConv(maps[0], top, side),
            EqualisedConv(top, 1, 1, gain=1.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        level, alpha = self.stage()
        x = avg_pool2d(x, self.downsampling(level))
        h = self.from_image[level](x)
        for k in range(level, 0, -1):
            h = avg_pool2d(self.blocks[k - 1](h), 2)
            if k == level and alpha < 1:
                h = torch.lerp(self.from_image[k - 1](avg_pool2d(x, 2)), h, alpha)
        return at_least_fp32(self.head(minibatch_std(h)).flatten())


@dataclass(frozen=True)
class ProgGANConfig(GANBaselineConfig):
    """Both nets, the critic's loss and the schedule of the growth."""

    fmap_base: int = 4096
    """Feature maps at a resolution: min(fmap_base / 2^k, fmap_max), k = 1 for the coarsest, 2 for the next, …"""
    fmap_max: int = 128
    penalty_weight: float = 10.0
    penalty_target: float = 750.0
    """gamma: the norm of the gradient that the penalty asks for."""
    drift_weight: float = 1e-3
    phase_kimg: int = 400
    """Thousands of images per phase, in which a resolution trains or the next one fades in, out of `total_kimg`."""
    total_kimg: int = 20_000


class ProgGAN(GANBaseline):
    """x = G(z / rms(z)), z ~ N(0, I), at the resolution that the schedule has reached."""

    config: ProgGANConfig
    generator: ProgressiveGenerator
    critic: ProgressiveCritic

    def __init__(self, config: ProgGANConfig):
        c, channels = config, config.image_channels
        super().__init__(
            config,
            ProgressiveGenerator(c.size, c.latent, c.fmap_base, c.fmap_max, image_channels=channels),
            ProgressiveCritic(c.size, c.fmap_base, c.fmap_max, image_channels=channels),
        )

    generator_loss = staticmethod(losses.quality_loss)

    def schedule(self, step: int, steps: int) -> None:
        """Grow both nets to the stage of step / steps; a phase is phase_kimg / total_kimg of the training."""
        clock = TICKS * step * self.config.total_kimg // (steps * self.config.phase_kimg)
        for net in (self.generator, self.critic):
            net.grow(clock)

    def decode(self, z: Tensor) -> Tensor:
        """G(z), clamped: (N, latent) -> (N, C, S, S) in [-1, 1]."""
        return self.generator(z).clamp(-1, 1)

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        return self.generator(self.prior(n, generator))

    def real(self, x: Tensor) -> Tensor:
        """uint8 images (N, C, S, S) -> what the critic sees of them: as coarse as the current stage, at full size."""
        return self.critic.at_current_resolution(cell_centres(x))

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """The terms of the critic's loss: the negative Wasserstein distance, the penalty on the gradient's norm (both
        on images at the present resolution) and on drift, E D(x)^2."""
        c = self.config
        real, fake = self.real_and_fake(x)
        scores = self.critic(real)
        terms = {
            "wasserstein": losses.wasserstein_critic_loss(scores, self.critic(fake)),
            "gradient_penalty": losses.gradient_penalty(self.critic, real, fake, target=c.penalty_target),
            "drift": scores.square().mean(),
        }
        total = terms["wasserstein"] + c.penalty_weight * terms["gradient_penalty"] + c.drift_weight * terms["drift"]
        return {**terms, "total": total}


ROWS, CONFIG, SYSTEM = ("table3/prog-gan",), ProgGANConfig, ProgGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """There are as many latent variables as feature maps at most; the steps of `paper` are 20 million images."""
    base, most, slope = {
        "paper": (4096, 128, 750.0), "study": (512, 128, 1.0), "quick": (256, 64, 1.0), "smoke": (64, 16, 1.0),
    }[profile]  # fmt: skip
    config = ProgGANConfig(size, latent=most, fmap_base=base, fmap_max=most, penalty_target=slope)
    short_run: dict[str, Any] = {"learning_rate": 5e-3, "betas": (0.0, 0.99), "decay_from": 0.5}
    training = {
        "paper": TrainingConfig(1_250_000, 16, learning_rate=1e-3, betas=(0.0, 0.99), flips=False, log_every=200),
        "study": TrainingConfig(1200, 64, **short_run),
        "quick": TrainingConfig(2500, 64, **short_run),
        "smoke": TrainingConfig(20, 16, log_every=5, **short_run),
    }[profile]
    return Recipe(config, training, frozen_decoder_stage(config, profile))
