"""One `Experiment` per row x profile x data set x seed: everything that determines a result, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from cqlib import data as registry
from cqlib import names
from cqlib.data.catalogue import ENTRIES
from cqlib.errors import UsageError, unknown
from cqlib.files import canonical_json, sha256
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
from cqlib.models.coverage_quality import CoverageQuality, CoverageQualityConfig
from cqlib.models.cqf_conditional import ConditionalConfig, ConditionalCQF
from cqlib.models.dcgan import DCGAN, DCGANConfig
from cqlib.models.gan import GAN, GANConfig
from cqlib.models.hierarchical import Hierarchical, HierarchicalConfig
from cqlib.models.hierarchical_gan import HierarchicalGAN, HierarchicalGANConfig
from cqlib.models.improved_gan import ImprovedGAN, ImprovedGANConfig
from cqlib.models.likelihood import LikelihoodConfig
from cqlib.models.nvp import NVP, NVPConfig
from cqlib.models.pixelcnnpp import PixelCNNPPConfig, PixelCNNPPSystem
from cqlib.models.pixelrnn import PixelRNN, PixelRNNConfig
from cqlib.models.prog_gan import ProgGAN, ProgGANConfig
from cqlib.models.rival import RivalConfig
from cqlib.models.sngan import SNGAN, SNGANConfig
from cqlib.models.vae_full_covariance import FullCovarianceConfig, VAEFullCovariance
from cqlib.models.vae_iaf import VAEIAF, VAEIAFConfig
from cqlib.models.vae_pixelcnn import VAEPixelCNN, VAEPixelCNNConfig
from cqlib.models.wgan_gp import WGANGP, WGANGPConfig
from cqlib.paper import SAME_MODEL, TABLE1
from cqlib.recipe import PROFILES, Recipe, added, hashed

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

ROWS = names.ROWS
AVAILABLE = tuple(row for row in ROWS if SAME_MODEL.get(row, row) in RECIPES)
"""The rows that this version can train, aliases included."""

IMAGE_SIZE = {"smoke": 16, "quick": 16, "study": 32, "paper": 32}
"""Side length in pixels; a data set that has not this one comes at its nearest, under `paper` at the paper's."""


@dataclass(frozen=True)
class Evaluation:
    """How a run is measured: numbers of images and of importance samples."""

    fidelity_images: int
    """n_real = n_fake for IS, FID, KID, precision and recall; fewer where the test split is smaller."""
    bpd_images: int
    importance_samples: int
    importance_images: int
    is_images: int | None = added(None)
    """Samples for IS where they are more than `fidelity_images`."""
    protocols: tuple[str, ...] = added(())
    """Further protocols of the literature that are measured beside (`cqlib.metrics.protocols`)."""
    baselines: bool = added(False)
    """Whether an untrained copy and a Gaussian fit are measured too (`cqlib.selection`)."""
    histogram: bool = added(False)
    """Whether the bits of a histogram per pixel are measured too (`metrics.bpd.histogram_nats`)."""
    milestone_images: int | None = added(None)
    """n_real = n_fake of the Fréchet distance along training (`cqlib.milestones`); None: the best of the kept steps is
    told instead."""


EVALUATION = {
    "smoke": Evaluation(64, 64, 2, 16),
    "quick": Evaluation(1000, 2000, 16, 250),
    "study": Evaluation(5000, 5000, 16, 250),
    "paper": Evaluation(10_000, 50_000, 100, 1000, is_images=50_000, protocols=("50k/50k-train", "sngan")),
}

MILESTONES, MILESTONE_IMAGES = 7, 1000
"""Under `study` the rows of Table 1 are measured so often on the way, on so many images."""

TRAIN_IMAGES = {"smoke": 300}
"""Profiles that use the first images of the training split only."""


@dataclass(frozen=True)
class Experiment:
    """What is trained on what, and how it is measured. `row` is canonical: aliases share one run."""

    row: str
    profile: str
    data: str
    size: int
    seed: int
    recipe: Recipe
    evaluation: Evaluation

    @property
    def config(self) -> dict:
        """The experiment as nested plain values, for the record."""
        return asdict(self)

    @property
    def config_hash(self) -> str:
        """16 hex digits: equal experiments, equal hashes."""
        return sha256(canonical_json(hashed(self)).encode())[:16]

    @property
    def training_hash(self) -> str:
        """16 hex digits over what determines the weights: measuring differently does not train again."""
        config = {key: value for key, value in hashed(self).items() if key != "evaluation"}
        return sha256(canonical_json(config).encode())[:16]

    @property
    def cost(self) -> float:
        """Expected time relative to other rows of the profile, for planning: the longest run goes first."""
        system, training = self.recipe.system, self.recipe.training
        adversarial = isinstance(system, RivalConfig) or getattr(system, "critic", None) is not None
        flow = getattr(system, "flow", None) is not None
        rival = 6.0 if isinstance(system, LikelihoodConfig) else 0.0  # deep nets, as measured under `quick`
        generator = training.n_generator * (1.0 + 0.6 * flow * (1 + adversarial) + rival)
        return training.steps * (generator + 2.5 * adversarial * training.n_critic)


def experiment(row: str, profile: str = "quick", data: str | None = None, seed: int = 0) -> Experiment:
    """The experiment for a row of the tables; UsageError for a name or a seed that is none."""
    names.row(row)
    names.profile(profile)
    data = data or names.default_data(row, profile)[0]
    names.data(data)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise UsageError(f"seed {seed!r} is not a whole number from 0 to {2**31 - 1}")
    canonical = SAME_MODEL.get(row, row)
    if canonical not in RECIPES:
        raise unknown("trainable row", row, AVAILABLE)
    if data.startswith("toy2d"):
        raise UsageError(f"data set '{data}' holds points of the plane, and row '{row}' is a model of images")
    size = image_size(data, profile)
    recipe, evaluation = RECIPES[canonical](canonical, profile, size), EVALUATION[profile]
    if isinstance(recipe.system, RivalConfig):
        evaluation = replace(evaluation, baselines=True)
    if isinstance(recipe.system, LikelihoodConfig):
        evaluation = replace(evaluation, histogram=True)
    if profile == "study" and canonical in {row.id for row in TABLE1.rows}:
        recipe = replace(recipe, training=replace(recipe.training, snapshots=MILESTONES))
        evaluation = replace(evaluation, milestone_images=MILESTONE_IMAGES)
    return Experiment(canonical, profile, data, size, seed, recipe, evaluation)


def image_size(data: str, profile: str) -> int:
    """The side length in pixels at which a profile takes a data set: `paper` takes published ones at the paper's size,
    or their own (Tiny ImageNet: 64)."""
    if profile == "paper" and data in ENTRIES:
        return ENTRIES[data].sizes[0]
    return min(registry.sizes(data), key=lambda size: abs(size - IMAGE_SIZE[profile]))


def build(config: object) -> System:
    """The untrained system for a config; weights depend on torch's random state."""
    return SYSTEMS[type(config)](config)


assert set(PROFILES) == set(names.PROFILES) == set(EVALUATION)
