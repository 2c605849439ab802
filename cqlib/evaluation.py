"""What a trained system is measured by: bits per dimension, and the quality of its samples."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.data.pixels import to_uint8
from cqlib.experiments import Evaluation
from cqlib.metrics import fidelity
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.metrics.features import Features
from cqlib.models.base import LikelihoodSystem, System
from cqlib.records import MAX_PER_IMAGE, Metric

TEMPERATURES = (1.0, 0.0)
GRID = 64


def likelihood(
    model: LikelihoodSystem, data: Dataset, evaluation: Evaluation, *, note: str = ""
) -> tuple[dict[str, Metric], dict[str, list[float]]]:
    """BPD and BPD-IW on the test split, and the BPD of its first images one by one.

    `note` is put before the protocol. std is the standard error of the mean over images.
    """
    dimensions = data.train.images[0].numel()
    metrics: dict[str, Metric] = {}
    per_image: dict[str, list[float]] = {}
    for name, n, k in (
        ("BPD", evaluation.bpd_images, 1),
        ("BPD-IW", evaluation.importance_images, evaluation.importance_samples),
    ):
        images = data.test.images[:n]
        bpd = bits_per_dimension(held_out_nats(model, images, importance_samples=k), dimensions)
        kind = f"{model.bound}, 1 sample" if k == 1 else f"importance-weighted bound, k = {k}"
        protocol = f"{note}{kind}, uniform dequantisation, held-out test split, n = {len(images)}, averaged weights"
        error = float(bpd.std(correction=1)) / len(images) ** 0.5 if len(images) > 1 else None
        metrics[name] = Metric(float(bpd.mean()), error, len(images), protocol)
        if k == 1:
            per_image[name] = [round(value, 4) for value in bpd[:MAX_PER_IMAGE].tolist()]
    return metrics, per_image


def draw(model: System, n: int, *, temperature: float, seed: int, batch_size: int = 250) -> Tensor:
    """n samples as uint8 (n, C, H, W) on the CPU, in evaluation mode, from a seed of their own."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    model.eval()
    parts = [
        to_uint8(model.sample(min(batch_size, n - start), temperature=temperature, generator=generator)).cpu()
        for start in range(0, n, batch_size)
    ]
    return torch.cat(parts)


def quality(
    model: System, data: Dataset, evaluation: Evaluation, features: Features, *, seed: int, cache_dir: Path
) -> tuple[dict[str, Metric], dict[str, Tensor]]:
    """IS, FID, KID, precision and recall at temperatures 1 and 0, the floors, and the first samples of each.

    A system without decoder noise has one distribution, measured once and reported under both temperatures.
    """
    n = min(evaluation.fidelity_images, len(data.test), len(data.train))
    device = next(model.parameters()).device
    where = {"features": features, "cache_dir": cache_dir, "device": device}
    real = data.test.images[:n]
    metrics: dict[str, Metric] = {}
    grids: dict[str, Tensor] = {}
    for kind, metric in fidelity.floor(data.train.images[:n], real, **where).items():
        metrics[fidelity.metric_name(kind, features, None)] = metric
    scores: dict[str, Metric] = {}
    for temperature in TEMPERATURES:
        if temperature == TEMPERATURES[0] or model.decoder_noise:
            fake = draw(model, n, temperature=temperature, seed=10_000 + seed)
            scores = fidelity.evaluate(fake, real, **where)
        for kind, metric in scores.items():
            metrics[fidelity.metric_name(kind, features, temperature)] = metric
        grids[f"samples_T{temperature:g}"] = fake[:GRID]
    return metrics, grids
