"""A residual critic.

References: He et al. 2016 (pre-activation); Gulrajani et al. 2017, appendix (average pooling) and section 4 (no
normalisation); He et al. 2015, Eqs. 10 and 14 (initial weights; with torch's defaults the critic's slope starts near
0).

Deviations (only the shape of the paper's residual critic is remembered):
- A block that halves pools before its second convolution, which then costs a quarter.
- Features are summed over positions, not averaged, so that the untrained critic's slope is already near the one that
  the gradient penalty asks for.
"""

from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.init import kaiming_normal_, zeros_

from cqlib.nets.conv import at_least_fp32, bottom_size


def _initialise(layer: Any, *, behind_relu: bool = True) -> None:
    """Weights that preserve the variance of the input, biases 0."""
    kaiming_normal_(layer.weight, nonlinearity="relu" if behind_relu else "linear")
    zeros_(layer.bias)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3; with `halve` x and the second convolution's input are average-pooled 2x2; a
    1x1 convolution on x if widths differ."""

    def __init__(self, a: int, b: int, *, halve: bool):
        super().__init__()
        self.pool = nn.AvgPool2d(2) if halve else nn.Identity()
        self.first = nn.Conv2d(a, a, 3, padding=1)
        self.second = nn.Conv2d(a, b, 3, padding=1)
        self.skip = nn.Conv2d(a, b, 1) if a != b else nn.Identity()
        _initialise(self.first)
        _initialise(self.second)
        if a != b:
            _initialise(self.skip, behind_relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(self.pool(x)) + self.second(self.pool(self.first(x.relu()).relu()))


class ResidualCritic(nn.Module):
    """A logit per image as `conv.Critic` gives, (N, C, S, S) -> (N,), by residual blocks: for each halving of the
    resolution one block that halves and `blocks` - 1 that do not."""

    def __init__(self, size: int, widths: tuple[int, ...], blocks: int, *, image_channels: int = 3):
        super().__init__()
        self.stem = nn.Conv2d(image_channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [ResidualBlock(a, b, halve=True)]
            layers += [ResidualBlock(b, b, halve=False) for _ in range(blocks - 1)]
        self.body = nn.Sequential(*layers, nn.ReLU())
        self.head = nn.Linear(widths[-1], 1)
        _initialise(self.stem, behind_relu=False)
        summed = widths[-1] * bottom_size(size, widths) ** 2
        nn.init.normal_(self.head.weight, std=summed**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.body(self.stem(x)).sum((2, 3))).squeeze(1))
