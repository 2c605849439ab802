"""Improved Training GAN: minibatch discrimination, and a discriminator of K classes and "generated".

Reference: Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", NIPS 2016,
and its published code (openai/improved-gan, commit 4f5d1ec, `train_cifar_minibatch_discrimination.py`), layer by layer
at 32 pixels. **It uses class labels**; `extra/improved-gan-unlabelled` does not.

The discriminator gives K logits l_k(x), the logit of "generated" being fixed at 0, and Z(x) = sum_k exp l_k(x):

    p(k|x, real) = exp l_k(x) / Z(x),     D(x) = Z(x) / (Z(x) + 1)
    L_labelled   = -E_labelled[ln p(k|x, real)]
    L_unlabelled = -1/2 E_data[ln D(x)] - 1/2 E_G[ln(1 - D(x))]

The discriminator descends their sum, G descends E_G[ln(1 - D(x))] in three times as many updates. Without labels K = 1,
D = sigmoid(l), and there is no L_labelled. `real_target` is a switch for one-sided label smoothing.

Deviations:
- The paper reaches 8.09 by all its techniques together; this is the published code, which has neither virtual batch
  normalisation nor label smoothing nor historical averaging. Feature matching, which the paper uses to classify, is
  left out.
- The code draws labelled images in batches of their own, 100 a step; here they are the images of the batch that have a
  label, about 8 of 100 on CIFAR-10. In a batch without any, L_labelled is 0.
- In evaluation samples are normalised by running statistics, in the code by the statistics of their batch.
- The first batch (100 images) sets initial scales and biases; in the code 500 labelled images do.
- The code averages D's weights, for classification; here G's are averaged, in the smaller profiles.
- The code's Adam divides by sqrt(v + 1e-8), torch's by sqrt(v) + epsilon. Here epsilon is 1e-4, with which torch's
  divisor is at most sqrt(2) times the code's; with 1e-8 G's saturating loss would take far larger steps.
- The paper's row without labels (6.86) had historical averaging, with an unpublished weight: left out.
- Sizes other than 32: stages of the nets are added or left out; the critic has at least two.
- In the smaller profiles G has one update a step, and both nets a rate of 1e-3. Without labels, and under `study` with
  them too, G descends -E_G[ln D(x)] there, D learns at the code's 3e-4, and its target for real images is 0.9, the
  paper's one-sided label smoothing. Without labels D has ten minibatch features instead of a hundred, and under `study`
  a rate of 1e-4. Otherwise D may soon separate real from generated images for good (docs/tuning.md).
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus
from torch.special import ndtr

from cqlib import losses
from cqlib.models.base import Losses, frozen
from cqlib.models.frozen_decoder import frozen_decoder_stage
from cqlib.models.gan_baseline import GANBaseline, TwoNetsConfig
from cqlib.nets.conv import at_least_fp32, bottom_size, num_resolutions
from cqlib.nets.norms import ShiftedBatchNorm
from cqlib.nets.weight_norm import initialising, normal_weight_norm
from cqlib.pixels import cell_centres
from cqlib.recipe import Recipe, TrainingConfig
from cqlib.util.errors import UserError

EPS = 1e-6


class ImprovedGenerator(nn.Module):
    """u (N, latent) in [0, 1] -> (N, C, S, S) in [-1, 1]: dense layer, 5x5 transposed convolutions, tanh. `widths` go
    from half the image's resolution to the bottom: (128, 256, 512) at 32 pixels."""

    def __init__(self, size: int, widths: tuple[int, ...], latent: int, *, image_channels: int = 3):
        super().__init__()
        side = bottom_size(size // 2, widths)
        self.bottom = (widths[-1], side, side)
        units = widths[-1] * side**2

        self.head = nn.Sequential(
            nn.Linear(latent, units, bias=False), ShiftedBatchNorm(units, nn.BatchNorm1d, eps=EPS), nn.ReLU()
        )
        layers: list[nn.Module] = []
        for a, b in pairwise(widths[::-1]):
            layers += [nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1, bias=False)]
            layers += [ShiftedBatchNorm(b, eps=EPS), nn.ReLU()]
        for layer in (self.head[0], *layers):
            if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.05)
        out = nn.ConvTranspose2d(widths[0], image_channels, 5, stride=2, padding=2, output_padding=1)
        self.body = nn.Sequential(*layers, normal_weight_norm(out, start=0.1))

    def forward(self, u: Tensor) -> Tensor:
        return torch.tanh(at_least_fp32(self.body(self.head(u).unflatten(1, self.bottom))))


