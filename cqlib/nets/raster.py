"""Masked convolutions in raster order, the softmax over pixel values, and sampling pixel by pixel from caches.

Reference: van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", ICML 2016, sections 2 and 3.4.

    P(x) = prod_i P(x_i,R | x_<i) P(x_i,G | x_<i, x_i,R) P(x_i,B | x_<i, x_i,R, x_i,G)

i runs through the rows from the top, each from the left. Features at a pixel are divided into a group per colour. After
a convolution with mask A, group k has seen the colours before k at that pixel; those with mask B preserve this.

Deviations: if three does not divide the number of features, groups are as equal as they can be (`degrees`); cached
sampling, for which a net applies every layer that reads other pixels through `apply`, is not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from cqlib.nets.conv import at_least_fp32
from cqlib.pixels import cell_centres

Kind = Literal["A", "B"]
ApplyLayer = Callable[[Any, Tensor], Tensor]
"""(layer, input) -> output: maps (N, F, H, W) to maps, or one pixel (N, F) to the same pixel."""


apply_to_maps: ApplyLayer = nn.Module.__call__
"""The `ApplyLayer` of training: all pixels at once."""


def degrees(channels: int, groups: int) -> Tensor:
    """(channels,): for each channel the last of `groups` ordered groups that it may see; with as many channels as
    groups each sees itself."""
    return (torch.arange(1, channels + 1) * groups + channels - 1).div(channels, rounding_mode="floor") - 1


def raster_mask(kind: Kind, inputs: Tensor, outputs: Tensor, kernel: int) -> Tensor:
    """(outputs, inputs, kernel, kernel) of 0 and 1, for features of these `degrees`. Above and left of a pixel all is
    seen, below and right nothing; at the pixel itself the groups before an output's own (A), or its own too (B)."""
    mask, k = torch.zeros(len(outputs), len(inputs), kernel, kernel), kernel // 2
    mask[:, :, :k] = mask[:, :, k, :k] = 1
    mask[:, :, k, k] = inputs < outputs[:, None] if kind == "A" else inputs <= outputs[:, None]
    return mask


