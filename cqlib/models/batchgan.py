"""BatchGAN: the discriminator reads a mixed batch of real and generated images and predicts the share of real ones.

Reference: Lucas, Tallec, Ollivier, Verbeek, "Mixed batches and symmetric discriminators for GAN training", ICML 2018
(arXiv 1806.07185). No code of it is public.

Image i of a batch y of B images is real if beta_i = 1 and generated if beta_i = 0:

    p ~ Beta(a, a),   beta_i ~ Bernoulli(p),   y_i = beta_i x_i + (1 - beta_i) G(z_i),   r = (1/B) sum_i beta_i

The critic gives logits l_i(y). Each of its layers reads every x_i together with the batch's mean rho,

    y_i = b + sqrt(B / (B + 1)) (Lambda x_i + Gamma rho(x)),   rho(x) = (1/B) sum_j x_j

so that permuting the batch permutes the outputs; the root gives y_i the variance of Lambda x_i alone, if Gamma is of
Lambda's scale. With the cross-entropy to a ratio, L(l, r) = -r ln s(l) - (1 - r) ln(1 - s(l)), s the sigmoid, the
discriminator minimises

    BGAN:    L(mean_i l_i, r)      one prediction per batch
    M-BGAN:  mean_i L(l_i, r)      an ensemble of B predictions, never less than BGAN's loss (Jensen)

and G works against it. The best prediction, D(y) = E[r | y], has the loss E[h(E[r | y])], h the entropy of a coin: at
most ln 2, with equality only if E[r | y] = 1/2 for all y. Then for any f, by E[r] = 1/2,

    0 = E[(r - 1/2) (1/B) sum_i f(y_i)] = Var(r) (E_data[f] - E_G[f])

so that G's optimum is p_G = p_data alone. B = 1 is the usual GAN.

Deviations. Only the paper's abstract, figure 1 and a summary were read; what follows is derived, or from memory,
unverified:
- The formulas above, and logits (not probabilities) as what BGAN averages.
- An update's real and generated images make two mixed batches, by beta and by 1 - beta, which have the same
  distribution; losses are sums over both, which at B = 1 are exactly those of a GAN.
- a = 1: the number of real images is uniform on 0..B. The paper's Beta parameters are not known.
- G descends -ln s (each batch should look real as a whole) instead of ascending L (Goodfellow et al. 2014, section 3).
- A gradient penalty of weight 10 on the summed logits; from memory the paper has one, of unknown weight.
- Nets and training of SNGAN's standard CNN, without spectral norm: widths, optimiser, 100,000 steps, batch 64; the
  critic widens in its 4x4 convolutions.
- Gamma starts at 0, so that the critic judges single images first (docs/tuning.md).
- The smaller profiles have narrower nets, batches of 16, and a critic that learns 2 or 2.5 times as fast as G; `quick`
  has a penalty of weight 1.
- The tables' 7.5 and 23.7 are remembered as M-BGAN's (BGAN: 7.05 and 36.5); M-BGAN is `extra/m-batchgan`.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Beta
from torch.func import functional_call
from torch.nn.functional import softplus

from cqlib.models.base import Losses, frozen
from cqlib.models.cq import with_gradient_penalty
from cqlib.models.frozen_decoder import frozen_decoder_stage
from cqlib.models.gan_baseline import GANBaseline, TwoNetsConfig, cnn_widths
from cqlib.nets.cnn_generator import CNNGenerator
from cqlib.nets.conv import at_least_fp32, bottom_size
from cqlib.pixels import dequantise
from cqlib.recipe import Recipe, TrainingConfig


@dataclass(frozen=True)
class BatchGANConfig(TwoNetsConfig):
    """The order of averaging and loss, the distribution of the ratio, and the penalty."""

    average: Literal["logits", "losses"] = "logits"
    """"logits": BGAN. "losses": M-BGAN."""
    smoothing: float = 1.0
    """a > 0 of the ratio's Beta(a, a)."""
    penalty_weight: float = 10.0
    penalty_every: int = 1
    """Penalise every k-th step with k times the weight (lazy regularisation, Karras et al. 2020)."""


def ratio_loss(logits: Tensor, ratio: Tensor, average: Literal["logits", "losses"]) -> Tensor:
    """The cross-entropy between the ratio of real images and its prediction, (B,), () -> scalar: L(mean_i l_i, r) or,
    for "losses", mean_i L(l_i, r), with L(l, r) = ln(1 + e^l) - r l."""
    predicted = logits.mean() if average == "logits" else logits
    return (softplus(predicted) - ratio * predicted).mean()


SLOPE = 0.1
"""Negative slope of the leaky ReLUs of the symmetric critic (Miyato et al. 2018, table 3)."""