class _Noise(nn.Module):
    """x + N(0, sigma^2) in training."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x) if self.training else x


class MinibatchDiscrimination(nn.Module):
    """f (N, a) -> (N, a + kernels): f, and per kernel k how close an image's features are to the others' (section 3.2),

        o_k(i) = b_k + sum_{j != i} exp(-|M_ik - M_jk|_1),   M_ik = T_k f_i in `dimensions` dimensions.

    Columns of T have length exp(`log_scale`), initially such that an image's nearest neighbour is on average at
    distance 2; b starts such that o has mean 0.
    """

    def __init__(self, features: int, kernels: int = 100, dimensions: int = 5):
        super().__init__()
        self.theta = nn.Parameter(0.05 * torch.randn(features, kernels, dimensions))
        self.log_scale = nn.Parameter(torch.zeros(kernels, dimensions))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    def forward(self, f: Tensor) -> Tensor:
        return torch.cat([at_least_fp32(f), self.closeness(f) + self.bias], dim=1)

    def distances(self, f: Tensor) -> Tensor:
        """|M_ik - M_jk|_1, (kernels, N, N), infinite for j = i."""
        with torch.autocast(f.device.type, enabled=False):  # bf16 is too coarse for exp(-distance)
            kernels = self.theta * (self.log_scale.exp() / self.theta.norm(dim=0))
            m = torch.einsum("na,akd->knd", at_least_fp32(f), kernels)
            itself = torch.eye(len(f), dtype=torch.bool, device=f.device)
            return torch.cdist(m, m, p=1).masked_fill(itself, torch.inf)

    def closeness(self, f: Tensor) -> Tensor:
        """The sums over the other images, (N, kernels)."""
        return torch.exp(-self.distances(f)).sum(2).T

    @torch.no_grad()
    def initialise(self, f: Tensor) -> None:
        """Set the lengths of T's columns and b by the features f (N, a) of a first batch."""
        if len(f) > 1:
            nearest = self.distances(f).amin(2).mean(1).clamp(min=1e-6)
            self.log_scale.sub_((nearest / 2).log()[:, None])
        self.bias.copy_(-self.closeness(f).mean(0))


class ImprovedCritic(nn.Module):
    """(N, C, S, S) -> logits of the classes, (N, classes).

    Gaussian noise of 0.2 on the image; stages of three 3x3 convolutions, the last of stride 2, and dropout; one 3x3
    convolution without padding and two 1x1 ones; global average; `kernels` minibatch features (0: none). Leaky ReLU
    0.2, weight norm. `widths` are those of the stages, (96, 192) at 32 pixels; later layers have the last of them.
    """

    def __init__(self, widths: tuple[int, ...], *, classes: int = 10, kernels: int = 100, image_channels: int = 3):
        super().__init__()

        def conv(a: int, b: int, kernel: int = 3, *, stride: int = 1, padding: int = 0) -> list[nn.Module]:
            layer = nn.Conv2d(a, b, kernel, stride=stride, padding=padding)
            return [normal_weight_norm(layer, trained_length=False), nn.LeakyReLU(0.2)]

        layers: list[nn.Module] = [_Noise(0.2)]
        for a, b in pairwise((image_channels, *widths)):
            layers += [*conv(a, b, padding=1), *conv(b, b, padding=1), *conv(b, b, stride=2, padding=1)]
            layers += [nn.Dropout(0.5)]
        top = widths[-1]
        self.body = nn.Sequential(*layers, *conv(top, top), *conv(top, top, 1), *conv(top, top, 1))
        self.minibatch = MinibatchDiscrimination(top, kernels)
        self.head = normal_weight_norm(nn.Linear(top + kernels, classes), start=0.1)

    def features(self, x: Tensor) -> Tensor:
        """The averaged features of images, (N, widths[-1])."""
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.minibatch(self.features(x))))

    def initialise(self, x: Tensor) -> None:
        """Set scales and biases by a first batch of images."""
        with initialising(self):
            f = self.features(x)
            self.minibatch.initialise(f)
            self.head(self.minibatch(f))


@dataclass(frozen=True)
class ImprovedGANConfig(TwoNetsConfig):
    """The paper's techniques, and the widths of both nets."""

    labels: bool = True
    classes: int = 10
    """K with labels; a published data set sets its own. Without labels K is 1."""
    kernels: int = 100
    """Minibatch discrimination features; 0: none."""
    generator_loss: Literal["adversarial", "non-saturating"] = "adversarial"
    """What G descends: E_G[ln(1 - D(x))], or -E_G[ln D(x)]."""
    real_target: float = 1.0
    """D's target for real images; below 1: one-sided label smoothing."""


def labelled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """-ln p(k|x, real), the mean over the images with a label; 0 without any. Logits (N, K), labels (N,), -1: none."""
    count = (labels >= 0).sum().clamp(min=1)
    return cross_entropy(logits, labels, ignore_index=-1, reduction="sum") / count