class RasterConv2d(nn.Conv2d):
    """A convolution with mask A or B between features in `ordered_groups`, odd `kernel`, the size of the map kept. The
    output is `copies` times `out_features` features, each copy with all the groups (the gates of an LSTM)."""

    mask: Tensor
    bias: nn.Parameter

    def __init__(
        self, kind: Kind, in_features: int, out_features: int, kernel: int, *, ordered_groups: int, copies: int = 1
    ):
        super().__init__(in_features, copies * out_features, kernel, padding=kernel // 2)
        inputs, outputs = degrees(in_features, ordered_groups), degrees(out_features, ordered_groups).repeat(copies)
        self.register_buffer("mask", raster_mask(kind, inputs, outputs, kernel), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)

    def at_pixel(self, n: int, height: int, width: int) -> CachedConv2d:
        """The layer for n images of which one pixel after the other becomes known."""
        return CachedConv2d(self, n, height, width)


class CachedConv2d:
    """The output of a `RasterConv2d` at one pixel, from a cache of its input at all earlier ones."""

    def __init__(self, conv: RasterConv2d, n: int, height: int, width: int):
        self.bias, self.kernel = conv.bias, conv.kernel_size[0]
        k = self.radius = self.kernel // 2
        seen = (conv.weight * conv.mask)[:, :, : k + 1]  # no row below the pixel counts
        self.matrix = seen.permute(2, 3, 1, 0).flatten(0, 2)
        self.map = conv.weight.new_zeros(n, height + k, width + 2 * k, conv.in_channels)

    def remember(self, value: Tensor, row: int, column: int) -> None:
        """Set the input at a pixel, (n, in)."""
        self.map[:, row + self.radius, column + self.radius] = value

    def __call__(self, value: Tensor, row: int, column: int) -> Tensor:
        """(n, in) at the pixel -> (n, out) at the pixel."""
        self.remember(value, row, column)
        window = self.map[:, row : row + self.radius + 1, column : column + self.kernel]
        return torch.addmm(self.bias, window.flatten(1), self.matrix)


class ApplyAtPixel:
    """The `ApplyLayer` of sampling: layers at the pixel `place`, to be set in raster order. Each layer makes its cache
    by `at_pixel(n, height, width)` when it is first met."""

    def __init__(self, n: int, height: int, width: int):
        self.shape, self.place = (n, height, width), (0, 0)
        self.caches: dict[Any, Any] = {}

    def __call__(self, layer: Any, value: Tensor) -> Tensor:
        if layer not in self.caches:
            self.caches[layer] = layer.at_pixel(*self.shape)
        return self.caches[layer](value, *self.place)


class PixelSoftmax(nn.Module):
    """ReLU, 1x1 convolution (B), ReLU, 1x1 convolution (B) of `width` features, then logits of every colour's value."""

    def __init__(self, features: int, width: int, *, colours: int, levels: int):
        super().__init__()
        self.shape = (colours, levels)
        self.first = RasterConv2d("B", features, width, 1, ordered_groups=colours)
        self.second = RasterConv2d("B", width, width, 1, ordered_groups=colours)
        self.logits = RasterConv2d("B", width, colours * levels, 1, ordered_groups=colours)

    def forward(self, h: Tensor, apply: ApplyLayer = apply_to_maps) -> Tensor:
        """(N, features, H, W) -> (N, colours, levels, H, W), or (N, features) -> (N, colours, levels); fp32."""
        h = apply(self.second, relu(apply(self.first, relu(h))))
        return at_least_fp32(apply(self.logits, relu(h))).unflatten(1, self.shape)


def pixel_nats(logits: Tensor, x: Tensor) -> Tensor:
    """-ln P(x) of pixel values x (N, C, H, W) under logits (N, C, levels, H, W), summed over pixels; -> (N,)."""
    rows = logits.permute(0, 3, 4, 1, 2).flatten(0, 3)
    targets = x.permute(0, 2, 3, 1).flatten().long()
    return cross_entropy(rows, targets, reduction="none").view(len(x), -1).sum(1)


LogitsAt = Callable[[Tensor, int, int], Tensor]
"""(x, row, column) -> logits (n, C, levels) at that pixel of x (n, C, H, W), int64, with all earlier values known."""


def cached_logits(
    forward: Callable[[Tensor, ApplyAtPixel], Tensor], stem: RasterConv2d, shape: tuple[int, int, int], levels: int
) -> LogitsAt:
    """Logits pixel by pixel, with every layer's state cached. `forward(pixel (n, C), apply)` is the net at one pixel
    and `stem` its first layer; `shape` is (n, H, W). Ask for pixels in raster order, for each once per colour: what was
    drawn for the last colour of a pixel is written into the stem's cache when the next pixel is asked for."""
    apply, dtype = ApplyAtPixel(*shape), stem.weight.dtype

    def logits_at(x: Tensor, row: int, column: int) -> Tensor:
        if (before := apply.place) != (row, column):  # its last colour was drawn after the stem saw it
            apply.caches[stem].remember(cell_centres(x[:, :, *before], levels, dtype), *before)
            apply.place = (row, column)
        return forward(cell_centres(x[:, :, row, column], levels, dtype), apply)

    return logits_at


def sample_categorical(logits: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
    """The value at which the distribution function of softmax(logits / temperature) passes u in [0, 1): logits
    (n, levels), u (n,) -> (n,) int64. At temperature 0 the most probable value."""
    if temperature == 0:
        return logits.argmax(1)
    cumulative = torch.softmax(logits / temperature, 1).cumsum(1)
    return (cumulative <= u[:, None] * cumulative[:, -1:]).sum(1).clamp(max=logits.shape[1] - 1)


@torch.no_grad()
def raster_sample(logits_at: LogitsAt, u: Tensor, temperature: float = 1.0) -> Tensor:
    """Pixel values (n, C, H, W), int64, drawn by uniform noise u of that shape; asks `logits_at` once per colour."""
    n, colours, height, width = u.shape
    x = torch.zeros(u.shape, dtype=torch.int64, device=u.device)
    for row in range(height):
        for column in range(width):
            for k in range(colours):
                logits = logits_at(x, row, column)[:, k]
                x[:, k, row, column] = sample_categorical(logits, u[:, k, row, column], temperature)
    return x
