"""What a trained system is measured by: bits per dimension, and the quality of its samples."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import fidelity, protocols
from cqlib.metrics.bpd import bits_per_dimension, held_out_kl, held_out_nats, histogram_nats
from cqlib.metrics.cache import pooled_features
from cqlib.metrics.features import Features, extract
from cqlib.metrics.library import full_fp32
from cqlib.metrics.metric import MAX_PER_IMAGE, Metric
from cqlib.metrics.protocols import Protocol
from cqlib.metrics.resumable import Parts
from cqlib.metrics.sampling_time import seconds_to_draw
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.variational import VariationalModel
from cqlib.pixels import to_uint8
from cqlib.recipe import Evaluation
from cqlib.util.provenance import device_name

TEMPERATURES = (1.0, 0.0)
GRID = 64
TIMED = 64
"""Samples whose time is taken: a batch of training."""


def likelihood(
    model: LikelihoodSystem,
    data: Dataset,
    evaluation: Evaluation,
    *,
    note: str = "",
    on_batch: Callable[[], None] = lambda: None,
    parts: Parts | None = None,
) -> tuple[dict[str, Metric], dict[str, list[float]]]:
    """BPD and BPD-IW on the test split, the KL of each layer of a hierarchy ("KL-8x8-1"), and the BPD of the first
    images one by one.

    `note` is put before the protocol. std is the standard error of the mean over images. `on_batch` is called after
    each batch and may raise to stop; what was measured until then goes on from `parts`.
    """
    dimensions = data.train.images[0].numel()
    note += f"of P(x given {model.given}), " if model.given else ""
    metrics: dict[str, Metric] = {}
    per_image: dict[str, list[float]] = {}
    for name, n, k in (
        ("BPD", evaluation.bpd_images, 1),
        ("BPD-IW", evaluation.importance_images, evaluation.importance_samples),
    ):
        if k > 1 and model.bound == "exact":  # nothing is drawn, nothing can be averaged
            continue
        images = data.test.images[:n]
        nats = held_out_nats(model, images, importance_samples=k, on_batch=on_batch, parts=parts)
        bpd = bits_per_dimension(nats, dimensions)
        kind = f"{model.bound}, 1 sample" if k == 1 else f"importance-weighted bound, k = {k}"
        if model.bound == "exact":
            kind = "exact"
        elif model.dequantised:
            kind += ", uniform dequantisation"
        protocol = f"{note}{kind}, held-out test split, n = {len(images)}, averaged weights"
        error = float(bpd.std(correction=1)) / len(images) ** 0.5 if len(images) > 1 else None
        metrics[name] = Metric(float(bpd.mean()), error, len(images), protocol)
        if k == 1:
            per_image[name] = [round(value, 4) for value in bpd[:MAX_PER_IMAGE].tolist()]
    if evaluation.histogram:
        images = data.test.images[: evaluation.bpd_images]
        nats = histogram_nats(data.train.images, images).mean()
        protocol = f"independent pixels, a histogram of training images for each; exact, test split, n = {len(images)}"
        metrics["BPD-histogram"] = Metric(float(bits_per_dimension(nats, dimensions)), None, len(images), protocol)
    if isinstance(model, VariationalModel):
        images = data.test.images[: evaluation.importance_images]
        layers = held_out_kl(model, images, on_batch=on_batch, parts=parts)
        for name, nats in layers.items() if len(layers) > 1 else ():
            bits = float(bits_per_dimension(nats.mean(), dimensions))
            protocol = f"{note}KL(q || p) of latent layer {name}, in bits per dimension of the image, n = {len(nats)}"
            metrics[f"KL-{name}"] = Metric(bits, None, len(nats), protocol)
    return metrics, per_image


def draw(
    model: System,
    n: int,
    *,
    temperature: float,
    seed: int,
    batch_size: int = 250,
    on_batch: Callable[[], None] = lambda: None,
    parts: Parts | None = None,
) -> Tensor:
    """n samples as uint8 (n, C, H, W) on the CPU, in evaluation mode and fp32, from a seed of their own. `on_batch` may
    raise to stop; what was drawn until then is drawn from `parts`."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    model.eval()

    def make(i: int) -> dict[str, Tensor]:
        size = min(batch_size, n - i * batch_size)
        return {"": to_uint8(model.sample(size, temperature=temperature, generator=generator))}

    with full_fp32():
        batches = (parts or Parts()).collect(f"T{temperature:g}", -(-n // batch_size), make, generator, on_batch)
    return torch.cat([batch[""] for batch in batches])


def quality(
    model: System,
    data: Dataset,
    evaluation: Evaluation,
    features: Features,
    *,
    seed: int,
    cache_dir: Path,
    on_batch: Callable[[], None] = lambda: None,
    on_note: Callable[[str], None] = lambda note: None,
    parts: Parts | None = None,
) -> tuple[dict[str, Metric], dict[str, Tensor]]:
    """IS, FID, KID, precision and recall at temperatures 1 and 0, the floors, and the first samples of each.

    IS, FID and KID under each of `evaluation.protocols` too, on the same samples, as "FID@T1 [sngan]"; `on_note`
    is told of one that the data set cannot fill, which is left out. A system without decoder noise has one
    distribution, measured once and reported under both temperatures. `on_batch` is called between steps and may
    raise to stop; samples are drawn once, as far as `parts` has kept them. UserError for splits that are too small to
    score; UsageError for an unknown protocol.
    """
    n = min(evaluation.fidelity_images, len(data.test), len(data.train))
    main = protocols.house(n, evaluation.is_images)
    measured = (main, *_others(data, evaluation, on_note))
    device = next(model.parameters()).device
    where = {"features": features, "cache_dir": cache_dir, "device": device, "on_batch": on_batch}
    metrics: dict[str, Metric] = {}
    grids: dict[str, Tensor] = {}
    train, test = data.train.images[:n], data.test.images[:n]
    for kind, metric in fidelity.floor(train, test, protocol_name=main.name, **where).items():
        metrics[fidelity.metric_name(kind, features, None)] = metric
    n_real = {p.split: max(q.n_real for q in measured if q.split == p.split) for p in measured}
    real = {split: pooled_features(getattr(data, split).images[:most], **where) for split, most in n_real.items()}
    count = max(protocol.samples for protocol in measured)
    scores: dict[str, dict[str, Metric]] = {}
    for temperature in TEMPERATURES:
        if temperature == TEMPERATURES[0] or model.decoder_noise:
            fake = draw(model, count, temperature=temperature, seed=10_000 + seed, on_batch=on_batch, parts=parts)
            layers = (features.pooled, features.logits)
            made = extract(fake, features, layers, device=device, on_batch=on_batch)
            for p in measured:
                scores[p.name] = fidelity.score(made, real[p.split], p, features=features, prc=p is main)
                on_batch()
        for p in measured:
            for kind, metric in scores[p.name].items():
                name = fidelity.metric_name(kind, features, temperature)
                metrics[name if p is main else protocols.with_protocol(name, p.name)] = metric
        grids[f"samples_T{temperature:g}"] = fake[:GRID]
    return metrics, grids


def drawing_time(model: System, *, on_batch: Callable[[], None] = lambda: None) -> Metric:
    """Seconds that a batch of samples takes, the median of a few; std over them. On the machine and under the load of
    the moment: no number to compare across records of different machines."""
    times = seconds_to_draw(model.eval(), TIMED, on_batch=on_batch)
    device = device_name(next(model.parameters()).device, bf16=False)
    protocol = f"wall clock of one batch of {TIMED} samples without gradients, median of {len(times)}, {device}"
    return Metric(round(statistics.median(times), 6), round(statistics.stdev(times), 6), TIMED, protocol)


def _others(data: Dataset, evaluation: Evaluation, on_note: Callable[[str], None]) -> list[Protocol]:
    """The protocols asked for beside the main one that the data set can fill."""
    found = []
    for wanted in map(protocols.protocol, evaluation.protocols):
        if lack := wanted.lacks(len(data.train), len(data.test)):
            on_note(f"protocol {wanted.name} left out: {lack}")
        else:
            found.append(wanted)
    return found
