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

The encoder is trained by L_C alone; L_Q reaches the decoder through f^-1.

Deviations (what the sources leave open; those of f are in `nets/coupling.py`):
- L = L_C + lambda L_Q with L_C in nats per image (`quality_weight` = lambda); the paper does not state the unit.
- The critic sees x ~ p_theta(x), the decoder's noise included, as in Eq. (1), and L_Q trains all of theta that makes x,
  decoder and f, as in Eq. (2). A formula of a later version of the paper is remembered (unverified) with the decoder's
  mean, f^-1(mu(z)), in place of x: that reading is an ablation (`critic_input`, `flow_updated_by`).
- f acts on dequantised pixels in [-1, 1), with no logit layer.
- sigma(z) is a standard deviation per feature, with a floor `sigma_floor`, in units of y. Without f these
  are pixels in [-1, 1], and the floor keeps densities of quantised data finite; with f, in units of pixels, it is the
  floor over |dy/dx|. The slides write the diagonal of a covariance.
- Group normalisation (`norm`): batch statistics would mix codes z from the posterior with codes from the prior.
- The critic sees generated images as f^-1 gives them, also beyond [-1, 1]; samples are clamped before they are scored.
- BPD is the single-sample ELBO, and an importance-weighted bound is reported beside it.
- Not known, and chosen for `paper`: 200,000 steps at a constant rate, averaged weights, flips, the widths of all nets,
  a z of 128 dimensions.
- `quick` and `study` (`docs/tuning.md`): nets half as wide; few steps in batches of 16; Adam at a rate of 1e-3 (half of
  it above 32x32) that falls to 0, with smaller betas for the critic; a gradient penalty of weight 1 every fourth step;
  the generator's gradient clipped at some ten times its median length.
"""

import functools
from bisect import bisect_left
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from cqlib.models.adversarial import CriticConfig
from cqlib.models.hybrid import CoverageQualityConfig, HybridModel
from cqlib.nets.conv import Decoder, Encoder, pyramid
from cqlib.nets.coupling import FlowConfig, RealNVP
from cqlib.recipe import Recipe, TrainingConfig


class CoverageQuality(HybridModel):
    """p_theta(x) = int p(z) p(x|z) dz with one vector z ~ N(0, I), convolutional encoder and decoder."""

    def __init__(self, config: CoverageQualityConfig):
        super().__init__(config)
        c = config
        self.encoder = Encoder(c.size, c.widths, c.latent, image_channels=c.image_channels, norm=c.norm)
        self.decoder = Decoder(c.size, c.widths, c.latent, out_channels=2 * c.image_channels, norm=c.norm)
        self.flow = RealNVP(c.image_channels, c.flow) if c.flow is not None else None

    def prior(self, n: int, generator: Generator | None = None) -> Tensor:
        """z ~ N(0, I), (n, latent)."""
        return torch.randn(n, self.config.latent, device=self.device, generator=generator)

    def raw_decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


ROWS = {
    "table1/vae": (),
    "table1/vae-f": ("flow",),
    "table1/cq": ("critic",),
    "table1/cq-f": ("flow", "critic"),
}
"""Row -> its parts beside encoder and decoder."""
CONFIG, SYSTEM = CoverageQualityConfig, CoverageQuality


@dataclass(frozen=True)
class ProfileSettings:
    """A profile's settings for the five models of Table 1. `base` and `critic_base` are the channels at full resolution
    of encoder and decoder, and of the critic; `latent` is the dimension of z."""

    base: int
    latent: int
    flow: FlowConfig
    critic_base: int
    penalty_weight: float
    penalty_every: int
    training: TrainingConfig

    @property
    def gan_training(self) -> TrainingConfig:
        """The training of a GAN: the critic's betas for its generator, and no clipping: it has no likelihood."""
        betas = self.training.critic_betas or self.training.betas
        return replace(self.training, betas=betas, critic_betas=None, gradient_clip=None)


def profile_settings(profile: str, size: int) -> ProfileSettings:
    """Widths and training of a profile at `size` pixels; those of `paper` are from memory, unverified."""
    if profile == "paper":
        training = TrainingConfig(200_000, 64 if size <= 32 else 32, "adamax", learning_rate=2e-3, betas=(0.9, 0.999),
                                  log_every=200)  # fmt: skip
        return ProfileSettings(64, 128, FlowConfig(3, 32, 2), 64, 100.0, 1, training)
    # at 64x64 the critic is two layers deeper and, without normalisation, grows without bound at 1e-3 (docs/tuning.md)
    training = TrainingConfig(steps=4000, batch_size=16, learning_rate=1e-3 if size <= 32 else 5e-4, betas=(0.9, 0.999),
                              critic_betas=(0.5, 0.99), decay_from=0.5,
                              gradient_clip=20_000.0 * (size / 16) ** 2)  # fmt: skip
    quick = ProfileSettings(32, 64, FlowConfig(3, 16, 2), 32, 1.0, 4, training)
    tiny = replace(training, steps=20, log_every=5)
    return {
        "quick": quick,
        "study": replace(quick, training=replace(training, steps=6000)),
        "smoke": replace(quick, base=8, latent=16, flow=FlowConfig(3, 4, 1), critic_base=8, training=tiny),
    }[profile]


def recipe(row: str, profile: str, size: int) -> Recipe:
    """The row's recipe. With f, encoder and decoder are narrower, so that the row has as many parameters as without f,
    within 2 %."""
    parts, s = ROWS[row], profile_settings(profile, size)
    config = CoverageQualityConfig(size, pyramid(s.base, size), s.latent)
    if "critic" in parts:
        config = replace(config, critic=CriticConfig(pyramid(s.critic_base, size), s.penalty_weight, s.penalty_every))
    return Recipe(with_flow(config, s.flow) if "flow" in parts else config, s.training)


@functools.cache
def with_flow(config: CoverageQualityConfig, flow: FlowConfig) -> CoverageQualityConfig:
    """`config` with f, and widths shrunk so that the number of parameters, the critic's aside, stays as close as
    possible."""

    def total(candidate: CoverageQualityConfig) -> int:
        with torch.device("meta"):  # counting needs no weights
            return CoverageQuality(replace(candidate, critic=None)).parameter_counts()["total"]

    target = 2 * total(config) - total(replace(config, flow=flow))  # what f leaves for the other nets
    base = config.widths[0]
    candidates = [
        replace(config, widths=pyramid(base * share / 100, config.size, multiple=2)) for share in range(50, 101)
    ]
    k = bisect_left(candidates, target, key=total)  # totals rise with the width: the first that is not below the target
    best = min(candidates[max(k - 1, 0) : k + 1], key=lambda candidate: abs(total(candidate) - target))
    return replace(best, flow=flow)
