"""Prog-GAN: generator and critic grow from 4x4 pixels to the image's size while they train; WGAN-GP losses.

Reference: Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018;
settings of its CIFAR-10 experiment as in the authors' Theano code (commit 597967f, "Small fixes to config.py to improve
consistency with the paper"; their first config, 2609d1f, had 512 feature maps and latent variables and 15 million
images). The table's 8.8 is the best of their runs; the average over ten is 8.56.

    critic     E_theta[l(x)] - E_train[l(x)] + 10 E[(||grad l|| / 750 - 1)^2] + 0.001 E_train[l(x)^2]
    generator  -E[l(G(z))]

Deviations:
- That commit updates both nets from one batch of samples (`separate_funcs=False`); here the generator follows the
  critic, on fresh ones, as in their first config.
- Adam keeps its moments where the resolution changes; the authors' code resets them.
- Averaged-down images keep their fractions (the authors' are rounded to 8 bits), and pixels are centres of their
  cells, (v + 1/2) / 128 - 1, where the authors have v / 127.5 - 1.
- 48 pixels (STL-10, not in the paper) start from 3x3 and are trained as CIFAR-10 is.
- G is linear at its end: the critic sees its output, samples and the frozen-decoder BPD have it clamped to [-1, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cqlib import losses
from cqlib.models.base import Losses
from cqlib.models.gan_baseline import GANBaseline, GANBaselineConfig, gan_recipe
from cqlib.nets.progressive import TICKS, ProgressiveCritic, ProgressiveGenerator
from cqlib.pixels import to_signed
from cqlib.recipe import Recipe, TrainingConfig


@dataclass(frozen=True)
class ProgGANConfig(GANBaselineConfig):
    """Both nets, the critic's loss and the schedule of the growth."""

    latent: int = 128
    fmap_base: int = 4096
    """Feature maps at a resolution: min(fmap_base / 2^k, fmap_max), k = 1 for the coarsest, 2 for the next, …"""
    fmap_max: int = 128
    penalty_weight: float = 10.0
    penalty_target: float = 750.0
    """gamma: the norm of the gradient that the penalty asks for."""
    drift_weight: float = 1e-3
    phase_kimg: int = 400
    """Thousands of images for which a resolution trains, and again while the next one fades in; of `total_kimg`."""
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

    generator_loss = staticmethod(losses.linear_generator)

    def schedule(self, step: int, steps: int) -> None:
        """Grow both nets to the stage of step / steps; a phase is phase_kimg / total_kimg of the training."""
        clock = TICKS * step * self.config.total_kimg // (steps * self.config.phase_kimg)
        for net in (self.generator, self.critic):
            net.grow(clock)

    def decode(self, z: Tensor) -> Tensor:
        """G(z), clamped: (N, latent) -> (N, C, S, S) in [-1, 1]."""
        return self.generator(z).clamp(-1, 1)

    def fakes(self, n: int) -> Tensor:
        """G(z) for n codes, differentiable, as the critic sees it: not clamped."""
        return self.generator(self.codes(n))

    def real_and_fake(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, C, S, S) -> the images as coarse as the current stage, and as many generated ones."""
        with torch.no_grad():
            return self.critic.coarsened(to_signed(x)), self.fakes(len(x))

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """The Wasserstein loss, the penalty on a gradient norm other than gamma, and the drift of scores of images."""
        c = self.config
        real, fake = self.real_and_fake(x)
        scores = self.critic(real)
        terms = {
            "wasserstein": losses.wasserstein_critic(scores, self.critic(fake)),
            "gradient_penalty": losses.gradient_penalty(self.critic, real, fake, target=c.penalty_target),
            "drift": losses.drift(scores),
        }
        total = terms["wasserstein"] + c.penalty_weight * terms["gradient_penalty"] + c.drift_weight * terms["drift"]
        return {**terms, "total": total}


ROWS, CONFIG, SYSTEM = ("table3/prog-gan",), ProgGANConfig, ProgGAN
NETS = {"smoke": (64, 16), "quick": (256, 64), "study": (512, 128), "paper": (4096, 128)}
"""Profile -> fmap_base and fmap_max; there are as many latent variables as the latter."""


def recipe(row: str, profile: str, size: int) -> Recipe:
    # fp32 as the authors' code: scores and their gradients are hundreds of times those of other critics
    steps = 1000 * ProgGANConfig.total_kimg // 16
    paper = TrainingConfig(steps, 16, betas=(0.0, 0.99), flips=False, autocast="off", log_every=200)
    base, most = NETS[profile]
    config = ProgGANConfig(size, latent=most, fmap_base=base, fmap_max=most)
    return gan_recipe(config, paper, profile, quick=1000, study=1200)
