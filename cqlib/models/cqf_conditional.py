"""CQ-F given the grey image: a density of the colours that a grey image may have, and fast diverse colourings.

References: the slides open with colourisation (Royer et al. 2017); the model is their CQ-F (`coverage_quality.py`) with
every net reading the grey image g as well: the decoder as in a U-Net (Ronneberger et al. 2015), f as in Real NVP,
whose s and t may read anything that is known on both sides. The change of colours is JPEG 2000's (`nets/colour.py`).

    x <-> (g, c) exactly,   z ~ N(0, I),   y ~ N(mu(z, g), diag(sigma(z, g)^2)),   c = f^-1(y; g)

x is written as grey g and chroma c, an invertible map of 8-bit values, so that P(x | g) = P(c | g): c is dequantised,
and p(c | g) is CQ-F's density of 2 S^2 dimensions. As P(x) = P(g) P(x | g), -ln P(x | g) per dimension of the *colour*
image compares with the unconditional BPD: the difference is what the grey image costs.

Deviations:
- The slides show the idea without a model; this one is our choice; its nets are narrower than CQ-F's.
- The critic sees (g, c), which is equivalent to (x, g). A generated image has the grey of a real one, and the gradient
  penalty is on c alone: for every g a critic of slope 1.
- p(c | g) has mass outside the cube of colours; samples are moved towards grey until they are inside (other systems
  clamp). The grey of a colouring is exactly the input.
- `sample(n)` colours greys of the first training batches, which are kept with the weights.
"""

from contextlib import nullcontext
from dataclasses import dataclass, fields
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pixel_unshuffle

from cqlib import losses
from cqlib.models import coverage_quality
from cqlib.models.adversarial import AdversarialSystem, with_gradient_penalty
from cqlib.models.base import Losses, frozen
from cqlib.models.coverage_quality import profile_settings
from cqlib.models.hybrid import CoverageQualityConfig, mean_and_log_sigma
from cqlib.models.variational import VariationalModel
from cqlib.nets import colour
from cqlib.nets.conv import Encoder, bottom_size, doubling, halving, normalisation, pyramid
from cqlib.nets.coupling import Coupling, FlowConfig, alternate, join_checkerboard, split_checkerboard, undo
from cqlib.nets.precision import at_least_fp32
from cqlib.pixels import LN_LEVELS, to_signed
from cqlib.recipe import Recipe

CHROMA = 2
"""Channels of c; g has one."""


class ConditionalDecoder(nn.Module):
    """z (N, latent), g (N, 1, S, S) -> (N, 2 `CHROMA`, S, S), linear at the end.

    A pyramid of convolutions reads g from fine to coarse; the decoder goes from z at the bottom to the image, and at
    every resolution reads what the pyramid holds there. `widths` are the decoder's, from fine to coarse, `seen` the
    pyramid's.
    """

    def __init__(self, size: int, widths: tuple[int, ...], seen: tuple[int, ...], latent: int, *, norm: str):
        super().__init__()
        side = bottom_size(size, widths)
        self.bottom = (widths[-1], side, side)
        self.down = nn.ModuleList([nn.Sequential(nn.Conv2d(1, seen[0], 3, padding=1), nn.ELU())])
        self.down.extend(nn.Sequential(*halving(a, b, norm)) for a, b in pairwise(seen))
        self.head = nn.Linear(latent, widths[-1] * side**2)
        self.start = nn.Sequential(normalisation(norm, widths[-1]), nn.ELU())
        self.up = nn.ModuleList(
            nn.Sequential(*doubling(widths[k] + seen[k], widths[k - 1], norm)) for k in range(len(widths) - 1, 0, -1)
        )
        self.out = nn.Conv2d(widths[0] + seen[0], 2 * CHROMA, 3, padding=1)
        with torch.no_grad():
            self.out.weight.mul_(0.5)

    def forward(self, z: Tensor, g: Tensor) -> Tensor:
        found = []
        for layer in self.down:
            g = layer(g)
            found.append(g)
        h = self.start(self.head(z).unflatten(1, self.bottom))
        for layer in self.up:
            h = layer(torch.cat([h, found.pop()], dim=1))
        return at_least_fp32(self.out(torch.cat([h, found.pop()], dim=1)))


