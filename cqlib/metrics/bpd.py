"""Bits per dimension: the one place where nats become bits, and the evaluation of held-out images."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.models.base import LikelihoodSystem, System
from cqlib.util.fp32 import full_fp32

TensorOrFloat = TypeVar("TensorOrFloat", Tensor, float)

BATCH = 250
"""Images per batch, in evaluation and in sampling; the random numbers that an image gets depend on it."""
CHUNK = 1000
"""Images that `histogram_nll` takes at once."""
HISTOGRAM_IMAGES = 50_000
"""Training images that `histogram_nll` counts at most."""


def bits_per_dimension(nats: TensorOrFloat, dimensions: int) -> TensorOrFloat:
    """nats per image -> bits per dimension: nats / (D ln 2). `nats` is of 8-bit images, as `LikelihoodSystem.nats`
    gives it: nothing is to be added for dequantisation."""
    return nats / (dimensions * math.log(2))


def held_out_nll(
    model: LikelihoodSystem, images: Tensor, *, importance_samples: int = 1, results: PartialResults = IN_MEMORY
) -> Tensor:
    """`model.nats`, a bound on -ln P(x), of each held-out image, uint8 (n, C, H, W) -> (n,) float64 on the CPU, in
    evaluation mode, fp32, from a fixed seed. Batches that are in `results` are not computed again; raises
    `StoppedEarly` where `results` has a request to stop."""

    def nats(batch: Tensor, *, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"": model.nats(batch.to(model.device), importance_samples=importance_samples, generator=generator)}

    name = f"nats-{importance_samples}-{len(images)}"
    return by_batch(model, images.split(BATCH), nats, name=name, results=results)[""].double()


@torch.no_grad()
def by_batch(
    model: System,
    batches: Sequence[Any],
    measure: Callable[..., dict[str, Tensor]],
    *,
    name: str,
    seed: int = 0,
    results: PartialResults = IN_MEMORY,
) -> dict[str, Tensor]:
    """What `measure(batch, generator=…)` gives for each of `batches`, concatenated: {name: (n, …) on the CPU}, in
    evaluation mode and fp32, with a generator of that `seed`; kept in `results` as `name`, see `held_out_nll`."""
    generator = torch.Generator(model.device).manual_seed(seed)
    was_training = model.training
    model.eval()
    try:
        with full_fp32():
            measured = results.collect(
                name, len(batches), lambda i: measure(batches[i], generator=generator), generator
            )
    finally:
        model.train(was_training)
    return {key: torch.cat([each[key] for each in measured]) for key in measured[0]}


def histogram_nll(train: Tensor, images: Tensor) -> Tensor:
    """-ln P(x) of uint8 `images` (n, C, H, W) under independent pixels, each with the histogram of its values over
    uint8 `train` (N, C, H, W), every count raised by 1: (n,) float64."""
    train = train[:HISTOGRAM_IMAGES]
    position = 256 * torch.arange(train[0].numel())
    counts = torch.ones(256 * train[0].numel(), dtype=torch.float64)
    for part in train.split(CHUNK):
        counts += torch.bincount((position + part.flatten(1).long()).flatten(), minlength=len(counts))
    log_p = (counts / (len(train) + 256)).log()
    return torch.cat([-log_p[position + part.flatten(1).long()].sum(1) for part in images.split(CHUNK)])
