"""How a model got better: BPD and Fréchet distance on held-out images along its training, from the averaged weights
that were kept on the way. They tell whether the order of models is settled when training ends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics.baselines import Distances
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.models.base import LikelihoodSystem, System

BPD_IMAGES = 250

Curves = dict[str, list[list[float]]]
"""Name -> [[step, value], …]."""


def along(
    model: System,
    steps: int,
    kept: Mapping[int, Mapping[str, Tensor]],
    images: Dataset,
    distances: Distances,
    seed: int,
    on_batch: Callable[[], None] = lambda: None,
) -> Curves:
    """The curves over the kept steps and the last one, at temperature 1; without a likelihood the distance alone.

    Each step is measured on the same test images, with the same random numbers. `on_batch` may raise to stop.
    """
    candidate = copy.deepcopy(model)
    x = images.test.images[:BPD_IMAGES]
    bpd: list[list[float]] = []
    distance: list[list[float]] = []
    for step in sorted({*kept, steps}):
        candidate.load_state_dict(kept[step] if step in kept else model.state_dict())
        if isinstance(candidate, LikelihoodSystem):
            nats = held_out_nats(candidate, x, on_batch=on_batch)
            bpd.append([step, round(float(bits_per_dimension(nats.mean(), x[0].numel())), 4)])
        distance.append([step, round(distances.of_system(candidate, "test", 10_000 + seed).value, 2)])
    curves = {f"BPD on {len(x)} test images (bits/dim)": bpd} if bpd else {}
    return curves | {f"{distances.name('').replace('-@', '@')} (n = {distances.n:,})": distance}