class ConditionalNVP(nn.Module):
    """f of Eqs. (7) and (8) given an image: y = f(c; g), for every g an invertible map of c, (N, `CHROMA`, S, S) both.

    The couplings of `RealNVP` at one scale; s and t read g besides, its 2x2 cells packed as channels.
    """

    def __init__(self, config: FlowConfig):
        super().__init__()
        if config.scales != 1:
            raise ValueError(f"a conditional f has one scale, not {config.scales}")
        self.couplings = nn.ModuleList(
            Coupling(2 * CHROMA, width=config.width, blocks=config.blocks, context=4)
            for _ in range(config.couplings)
        )

    def forward(self, c: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(c; g), and ln |det df/dc| (N,)."""
        groups, log_det = alternate(self.couplings, split_checkerboard(c), pixel_unshuffle(g, 2))
        return join_checkerboard(*groups), log_det

    def inverse(self, y: Tensor, g: Tensor) -> Tensor:
        """c = f^-1(y; g), differentiable in both and in the parameters."""
        return join_checkerboard(*undo(self.couplings, split_checkerboard(y), pixel_unshuffle(g, 2)))


@dataclass(frozen=True)
class ConditionalConfig(CoverageQualityConfig):
    """CQ-F's config; widths of the pyramid that reads g; the number of greys kept for `sample`."""

    seen: tuple[int, ...] = ()
    greys: int = 256


class ConditionalCQF(VariationalModel, AdversarialSystem):
    """p_theta(x | g) for g = the grey image of x, P(x | g) = int p(z) P(c | z, g) dz; images have three channels."""

    conditioned_on = "the grey image"
    config: ConditionalConfig

    def __init__(self, config: ConditionalConfig):
        super().__init__(config)
        c = config
        self.encoder = Encoder(c.size, c.widths, c.latent, image_channels=1 + CHROMA, norm=c.norm)
        self.decoder = ConditionalDecoder(c.size, c.widths, c.seen, c.latent, norm=c.norm)
        self.flow = ConditionalNVP(c.flow)  # type: ignore[arg-type]
        self.greys: Tensor
        self.filled: Tensor
        self.register_buffer("greys", torch.full((c.greys, 1, c.size, c.size), 128, dtype=torch.uint8))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self._full = False  # known without asking the device

    def continuous(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """uint8 x (N, 3, S, S) -> v = (g, c) float (N, 3, S, S): grey in [-1, 1), dequantised chroma in [-2, 2)."""
        grey, chroma = colour.split(x)
        return torch.cat([to_signed(grey), colour.dequantise_chroma(chroma, generator=generator)], dim=1)

    def decode(self, z: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """mu(z, g) and ln sigma(z, g), two of (N, 2, S, S); g (N, 1, S, S) in [-1, 1)."""
        return mean_and_log_sigma(self.decoder(z, g), self.config.sigma_floor)

    def log_density(self, v: Tensor, z: Tensor) -> Tensor:
        """ln p(c | z, g) for v = (g, c) by Eq. (8); -> (N,)."""
        g, c = v.split((1, CHROMA), dim=1)
        y, log_det = self.flow(c, g)
        return losses.decoder_log_density(y, log_det, *self.decode(z, g))

    def log_probability(self, v: Tensor, z: Tensor) -> Tensor:
        """`log_density` in units of the cells of chroma, each of volume 128^-(2 S^2)."""
        return self.log_density(v, z) - v[:, 1:].flatten(1).shape[1] * LN_LEVELS

    def chroma(self, g: Tensor, temperature: float, generator: Generator | None = None) -> Tensor:
        """c = f^-1(mu(z, g) + T sigma(z, g) eps; g) for g (N, 1, S, S) in [-1, 1); differentiable."""
        z = torch.randn(len(g), self.config.latent, device=g.device, generator=generator)
        y, log_sigma = self.decode(z, g)
        if temperature > 0:
            noise = torch.randn(y.shape, device=g.device, generator=generator)
            y = y + temperature * log_sigma.exp() * noise
        return self.flow.inverse(y, g)

    @torch.no_grad()
    def colourise(
        self, grey: Tensor, n: int = 1, *, temperature: float = 1.0, generator: Generator | None = None
    ) -> Tensor:
        """n colourings of each grey image: uint8 (N, 1, S, S) -> (N, n, 3, S, S), cell centres; their grey is exact."""
        grey = grey.repeat_interleave(n, dim=0)
        c = self.chroma(to_signed(grey), temperature, generator)
        return to_signed(colour.into_gamut(grey, colour.to_chroma(c))).unflatten(0, (-1, n))

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """One colouring each of n kept greys (flat ones before training)."""
        index = torch.randint(max(1, int(self.filled)), (n,), device=self.greys.device, generator=generator)
        return self.colourise(self.greys[index], temperature=temperature, generator=generator).flatten(0, 1)

    def fakes_of(self, g: Tensor) -> Tensor:
        """The critic's input for grey images g: their g, and c ~ p_theta(c | g) or the decoder's mean."""
        with frozen(self.flow) if self.config.flow_updated_by == "coverage" else nullcontext():
            c = self.chroma(g, 1.0 if self.config.critic_input == "sample" else 0.0)
        return torch.cat([g, c], dim=1)

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C + lambda L_Q, both given the greys of x; L_C alone without a critic."""
        self.keep(x)
        terms = self.coverage_losses(x)
        if self.critic is None:
            return terms
        terms["quality"] = self.quality_loss(self.fakes_of(to_signed(colour.split(x)[0])))
        return {**terms, "total": terms["total"] + self.config.quality_weight * terms["quality"]}

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """Eq. (1) on real and generated (g, c) of the same greys, and the gradient penalty along c."""
        real = self.continuous(x)
        g, c = real.split((1, CHROMA), dim=1)
        with torch.no_grad():
            fake = self.fakes_of(g)
        return with_gradient_penalty(
            self.discriminator_loss(real, fake), lambda c: self.critic(torch.cat([g, c], dim=1)), c, fake[:, 1:], step,
            *self.penalty,
        )  # fmt: skip

    @torch.no_grad()
    def keep(self, x: Tensor) -> None:
        """Keep the greys of training images x until there are `config.greys`."""
        if self._full:
            return
        filled = int(self.filled)
        new = colour.split(x[: len(self.greys) - filled])[0]
        self.greys[filled : filled + len(new)] = new
        self.filled += len(new)
        self._full = filled + len(new) == len(self.greys)


ROWS, CONFIG, SYSTEM = ("extra/cq-f-conditional",), ConditionalConfig, ConditionalCQF


def recipe(row: str, profile: str, size: int) -> Recipe:
    """Config and training of CQ-F in a profile, at `size` pixels, with narrower nets and half the latent codes, since
    two channels of three are drawn and the shapes are given."""
    cqf, s = coverage_quality.recipe("table1/cq-f", profile, size), profile_settings(profile, size)
    shared = {f.name: getattr(cqf.system, f.name) for f in fields(CoverageQualityConfig)}
    nets = {"widths": pyramid(0.75 * s.base, size), "seen": pyramid(0.375 * s.base, size), "latent": s.latent // 2}
    return Recipe(ConditionalConfig(**{**shared, **nets}), cqf.training)
