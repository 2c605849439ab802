"""Every system that can be trained: which row of the tables has which recipe, which config builds which system."""

from __future__ import annotations

from collections.abc import Callable

from cqlib.models import (
    batchgan,
    coverage_quality,
    cqf_conditional,
    dcgan,
    gan,
    hierarchical,
    hierarchical_gan,
    improved_gan,
    nvp,
    pixelcnnpp,
    pixelrnn,
    prog_gan,
    sngan,
    vae_full_covariance,
    vae_iaf,
    vae_pixelcnn,
    wgan_gp,
)
from cqlib.models.base import System
from cqlib.models.batchgan import BatchGAN, BatchGANConfig
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.models.cqf_conditional import ConditionalConfig, ConditionalCQF
from cqlib.models.dcgan import DCGAN, DCGANConfig
from cqlib.models.gan import GAN, GANConfig
from cqlib.models.hierarchical import Hierarchical, HierarchicalConfig
from cqlib.models.hierarchical_gan import HierarchicalGAN, HierarchicalGANConfig
from cqlib.models.hybrid import CoverageQualityConfig
from cqlib.models.improved_gan import ImprovedGAN, ImprovedGANConfig
from cqlib.models.nvp import NVP, NVPConfig
from cqlib.models.pixelcnnpp import PixelCNNPPConfig, PixelCNNPPSystem
from cqlib.models.pixelrnn import PixelRNN, PixelRNNConfig
from cqlib.models.prog_gan import ProgGAN, ProgGANConfig
from cqlib.models.sngan import SNGAN, SNGANConfig
from cqlib.models.vae_full_covariance import FullCovarianceConfig, VAEFullCovariance
from cqlib.models.vae_iaf import VAEIAF, VAEIAFConfig
from cqlib.models.vae_pixelcnn import VAEPixelCNN, VAEPixelCNNConfig
from cqlib.models.wgan_gp import WGANGP, WGANGPConfig
from cqlib.recipe import Recipe

RECIPES: dict[str, Callable[..., Recipe]] = {
    **dict.fromkeys(coverage_quality.ROWS, coverage_quality.recipe),
    "table1/gan": gan.recipe,
    **dict.fromkeys(hierarchical.ROWS, hierarchical.recipe),
    "table2/gan-residual": hierarchical_gan.recipe,
    "table3/dcgan": dcgan.recipe,
    **dict.fromkeys(sngan.ROWS, sngan.recipe),
    **dict.fromkeys(batchgan.ROWS, batchgan.recipe),
    "table3/wgan-gp": wgan_gp.recipe,
    **dict.fromkeys(improved_gan.ROWS, improved_gan.recipe),
    "table3/prog-gan": prog_gan.recipe,
    "table3/nvp": nvp.recipe,
    "extra/vae-full-covariance": vae_full_covariance.recipe,
    cqf_conditional.ROW: cqf_conditional.recipe,
    **dict.fromkeys(pixelrnn.ROWS, pixelrnn.recipe),
    **dict.fromkeys(vae_pixelcnn.ROWS, vae_pixelcnn.recipe),
    "table3/pixelcnnpp": pixelcnnpp.recipe,
    "table3/vae-iaf": vae_iaf.recipe,
}
"""Row -> its recipe, which stands beside the model."""


SYSTEMS: dict[type, type[System]] = {
    CoverageQualityConfig: CoverageQuality,
    GANConfig: GAN,
    HierarchicalConfig: Hierarchical,
    HierarchicalGANConfig: HierarchicalGAN,
    DCGANConfig: DCGAN,
    SNGANConfig: SNGAN,
    WGANGPConfig: WGANGP,
    BatchGANConfig: BatchGAN,
    ImprovedGANConfig: ImprovedGAN,
    ProgGANConfig: ProgGAN,
    NVPConfig: NVP,
    FullCovarianceConfig: VAEFullCovariance,
    ConditionalConfig: ConditionalCQF,
    PixelRNNConfig: PixelRNN,
    VAEPixelCNNConfig: VAEPixelCNN,
    PixelCNNPPConfig: PixelCNNPPSystem,
    VAEIAFConfig: VAEIAF,
}
"""Config -> the system that it builds."""


def build(config: object) -> System:
    """The untrained system for a config; weights depend on torch's random state."""
    return SYSTEMS[type(config)](config)
