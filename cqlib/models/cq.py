"""VAE, VAE-F, CQ and CQ-F: one latent-variable model, with and without f, with and without L_Q.

Reference: Lucas, Shmelkov, Alahari, Schmid, Verbeek, "Coverage and Quality Driven Training of Generative Image
Models", arXiv 1901.01091 (version 3, at NeurIPS 2019: "Adaptive Density Estimation for Generative Models"); Eqs. (1)
to (8) of its slides.

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
- Group normalisation: batch statistics would mix codes z from the posterior with codes from the prior.
- The critic sees generated images as f^-1 gives them, also beyond [-1, 1]; samples are clamped before they are scored.
- BPD is the single-sample ELBO, and an importance-weighted bound is reported beside it.
- Not known, and chosen for `paper`: 200,000 steps at a constant rate, averaged weights, flips, the widths of all nets,
  a z of 128 dimensions.
- `quick` and `study` (`docs/tuning.md`): nets half as wide; few steps in batches of 16; Adam at a rate of 1e-3 (half of
  it above 32x32) that falls to 0, with smaller betas for the critic; a gradient penalty of weight 1 every fourth step;
  the generator's gradient clipped at some ten times its median length.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from cqlib import losses
from cqlib.data import usual_lambda
from cqlib.models.base import Losses, frozen
from cqlib.models.variational import VariationalModel
from cqlib.nets.conv import Critic, Decoder, Encoder, pyramid
from cqlib.nets.coupling import FlowConfig, RealNVP
from cqlib.nets.residual_critic import ResidualCritic
from cqlib.pixels import cell_centres, dequantise
from cqlib.recipe import Recipe, TrainingConfig


@dataclass(frozen=True)
class CriticConfig:
    """The discriminator and its penalty."""

    widths: tuple[int, ...]
    penalty_weight: float = 10.0
    """Weight of the gradient penalty; 0: none."""
    penalty_every: int = 1
    """Penalise every k-th step with k times the weight (lazy regularisation, Karras et al. 2020)."""
    blocks: int = 0
    """Residual blocks per halving of the resolution; 0: the plain convolutional critic."""


def make_critic(config: CriticConfig, size: int, image_channels: int) -> nn.Module:
    """The logit l(x) of D(x) = sigmoid(l(x)): images (N, image_channels, size, size) -> (N,)."""
    if config.blocks:
        return ResidualCritic(size, config.widths, config.blocks, image_channels=image_channels)
    return Critic(size, config.widths, image_channels=image_channels)


def discriminator_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Eq. (1) on real and generated images, both in one pass of the critic, which judges each by itself."""
    real_logits, fake_logits = critic(torch.cat([real, fake])).split([len(real), len(fake)])
    return losses.discriminator_loss(real_logits, fake_logits)


def quality_loss(critic: nn.Module, fake: Tensor) -> Tensor:
    """L_Q, Eq. (2), of generated images; the critic's parameters get no gradient."""
    with frozen(critic):
        return losses.quality_loss(critic(fake))


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


def critic_losses(system: Any, x: Tensor, step: int) -> Losses:
    """What the critic of a `system` minimises at its update number `step`: Eq. (1) on uint8 images x (N, C, H, W) and
    as many generated ones, and the gradient penalty on their interpolates."""
    real = dequantise(x)
    with torch.no_grad():
        fake = system.fakes(x)
    discriminator = discriminator_loss(system.critic, real, fake)
    return with_gradient_penalty(discriminator, system.critic, real, fake, step, system.config.critic)


@dataclass(frozen=True)
class CoverageQualityConfig:
    """Nets and switches of a model; f and critic are absent where None.

    `widths` are the channels of encoder and decoder, finest resolution first; `latent` is the dimension of z;
    `sigma_floor` the least sigma, in units of y, without f those of pixels in [-1, 1]; `quality_weight` the lambda of
    L_C + lambda L_Q. `critic_input`: the critic sees a "sample" x ~ p_theta, as in Eq. (1), or, in ablations, the
    "mean" f^-1(mu(z)). `flow_updated_by`: which losses train f.
    """

    size: int
    widths: tuple[int, ...]
    latent: int = 64
    image_channels: int = 3
    sigma_floor: float = 1 / 256
    flow: FlowConfig | None = None
    critic: CriticConfig | None = None
    quality_weight: float = 100.0  # recipes with a critic set it; without one it has no meaning, and is in old hashes
    critic_input: Literal["sample", "mean"] = "sample"
    flow_updated_by: Literal["both", "coverage"] = "both"
    sigma: Literal["of z", "shared"] = "of z"
    """The decoder's sigma(z), or, in an ablation, one learned sigma of each feature, shared by all z."""