def unlabelled_loss(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """L_unlabelled, half the binary cross-entropy of D = Z / (Z + 1), from logits (N, K), (M, K) -> scalar. `target` is
    D's target for real images."""
    l_real, l_fake = real.logsumexp(1), fake.logsumexp(1)
    return 0.5 * (softplus(l_real) - target * l_real).mean() + 0.5 * softplus(l_fake).mean()


class ImprovedGAN(GANBaseline):
    """x = G(u), u = Phi(z) uniform on [0, 1] for z ~ N(0, I)."""

    config: ImprovedGANConfig
    critic: ImprovedCritic
    real = staticmethod(cell_centres)

    def __init__(self, config: ImprovedGANConfig):
        c = config
        classes = c.classes if c.labels else 1
        super().__init__(
            c,
            ImprovedGenerator(c.size, c.widths, c.latent, image_channels=c.image_channels),
            ImprovedCritic(c.critic, classes=classes, kernels=c.kernels, image_channels=c.image_channels),
        )
        self.uses_labels = c.labels

    def decode(self, z: Tensor) -> Tensor:
        """z ~ N(0, I) -> G(Phi(z)), (N, latent) -> (N, C, S, S); Phi is the normal distribution function."""
        return super().decode(ndtr(z))

    def initialise(self, x: Tensor) -> None:
        """One pass of samples through G and one of images through D set their initial scales and biases."""
        with initialising(self.generator):
            self.fakes(x)
        self.critic.initialise(cell_centres(x))

    def critic_losses(self, x: Tensor, *, step: int, labels: Tensor | None = None) -> Losses:
        """Cross-entropies: of real against generated images, and of the classes of those that have a label."""
        real, fake = self.real_and_fake(x)
        logits = self.critic(real)
        terms = {"unlabelled": unlabelled_loss(logits, self.critic(fake), self.config.real_target)}
        if labels is not None:
            terms["labelled"] = labelled_loss(logits, labels)
        return {**terms, "total": torch.stack(list(terms.values())).sum()}

    def generator_losses(self, x: Tensor, *, labels: Tensor | None = None) -> Losses:
        """The adversarial loss of samples, whose score is the logarithm of the summed odds of all classes."""
        fake = self.fakes(x)
        with frozen(self.critic):
            scores = self.critic(fake).logsumexp(1)
        saturating = self.config.generator_loss == "adversarial"
        loss = losses.saturating_generator_loss if saturating else losses.non_saturating_generator_loss
        total = loss(scores)
        return {"generator": total, "total": total}

    def check_labels(self, labels: Tensor) -> None:
        if (highest := int(labels.max())) >= self.config.classes:
            raise UserError(
                f"Improved Training GAN with labels knows {self.config.classes} classes and the data has label "
                f"{highest}: add --set system.classes={highest + 1}, or take extra/improved-gan-unlabelled"
            )


ROWS = {"table3/improved-gan": True, "extra/improved-gan-unlabelled": False}
"""Row -> whether labels are used."""
CONFIG, SYSTEM = ImprovedGANConfig, ImprovedGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """The row's recipe; the 600,000 steps of `paper` are the code's 1,200 epochs, after 800 of which its rate falls."""
    bottom, finest = {"paper": (512, 96), "study": (128, 32), "quick": (128, 32), "smoke": (32, 8)}[profile]
    count, labels = num_resolutions(size), ROWS[row]
    widths = tuple(bottom >> k for k in reversed(range(count - 1)))
    critic = (finest, *[2 * finest] * max(1, count - 3))  # one stage is not enough: docs/tuning.md
    config = ImprovedGANConfig(size, widths, critic, labels, latent=100)
    adam: dict[str, Any] = {"betas": (0.5, 0.999), "epsilon": 1e-4, "labels_per_class": 400}
    short_run: dict[str, Any] = {**adam, "learning_rate": 1e-3, "decay_from": 0.5}
    # In so few steps a critic with noise and dropout cannot keep up with three updates of G a step; the one without
    # labels is too strong for G instead, as both are under `study`.
    if profile == "study" or (profile != "paper" and not labels):
        config = replace(config, generator_loss="non-saturating", real_target=0.9, kernels=100 if labels else 10)
        short_run["critic_learning_rate"] = 1e-4 if profile == "study" and not labels else 3e-4
    training = {
        "paper": TrainingConfig(600_000, 100, learning_rate=3e-4, n_generator=3, decay_from=2 / 3, ema=0.0, flips=False,
                                log_every=500, **adam),
        "study": TrainingConfig(3000, 64, **short_run),
        "quick": TrainingConfig(4000, 64, **short_run),
        "smoke": TrainingConfig(20, 16, log_every=5, **short_run),
    }[profile]  # fmt: skip
    return Recipe(config, training, frozen_decoder_stage(config, profile))
