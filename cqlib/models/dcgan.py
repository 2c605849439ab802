"""DCGAN: the convolutional GAN with batch normalisation in both nets, trained by cross-entropy.

References: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", ICLR 2016; nets and training of chainer-gan-lib (commit cf9efba), whose inception score of 6.7
meets the 6.6 of the table.

    critic: -E[ln D(x)] - E[ln(1 - D(G(z)))],   generator: -E[ln D(G(z))],   z uniform on [-1, 1]^128

Deviations:
- The table's number was measured on a net that its source does not specify; the code named above reaches it.
- The code updates both nets from one batch of samples; here the generator follows the critic, on fresh ones.
- Images are dequantised; the code maps pixels to [-1, 1] as they are.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cqlib import losses
from cqlib.models.base import Losses
from cqlib.models.gan_baseline import ADAM, GANBaseline, TwoNetsConfig, cnn_widths, gan_recipe
from cqlib.nets.gan_cnn import CNNCritic, CNNGenerator
from cqlib.recipe import Recipe


@dataclass(frozen=True)
class DCGANConfig(TwoNetsConfig):
    """Widths of both nets."""



class DCGAN(GANBaseline):
    """x = G(u), u = 2 Phi(z) - 1 uniform on [-1, 1] for z ~ N(0, I)."""

    def __init__(self, config: DCGANConfig):
        c = config
        super().__init__(
            c,
            CNNGenerator(c.size, c.widths, c.latent, image_channels=c.image_channels, first_norm="unit"),
            CNNCritic(c.size, c.critic, image_channels=c.image_channels, norm="batch", slope=0.2),
        )

    generator_loss = staticmethod(losses.non_saturating_generator)

    def decode(self, z: Tensor) -> Tensor:
        """z ~ N(0, I) -> G(u), (N, latent) -> (N, C, S, S); Phi is the normal distribution function."""
        return super().decode(torch.erf(z / math.sqrt(2)))

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """Binary cross-entropy; real and generated images are normalised separately."""
        real, fake = self.real_and_fake(x)
        loss = losses.discriminator_loss(self.critic(real), self.critic(fake))
        return {"discriminator": loss, "total": loss}


ROWS, CONFIG, SYSTEM = ("table3/dcgan",), DCGANConfig, DCGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    config = DCGANConfig(size, cnn_widths(profile, size), cnn_widths(profile, size))
    return gan_recipe(config, replace(ADAM, betas=(0.0, 0.9)), profile, quick=1500, study=4000)
