"""Bits per dimension: the one place where nats become bits, and the held-out evaluation loop."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cqlib.metrics.features import full_fp32
from cqlib.models.base import LikelihoodSystem


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
) -> Tensor:
    """nats per image of each held-out image: uint8 (n, C, H, W) -> (n,) float64 on the CPU.

    Evaluation mode: no batch statistics, so that no test image tells of another. fp32, fixed seed. `on_batch` is
    called after each batch; what it raises ends the evaluation.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    was_training = model.training
    model.eval()
    try:
        parts = []
        with full_fp32():
            for batch in images.split(batch_size):
                parts.append(model.nats(batch.to(device), importance_samples=importance_samples, generator=generator))
                on_batch()
    finally:
        model.train(was_training)
    return torch.cat(parts).double().cpu()
