"""The hierarchical nets with one vector of codes: all layers' noise, flattened in the generator's order.

A GAN's generator is a function of one vector z ~ N(0, I), and its starred BPD needs q(z|x) over that vector.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from cqlib.nets.hierarchical import BottomUp, Head, Layers, TopDown


class FlatGenerator(nn.Module):
    """z (N, codes) -> (N, out_channels, S, S): the top-down generator driven by z as the noise of every layer."""

    def __init__(self, size: int, widths: tuple[int, ...], layers: Layers, *, out_channels: int):
        super().__init__()
        self.top_down = TopDown(size, widths, replace(layers, posterior=None))
        self.head = Head(widths[0], out_channels)
        self.sizes = [math.prod(shape) for shape in self.top_down.shapes.values()]
        self.codes = sum(self.sizes)

    def forward(self, z: Tensor) -> Tensor:
        shapes = self.top_down.shapes.values()
        noise = [part.unflatten(1, shape) for part, shape in zip(z.split(self.sizes, dim=1), shapes, strict=True)]
        return self.head(self.top_down(noise)[0])


class FlatEncoder(nn.Module):
    """q(z|x) of a `FlatGenerator`'s z: (N, C, S, S) -> mean and log-variance, each (N, codes)."""

    def __init__(self, size: int, widths: tuple[int, ...], layers: Layers, *, image_channels: int = 3):
        super().__init__()
        self.bottom_up = BottomUp(size, widths, replace(layers, posterior=None), image_channels=image_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.bottom_up(x)
        mean = torch.cat([layer.mean.flatten(1) for layer in found], dim=1)
        log_variance = 2 * torch.cat([layer.log_sd.flatten(1) for layer in found], dim=1)
        return mean, log_variance.clamp(-12.0, 12.0)
