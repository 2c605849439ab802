"""Spectral normalisation of a whole net: every weight W becomes W / sigma(W), sigma its largest singular value.

Reference: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018,
section 2.1 and algorithm 1: one power iteration per forward pass in training; evaluation changes nothing. A
convolution's weight counts as the matrix of one row per output channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


class SpectrallyNormalised(nn.Module):
    """`net` with the weights of all its convolutions and dense layers normalised; biases are free.

    In an average over training steps the estimates of the singular vectors are averaged as well, and lose their
    length: an averaged critic (`ema` > 0) is not normalised exactly. What is evaluated is the generator.
    """

    def __init__(self, net: nn.Module):
        """`net` comes with its initial weights, from which the power iteration starts."""
        super().__init__()
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_norm(layer)
        self.net = net

    def layers(self) -> list[nn.Module]:
        """The layers whose `weight` is normalised."""
        return [layer for layer in self.net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        with parametrize.cached():
            # in fp32 before the pass: under autocast torch's power iteration mixes bf16 with fp32, and a GPU refuses
            with torch.autocast(x.device.type, enabled=False):
                for layer in self.layers():
                    _ = layer.weight
            return self.net(x)
