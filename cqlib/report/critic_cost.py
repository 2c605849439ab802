"""What a critic costs, from the config that a record holds."""

from __future__ import annotations

import torch

from cqlib.experiments.record import Record
from cqlib.models.adversarial import AdversarialSystem, CriticConfig
from cqlib.nets.count import multiply_adds as count


def multiply_adds(record: Record) -> int | None:
    """Multiply-adds of the record's critic for one image; None where it has none, or one of another kind.

    The net is built without weights, from the record alone: a recipe may have changed since.
    """
    try:
        system = record.config["recipe"]["system"]
        critic = CriticConfig(**{**system["critic"], "widths": tuple(system["critic"]["widths"])})
        shape = (system["image_channels"], system["size"], system["size"])
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return count(AdversarialSystem(shape, critic).critic, torch.empty(1, *shape))
    except (KeyError, TypeError, ValueError):
        return None
