"""A VAE whose decoder is a conditional PixelCNN: given z, pixels depend on each other and are drawn one by one.

References: Gulrajani et al., "PixelVAE", ICLR 2017; Chen et al., "Variational Lossy Autoencoder", ICLR 2017; van den
Oord et al., "Conditional Image Generation with PixelCNN Decoders", NIPS 2016, Eqs. (2) and (5) (gates, context maps).

    z ~ N(0, I),   P(x|z) = prod_i P(x_i | x_<i, s(z)),   -ln P(x) <= KL(q(z|x) || p(z)) - E_q[ln P(x|z)]
    h <- h + V tanh(W_f * h + U_f s) sigma(W_g * h + U_g s)

The encoder is that of Table 1's VAE; its decoder gives the context maps s(z).

Deviations (and those of `nets/raster.py`):
- One stack of masked convolutions has a blind spot: pixels above to the right, at a slope flatter than the kernel's.
  Two stacks, as in van den Oord et al., see them; here z can carry what stands there.
- One layer of latent codes, and smaller than either paper's: the row is there to compare decoders.
- The PixelCNN sees a small window, so that what spans the image is left to z (Chen et al., section 3.1). Even so the KL
  collapsed in so short a training: the profiles below `paper` have 32 nats of free bits (Kingma et al. 2016).
- Temperature divides the logits; at 0 every value is the most probable one given those before it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from cqlib.models import cq
from cqlib.models.base import LikelihoodConfig
from cqlib.models.variational import Inference, VariationalModel
from cqlib.nets.conv import Decoder, Encoder
from cqlib.nets.raster import (
    ApplyAtPixel,
    ApplyLayer,
    LogitsAt,
    PixelSoftmax,
    RasterConv2d,
    apply_to_maps,
    cached_logits,
    pixel_nats,
    raster_sample,
)
from cqlib.pixels import cell_centres, to_uint8
from cqlib.recipe import Recipe

LEVELS = 256


class PixelCNN(nn.Module):
    """x (N, C, H, W) and its context -> logits of all values given those before them and the context,
    (N, C, levels, H, W).

    A convolution (A) of `stem` x `stem`; `blocks` gated residual blocks, each a 3x3 and a 1x1 convolution (B); softmax.
    The context holds the U s of all blocks, which `contexts` computes from feature maps s (N, condition, H, W).
    """

    def __init__(self, features: int, blocks: int, width: int, *, stem: int, condition: int, colours: int, levels: int):
        super().__init__()
        self.stem = RasterConv2d("A", colours, features, stem, ordered_groups=colours)
        self.gates = nn.ModuleList(
            RasterConv2d("B", features, features, 3, ordered_groups=colours, copies=2) for _ in range(blocks)
        )
        self.out = nn.ModuleList(
            RasterConv2d("B", features, features, 1, ordered_groups=colours) for _ in range(blocks)
        )
        self.contexts = nn.Conv2d(condition, 2 * blocks * features, 1, bias=False)
        self.head = PixelSoftmax(features, width, colours=colours, levels=levels)

    def forward(self, x: Tensor, context: Tensor, apply: ApplyLayer = apply_to_maps) -> Tensor:
        """Logits of whole maps; with `ApplyAtPixel` of one pixel: (N, C) and its context (N, …) -> (N, C, levels)."""
        h = apply(self.stem, x)
        for gates, out, of_block in zip(self.gates, self.out, context.chunk(len(self.gates), 1), strict=True):
            f, g = (apply(gates, h) + of_block).chunk(2, 1)
            h = h + apply(out, f.tanh() * g.sigmoid())
        return self.head(h, apply)


@dataclass(frozen=True)
class VAEPixelCNNConfig(LikelihoodConfig):
    """Encoder and decoder of `widths`, `condition` context maps; a PixelCNN of `blocks` blocks of `features`."""

    widths: tuple[int, ...]
    latent: int
    condition: int
    features: int
    blocks: int
    width: int
    """Features of the convolutions that lead to the softmax."""
    stem: int = 5
    free_bits: float = 0.0
    """Nats of KL, averaged over the batch, below which training does not push it."""


class VAEPixelCNN(VariationalModel):
    """P(x) = int p(z) P(x|z) dz with one vector z."""

    dequantised = False
    config: VAEPixelCNNConfig

    def __init__(self, config: VAEPixelCNNConfig):
        super().__init__(config)
        c, channels = config, config.image_channels
        self.encoder = Encoder(c.size, c.widths, c.latent, image_channels=channels)
        self.decoder = Decoder(c.size, c.widths, c.latent, out_channels=c.condition)
        self.pixelcnn = PixelCNN(
            c.features, c.blocks, c.width, stem=c.stem, condition=c.condition, colours=channels, levels=LEVELS
        )

    def infer(self, v: Tensor, generator: Generator | None = None) -> Inference:
        """A draw from q(z|x) for the image x (N, C, H, W) whose cells the points v lie in."""
        q = super().infer(cell_centres(to_uint8(v), LEVELS, self.pixelcnn.stem.weight.dtype), generator)
        if self.config.free_bits == 0:
            return q
        return replace(q, free_bits=(self.config.free_bits - q.kl["z"].mean()).clamp(min=0))

    def log_probability(self, v: Tensor, z: Tensor) -> Tensor:
        """ln P(x|z) of the 8-bit images x whose cells the points v (N, C, H, W) lie in; -> (N,)."""
        x = to_uint8(v)
        return -pixel_nats(self.logits(x, z), x)

    def context(self, z: Tensor) -> Tensor:
        """The PixelCNN's context of z (N, latent): maps (N, ..., H, W)."""
        return self.pixelcnn.contexts(self.decoder(z))

    def logits(self, x: Tensor, z: Tensor) -> Tensor:
        """Logits of every value given z and those before it: uint8 (N, C, H, W), (N, latent) -> (N, C, 256, H, W)."""
        return self.pixelcnn(cell_centres(x, LEVELS, self.pixelcnn.stem.weight.dtype), self.context(z))

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images, centres of cells: draws z, then pixel by pixel, with cached layers."""
        z, u = self.noise(n, generator)
        return cell_centres(raster_sample(self.cached_logits(z), u, temperature), LEVELS, u.dtype)

    def noise(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """z ~ N(0, I) (n, latent), and u (n, C, H, W) in [0, 1): one image for each pair."""
        like = self.pixelcnn.stem.weight
        z = torch.randn(n, self.config.latent, device=like.device, dtype=like.dtype, generator=generator)
        return z, torch.rand(n, *self.shape, device=like.device, dtype=like.dtype, generator=generator)

    def cached_logits(self, z: Tensor) -> LogitsAt:
        """`logits` one pixel at a time, from cached inputs of the layers at the pixels before it."""
        context = self.context(z)

        def at_pixel(value: Tensor, apply: ApplyAtPixel) -> Tensor:
            return self.pixelcnn(value, context[..., *apply.place], apply)

        return cached_logits(at_pixel, self.pixelcnn.stem, (len(z), *self.shape[1:]), LEVELS)


ROWS, CONFIG, SYSTEM = ("extra/vae-pixelcnn",), VAEPixelCNNConfig, VAEPixelCNN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """Encoder, decoder and training are those of Table 1's VAE."""
    vae = cq.recipe("table1/vae", profile, size)
    condition, features, blocks, width, free_bits = {
        "paper": (64, 64, 4, 256, 0.0),
        "study": (32, 24, 2, 48, 32.0),
        "quick": (32, 24, 2, 48, 32.0),
        "smoke": (8, 6, 1, 12, 32.0),
    }[profile]
    config = VAEPixelCNNConfig(size, vae.system.widths, vae.system.latent, condition, features, blocks, width,
                               free_bits=free_bits)  # fmt: skip
    return Recipe(config, vae.training)
