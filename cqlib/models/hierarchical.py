"""Residual CQ-F of Table 2: hierarchical latent variables, with Gaussian posteriors or with IAF.

References: Lucas et al., arXiv 1901.01091, Table 2 of its slides; Kingma et al., "Improving Variational Inference
with Inverse Autoregressive Flow", NIPS 2016; Eqs. (1) to (8) in `cqlib.models.cq`.

    z = (z_1, …, z_L),   p(z) = prod p(z_l | z_<l),   q(z|x) = prod q(z_l | z_<l, x)

top-down, each layer with a learned Gaussian prior (`cqlib.nets.hierarchical`). y's mu and sigma come from the
top-down net's last feature map, f and the losses are those of Table 1, the critic is residual.

Deviations (and those of `cq.py`, `nets/hierarchical.py` and `nets/residual_critic.py`):
- Widths, blocks per resolution and the size of the larger discriminator are not known. `paper`: 64 channels at full
  resolution, doubling to 256, two blocks per resolution; 32 latent channels per layer, as remembered. The first
  convolutions of encoder and critic are remembered with 16 channels; here they have as many as the blocks after them.
- `residual` is 0.1 in the reference, which has twenty blocks; in the smaller profiles, with few, 1 (docs/tuning.md).
- Two blocks per resolution (`smoke`: one): with only one, opposite corners of the image share no noise.
- At 16x16 the critic has as many parameters under `quick` as Table 1's, within 5 %. At 32x32 it has two thirds as many
  under `study` and three quarters under `paper`: as many would take 2.5 and 2.1 times the multiplications of Table 1's
  critic. At 64x64 it has less than a third.
- The larger discriminator is one block per resolution deeper, and under `paper` a quarter wider; nothing else changes.
- Free bits are off (`free_bits` 0): whether the authors kept them is not known.
- IAF has no KL in closed form: its KL is one draw's ln q - ln p.
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from cqlib.models import cq
from cqlib.models.cq import CoverageQuality, CoverageQualityConfig
from cqlib.models.variational import Inference
from cqlib.nets.conv import num_resolutions
from cqlib.nets.coupling import RealNVP
from cqlib.nets.hierarchical import BottomUp, Head, HierarchyConfig, KLTerms, Posterior, TopDown
from cqlib.pixels import cell_centres
from cqlib.recipe import Recipe


@dataclass(frozen=True)
class HierarchicalConfig(CoverageQualityConfig):
    """Nets and switches: `widths` as in `cqlib.nets.conv`, layers as in `nets.hierarchical.HierarchyConfig`."""

    latent: int = 32
    blocks: int = 1
    posterior: Posterior = "gaussian"
    iaf_width: int = 64
    residual: float = 0.1
    free_bits: float = 0.0
    """Nats per latent channel (summed over its pixels) below which training does not push the KL."""


class Hierarchical(CoverageQuality):
    """p_theta(x) = int p(z) p(x|z) dz with L layers of latent maps; the z of `decode` and `log_density` is the top-down
    net's last feature map, (N, width, S, S)."""

    config: HierarchicalConfig
    encoder: BottomUp
    decoder: TopDown

    def make_nets(self) -> None:
        c = self.config
        layers = HierarchyConfig(c.latent, c.blocks, c.posterior, c.iaf_width, c.residual)
        self.encoder = BottomUp(c.widths, layers, image_channels=c.image_channels)
        self.decoder = TopDown(c.size, c.widths, layers)
        self.head = Head(c.widths[0], 2 * c.image_channels)
        with torch.no_grad():  # sigma starts at 0.6, so that the first loss is below 9 bits per dimension
            self.head.out.bias[c.image_channels :] = 1.3
        self.flow = RealNVP(c.image_channels, c.flow) if c.flow is not None else None

    def prior(self, n: int, generator: Generator | None = None) -> Tensor:
        """The feature map of draws from the learned priors."""
        return self.decoder.sample(n, generator)

    def infer(self, v: Tensor, generator: Generator | None = None) -> Inference:
        return infer_layers(self.encoder, self.decoder, v, self.config.free_bits, generator)

    @torch.no_grad()
    def encode(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A draw of all layers from q(z|x): the feature map (N, width, S, S) that `decode` takes."""
        z: Tensor = self.infer(cell_centres(self.checked(x)), generator).z
        return z

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean_and_log_sigma(self.head(z))


def infer_layers(
    encoder: BottomUp, decoder: TopDown, v: Tensor, free_bits: float, generator: Generator | None = None
) -> Inference:
    """A draw of all layers from q(z|v) for images v (N, C, H, W), top-down: the decoder's last feature map, and the KL
    of each layer. `free_bits`: nats per latent channel; 0: none."""
    features, kl_terms = decoder(decoder.noise(len(v), generator), encoder(v))
    kl = {name: terms.kl.flatten(1).sum(1) for name, terms in kl_terms.items()}
    log_ratio = torch.stack([terms.log_ratio.flatten(1).sum(1) for terms in kl_terms.values()]).sum(0)
    surplus = free_bits_surplus(kl_terms, free_bits) if free_bits > 0 else None
    return Inference(features, kl, log_ratio, surplus)


def free_bits_surplus(kl_terms: dict[str, KLTerms], free_bits: float) -> Tensor:
    """max(KL, free_bits) - KL of each latent channel (KL summed over pixels, averaged over the batch), summed over
    channels and layers: >= 0, in nats per image."""
    channels = torch.cat([terms.kl.sum((2, 3)).mean(0) for terms in kl_terms.values()])
    return (free_bits - channels).clamp(min=0).sum()


ROWS = {
    "table2/cqf-residual": (),
    "table2/cqf-iaf-residual": ("iaf",),
    "table2/cqf-iaf-residual-large-d": ("iaf", "large"),
    "table3/cqf-2-scales": ("iaf", "scales"),
}
"""Row -> its changes to the residual CQ-F."""
CONFIG, SYSTEM = HierarchicalConfig, Hierarchical


def nets(profile: str, size: int, *, large: bool = False) -> HierarchicalConfig:
    """The profile's nets at `size` pixels, critic included, without f; `large`: the larger discriminator."""
    base, latent, blocks, iaf_width, residual, critic_base, critic_blocks = {
        "paper": (64, 32, 2, 64, 0.1, 64, 2),
        "study": (24, 16, 2, 32, 1.0, 48, 1),
        "quick": (32, 16, 2, 32, 1.0, 48, 1),
        "smoke": (8, 4, 1, 8, 1.0, 8, 1),
    }[profile]
    if large:
        critic_blocks += 1
        if profile == "paper":
            critic_base = critic_base * 5 // 4
    growth = [min(4, 2**k) for k in range(num_resolutions(size))]  # widths double at most twice
    penalty = cq.recipe("table1/cq-f", profile, size).system.critic
    critic = replace(penalty, widths=tuple(critic_base * factor for factor in growth), blocks=critic_blocks)
    return HierarchicalConfig(
        size, tuple(base * factor for factor in growth), latent, blocks=blocks, iaf_width=iaf_width, residual=residual,
        critic=critic,
    )  # fmt: skip


def recipe(row: str, profile: str, size: int) -> Recipe:
    """The row's nets, with f and the training of Table 1's CQ-F."""
    changes, cqf = ROWS[row], cq.recipe("table1/cq-f", profile, size)
    config = replace(
        nets(profile, size, large="large" in changes),
        flow=replace(cqf.system.flow, scales=2) if "scales" in changes else cqf.system.flow,
        posterior="iaf" if "iaf" in changes else "gaussian",
        quality_weight=cqf.system.quality_weight,
    )
    return Recipe(config, cqf.training)
