"""Normalisation layers: batch (Ioffe and Szegedy 2015) without scale, and spectral (Miyato et al. 2018)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


class ShiftedBatchNorm(nn.Module):
    """Batch normalisation with a learned shift (beta) and no scale (gamma), (N, C, ...) -> the same shape. `kind` is
    torch's class of batch norm for that shape."""

    def __init__(self, channels: int, kind: Any = nn.BatchNorm2d, *, eps: float = 1e-5):
        super().__init__()
        self.norm = kind(channels, eps=eps, affine=False)
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.beta.view(-1, *[1] * (x.dim() - 2))


class SpectrallyNormalised(nn.Module):
    """`net` with every convolution's and dense layer's weight W replaced by W / sigma(W); biases are free.

    sigma is the largest singular value of the matrix with one row per output channel, by one power iteration per
    forward pass in training (Miyato et al. 2018, algorithm 1).
    """

    def __init__(self, net: nn.Module):
        """`net` has its initial weights, from which the power iteration starts."""
        super().__init__()
        self.net = net
        for layer in self.layers():
            spectral_norm(layer)

    def layers(self) -> list[nn.Module]:
        """The layers whose `weight` is normalised."""
        return [layer for layer in self.net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        with parametrize.cached():
            # in fp32 before the pass: under autocast torch's power iteration mixes bf16 with fp32, which fails on a GPU
            with torch.autocast(x.device.type, enabled=False):
                for layer in self.layers():
                    _ = layer.weight
            return self.net(x)
