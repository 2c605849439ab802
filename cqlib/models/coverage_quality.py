"""VAE, VAE-F, CQ and CQ-F: one latent-variable model, with and without f, with and without L_Q.

Reference: Lucas, Shmelkov, Alahari, Schmid, Verbeek, "Coverage and Quality Driven Training of Generative Image
Models", arXiv 1901.01091; Eqs. (1) to (8) of its slides.

    z ~ N(0, I),   y ~ N(mu(z), diag(sigma(z)^2)),   x = f^-1(y)

| model | L_C | L_Q | f |
|---|---|---|---|
| VAE   | yes |     |   |
| VAE-F | yes |     | yes |
| CQ    | yes | yes |   |
| CQ-F  | yes | yes | yes |

The encoder is trained by L_C alone, for L_Q does not contain it. L_Q reaches the decoder through f^-1.

Deviations (each open decision of the sources, and where it is named in the config):
- L = L_C + lambda L_Q with L_C in nats per image (`quality_weight` = lambda); the paper does not state the unit.
- What the critic sees is a switch, `critic_input`: "sample" is x ~ p_theta as Eq. (1) writes, "mean" is
  f^-1(mu(z)), the G_theta(z) of Eq. (2).
- Which loss updates f is a switch, `flow_updated_by`: "both", or "coverage" (the paper as remembered), where L_Q
  passes through f^-1 to the decoder and leaves f's parameters alone.
- f acts on dequantised pixels in [-1, 1), with no logit layer: critic and decoder stay in image space.
- sigma(z) is a standard deviation, one per feature, with a floor `sigma_floor` (in units of [-1, 1]): a density
  on quantised data must not collapse on a grid. The slides write the diagonal of a covariance.
- Group normalisation (`norm`): batch statistics would mix posterior and prior codes.
- BPD is the single-sample ELBO, and an importance-weighted bound is reported beside it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from cqlib import losses
from cqlib.errors import unknown
from cqlib.models.adversarial import AdversarialSystem, CriticConfig
from cqlib.models.base import Losses, frozen
from cqlib.models.variational import VariationalModel
from cqlib.nets.conv import Decoder, Encoder, pyramid
from cqlib.nets.coupling import FlowConfig, RealNVP
from cqlib.recipe import PROFILES, Recipe, TrainingConfig


@dataclass(frozen=True)
class CoverageQualityConfig:
    """The nets and switches of one of the four models; f and critic are absent where None."""

    size: int
    widths: tuple[int, ...]
    latent: int = 64
    image_channels: int = 3
    norm: Literal["batch", "group", "none"] = "group"
    sigma_floor: float = 1 / 256
    flow: FlowConfig | None = None
    critic: CriticConfig | None = None
    quality_weight: float = 100.0
    critic_input: Literal["mean", "sample"] = "sample"
    flow_updated_by: Literal["both", "coverage"] = "both"


class CoverageQuality(VariationalModel, AdversarialSystem):
    """p_theta(x) = int p(z) p(x|z) dz with decoder mu, sigma, encoder q_phi(z|x), and perhaps f and a critic."""

    def __init__(self, config: CoverageQualityConfig):
        super().__init__((config.image_channels, config.size, config.size), config.critic)
        c = self.config = config
        self.encoder = Encoder(c.size, c.widths, c.latent, image_channels=c.image_channels, norm=c.norm)
        self.decoder = Decoder(c.size, c.widths, c.latent, out_channels=2 * c.image_channels, norm=c.norm)
        self.flow = RealNVP(c.image_channels, c.flow) if c.flow is not None else None

    # --- the model -------------------------------------------------------------------------------------------

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """mu(z) and ln sigma(z) of Eq. (6): (N, latent) -> two of (N, C, S, S)."""
        mean, raw = self.decoder(z).chunk(2, dim=1)
        # softplus(-1.5) = 0.2: the decoder starts as unsure as an untrained one should be
        return mean, (self.config.sigma_floor + softplus(raw - 1.5)).log()

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x) and ln |det df/dx|; the identity and 0 without f."""
        return self.flow(x) if self.flow is not None else (x, x.new_zeros(len(x)))

    def image(self, y: Tensor) -> Tensor:
        """x = f^-1(y), Eq. (7)."""
        return self.flow.inverse(y) if self.flow is not None else y

    def generate(self, n: int, *, temperature: float, generator: Generator | None = None) -> Tensor:
        """x = f^-1(mu(z) + T sigma(z) eps), not clamped; differentiable."""
        device = next(self.parameters()).device
        z = torch.randn(n, self.config.latent, device=device, generator=generator)
        mean, log_sigma = self.decode(z)
        if temperature == 0:
            return self.image(mean)
        noise = torch.randn(mean.shape, device=device, generator=generator)
        return self.image(mean + temperature * log_sigma.exp() * noise)

    @torch.no_grad()
    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images in [-1, 1]: temperature 1 samples p_theta, 0 decodes the mean."""
        return self.generate(n, temperature=temperature, generator=generator).clamp(-1, 1)

    def log_density(self, v: Tensor, z: Tensor) -> Tensor:
        """ln p_x(v|z), Eq. (8)."""
        y, log_det = self.features(v)
        return losses.decoder_log_density(y, log_det, *self.decode(z))

    # --- its losses ------------------------------------------------------------------------------------------

    def fakes(self, n: int) -> Tensor:
        """What the critic sees: x ~ p_theta, or the decoder's mean in image space."""
        temperature = 1.0 if self.config.critic_input == "sample" else 0.0
        if self.flow is None or self.config.flow_updated_by == "both":
            return self.generate(n, temperature=temperature)
        with frozen(self.flow):
            return self.generate(n, temperature=temperature)

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C + lambda L_Q; L_C alone without a critic."""
        terms = self.coverage_losses(x)
        if self.critic is None:
            return {**terms, "total": terms["coverage"]}
        terms["quality"] = self.quality_loss(len(x))
        return {**terms, "total": terms["coverage"] + self.config.quality_weight * terms["quality"]}


# --- recipes -------------------------------------------------------------------------------------------------

ROWS = {"table1/vae": (), "table1/vae-f": ("flow",), "table1/cq": ("critic",), "table1/cq-f": ("flow", "critic")}
"""Row -> the parts that it has beside encoder and decoder."""


@dataclass(frozen=True)
class Scale:
    """What a profile sets for the five models of Table 1."""

    base: int
    latent: int
    flow: FlowConfig
    critic_base: int
    penalty_weight: float
    penalty_every: int
    quality_weight: float
    critic_input: Literal["mean", "sample"]
    flow_updated_by: Literal["both", "coverage"]
    training: TrainingConfig


def scale(profile: str, size: int) -> Scale:
    """The profile's widths and training; `paper` is section 3 of the recipes, as remembered of the paper."""
    if profile == "paper":
        training = TrainingConfig(
            steps=200_000,
            batch_size=64 if size <= 32 else 32,
            optimiser="adamax",
            learning_rate=2e-3,
            betas=(0.9, 0.999),
            ema=0.999,
            log_every=200,
        )
        return Scale(64, 128, FlowConfig(3, 32, 2), 64, 100.0, 1, 100.0, "mean", "coverage", training)
    training = TrainingConfig(steps=1500, decay_from=0.5)
    quick = Scale(32, 64, FlowConfig(3, 32, 2), 32, 1.0, 4, 100.0, "sample", "both", training)
    if profile == "quick":
        return quick
    if profile == "study":
        return replace(quick, training=replace(training, steps=2000))
    if profile == "smoke":
        tiny = replace(training, steps=20, batch_size=16, log_every=5)
        return replace(quick, base=8, latent=16, flow=FlowConfig(3, 8, 1), critic_base=8, training=tiny)
    raise unknown("profile", profile, PROFILES)


