"""Residual GAN of Table 2: the top-down generator of the residual CQ-F, driven by the noise of all its layers.

References: those of `gan.py` and `hierarchical.py`. Its BPD comes from `frozen_decoder.py`, with the bottom-up net
as encoder: q(z|x) is factorised over the codes of all layers, and p(z) = N(0, I).

Deviations: as in `gan.py` a tanh keeps G(z) in [-1, 1]; generator and critic have the widths of the residual CQ-F;
in the smaller profiles the generator has a lower rate than its critic, which it outran at equal rates (docs/tuning.md).
"""

from dataclasses import dataclass, replace
from typing import Any

from cqlib.models import gan, hierarchical
from cqlib.models.frozen_decoder import HierarchicalFrozenDecoderConfig, frozen_decoder_stage
from cqlib.models.gan import GAN, GANConfig
from cqlib.nets.hierarchical import FlatGenerator, HierarchyConfig
from cqlib.recipe import Recipe


@dataclass(frozen=True)
class HierarchicalGANConfig(GANConfig):
    """Generator and critic; layers of noise as in `nets.hierarchical.HierarchyConfig`."""

    latent: int = 32
    blocks: int = 1
    residual: float = 0.1


class HierarchicalGAN(GAN):
    """x = G_theta(z), z ~ N(0, I) over all layers' noise."""

    config: HierarchicalGANConfig

    def make_generator(self) -> tuple[FlatGenerator, int]:
        c = self.config
        layers = HierarchyConfig(c.latent, c.blocks, residual=c.residual)
        net = FlatGenerator(c.size, c.widths, layers, out_channels=c.image_channels)
        return net, net.latent_size


ROWS, CONFIG, SYSTEM = ("table2/gan-residual",), HierarchicalGANConfig, HierarchicalGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """The residual CQ-F's nets; the training of Table 1's GAN, except for the generator's rate."""
    c = hierarchical.nets(profile, size)
    layers: dict[str, Any] = {"latent": c.latent, "blocks": c.blocks, "residual": c.residual}
    config = HierarchicalGANConfig(size, c.widths, c.critic, **layers)  # type: ignore[arg-type]
    encoder = HierarchicalFrozenDecoderConfig(size, c.widths, **layers)
    training = gan.training(profile, size)
    if profile != "paper":  # 3e-4, under study 1e-4, against the critic's 1e-3; above 32x32 half of both
        rate = training.learning_rate
        share = 0.1 if profile == "study" else 0.3
        training = replace(training, learning_rate=share * rate, critic_learning_rate=rate)
    return Recipe(config, training, frozen_decoder_stage(config, profile, encoder))
