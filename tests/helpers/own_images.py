"""Grey images of one's own, and small models of Table 1 for them."""

import numpy as np
import torch
from torch import nn

import cqlib

GREY = np.random.default_rng(0).integers(256, size=(12, 8, 8), dtype=np.uint8)
OPTIONS = {"steps": 6, "batch_size": 2, "log_every": 1, "progress": False, "device": "cpu"}
"""Of a short `fit`."""


class Mine(cqlib.VAE):
    """With a decoder of its own."""

    def make_nets(self):
        super().make_nets()
        self.decoder = nn.Sequential(nn.Linear(self.config.latent, 2 * 8 * 8), nn.Unflatten(1, (2, 8, 8)))


def made(kind=cqlib.VAE, seed=0, **settings):
    """An untrained model of images like `GREY`, always the same one."""
    torch.manual_seed(seed)
    return kind(8, 1, **settings)


def equal(a, b):
    """Whether two models have equal weights."""
    return equal_weights(a.state_dict(), b)


def equal_weights(weights, model):
    """Whether a model has these weights."""
    pairs = zip(weights.values(), model.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)
