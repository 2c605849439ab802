"""The adversarial half of GAN, CQ and CQ-F: a critic trained by Eq. (1) with a gradient penalty."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cqlib import losses
from cqlib.models.base import Losses, System, frozen
from cqlib.nets.conv import Critic
from cqlib.nets.residual_critic import ResidualCritic
from cqlib.pixels import dequantise
from cqlib.recipe import omitted_at_default


@dataclass(frozen=True)
class CriticConfig:
    """The discriminator and its penalty."""

    widths: tuple[int, ...]
    penalty_weight: float = 10.0
    """Weight of the gradient penalty; 0: none."""
    penalty_every: int = 1
    """Penalise every k-th step with k times the weight (lazy regularisation, Karras et al. 2020)."""
    blocks: int = omitted_at_default(0)
    """Residual blocks per halving of the resolution; 0: the plain convolutional critic."""


def critic_net(config: CriticConfig, size: int, image_channels: int) -> nn.Module:
    """The net l(x): images (N, image_channels, size, size) -> logits (N,)."""
    net = partial(ResidualCritic, blocks=config.blocks) if config.blocks else Critic
    return net(size, config.widths, image_channels=image_channels)


def with_gradient_penalty(
    discriminator: Tensor, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, step: int, config: Any
) -> Losses:
    """The critic's terms at its update number `step`: the scalar loss `discriminator` and, at every k-th update, the
    gradient penalty between `real` and `fake` (N, C, H, W) with weight k w, where k is `config.penalty_every` and w is
    `config.penalty_weight`."""
    weight, every = config.penalty_weight, config.penalty_every
    if weight <= 0 or step % every:
        return {"discriminator": discriminator, "total": discriminator}
    penalty = losses.gradient_penalty(critic, real, fake)
    total = discriminator + weight * every * penalty
    return {"discriminator": discriminator, "gradient_penalty": penalty, "total": total}


class AdversarialSystem(System):
    """A system whose samples a critic judges."""

    critic: nn.Module

    def __init__(self, config: Any):
        """`config.critic` is a `CriticConfig`, or None for a system without a critic. A subclass may replace the net
        `critic` by another; it needs the config for the penalty."""
        super().__init__(config)
        c: CriticConfig | None = config.critic
        if c is not None:
            self.critic = critic_net(c, config.size, config.image_channels)

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """Eq. (1) on real and generated images, and the gradient penalty on their interpolates."""
        real = dequantise(x)
        with torch.no_grad():
            fake = self.fakes(x)
        discriminator = self.discriminator_loss(real, fake)
        return with_gradient_penalty(discriminator, self.critic, real, fake, step, self.config.critic)

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Eq. (1) on real and generated images, both in one pass of the critic, which judges each by itself."""
        real_logits, fake_logits = self.critic(torch.cat([real, fake])).split([len(real), len(fake)])
        return losses.discriminator_loss(real_logits, fake_logits)

    def quality_loss(self, fake: Tensor) -> Tensor:
        """Eq. (2) on generated images; the critic's parameters get no gradient."""
        with frozen(self.critic):
            return losses.quality_loss(self.critic(fake))
