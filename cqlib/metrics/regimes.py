"""The two regimes of a decoder: its sigma(z) at codes of images, which the bits are of, and at codes drawn from p(z),
which the samples are of. A model with a critic can have a wide sigma at the former and a narrow one at the latter."""

from typing import Literal

import torch
from torch import Tensor

from cqlib.metrics.bpd import BATCH, by_batch
from cqlib.metrics.metric import Metric, Protocol
from cqlib.metrics.quantities import DRAWN, ENCODED, SHARE
from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.models.cq import CoverageQuality

CODES: dict[str, Literal["encoded", "drawn", "both"]] = {ENCODED: "encoded", DRAWN: "drawn", SHARE: "both"}
CENTRAL = 0.99
IMAGES = 1000
"""Test images that are encoded, and codes that are drawn, at most."""


def regimes(model: CoverageQuality, images: Tensor, results: PartialResults = IN_MEMORY) -> dict[str, Metric]:
    """The two medians and the share, of the first `IMAGES` of uint8 `images` (n, C, S, S): the medians, over images and
    features, of ln sigma at codes z ~ q(z|x) and at as many z ~ p(z), in units of y; and the share of drawn codes whose
    mean ln sigma over features lies within the central 99 % of those of encoded codes. None where one is not finite."""
    images = images[:IMAGES]

    def measure(x: Tensor, *, generator: torch.Generator) -> dict[str, Tensor]:
        encoded, drawn = model.log_sigma_at_codes(x.to(model.device), generator)
        return {ENCODED: encoded.flatten(1), DRAWN: drawn.flatten(1)}

    found = by_batch(model, images.split(BATCH), measure, name="sigma", results=results)
    if not all(of_codes.isfinite().all() for of_codes in found.values()):
        return {}
    share = share_within(found[DRAWN].double().mean(1), found[ENCODED].double().mean(1))
    values = {ENCODED: float(found[ENCODED].median()), DRAWN: float(found[DRAWN].median()), SHARE: share}
    return {name: Metric(value, None, len(images), Protocol(split="test", codes=CODES[name]))
            for name, value in values.items()}  # fmt: skip


def share_within(values: Tensor, reference: Tensor) -> float:
    """The share of `values` (n,) between the quantiles of `reference` (m,) that enclose its `CENTRAL` part."""
    tail = (1 - CENTRAL) / 2
    low, high = torch.quantile(reference, torch.tensor([tail, 1 - tail], dtype=reference.dtype))
    return float(((values >= low) & (values <= high)).double().mean())
