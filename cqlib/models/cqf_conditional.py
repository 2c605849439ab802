"""CQ-F given the grey image: a density of the colours that a grey image may have, and fast diverse colourings.

References: the slides show colourisation (Royer et al. 2017); the model is their CQ-F (`cq.py`) with
every net reading the grey image g as well: the decoder as in a U-Net (Ronneberger et al. 2015), f as in Real NVP, where
s and t may read anything that is known to both f and f^-1. The change of colours is JPEG 2000's (`nets/colour.py`).

    x <-> (g, c) exactly,   z ~ N(0, I),   y ~ N(mu(z, g), diag(sigma(z, g)^2)),   c = f^-1(y; g)

x is written as grey g and chroma c, an invertible map of 8-bit values, so that P(x | g) = P(c | g): c is dequantised,
and p(c | g) is CQ-F's density of 2 S^2 dimensions. Divided by the 3 S^2 dimensions of the *colour* image,
-ln P(x | g) compares with the unconditional BPD (bits per dimension): the difference is what the grey image costs.

Deviations:
- The slides show the idea without a model; this one is our choice; its nets are narrower than CQ-F's.
- The critic sees (g, c), which is equivalent to (x, g). A generated image has the grey of a real one, and the gradient
  penalty is on c alone: it asks for a slope of 1 in c at every g.
- p(c | g) has mass outside the cube of colours; samples are moved towards grey until they are inside (other systems
  clamp). The grey of a colouring is exactly the input.
- `sample(n)` colours greys of the first training batches, which are kept with the weights.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pixel_unshuffle

from cqlib import losses
from cqlib.models import cq
from cqlib.models.base import Losses, frozen
from cqlib.models.cq import CoverageQuality, CoverageQualityConfig
from cqlib.nets import colour
from cqlib.nets.conv import Encoder, at_least_fp32, bottom_size, doubling_layers, group_norm, halving_layers, pyramid
from cqlib.nets.coupling import RealNVP
from cqlib.pixels import LN_LEVELS, cell_centres
from cqlib.recipe import Recipe

CHROMA = 2
"""Channels of c; g has one."""


class ConditionalDecoder(nn.Module):
    """z (N, latent), g (N, 1, S, S) -> (N, 2 `CHROMA`, S, S), linear at the end.

    A pyramid of convolutions, of widths `seen`, reads g from fine to coarse; the decoder, of `widths`, goes from z at
    the bottom to the image, and at every resolution reads what the pyramid holds there.
    """

    def __init__(self, size: int, widths: tuple[int, ...], seen: tuple[int, ...], latent: int):
        super().__init__()
        side = bottom_size(size, widths)
        self.bottom = (widths[-1], side, side)
        self.down = nn.ModuleList([nn.Sequential(nn.Conv2d(1, seen[0], 3, padding=1), nn.ELU())])
        self.down.extend(nn.Sequential(*halving_layers(a, b)) for a, b in pairwise(seen))
        self.head = nn.Linear(latent, widths[-1] * side**2)
        self.start = nn.Sequential(group_norm(widths[-1]), nn.ELU())
        self.up = nn.ModuleList(
            nn.Sequential(*doubling_layers(widths[k] + seen[k], widths[k - 1])) for k in range(len(widths) - 1, 0, -1)
        )
        self.out = nn.Conv2d(widths[0] + seen[0], 2 * CHROMA, 3, padding=1)
        with torch.no_grad():
            self.out.weight.mul_(0.5)

    def forward(self, z: Tensor, g: Tensor) -> Tensor:
        features = []
        for layer in self.down:
            g = layer(g)
            features.append(g)
        h = self.start(self.head(z).unflatten(1, self.bottom))
        for layer in self.up:
            h = layer(torch.cat([h, features.pop()], dim=1))
        return at_least_fp32(self.out(torch.cat([h, features.pop()], dim=1)))


@dataclass(frozen=True)
class ConditionalConfig(CoverageQualityConfig):
    """CQ-F's config, the widths `seen` of the pyramid that reads g, and how many `greys` are kept for `sample`."""

    seen: tuple[int, ...] = ()
    greys: int = 256


