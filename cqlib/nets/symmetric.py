"""Layers that see an image beside the mean of its batch, and the critic made of them.

Reference: Lucas, Tallec, Ollivier, Verbeek, "Mixed batches and symmetric discriminators for GAN training",
ICML 2018 (arXiv 1806.07185). With rho(x) = (1/B) sum_j x_j over the batch,

    y_i = b + sqrt(B / (B + 1)) (Lambda x_i + Gamma rho(x))

Permuting the batch permutes the outputs in the same way, so that any symmetric function of them does not depend on
the order at all. For x_i that are independent with mean 0 and variance 1, rho has variance 1/B: the root makes the
variance of y_i what Lambda x_i alone would have, for Gamma drawn as Lambda is.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear

from cqlib.nets.gan_cnn import bottom_size
from cqlib.nets.precision import at_least_fp32

SLOPE = 0.1
"""Of the leaky ReLUs (Miyato et al. 2018, table 3)."""


def _preserve_variance(*layers: nn.Conv2d | nn.Linear, slope: float) -> None:
    """He et al. 2015, Eq. 14: weights for inputs behind a leaky ReLU (1: none); biases 0."""
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, a=slope)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _scale(x: Tensor) -> float:
    return (len(x) / (len(x) + 1)) ** 0.5


class SymmetricConv2d(nn.Module):
    """The layer above with convolutions for Lambda (`own`) and Gamma (`batch`); (B, a, H, W) -> (B, b, H', W').

    `slope` is that of the leaky ReLU before it, 1 for none.
    """

    def __init__(self, a: int, b: int, kernel: int, *, stride: int = 1, slope: float = SLOPE):
        super().__init__()
        self.own = nn.Conv2d(a, b, kernel, stride=stride, padding=1)
        self.batch = nn.Conv2d(a, b, kernel, stride=stride, padding=1, bias=False)
        _preserve_variance(self.own, self.batch, slope=slope)

    def forward(self, x: Tensor) -> Tensor:
        s = _scale(x)
        own = self.own._conv_forward(x, s * self.own.weight, self.own.bias)
        return own + s * self.batch(x.mean(0, keepdim=True))


class SymmetricLinear(nn.Module):
    """The layer above with matrices; (B, a) -> (B, b)."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.own, self.batch = nn.Linear(a, b), nn.Linear(a, b, bias=False)
        _preserve_variance(self.own, self.batch, slope=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        s = _scale(x)
        return linear(x, s * self.own.weight, self.own.bias) + s * self.batch(x.mean(0, keepdim=True))


class SymmetricCritic(nn.Module):
    """A batch of images -> a logit for each, (B, C, S, S) -> (B,); each depends on the whole batch.

    The discriminator of the "standard CNN" (Miyato et al. 2018, table 3, as chainer-gan-lib has it) with every layer
    symmetric: 3x3 convolutions at each resolution, 4x4 ones of stride 2 between, no normalisation. `widths` as in
    `nets.gan_cnn`.
    """

    def __init__(self, size: int, widths: tuple[int, ...], *, image_channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = [SymmetricConv2d(image_channels, widths[0], 3, slope=1.0), nn.LeakyReLU(SLOPE)]
        for a, b in zip(widths, widths[1:], strict=False):
            layers += [SymmetricConv2d(a, b, 4, stride=2), nn.LeakyReLU(SLOPE)]
            layers += [SymmetricConv2d(b, b, 3), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers)
        self.head = SymmetricLinear(widths[-1] * bottom_size(size, widths) ** 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.body(x).flatten(1)).squeeze(1))
