"""SNGAN: a critic in which every weight matrix has spectral norm 1; cross-entropy or hinge loss, CNN or residual nets.

References: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018
(arXiv 1802.05957v1); the residual nets and their training as in the authors' code sngan_projection (e84b1a5).

| row | nets | losses |
|---|---|---|
| SNGAN | CNN | cross-entropy, non-saturating |
| SNGAN-Hinge | CNN | hinge, Eqs. (16) and (17) |
| SNGAN-ResNet-Hinge | residual | hinge |

Deviations:
- The paper does not say which of its settings A to F is the CNN's best on CIFAR-10: here C, with which it shows the
  spectral norms. At 48 pixels and above it is B, the best on STL-10 (footnote 4); SNGAN-Hinge takes 200,000 updates
  there ("2x updates"). Which row of the paper the slides show is doubtful (footnote of Table 3). Batches of 64 are from
  memory.
- Below `paper` the CNN's critic widens in its 4x4 convolutions, as in pytorch-gan-collections (860e90b), and has twice
  the parameters of the paper's, which widens in the 3x3 ones.
- The residual nets take the 50,000 updates of their code; the paper says 100,000 for all. For 64 pixels the paper has
  no nets: they are those of the code, whose critic's last layer has a bias there.
- The residual nets' code updates the generator before the critic, here after it.
- The power iteration starts with 15 rounds, as torch's does; the authors' code starts with one.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from cqlib import losses
from cqlib.models.frozen_decoder import frozen_decoder_stage
from cqlib.models.gan_baseline import GANBaseline, TwoNetsConfig, cnn_widths
from cqlib.nets.cnn_generator import CNNGenerator, init_normal
from cqlib.nets.conv import Critic
from cqlib.nets.gan_resnet import ResNetCritic, ResNetGenerator, block_widths
from cqlib.nets.norms import SpectrallyNormalised
from cqlib.recipe import Recipe, TrainingConfig

Loss = Literal["cross-entropy", "hinge"]


@dataclass(frozen=True)
class SNGANConfig(TwoNetsConfig):
    """Nets and loss of one of the three rows."""

    net: Literal["cnn", "resnet"] = "cnn"
    halvings: int = 0
    """How many blocks of the residual critic halve the resolution; the CNN halves once per further width."""
    loss: Loss = "cross-entropy"
    widen_in_3x3: bool = False
    """Whether the CNN's critic widens in its 3x3 convolutions (table 3) or in those of stride 2."""


class SNGAN(GANBaseline):
    """x = G(z) against a critic whose weights, as one matrix a layer, have spectral norm 1."""

    config: SNGANConfig

    def __init__(self, config: SNGANConfig):
        c, channels = config, config.image_channels
        generator: nn.Module
        critic: nn.Module
        if c.net == "cnn":
            generator = CNNGenerator(c.size, c.widths, c.latent, image_channels=channels)
            critic = init_normal(
                Critic(c.size, c.critic, image_channels=channels, slope=0.1, widen_in_3x3=c.widen_in_3x3)
            )
        else:
            generator = ResNetGenerator(c.size, c.widths, c.latent, image_channels=channels)
            critic = ResNetCritic(c.critic, c.halvings, image_channels=channels, summed=True)
        super().__init__(c, generator, SpectrallyNormalised(critic))
        if c.loss == "hinge":
            self.discriminator_loss, self.generator_loss = losses.hinge_discriminator_loss, losses.quality_loss


ROWS = ("table3/sngan", "table3/sngan-hinge", "table3/sngan-resnet-hinge")
CONFIG, SYSTEM = SNGANConfig, SNGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    loss: Loss = "hinge" if "hinge" in row else "cross-entropy"
    config, training = (resnet_recipe if "resnet" in row else cnn_recipe)(profile, size, loss)
    return Recipe(config, training, frozen_decoder_stage(config, profile))


def cnn_recipe(profile: str, size: int, loss: Loss) -> tuple[SNGANConfig, TrainingConfig]:
    """Nets and training of the standard CNN."""
    widths = cnn_widths(profile, size)
    config = SNGANConfig(size, widths, widths, loss=loss, widen_in_3x3=profile == "paper")
    adam: dict[str, Any] = {"learning_rate": 2e-4 if size < 48 else 1e-4, "betas": (0.5, 0.999)}
    short_run: dict[str, Any] = {**adam, "batch_size": 16, "decay_from": 0.5}
    steps = 200_000 if size >= 48 and loss == "hinge" else 100_000
    return config, {
        "paper": TrainingConfig(steps, 64, ema=0.0, flips=False, log_every=200, **adam),
        "study": TrainingConfig(8000, **short_run),
        "quick": TrainingConfig(6000, **short_run),
        "smoke": TrainingConfig(20, log_every=5, **short_run),
    }[profile]


def resnet_recipe(profile: str, size: int, loss: Loss) -> tuple[SNGANConfig, TrainingConfig]:
    """Nets and training of the residual nets."""
    generator, critic = {"paper": (256, 128), "study": (64, 64), "quick": (64, 64), "smoke": (8, 8)}[profile]
    widths, critic_widths, halvings = block_widths(size, generator, critic)
    config = SNGANConfig(size, widths, critic_widths, "resnet", halvings, loss)
    adam: dict[str, Any] = {"learning_rate": 2e-4, "betas": (0.0, 0.9), "n_critic": 5}
    paper: dict[str, Any] = {**adam, "batch_size": 64, "generator_batch": 128, "decay_from": 0.0}
    short_run: dict[str, Any] = {**adam, "batch_size": 16, "generator_batch": 32, "decay_from": 0.5}
    return config, {
        "paper": TrainingConfig(50_000, ema=0.0, flips=False, log_every=200, **paper),
        "study": TrainingConfig(3000, **short_run),
        "quick": TrainingConfig(3200, **short_run),
        "smoke": TrainingConfig(20, log_every=5, **short_run),
    }[profile]
