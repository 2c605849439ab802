"""The residual critic: pre-activation residual blocks, pooling, one logit.

References: He et al. 2016 (pre-activation); Gulrajani et al. 2017, appendix (blocks that halve the resolution by
average pooling) and section 4 (no normalisation); He et al. 2015, Eqs. 10 and 14 (weights at the start, without which
the critic's slope starts near 0 and training may never lift it). Of the paper's own net the shape alone is remembered:
3x3 convolution, residual blocks of growing width, average pooling, dense layer with one output.

Deviations:
- A block that halves pools before its second convolution, which then costs a quarter.
- Features are summed over places, not averaged: the same functions, but the slope that the gradient penalty asks for is
  within reach of weights near their start.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.init import kaiming_normal_, zeros_

from cqlib.nets.conv import BOTTOM, levels
from cqlib.nets.precision import at_least_fp32


def _start(layer: nn.Conv2d, *, behind_relu: bool = True) -> None:
    """Weights that keep the variance of what comes in, biases 0."""
    kaiming_normal_(layer.weight, nonlinearity="relu" if behind_relu else "linear")
    zeros_(layer.bias)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3; with `halve` x and what the second convolution reads are average-pooled
    2x2. 1x1 on x if widths differ. No normalisation: a gradient penalty is defined per image.
    """

    def __init__(self, a: int, b: int, *, halve: bool):
        super().__init__()
        self.pool = nn.AvgPool2d(2) if halve else nn.Identity()
        self.first = nn.Conv2d(a, a, 3, padding=1)
        self.second = nn.Conv2d(a, b, 3, padding=1)
        self.skip = nn.Conv2d(a, b, 1) if a != b else nn.Identity()
        _start(self.first)
        _start(self.second)
        if a != b:
            _start(self.skip, behind_relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(self.pool(x)) + self.second(self.pool(self.first(x.relu()).relu()))


class ResidualCritic(nn.Module):
    """The discriminator as a logit l(x) = ln D(x) / (1 - D(x)): (N, C, S, S) -> (N,).

    Per halving of the resolution one block that halves and `blocks` - 1 that do not; widths as in `nets.conv`.
    """

    def __init__(self, size: int, widths: tuple[int, ...], blocks: int, *, image_channels: int = 3):
        super().__init__()
        if len(widths) != levels(size):
            raise ValueError(f"{size} pixels need {levels(size)} widths, got {len(widths)}: {widths}")
        self.stem = nn.Conv2d(image_channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for a, b in zip(widths, widths[1:], strict=False):
            layers += [ResidualBlock(a, b, halve=True)]
            layers += [ResidualBlock(b, b, halve=False) for _ in range(blocks - 1)]
        self.body = nn.Sequential(*layers, nn.ReLU())
        self.head = nn.Linear(widths[-1], 1)
        _start(self.stem, behind_relu=False)
        nn.init.normal_(self.head.weight, std=(widths[-1] * BOTTOM[size] ** 2) ** -0.5)  # by all that is summed

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.body(self.stem(x)).sum((2, 3))).squeeze(1))