class SymmetricLayer(nn.Module):
    """The symmetric layer: `own` is Lambda with the bias b; `batch`, of the same shape without bias, is Gamma. Lambda
    starts as in He et al. 2015, Eq. 14, where `slope` is that of the leaky ReLU before the layer, 1 if there is none;
    Gamma starts at 0."""

    def __init__(self, own: Any, batch: Any, slope: float = SLOPE):
        super().__init__()
        self.own, self.batch = own, batch
        nn.init.kaiming_normal_(own.weight, a=slope)
        nn.init.zeros_(own.bias)
        nn.init.zeros_(batch.weight)

    def forward(self, x: Tensor) -> Tensor:
        s = (len(x) / (len(x) + 1)) ** 0.5
        own = functional_call(self.own, {"weight": s * self.own.weight}, x)
        return own + s * self.batch(x.mean(0, keepdim=True))


def symmetric_conv(a: int, b: int, kernel: int, *, stride: int = 1, slope: float = SLOPE) -> SymmetricLayer:
    """(B, a, H, W) -> (B, b, H / stride, W / stride)."""
    own = nn.Conv2d(a, b, kernel, stride=stride, padding=1)
    return SymmetricLayer(own, nn.Conv2d(a, b, kernel, stride=stride, padding=1, bias=False), slope)


class SymmetricCritic(nn.Module):
    """A batch of images -> a logit for each, (B, C, S, S) -> (B,): `Critic` with every layer symmetric. Each logit
    depends on the whole batch."""

    def __init__(self, size: int, widths: tuple[int, ...], *, image_channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = [symmetric_conv(image_channels, widths[0], 3, slope=1.0), nn.LeakyReLU(SLOPE)]
        for a, b in pairwise(widths):
            layers += [symmetric_conv(a, b, 4, stride=2), nn.LeakyReLU(SLOPE)]
            layers += [symmetric_conv(b, b, 3), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers)
        units = widths[-1] * bottom_size(size, widths) ** 2
        self.head = SymmetricLayer(nn.Linear(units, 1), nn.Linear(units, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.body(x).flatten(1)).squeeze(1))


class BatchGAN(GANBaseline):
    """x = G(z) against a critic of mixed batches."""

    config: BatchGANConfig

    def __init__(self, config: BatchGANConfig):
        c = config
        super().__init__(
            c,
            CNNGenerator(c.size, c.widths, c.latent, image_channels=c.image_channels),
            SymmetricCritic(c.size, c.critic, image_channels=c.image_channels),
        )
        if not c.smoothing > 0:  # Beta does not validate: the meta device cannot
            raise ValueError("the ratio's Beta(a, a) needs a > 0")
        self.ratio_distribution = Beta(c.smoothing, c.smoothing, validate_args=False)

    def mixed(self, real: Tensor, fake: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Two mixed batches (N, C, S, S) that share N real and N generated images, each with its ratio of real ones."""
        real_first = torch.rand(len(real), device=real.device) < self.ratio_distribution.sample()
        beta = real_first.view(-1, 1, 1, 1)
        ratio = real_first.float().mean()
        return [(torch.where(beta, real, fake), ratio), (torch.where(beta, fake, real), 1 - ratio)]

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """The cross-entropy to each mixed batch's ratio of real images, summed over the two batches, and the penalty of
        recipes that have one."""
        real, fake = self.real_and_fake(x)
        first, second = (ratio_loss(self.critic(y), r, self.config.average) for y, r in self.mixed(real, fake))
        return with_gradient_penalty(first + second, self.critic, real, fake, step, self.config)

    def generator_losses(self, x: Tensor) -> Losses:
        """-ln s: the cross-entropy to ratio 1, on mixed batches."""
        batches = self.mixed(dequantise(x), self.fakes(x))
        with frozen(self.critic):
            first, second = (ratio_loss(self.critic(y), torch.ones_like(r), self.config.average) for y, r in batches)
        return {"generator": first + second, "total": first + second}


ROWS: dict[str, Literal["logits", "losses"]] = {"table3/batchgan": "logits", "extra/m-batchgan": "losses"}
"""Row -> `average`."""
CONFIG, SYSTEM = BatchGANConfig, BatchGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    widths, penalty_weight = cnn_widths(profile, size), 10.0 if profile in ("paper", "study") else 1.0
    config = BatchGANConfig(size, widths, widths, ROWS[row], penalty_weight=penalty_weight)
    betas = (0.5, 0.999)
    short_run: dict[str, Any] = {"betas": betas, "decay_from": 0.5}
    fast_critic: dict[str, Any] = {**short_run, "learning_rate": 2e-4, "critic_learning_rate": 5e-4}
    training = {
        "paper": TrainingConfig(100_000, 64, learning_rate=2e-4, betas=betas, ema=0.0, flips=False, log_every=200),
        "study": TrainingConfig(6000, 16, learning_rate=1e-4, critic_learning_rate=2e-4, **short_run),
        "quick": TrainingConfig(6000, 16, **fast_critic),
        "smoke": TrainingConfig(20, 16, log_every=5, **fast_critic),
    }[profile]
    return Recipe(config, training, frozen_decoder_stage(config, profile))
