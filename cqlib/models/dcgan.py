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
from dataclasses import replace

import torch
from torch import Tensor, nn

from cqlib.models.gan_baseline import ADAM, SMALL_BATCHES, GANBaseline, TwoNetsConfig, cnn_widths, gan_recipe
from cqlib.nets.conv import CNNGenerator, Critic, init_normal
from cqlib.nets.norms import BatchNorm2d
from cqlib.recipe import Recipe


class ShiftingBatchNorm(nn.Module):
    """Batch normalisation with a learned shift (beta) and no scale (gamma), as in DCGAN's critic."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False)
        self.beta = nn.Parameter(self.norm.running_mean.new_zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.beta


class DCGAN(GANBaseline):
    """x = G(u), u = 2 Phi(z) - 1 uniform on [-1, 1] for z ~ N(0, I)."""

    def __init__(self, config: TwoNetsConfig):
        c = config
        super().__init__(
            c,
            CNNGenerator(c.size, c.widths, c.latent, image_channels=c.image_channels, per_unit=True),
            init_normal(Critic(c.size, c.critic, image_channels=c.image_channels, norm=ShiftingBatchNorm)),
        )

    def decode(self, z: Tensor) -> Tensor:
        """z ~ N(0, I) -> G(u), (N, latent) -> (N, C, S, S); Phi is the normal distribution function."""
        return super().decode(torch.erf(z / math.sqrt(2)))


ROWS, CONFIG, SYSTEM = ("table3/dcgan",), TwoNetsConfig, DCGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    config = TwoNetsConfig(size, cnn_widths(profile, size), cnn_widths(profile, size))
    return gan_recipe(config, replace(ADAM, betas=(0.0, 0.9)), profile, quick=6000, study=16_000, **SMALL_BATCHES)
