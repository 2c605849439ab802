"""Lesson 02, small nets side by side, each started from its own seed: one product of stacks of matrices costs little
more than one of matrices.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu

WIDTH = 64
ZOOM = 3.0
"""Factor on the critic's inputs: the data's details are small beside 1."""


class Nets(nn.Module):
    """S multilayer perceptrons side by side, (S, N, i) -> (S, N, o); each is started by its own generator."""

    def __init__(self, sizes: Sequence[int], activation: Callable[[Tensor], Tensor], gain: float, generators: list):
        super().__init__()
        self.activation = activation
        pairs = list(zip(sizes, sizes[1:], strict=False))
        weights = [torch.stack([torch.randn(i, o, generator=g) for g in generators]) * gain / i**0.5 for i, o in pairs]
        self.weights = nn.ParameterList(nn.Parameter(w) for w in weights)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(len(generators), 1, o)) for _, o in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, self.activation(x) if k else x, weight)
        return x


class Critic(Nets):
    """S critics side by side: points (S, N, 2) -> logits (S, N). No gradient penalty is needed: the decoder's
    noise gives both densities the whole plane as their support."""

    def __init__(self, generators: list[Generator]):
        super().__init__([2, WIDTH, WIDTH, 1], lambda h: leaky_relu(h, 0.2), math.sqrt(2), generators)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(ZOOM * x).squeeze(-1)