class CoverageQuality(VariationalModel):
    """p_theta(x) = int p(z) p(x|z) dz with decoder mu, sigma, encoder q_phi(z|x), and perhaps f and a critic."""

    config: CoverageQualityConfig
    decoder: nn.Module
    flow: RealNVP | None

    def __init__(self, config: CoverageQualityConfig):
        """ValueError where `size` cannot be halved as often as f has scales, and as for `System`."""
        super().__init__(config)
        if config.flow is not None and config.size % 2**config.flow.scales:
            sides = f"images with a side that is a multiple of {2**config.flow.scales}, not {config.size}"
            most = next(scales for scales in range(16) if config.size % 2 ** (scales + 1))
            raise ValueError(f"f of {config.flow.scales} scales is for {sides}: take flow.scales of {most} or less")
        if config.critic is not None:
            self.critic = make_critic(config.critic, config.size, config.image_channels)
        self.make_nets()
        of_feature = torch.zeros(self.feature_channels, config.size, config.size)
        self.shared_sigma = nn.Parameter(of_feature) if config.sigma == "shared" else None

    @property
    def feature_channels(self) -> int:
        """Channels of y."""
        return self.config.image_channels

    def make_nets(self) -> None:
        """The encoder, the decoder and f."""
        c = self.config
        self.encoder = Encoder(c.size, c.widths, c.latent, image_channels=c.image_channels)
        self.decoder = Decoder(c.size, c.widths, c.latent, out_channels=2 * c.image_channels)
        self.flow = RealNVP(c.image_channels, c.flow) if c.flow is not None else None

    def prior(self, n: int, generator: Generator | None = None) -> Any:
        """n draws of z ~ p(z): here N(0, I), (n, latent)."""
        return torch.randn(n, self.config.latent, device=self.device, generator=generator)

    def decode(self, z: Any) -> tuple[Tensor, Tensor]:
        """mu(z) and ln sigma(z) of Eq. (6), two of (N, C, S, S)."""
        return self.mean_and_log_sigma(self.decoder(z))

    def mean_and_log_sigma(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """A decoder's output (N, 2 C, S, S) -> mu and ln sigma, (N, C, S, S) each; sigma > `sigma_floor`."""
        mean, raw = raw.chunk(2, dim=1)
        if self.shared_sigma is not None:
            raw = self.shared_sigma.expand_as(mean)
        # for raw near 0, as at the start of `Decoder`, sigma is near softplus(-1.5) = 0.2
        return mean, (self.config.sigma_floor + softplus(raw - 1.5)).log()

    def log_sigma_at_codes(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """ln sigma(z) (N, C, S, S) at codes z ~ q(z|x) of uint8 images x (N, C, S, S), and at as many z ~ p(z)."""
        encoded = self.infer(self.continuous(x, generator), generator).z
        return self.decode(encoded)[1], self.decode(self.prior(len(x), generator))[1]

    def features(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(v) (N, C, S, S) and ln |det df/dv| (N,) of images v (N, C, S, S) in [-1, 1); without f, v and 0."""
        return self.flow(v) if self.flow is not None else (v, v.new_zeros(len(v)))

    def image(self, y: Tensor) -> Tensor:
        """x = f^-1(y), Eq. (7)."""
        return self.flow.inverse(y) if self.flow is not None else y

    def log_density(self, v: Tensor, z: Any) -> Tensor:
        """ln p_x(v|z), Eq. (8), of dequantised images v (N, C, S, S) in [-1, 1); -> (N,)."""
        y, log_det = self.features(v)
        return losses.decoder_log_density(y, log_det, *self.decode(z))

    def sample_features(self, z: Any, temperature: float, generator: Generator | None = None) -> Tensor:
        """y = mu(z) + T sigma(z) eps, (N, C, S, S), with T = `temperature` and eps ~ N(0, I)."""
        mean, log_sigma = self.decode(z)
        if temperature == 0:
            return mean
        noise = torch.randn(mean.shape, device=mean.device, generator=generator)
        return mean + temperature * log_sigma.exp() * noise

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """x = f^-1(y)."""
        return self.image(self.sample_features(self.prior(n, generator), temperature, generator))

    @torch.no_grad()
    def encode(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """The mean of q(z|x) at the centres of the pixels' cells: uint8 (N, C, S, S) -> (N, latent). Nothing is drawn,
        but by models whose z has several layers, which need `generator`."""
        mean: Tensor = self.encoder(cell_centres(self.checked(x)))[0]
        return mean

    @torch.no_grad()
    def image_at(self, z: Any, *, temperature: float = 0.0, generator: Generator | None = None) -> Tensor:
        """The images of codes z, as `encode` gives them: float (N, C, S, S) in [-1, 1]. By default f^-1(mu(z)), the
        image of the decoder's mean; at `temperature` 1 a draw of p_theta(x|z), noise included."""
        return self.image(self.sample_features(z, temperature, generator)).clamp(-1, 1)

    def reconstruct(self, x: Tensor, *, temperature: float = 0.0, generator: Generator | None = None) -> Tensor:
        """`image_at` the codes of uint8 images x (N, C, S, S): float (N, C, S, S) in [-1, 1]."""
        return self.image_at(self.encode(x, generator=generator), temperature=temperature, generator=generator)

    def interpolate(
        self, a: Tensor, b: Tensor, steps: int = 8, *, temperature: float = 0.0, generator: Generator | None = None
    ) -> Tensor:
        """`image_at` evenly spaced codes on the straight lines from the codes of images a to those of images b, both
        uint8 (N, C, S, S): float (N, steps, C, S, S) in [-1, 1], from the reconstructions of a to those of b."""
        if steps < 2 or len(a) != len(b):
            given = f"{len(a)} and {len(b)} images and {steps} steps"
            raise ValueError(f"interpolate takes as many images a as b, and 2 or more steps, not {given}")
        start, end = (self.encode(x, generator=generator) for x in (a, b))
        z = torch.stack([torch.lerp(start, end, k / (steps - 1)) for k in range(steps)], dim=1)
        images = self.image_at(z.flatten(0, 1), temperature=temperature, generator=generator)
        return images.unflatten(0, (-1, steps))

    def fakes(self, x: Tensor) -> Tensor:
        """The critic's input (N, C, S, S): x ~ p_theta or f^-1(mu(z)), as `critic_input` says. With `flow_updated_by`
        "coverage" no gradient reaches the parameters of f."""
        fixed = self.flow if self.config.flow_updated_by == "coverage" else None
        with nullcontext() if fixed is None else frozen(fixed):
            return self.generate(len(x), 1.0 if self.config.critic_input == "sample" else 0.0)

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C + lambda L_Q; L_C alone without a critic."""
        terms = self.coverage_losses(x)
        if self.critic is None:
            return terms
        terms["quality"] = quality_loss(self.critic, self.fakes(x))
        return {**terms, "total": terms["total"] + self.config.quality_weight * terms["quality"]}

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """Eq. (1) on real and generated images, and the gradient penalty on their interpolates."""
        return critic_losses(self, x, step)


ROWS = {
    "table1/vae": (),
    "table1/vae-f": ("flow",),
    "table1/cq": ("critic",),
    "table1/cq-f": ("flow", "critic"),
}
"""Row -> its parts in addition to encoder and decoder."""
CONFIG, SYSTEM = CoverageQualityConfig, CoverageQuality


def recipe(row: str, profile: str, size: int) -> Recipe:
    """The row's recipe; that of `paper` is from memory, unverified. With f, encoder and decoder are narrower, so that
    the row has as many parameters as without f, within 2 %. lambda is that of natural images; an experiment has its
    data set's, and mirrors images where that may be done (`cqlib.suite.experiments.experiment`)."""
    parts = ROWS[row]
    base, latent, flow, critic_base, penalty_weight, penalty_every = {
        "paper": (64, 128, FlowConfig(3, 32, 2), 64, 100.0, 1),
        "study": (32, 64, FlowConfig(3, 16, 2), 32, 1.0, 4),
        "quick": (32, 64, FlowConfig(3, 16, 2), 32, 1.0, 4),
        "smoke": (8, 16, FlowConfig(3, 4, 1), 8, 1.0, 4),
    }[profile]
    config = CoverageQualityConfig(size, pyramid(base, size), latent)
    if "flow" in parts:
        config = replace(config, flow=flow, widths=pyramid(_share(profile, size) * base, size, multiple=2))
    if "critic" in parts:
        critic = CriticConfig(pyramid(critic_base, size), penalty_weight, penalty_every)
        config = replace(config, critic=critic, quality_weight=usual_lambda(None, size))
    return Recipe(config, training(profile, size))


def _share(profile: str, size: int) -> float:
    """The width of encoder and decoder with f, as a share of the width without."""
    if size <= 16:
        return 0.95 if profile == "smoke" else 0.97
    return 0.99 if size < 64 else 1.0


def training(profile: str, size: int) -> TrainingConfig:
    """The training of all four rows; below `paper`, lengths of gradients grow with the number of pixels."""
    if profile == "paper":
        return TrainingConfig(steps=200_000, batch_size=64 if size <= 32 else 32, optimiser="adamax",
                              learning_rate=2e-3, betas=(0.9, 0.999), log_every=200)  # fmt: skip
    # at 64x64 the critic is two layers deeper and, without normalisation, grows without bound at 1e-3 (docs/tuning.md)
    return TrainingConfig(
        steps={"study": 6000, "quick": 4000, "smoke": 20}[profile], batch_size=16,
        learning_rate=1e-3 if size <= 32 else 5e-4, betas=(0.9, 0.999), critic_betas=(0.5, 0.99), decay_from=0.5,
        gradient_clip=20_000.0 * (size / 16) ** 2, log_every=5 if profile == "smoke" else 50,
    )  # fmt: skip
