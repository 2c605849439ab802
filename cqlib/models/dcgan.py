"""DCGAN: the convolutional GAN with batch normalisation in both nets, trained by cross-entropy.

References: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", ICLR 2016; nets and training of chainer-gan-lib (commit cf9efba), whose inception score of 6.7
meets the 6.6 of the table.

    critic: -E[ln D(x)] - E[ln(1 - D(G(z)))],   generator: -E[ln D(G(z))],   z uniform on [-1, 1]^128

Deviations:
- The table's number was measured by others, on a net that its source does not specify (by table 2 of the SNGAN paper
  it is 6.64, of Yang et al. 2017); the code named above reaches it.
- The code updates both nets from one batch of samples; here the generator is updated after the critic, on fresh ones.
- Images are dequantised; the code maps pixels to [-1, 1] as they are.
"""

import math
from typing import Any

import torch
from torch import Tensor

from cqlib.models.frozen_decoder import frozen_decoder_stage
from cqlib.models.gan_baseline import GANBaseline, TwoNetsConfig, cnn_widths
from cqlib.nets.cnn_generator import CNNGenerator, init_normal
from cqlib.nets.conv import Critic
from cqlib.nets.norms import ShiftedBatchNorm
from cqlib.recipe import Recipe, TrainingConfig


class DCGAN(GANBaseline):
    """x = G(u), u = 2 Phi(z) - 1 uniform on [-1, 1] for z ~ N(0, I)."""

    def __init__(self, config: TwoNetsConfig):
        c = config
        super().__init__(
            c,
            CNNGenerator(c.size, c.widths, c.latent, image_channels=c.image_channels, per_unit=True),
            init_normal(Critic(c.size, c.critic, image_channels=c.image_channels, norm=ShiftedBatchNorm)),
        )

    def decode(self, z: Tensor) -> Tensor:
        """z ~ N(0, I) -> G(u), (N, latent) -> (N, C, S, S); Phi is the normal distribution function."""
        return super().decode(torch.erf(z / math.sqrt(2)))


ROWS, CONFIG, SYSTEM = ("table3/dcgan",), TwoNetsConfig, DCGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    config = TwoNetsConfig(size, cnn_widths(profile, size), cnn_widths(profile, size))
    short_run: dict[str, Any] = {"batch_size": 16, "learning_rate": 2e-4, "betas": (0.0, 0.9), "decay_from": 0.5}
    training = {
        "paper": TrainingConfig(100_000, 64, learning_rate=2e-4, betas=(0.0, 0.9), ema=0.0, flips=False, log_every=200),
        "study": TrainingConfig(8000, **short_run),
        "quick": TrainingConfig(6000, **short_run),
        "smoke": TrainingConfig(20, log_every=5, **short_run),
    }[profile]
    return Recipe(config, training, frozen_decoder_stage(config, profile))
