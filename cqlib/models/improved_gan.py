"""Improved Training GAN: minibatch discrimination, and a discriminator of K classes and "generated".

Reference: Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", NIPS 2016,
and its published code (openai/improved-gan, commit 4f5d1ec, `train_cifar_minibatch_discrimination.py`). **It uses
class labels**; `extra/improved-gan-unlabelled` does not.

The discriminator gives K logits l_k(x), the logit of "generated" being fixed at 0, and Z(x) = sum_k exp l_k(x):

    p(k|x, real) = exp l_k(x) / Z(x),     D(x) = Z(x) / (Z(x) + 1)
    L_labelled   = -E_labelled[ln p(k|x, real)]
    L_unlabelled = -1/2 E_data[ln D(x)] - 1/2 E_G[ln(1 - D(x))]

It descends their sum, G descends E_G[ln(1 - D(x))], three times as often. Without labels K = 1, D = sigmoid(l), and
L_unlabelled is all there is. `real_target` is a switch for one-sided label smoothing.

Deviations:
- The paper's 8.09 is of all its techniques together; the published code has neither virtual batch normalisation nor
  label smoothing nor historical averaging. This is the code.
- The code draws labelled images in batches of their own, 100 a step; here they are those with a label among the
  batch's images, about 8 of 100 on CIFAR-10. A batch without any leaves L_labelled at 0.
- Samples are normalised by running statistics, the code's by those of their batch.
- Layers start from the first batch (100 images) instead of 500 labelled ones.
- The code averages D's weights, for classification; here G's, below `paper`.
- The code's Adam divides by sqrt(v + 1e-8), torch's by sqrt(v) + epsilon: with epsilon = 1e-4 both are 1e-4 at v = 0,
  and torch's is never more than sqrt(2) times the code's. With torch's own 1e-8 G's saturating loss, whose gradients
  are small while D is right, would take far larger steps.
- The paper's row without labels (6.86) had historical averaging, with an unpublished weight: left out.
- Sizes other than 32: stages of the nets are added or left out.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus
from torch.special import ndtr

from cqlib.models.base import Losses, frozen
from cqlib.models.gan_baseline import ADAM, GANBaseline, TwoNetsConfig, gan_recipe
from cqlib.nets.conv import levels
from cqlib.nets.improved_gan import ImprovedCritic, ImprovedGenerator
from cqlib.nets.weight_norm import initialising
from cqlib.pixels import to_signed
from cqlib.recipe import Recipe
from cqlib.util.errors import UserError


@dataclass(frozen=True)
class ImprovedGANConfig(TwoNetsConfig):
    """The paper's techniques; widths as in `nets.improved_gan`."""

    labels: bool = True
    classes: int = 10
    """K with labels; without them K is 1."""
    kernels: int = 100
    """Minibatch discrimination features; 0: none."""
    generator_loss: Literal["adversarial"] = "adversarial"
    real_target: float = 1.0
    """D's target for real images; below 1: one-sided label smoothing."""
    norm: Literal["batch"] = "batch"


def labelled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """-ln p(k|x, real), the mean over the images with a label; 0 without any. Logits (N, K), labels (N,), -1: none."""
    count = (labels >= 0).sum().clamp(min=1)
    return cross_entropy(logits, labels, ignore_index=-1, reduction="sum") / count


def unlabelled_loss(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """Half the binary cross-entropy of D = Z / (Z + 1); logits (N, K), (M, K). `target` smooths that of real images."""
    l_real, l_fake = real.logsumexp(1), fake.logsumexp(1)
    return 0.5 * (softplus(l_real) - target * l_real).mean() + 0.5 * softplus(l_fake).mean()


class ImprovedGAN(GANBaseline):
    """x = G(u), u = Phi(z) uniform on [0, 1] for z ~ N(0, I)."""

    config: ImprovedGANConfig
    critic: ImprovedCritic

    def __init__(self, config: ImprovedGANConfig):
        c = config
        classes = c.classes if c.labels else 1
        super().__init__(
            c,
            ImprovedGenerator(c.size, c.widths, c.latent, image_channels=c.image_channels),
            ImprovedCritic(c.size, c.critic, classes=classes, kernels=c.kernels, image_channels=c.image_channels),
        )
        self.uses_labels = c.labels

    def decode(self, z: Tensor) -> Tensor:
        """z ~ N(0, I) -> G(Phi(z)), (N, latent) -> (N, C, S, S); Phi is the normal distribution function."""
        return super().decode(ndtr(z))

    def critic_losses(self, x: Tensor, *, step: int, labels: Tensor | None = None) -> Losses:
        """L_labelled + L_unlabelled. At step 0 both nets start from this batch."""
        real = to_signed(x)
        if step == 0:
            with initialising(self.generator):
                self.fakes(len(x))
            with initialising(self.critic):
                self.critic(real)
        with torch.no_grad():
            fake = self.fakes(len(x))
        logits = self.critic(real)
        terms = {"unlabelled": unlabelled_loss(logits, self.critic(fake), self.config.real_target)}
        if labels is not None and self.uses_labels:
            terms["labelled"] = labelled_loss(logits, labels)
        return {**terms, "total": torch.stack(list(terms.values())).sum()}

    def generator_losses(self, x: Tensor, *, labels: Tensor | None = None) -> Losses:
        """E_G[ln(1 - D)]; labels are not needed."""
        fake = self.fakes(len(x))
        with frozen(self.critic):
            total = -softplus(self.critic(fake).logsumexp(1)).mean()
        return {"generator": total, "total": total}

    def check_labels(self, labels: Tensor) -> None:
        """UserError if there are more classes than logits."""
        if (highest := int(labels.max())) >= self.config.classes:
            raise UserError(
                f"Improved Training GAN with labels knows {self.config.classes} classes and the data has label "
                f"{highest}: take another data set, or extra/improved-gan-unlabelled"
            )


ROWS = {"table3/improved-gan": True, "extra/improved-gan-unlabelled": False}
"""Row -> whether labels are used."""
CONFIG, SYSTEM = ImprovedGANConfig, ImprovedGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """Config and training of one of `ROWS` in a profile, at `size` pixels. 600,000 steps are the code's 1,200 epochs,
    after 800 of which its rate falls."""
    paper = replace(ADAM, steps=600_000, batch_size=100, learning_rate=3e-4, betas=(0.5, 0.999), epsilon=1e-4,
                    decay_from=2 / 3, n_generator=3, labels_per_class=400, log_every=500)  # fmt: skip
    bottom, finest = {"paper": (512, 96), "study": (128, 32), "quick": (128, 32), "smoke": (32, 8)}[profile]
    count = levels(size)
    widths = tuple(bottom >> k for k in reversed(range(count - 1)))
    critic = (finest, *[2 * finest] * (count - 3))
    config = ImprovedGANConfig(size, widths, critic, ROWS[row], latent=100)
    return gan_recipe(config, paper, profile, quick=1200, study=2000)