def recipe(row: str, profile: str, size: int, image_channels: int = 3) -> Recipe:
    """Config and training of one of `ROWS`; KeyError for another row.

    A row with f has as many parameters as the one without, within 2 %: its encoder and decoder are narrower.
    """
    parts, s = ROWS[row], scale(profile, size)
    config = CoverageQualityConfig(size, pyramid(s.base, size), s.latent, image_channels)
    if "critic" in parts:
        config = replace(
            config,
            critic=CriticConfig(pyramid(s.critic_base, size), s.penalty_weight, s.penalty_every),
            quality_weight=s.quality_weight,
            critic_input=s.critic_input,
            flow_updated_by=s.flow_updated_by,
        )
    return Recipe(with_flow(config, s.flow) if "flow" in parts else config, s.training)


@functools.cache
def with_flow(config: CoverageQualityConfig, flow: FlowConfig) -> CoverageQualityConfig:
    """`config` with f, and widths shrunk so that the total of parameters stays as near as it can be."""

    def total(candidate: CoverageQualityConfig) -> int:
        with torch.random.fork_rng(devices=[]):  # counting leaves no trace
            return CoverageQuality(candidate).parameter_counts()["total"]

    target = total(config)
    base = config.widths[0]
    candidates = [
        replace(config, flow=flow, widths=pyramid(base * share / 100, config.size, multiple=2))
        for share in range(50, 101)
    ]
    low, high = 0, len(candidates) - 1
    while low < high:  # totals rise with the width: the first that is not below the target
        middle = (low + high) // 2
        low, high = (middle + 1, high) if total(candidates[middle]) < target else (low, middle)
    return min(candidates[max(low - 1, 0) : low + 1], key=lambda candidate: abs(total(candidate) - target))
