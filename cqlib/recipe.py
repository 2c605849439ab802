"""The configs of a row's training and evaluation.

A row is one model of the tables. A profile ("smoke", "quick", "study" or "paper") says how large its nets are and how
long they are trained; the first three are the smaller profiles.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import PositiveInt


def check_choices(config: Any) -> None:
    """ValueError for a `Literal` field of `config` that has none of its values."""
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal and (value := getattr(config, name)) not in get_args(kind):
            raise ValueError(f"{name} is {' or '.join(map(str, get_args(kind)))}, not {value!r}")


@dataclass(frozen=True)
class TrainingConfig:
    """How a system is trained. A step is `n_critic` updates of the critic, if there is one, then `n_generator`
    updates of the generator."""

    steps: PositiveInt
    batch_size: PositiveInt = 64
    optimiser: Literal["adam", "adamax", "rmsprop"] = "adam"
    learning_rate: float = 1e-3
    critic_learning_rate: float | None = None
    """None: the same as `learning_rate`."""
    betas: tuple[float, float] = (0.5, 0.99)
    """RMSprop uses the second alone, as the decay of its mean squared gradient."""
    critic_betas: tuple[float, float] | None = None
    """None: the same as `betas`."""
    epsilon: float = 1e-8
    """Adam adds this to the root of the mean squared gradient; the other optimisers keep torch's default."""
    decay_from: float = 1.0
    """Share of the steps after which both learning rates fall linearly to 0; 1 = constant."""
    decay_per_step: float = 1.0
    """Both learning rates are multiplied by this after every step."""
    n_critic: int = 1
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones evaluated; at update t it is at most (1 + t) / (10 + t). 0: the
    weights themselves."""
    gradient_clip: float | None = None
    """Bound on the global norm of the generator's gradient, in nats per image; None: no bound."""
    critic_gradient_clip: float | None = None
    """The same for the critic's gradient."""
    flips: bool = True
    """Random horizontal flips of training images; off where a data set cannot be mirrored, as digits cannot."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Of convolutions and matrix products: true fp32; TF32, which needs a GPU that has it; or bf16, by autocast. Losses
    and densities are fp32, because the nets of this package return fp32 (`at_least_fp32`), as your own should."""
    channels_last: bool = True
    max_nonfinite: int = 10
    """An update with a non-finite loss or gradient is skipped; after this many steps in a row with a skipped update the
    run has diverged."""
    log_every: PositiveInt = 50
    generator_batch: int | None = None
    """Images per generator update; None: `batch_size`."""
    n_generator: int = 1
    """Generator updates per step."""
    labels_per_class: int | None = None
    """For systems that use labels: only this many images of each class, the first ones, keep their label; None: all."""
    snapshots: int = 0
    """How many times the averaged weights are kept, at evenly spaced steps before the last, to be scored."""


@dataclass(frozen=True)
class FrozenDecoderStage:
    """The second training of a system without a likelihood: that of an encoder for its frozen generator."""

    config: Any
    """`cqlib.models.frozen_decoder.FrozenDecoderConfig`."""
    training: TrainingConfig


@dataclass(frozen=True)
class Recipe:
    """A system's config, its training, and for GANs the second stage, for the frozen-decoder bits per dimension."""

    system: Any
    training: TrainingConfig
    frozen_decoder: FrozenDecoderStage | None = None
    scores_of: Literal["samples", "means"] = "samples"
    """What is scored: samples x ~ p_theta(x) or, in an ablation, the decoder's means f^-1(mu(z))."""


@dataclass(frozen=True)
class Evaluation:
    """How a run is measured: numbers of images and of importance samples."""

    fidelity_images: int
    """n_real = n_fake for IS, FID, KID and coverage; fewer where the training or the test split is smaller."""
    bpd_images: int
    """Test images for bits per dimension (BPD)."""
    importance_samples: int
    importance_images: int
    """Test images for the importance-weighted bound on BPD, with `importance_samples` draws for each."""
    is_images: int | None = None
    """Samples for IS; None: as many as for the other scores."""
    protocols: tuple[str, ...] = ()
    """Further protocols of the literature to measure (`cqlib.metrics.protocols`)."""
    baselines: bool = False
    """Whether an untrained copy and a Gaussian fit are measured too (`cqlib.metrics.baselines`)."""
    histogram: bool = False
    """Whether the bits of a histogram per pixel are measured too (`metrics.bpd.histogram_nll`)."""
    side: int = 224
    """Side in pixels to which images are resized for EfficientNet-lite0's features (`cqlib.metrics.calibration`
    chooses it)."""
    milestone_images: int | None = None
    """n_real = n_fake of FID, KID and coverage during training (`metrics.baselines.metrics_during_training`); None:
    they are not measured."""


EVALUATION = {
    "smoke": Evaluation(64, 64, 2, 16, side=96),
    "quick": Evaluation(2000, 2000, 16, 250, side=96),
    "study": Evaluation(5000, 5000, 16, 250, side=224),
    "paper": Evaluation(10_000, 50_000, 100, 1000, is_images=50_000, protocols=("50k/50k-train", "sngan")),
}
