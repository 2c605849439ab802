"""The adversarial half that GAN, CQ and CQ-F share: a critic trained by Eq. (1) with a gradient penalty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cqlib import losses
from cqlib.models.base import Losses, System, frozen
from cqlib.nets.conv import Critic
from cqlib.nets.residual import ResidualCritic
from cqlib.pixels import dequantise
from cqlib.recipe import added


@dataclass(frozen=True)
class CriticConfig:
    """The discriminator and its penalty."""

    widths: tuple[int, ...]
    penalty_weight: float = 10.0
    """Weight of the gradient penalty (recipes.md section 3 recalls 100 for the paper)."""
    penalty_every: int = 1
    """Penalise every k-th step with k times the weight (lazy regularisation, Karras et al. 2020)."""
    blocks: int = added(0)
    """Residual blocks per halving of the resolution; 0: the plain convolutional critic."""


class AdversarialSystem(System):
    """A system whose samples a critic judges. Subclasses say how fakes are made."""

    critic: nn.Module

    def __init__(self, shape: tuple[int, int, int], critic: CriticConfig | None):
        super().__init__()
        self.shape = shape
        self._critic_config = critic
        if critic is not None:
            self.critic = (
                ResidualCritic(shape[-1], critic.widths, critic.blocks, image_channels=shape[0])
                if critic.blocks
                else Critic(shape[-1], critic.widths, image_channels=shape[0])
            )

    def _penalised(self, step: int) -> bool:
        c = self._critic_config
        return c is not None and c.penalty_weight > 0 and step % c.penalty_every == 0

    def fakes(self, n: int) -> Tensor:
        """n images as the critic sees them in training, (n, C, H, W), with their graph."""
        raise NotImplementedError

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """Eq. (1) on real and made images, and the gradient penalty on their interpolates."""
        config = self._critic_config
        real = dequantise(x)
        with torch.no_grad():
            fake = self.fakes(len(x))
        terms = {"discriminator": losses.discriminator_loss(self.critic(real), self.critic(fake))}
        total = terms["discriminator"]
        if self._penalised(step):
            terms["gradient_penalty"] = losses.gradient_penalty(self.critic, real, fake)
            total = total + config.penalty_weight * config.penalty_every * terms["gradient_penalty"]
        return {**terms, "total": total}

    def quality_loss(self, n: int) -> Tensor:
        """Eq. (2) on n fresh samples; no gradient is kept for the critic."""
        fake = self.fakes(n)
        with frozen(self.critic):
            return losses.quality_loss(self.critic(fake))
