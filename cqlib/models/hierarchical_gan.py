"""Residual GAN of Table 2: the top-down generator of the residual CQ-F, driven by the noise of all its layers.

References: those of `gan.py` and `hierarchical.py`. Its BPD comes from `frozen_decoder.py`, with the bottom-up net
as encoder: q(z|x) is factorised over the codes of all layers, and p(z) = N(0, I).

Deviations: as in `gan.py` a tanh keeps G(z) in [-1, 1]; generator and critic have the widths of the residual CQ-F;
in the smaller profiles the generator has a lower rate than its critic, which it outran at equal rates (docs/tuning.md).
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from cqlib.models.coverage_quality import profile_settings
from cqlib.models.frozen_decoder import HierarchicalFrozenDecoderConfig, frozen_decoder_stage
from cqlib.models.gan import GAN, GANConfig
from cqlib.models.hierarchical import profile_config
from cqlib.nets.hierarchical import FlatGenerator, HierarchyConfig
from cqlib.recipe import Recipe


@dataclass(frozen=True)
class HierarchicalGANConfig(GANConfig):
    """Generator and critic; layers of noise as in `nets.hierarchical.HierarchyConfig`."""

    latent: int = 32
    norm: Literal["none"] = "none"
    """Nothing reads it: it has one value, and stays because published hashes contain it."""
    blocks: int = 1
    residual: float = 0.1


class HierarchicalGAN(GAN):
    """x = G_theta(z), z ~ N(0, I) over all layers' noise."""

    config: HierarchicalGANConfig

    def _generator(self) -> tuple[FlatGenerator, int]:
        c = self.config
        net = FlatGenerator(c.size, c.widths, HierarchyConfig.of(c), out_channels=c.image_channels)
        return net, net.latent_size


ROWS, CONFIG, SYSTEM = ("table2/gan-residual",), HierarchicalGANConfig, HierarchicalGAN


def recipe(row: str, profile: str, size: int) -> Recipe:
    """The residual CQ-F's nets and training, except for the generator's betas (`gan_training`) and, in the smaller
    profiles, its learning rate."""
    nets, training = profile_config(profile, size), profile_settings(profile, size).gan_training
    layers: dict[str, Any] = {"latent": nets.latent, "blocks": nets.blocks, "residual": nets.residual}
    config = HierarchicalGANConfig(size, nets.widths, nets.critic, **layers)  # type: ignore[arg-type]
    stage = frozen_decoder_stage(config, profile, HierarchicalFrozenDecoderConfig(size, nets.widths, **layers))
    if profile != "paper":
        rate = training.learning_rate
        training = replace(training, learning_rate=0.3 * rate, critic_learning_rate=rate)
    return Recipe(config, training, stage)
