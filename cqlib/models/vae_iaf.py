"""VAE-IAF: layers of latent maps with IAF posteriors, and a decoder of 8-bit values.

Reference: Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling, "Improving Variational Inference with Inverse
Autoregressive Flow", NIPS 2016, section 5 and its code openai/iaf, `tf_train.py` (ad33fe4).

    z ~ p(z) and q(z|x) as in `models/hierarchical.py`,   P(x|z): a logistic of location mu(z) and one scale s,
    cut into the cells of the 256 values (`cqlib.nets.distributions`)

Free bits: training does not push a latent channel's KL below a threshold. The first batch sets the scales and biases of
weight-normalised layers.

Deviations (and those of `nets/hierarchical.py` and `nets/autoregressive.py`):
- One device takes 256 images a step, where the code averages the gradients of eight times 32: free bits and the first
  batch's statistics are means over 256. The number of steps is not known.
- BPD is the bound of one sample, 3.15 by the README of that code; the table's 3.11 that of 10,000 importance samples.
- Layers start with outputs of standard deviation 1, mu with 0.25, means and log-sds with 0.1; the code aims at 1 inside
  IAF and at 0.1 elsewhere, takes the third root of these scales, and trains the logarithms of filter lengths.
- The first and the last cell reach to infinity, so that probabilities sum to 1. In the code the probability outside the
  cells is lost, 1e-7 is added to each cell's, and mu is kept between the outer cells' centres.
- Images enter in [-1, 1], not in [-1/2, 1/2]; ln s starts at ln 2, which is the code's 0. Averaged weights warm up.
- While the first batch sets the layers, z is from the posterior (the code: from the prior); torch's Adamax corrects the
  bias of its mean gradient, the code's does not. Both matter for the first steps alone.
- `quick` and `study`: narrower nets with two layers at each of two or three resolutions, a residual scale of 1; flips;
  Adam, since Adamax remembers the first steps' large gradients for too long; and a scale for each pixel and channel,
  since in so few steps one cannot serve black sky and texture alike: ln s = `log_scale` + 2 tanh(r(z) / 2), r from the
  head. `log_scale` starts at -2, not at ln 2: a step moves it by the learning rate at most; from -4 the first steps
  blow up (docs/tuning.md).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from cqlib.models.base import LikelihoodConfig
from cqlib.models.hierarchical import infer_layers
from cqlib.models.variational import Inference, VariationalModel
from cqlib.nets.conv import bounded
from cqlib.nets.distributions import MIN_LOG_SCALE, discretised_logistic
from cqlib.nets.hierarchical import BottomUp, Head, HierarchyConfig, Posterior, TopDown
from cqlib.nets.weight_norm import initialising
from cqlib.pixels import cell_centres, to_uint8
from cqlib.recipe import Recipe, TrainingConfig

MAX_LOG_RATIO = 2.0
"""Bound on |ln s - `log_scale`|, where s is the scale of a pixel and channel."""


@dataclass(frozen=True)
class VAEIAFConfig(LikelihoodConfig):
    """Objective and nets: `widths` from the finest resolution on, layers as in `nets.hierarchical.HierarchyConfig`."""

    widths: tuple[int, ...]
    latent: int = 32
    blocks: int = 20
    posterior: Posterior = "iaf"
    iaf_width: int = 160
    residual: float = 0.1
    stem: Literal[1, 2] = 2
    start: float = 0.1
    """Standard deviation that the first batch gives to means and log-sds; features inside the nets get 1."""
    free_bits: float = 0.1
    """Nats per latent channel (summed over its pixels) below which training does not push the KL."""
    log_scale: float = math.log(2)
    """Where ln s starts, s in units of [-1, 1]."""
    pixel_scales: bool = False
    """Whether s depends on z and differs between pixels and channels, by a factor from e^-2 to e^2."""


class VAEIAF(VariationalModel):
    """P(x) = int p(z) P(x|z) dz over 8-bit images x; nothing is dequantised. The z of `decode` is the top-down net's
    last feature map."""

    config: VAEIAFConfig
    encoder: BottomUp
    dequantised = False

    def __init__(self, config: VAEIAFConfig):
        super().__init__(config)
        c = config
        layers = HierarchyConfig(c.latent, c.blocks, c.posterior, c.iaf_width, c.residual, c.stem, c.start)
        self.encoder = BottomUp(c.widths, layers, image_channels=c.image_channels)
        self.decoder = TopDown(c.size, c.widths, layers)
        self.head = Head(c.widths[0], c.image_channels * (2 if c.pixel_scales else 1), c.stem)
        self.log_scale = nn.Parameter(torch.tensor(c.log_scale))

    def infer(self, v: Tensor, generator: Generator | None = None) -> Inference:
        return infer_layers(self.encoder, self.decoder, v, self.config.free_bits, generator)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The logistic's mu(z), (N, C, S, S), for a feature map z, and its ln s: (N, C, S, S) with `pixel_scales`,
        else one scalar."""
        if not self.config.pixel_scales:
            return self.head(z), self.log_scale
        mean, raw = self.head(z).chunk(2, dim=1)
        return mean, self.log_scale + bounded(raw, MAX_LOG_RATIO)

    def initialise(self, x: Tensor) -> None:
        """One pass of the images through the nets sets filter lengths and biases."""
        # in fp32: bf16 would blur the statistics, and autocast keeps a copy of each bias from before
        with torch.autocast(x.device.type, enabled=False), initialising(self):
            self.head(self.infer(self.continuous(x)).z)

    def log_probability(self, v: Tensor, z: Tensor) -> Tensor:
        """ln P(x|z) of the 8-bit images whose cells' centres are v (N, C, S, S), for a feature map z; (N,)."""
        log_p = discretised_logistic(to_uint8(v).to(v.dtype), *self.decode(z))
        return log_p.flatten(1).sum(1)

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """mu(z) at temperature 0, else the centres of the cells that the logistic noise falls into."""
        mean, log_scale = self.decode(self.decoder.sample(n, generator))
        if temperature == 0:
            return mean
        noise = torch.rand(mean.shape, device=mean.device, generator=generator).logit()
        scale = log_scale.clamp(min=MIN_LOG_SCALE).exp()
        return cell_centres(to_uint8(mean + temperature * scale * noise))


ROWS, CONFIG, SYSTEM = ("table3/vae-iaf",), VAEIAFConfig, VAEIAF


def recipe(row: str, profile: str, size: int) -> Recipe:
    """`paper` is the code's depth=1, num_blocks=20, kl_min=0.1, learning_rate=0.002, and 256 images a step."""
    if profile == "paper":
        config = VAEIAFConfig(size, (160,), latent=32, blocks=20, iaf_width=160)
    else:
        width, latent, blocks, count = {
            "study": (64, 16, 2, 3), "quick": (64, 16, 2, 2), "smoke": (8, 4, 1, 2),
        }[profile]  # fmt: skip
        config = VAEIAFConfig(size, (width,) * count, latent=latent, blocks=blocks, iaf_width=width, residual=1.0,
                              log_scale=-2.0, pixel_scales=True)  # fmt: skip
    short_run: dict[str, Any] = {"optimiser": "adam", "learning_rate": 2e-3, "betas": (0.9, 0.999), "decay_from": 0.5}
    training = {
        "paper": TrainingConfig(200_000, 256, "adamax", 2e-3, betas=(0.9, 0.999), flips=False, log_every=200),
        "study": TrainingConfig(2000, 64, **short_run),
        "quick": TrainingConfig(3000, 64, **short_run),
        "smoke": TrainingConfig(20, 16, log_every=5, **short_run),
    }[profile]
    return Recipe(config, training)
