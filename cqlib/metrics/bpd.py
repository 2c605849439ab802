"""Bits per dimension: the one place where nats become bits, and the held-out evaluation loop."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cqlib.metrics.library import full_fp32
from cqlib.metrics.resumable import Parts
from cqlib.models.base import LikelihoodSystem
from cqlib.models.variational import VariationalModel


def bits_per_dimension(nats: Tensor | float, dimensions: int) -> Tensor | float:
    """nats per image -> bits per dimension: nats / (D ln 2).

    `nats` bounds -ln P(x) of the 8-bit image, so that the 8 bits of dequantisation are counted already.
    """
    if dimensions <= 0:
        raise ValueError(f"dimensions must be positive, got {dimensions}")
    return nats / (dimensions * math.log(2))


@torch.no_grad()
def held_out_nats(
    model: LikelihoodSystem,
    images: Tensor,
    *,
    importance_samples: int = 1,
    batch_size: int = 250,
    seed: int = 0,
    on_batch: Callable[[], None] = lambda: None,
    parts: Parts | None = None,
) -> Tensor:
    """nats per image of each held-out image: uint8 (n, C, H, W) -> (n,) float64 on the CPU.

    Evaluation mode: no batch statistics, so that no test image tells of another. fp32, fixed seed. `on_batch` is
    called after each batch; what it raises ends the evaluation, which goes on where `parts` has kept its batches.
    """

    def nats(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"": model.nats(batch, importance_samples=importance_samples, generator=generator)}

    name = f"nats-{importance_samples}-{len(images)}"
    return _over(model, images, nats, batch_size, seed, on_batch, name, parts)[""]


@torch.no_grad()
def held_out_kl(
    model: VariationalModel,
    images: Tensor,
    *,
    batch_size: int = 250,
    seed: int = 0,
    on_batch: Callable[[], None] = lambda: None,
    parts: Parts | None = None,
) -> dict[str, Tensor]:
    """Layer of latent variables -> KL(q || p) in nats per image (n,), float64; as `held_out_nats` otherwise."""

    def kl(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return model.kl_by_layer(batch, generator=generator)

    return _over(model, images, kl, batch_size, seed, on_batch, "kl", parts)


def _over(
    model: LikelihoodSystem,
    images: Tensor,
    measure: Callable[[Tensor, torch.Generator], dict[str, Tensor]],
    batch_size: int,
    seed: int,
    on_batch: Callable[[], None],
    name: str,
    parts: Parts | None,
) -> dict[str, Tensor]:
    """What `measure` gives for every batch, joined: (n,) float64 on the CPU by name."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    was_training = model.training
    model.eval()
    pieces = images.split(batch_size)
    try:
        with full_fp32():
            batches = (parts or Parts()).collect(
                name, len(pieces), lambda i: measure(pieces[i].to(device), generator), generator, on_batch
            )
    finally:
        model.train(was_training)
    return {key: torch.cat([batch[key] for batch in batches]).double() for key in batches[0]}


HISTOGRAM_IMAGES = 50_000
"""Training images that `histogram_nats` counts at most."""


def histogram_nats(train: Tensor, images: Tensor) -> Tensor:
    """nats per image under independent pixels, each with the histogram of its values over uint8 `train`
    (N, C, H, W), every count raised by 1: uint8 (n, C, H, W) -> (n,) float64. A likelihood that does not beat this
    has learned nothing of how pixels belong together.
    """
    train = train[:HISTOGRAM_IMAGES]
    position = 256 * torch.arange(train[0].numel())
    counts = torch.ones(256 * train[0].numel(), dtype=torch.float64)
    for part in train.split(1000):
        counts += torch.bincount((position + part.flatten(1).long()).flatten(), minlength=len(counts))
    log_p = (counts / (len(train) + 256)).log()
    return torch.cat([-log_p[position + part.flatten(1).long()].sum(1) for part in images.split(1000)])
