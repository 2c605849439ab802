"""How a row is trained: the configs that recipes beside the models return, and what the loop reads."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

PROFILES = ("smoke", "quick", "study", "paper")


def added(default: Any) -> Any:
    """A config field that came after the first records: left out of hashes while it has its default, so that
    what was run before keeps its hash."""
    return field(default=default, metadata={"added": True})


def hashed(config: Any) -> Any:
    """What a hash is taken over: nested dataclasses as plain values, less `added` fields at their default."""
    if is_dataclass(config):
        values = [(f, getattr(config, f.name)) for f in fields(config)]
        return {f.name: hashed(value) for f, value in values if not ("added" in f.metadata and value == f.default)}
    if isinstance(config, tuple | list):
        return [hashed(value) for value in config]
    if isinstance(config, dict):
        return {key: hashed(value) for key, value in config.items()}
    return config


@dataclass(frozen=True)
class TrainingConfig:
    """How a system is trained. Learning rates are per step, which is `n_critic` and `n_generator` updates."""

    steps: int
    batch_size: int = 64
    optimiser: Literal["adam", "adamax", "rmsprop"] = "adam"
    learning_rate: float = 1e-3
    critic_learning_rate: float | None = None
    """None: the same as `learning_rate`."""
    betas: tuple[float, float] = (0.5, 0.99)
    decay_from: float = 1.0
    """Share of the steps after which both learning rates fall linearly to 0; 1 = constant."""
    decay_per_step: float = added(1.0)
    """Both learning rates are multiplied by this after every step."""
    n_critic: int = 1
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones evaluated; it warms up as (1 + t) / (10 + t)."""
    gradient_clip: float | None = None
    """Bound on the global norm of the generator's gradient, in nats per image."""
    flips: bool = True
    """Random horizontal flips of training images."""
    autocast: Literal["off", "auto"] = "auto"
    """auto: bf16 convolutions where the hardware has them; losses and densities stay fp32. Losses are within 2 % of
    those of fp32, and gradients point the same way, to a cosine of 0.9 (`tests/test_speedups.py`)."""
    channels_last: bool = True
    compile: bool = False
    """torch.compile on the forward pass of encoder, decoder and f (not f^-1); never on the critic, whose penalty
    needs a double backward."""
    max_nonfinite: int = 10
    """A non-finite loss or gradient is skipped and counted; after so many in a row the run has diverged."""
    log_every: int = 50
    generator_batch: int | None = added(None)
    """Images per generator update where they are not `batch_size`."""
    n_generator: int = added(1)
    """Generator updates per step."""
    labels_per_class: int | None = added(None)
    """For systems that use labels: how many images of each class, the first ones, keep theirs; None: all."""
    snapshots: int = added(0)
    """How many times, evenly spaced before the end, the averaged weights are kept, so that the best step can be
    told from the last."""


@dataclass(frozen=True)
class FrozenDecoderStage:
    """The starred recipe for a system without a likelihood: an encoder trained round its frozen generator."""

    config: Any
    """`cqlib.models.frozen_decoder.FrozenDecoderConfig`."""
    training: TrainingConfig


@dataclass(frozen=True)
class Recipe:
    """A system's config, its training, and for GANs the second stage that gives the starred BPD."""

    system: Any
    training: TrainingConfig
    frozen_decoder: FrozenDecoderStage | None = None


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
    """Whether an untrained copy and a Gaussian fit are measured too (`cqlib.metrics.baselines`)."""
    histogram: bool = added(False)
    """Whether the bits of a histogram per pixel are measured too (`metrics.bpd.histogram_nll`)."""
    milestone_images: int | None = added(None)
    """n_real = n_fake of the Fréchet distance along training (`metrics.baselines.metrics_during_training`); None: the
    best of the kept steps is reported instead."""


EVALUATION = {
    "smoke": Evaluation(64, 64, 2, 16),
    "quick": Evaluation(1000, 2000, 16, 250),
    "study": Evaluation(5000, 5000, 16, 250),
    "paper": Evaluation(10_000, 50_000, 100, 1000, is_images=50_000, protocols=("50k/50k-train", "sngan")),
}