class ConditionalCQF(CoverageQuality):
    """p_theta(x | g) for g = the grey image of x, P(x | g) = int p(z) P(c | z, g) dz; images have three channels. The
    decoder's argument is (z, g), g (N, 1, S, S) in [-1, 1); f reads g too, with its 2x2 cells packed as channels."""

    config: ConditionalConfig
    critic: nn.Module
    flow: RealNVP
    greys: Tensor
    filled: Tensor

    feature_channels = CHROMA

    def make_nets(self) -> None:
        c = self.config
        self.encoder = Encoder(c.size, c.widths, c.latent, image_channels=1 + CHROMA)
        self.decoder = ConditionalDecoder(c.size, c.widths, c.seen, c.latent)
        self.flow = RealNVP(CHROMA, c.flow, context=4)  # type: ignore[arg-type]
        self.register_buffer("greys", torch.full((c.greys, 1, c.size, c.size), 128, dtype=torch.uint8))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def continuous(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """uint8 x (N, 3, S, S) -> v = (g, c) float (N, 3, S, S): grey in [-1, 1), dequantised chroma in [-2, 2)."""
        grey, chroma = colour.split(x)
        return torch.cat([cell_centres(grey), colour.dequantise_chroma(chroma, generator=generator)], dim=1)

    def encode(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        raise TypeError("a code of this model means nothing without its grey image: call colourise")

    def decode(self, z: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self.mean_and_log_sigma(self.decoder(*z))

    def log_sigma_at_codes(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """ln sigma(z, g) (N, 2, S, S) at codes z of x and at as many z ~ p(z), both given the grey images g of x."""
        v = self.continuous(x, generator)
        encoded, drawn, g = self.infer(v, generator).z, self.prior(len(x), generator), v[:, :1]
        return self.decode((encoded, g))[1], self.decode((drawn, g))[1]

    def log_density(self, v: Tensor, z: Tensor) -> Tensor:
        """ln p(c | z, g) for v = (g, c) by Eq. (8); -> (N,)."""
        g, c = v.split((1, CHROMA), dim=1)
        y, log_det = self.flow(c, pixel_unshuffle(g, 2))
        return losses.decoder_log_density(y, log_det, *self.decode((z, g)))

    def log_probability(self, v: Tensor, z: Tensor) -> Tensor:
        """`log_density` in units of the cells of chroma, each of volume 128^-(2 S^2)."""
        return self.log_density(v, z) - CHROMA * self.config.size**2 * LN_LEVELS

    def chroma(self, g: Tensor, temperature: float, generator: Generator | None = None) -> Tensor:
        """c = f^-1(mu(z, g) + T sigma(z, g) eps; g) for g (N, 1, S, S) in [-1, 1); differentiable."""
        z = torch.randn(len(g), self.config.latent, device=g.device, generator=generator)
        return self.flow.inverse(self.sample_features((z, g), temperature, generator), pixel_unshuffle(g, 2))

    @torch.no_grad()
    def colourise(
        self, grey: Tensor, n: int = 1, *, temperature: float = 1.0, generator: Generator | None = None
    ) -> Tensor:
        """n colourings of each grey image: uint8 (N, 1, S, S) -> (N, n, 3, S, S), cell centres; their grey is exact."""
        grey = grey.repeat_interleave(n, dim=0)
        c = self.chroma(cell_centres(grey), temperature, generator)
        return cell_centres(colour.into_gamut(grey, colour.to_chroma(c))).unflatten(0, (-1, n))

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """One colouring each of n greys drawn from those that were kept (flat grey before training)."""
        index = torch.randint(max(1, int(self.filled)), (n,), device=self.greys.device, generator=generator)
        return self.colourise(self.greys[index], temperature=temperature, generator=generator).flatten(0, 1)

    def fakes(self, x: Tensor) -> Tensor:
        """The critic's input: (g, c) (N, 3, S, S) with the greys g of x and generated chroma c."""
        g = cell_centres(colour.split(x)[0])
        with frozen(self.flow) if self.config.flow_updated_by == "coverage" else nullcontext():
            return torch.cat([g, self.chroma(g, 1.0 if self.config.critic_input == "sample" else 0.0)], dim=1)

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C + lambda L_Q, both given the greys of x."""
        self.keep(x)
        return super().generator_losses(x)

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """Eq. (1) on real and generated (g, c) of the same greys, and the gradient penalty along c."""
        real = self.continuous(x)
        g, c = real.split((1, CHROMA), dim=1)
        with torch.no_grad():
            fake = self.fakes(x)
        discriminator = cq.discriminator_loss(self.critic, real, fake)
        return cq.with_gradient_penalty(
            discriminator, lambda c: self.critic(torch.cat([g, c], dim=1)), c, fake[:, 1:], step, self.config.critic
        )

    @torch.no_grad()
    def keep(self, x: Tensor) -> None:
        """Keep the greys of training images x until there are `config.greys`; how many there are stays on the device,
        for which nothing waits."""
        places = torch.arange(len(self.greys), device=x.device) - self.filled  # in x, of each grey that is kept
        new = colour.split(x)[0][places.clamp(0, len(x) - 1)]
        taken = ((places >= 0) & (places < len(x))).view(-1, 1, 1, 1)
        self.greys.copy_(torch.where(taken, new, self.greys))
        self.filled.add_(len(x)).clamp_(max=len(self.greys))


ROWS, CONFIG, SYSTEM = ("extra/cq-f-conditional",), ConditionalConfig, ConditionalCQF


def recipe(row: str, profile: str, size: int) -> Recipe:
    """CQ-F's recipe with narrower nets and half the dimensions of z, since g gives the shapes and one of the three
    channels."""
    cqf, base = cq.recipe("table1/cq-f", profile, size), cq.recipe("table1/cq", profile, size).system.widths[0]
    widths = {"widths": pyramid(0.75 * base, size), "seen": pyramid(0.375 * base, size)}
    return Recipe(ConditionalConfig(**vars(cqf.system) | widths | {"latent": cqf.system.latent // 2}), cqf.training)
