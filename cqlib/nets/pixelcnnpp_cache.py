"""Cached sampling from PixelCNN++: each activation is computed once, so that an image costs about one forward pass.

Reference: Ramachandran et al., "Fast generation for convolutional autoregressive models", ICLR workshop 2017. The
vertical stream is computed row by row, each layer from two rows of its input; the horizontal one pixel by pixel, each
layer from the row above and the pixel to the left, where what the row above and the vertical stream contribute is
computed once per row. Coarser stages run at every second or fourth row and pixel.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, elu, glu, pad

from cqlib.nets.distributions import LogisticMixture
from cqlib.nets.pixelcnnpp import PixelCNNPP, ShiftedConv2d, Stage, concat_elu, shift_right

OutputsAt = Callable[[Tensor, int, int], Tensor]
"""(x, r, c) -> the net's outputs (N, outputs) at pixel (r, c), given the pixels of x (N, C, S, S) before it."""


def sample_mixtures(outputs: OutputsAt, u: Tensor) -> Tensor:
    """Sample images (N, C, S, S) of cell centres in raster order, with uniform noise u (N, 1 + C, S, S) in [0, 1)."""
    x = torch.zeros_like(u[:, 1:])
    for r in range(u.shape[2]):
        for c in range(u.shape[3]):
            x[:, :, r, c] = LogisticMixture.of(outputs(x, r, c), x.shape[1]).sample(u[:, :, r, c])
    return x


def _filters(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight.detach(), layer.bias.detach()


class _VerticalConv:
    """A down-shifted convolution with two kernel rows: one row (N, in, 1, W) -> (N, out, 1, W / stride)."""

    def __init__(self, shifted: ShiftedConv2d):
        self.weight, self.bias = _filters(shifted.conv)
        self.stride = shifted.conv.stride
        self.before: Tensor | None = None

    def __call__(self, row: Tensor) -> Tensor:
        before = torch.zeros_like(row) if self.before is None else self.before
        self.before = row
        return conv2d(torch.cat([before, row], dim=2), self.weight, self.bias, self.stride, padding=(0, 1))


class _VerticalBlock:
    def __init__(self, block: Any):
        self.first, self.second = _VerticalConv(block.first), _VerticalConv(block.second)
        self.short_cut: Any = block.short_cut and _filters(block.short_cut)

    def __call__(self, row: Tensor, short: Tensor | None = None) -> Tensor:
        c = self.first(concat_elu(row))
        if short is not None:
            c = c + conv2d(concat_elu(short), *self.short_cut)
        return row + glu(self.second(concat_elu(c)), dim=1)


class _HorizontalConv:
    """A down-right-shifted 2x2 convolution, one pixel at a time: its output at (r, c) reads the input at
    (r - 1, c - 1), (r - 1, c), (r, c - 1) and (r, c).

    One line of inputs is kept, behind a 0 for column -1. While row r is computed it holds row r up to the current
    column and row r - 1 after it. `slots` and `left_and_here` are views of that line: write the input (N, in) of column
    c into `slots[c]`, then call with c.
    """

    def __init__(self, shifted: ShiftedConv2d, n: int, columns: int):
        weight, self.bias = _filters(shifted.conv)  # (out, in, 2, 2): rows above and here, columns left and here
        channels, self.stride = weight.shape[1], shifted.conv.stride[1]
        self.weight_above = weight[:, :, :1]  # applied to a whole row at once
        self.weight_here = weight[:, :, 1].permute(2, 1, 0).reshape(2 * channels, -1).contiguous()
        line = weight.new_zeros(n, columns + 1, channels)
        self.line = line.permute(0, 2, 1).unsqueeze(2)  # (N, in, 1, 1 + columns)
        self.slots = line[:, 1:].unbind(1)
        self.left_and_here = [line[:, c : c + 2].flatten(1) for c in range(columns)]  # (N, 2 in) each

    def begin(self, more: Tensor | None = None) -> None:
        """Start a row, while the line holds the row above: add up its contributions, the bias and `more` (N, out, 1,
        W / stride)."""
        above = conv2d(self.line, self.weight_above, self.bias, (1, self.stride))
        if more is not None:
            above = above + more
        self.above = above.squeeze(2).permute(2, 0, 1).contiguous().unbind(0)  # (N, out) for each output column

    def __call__(self, c: int) -> Tensor:
        """The output (N, out) for input column c, a multiple of the stride."""
        return torch.addmm(self.above[c // self.stride], self.left_and_here[c], self.weight_here)


class _HorizontalBlock:
    def __init__(self, block: Any, n: int, columns: int):
        self.first = _HorizontalConv(block.first, n, columns)
        self.second = _HorizontalConv(block.second, n, columns)
        weight, self.bias = _filters(block.short_cut)
        parts = weight.chunk(weight.shape[1] // len(weight), dim=1)  # f(v, h) = elu(v, h, -v, -h)
        half = len(parts) // 2
        self.from_vertical = torch.cat([parts[0], parts[half]], dim=1)
        self.from_way_down: Any = None
        if half == 2:
            self.from_way_down = torch.cat([parts[1], parts[3]], dim=1).flatten(1).t().contiguous()

    def begin(self, v: Tensor) -> None:
        """Start a row, given the vertical stream v (N, width, 1, W)."""
        self.first.begin(conv2d(concat_elu(v), self.from_vertical, self.bias))
        self.second.begin()

    def __call__(self, c: int, h: Tensor, short: Tensor | None = None) -> Tensor:
        """h (N, width) at column c -> (N, width); `short` (N, 2 width) is the short-cut, after its concatenated ELU."""
        self.first.slots[c].copy_(concat_elu(h))
        a = self.first(c)
        if short is not None:
            a.addmm_(short, self.from_way_down)
        self.second.slots[c].copy_(concat_elu(a))
        return h + glu(self.second(c), dim=1)


class _CachedStage:
    def __init__(self, stage: Stage, n: int, columns: int):
        self.in_vertical = [_VerticalBlock(block) for block in stage.in_vertical]
        self.back_vertical = [_VerticalBlock(block) for block in stage.back_vertical]
        self.in_horizontal = [_HorizontalBlock(block, n, columns) for block in stage.in_horizontal]
        self.back_horizontal = [_HorizontalBlock(block, n, columns) for block in stage.back_horizontal]
        self.coarser: _CachedStage | None = None
        if stage.coarser is not None:
            self.halve_vertical = _VerticalConv(stage.halve_vertical)
            self.halve_horizontal = _HorizontalConv(stage.halve_horizontal, n, columns)
            self.coarser = _CachedStage(stage.coarser, n, columns // 2)
            self.double_vertical = _filters(stage.double_vertical)
            weight, bias = _filters(stage.double_horizontal)
            self.double_horizontal = weight.permute(0, 2, 3, 1).flatten(1).contiguous(), bias.repeat(4)
            self.doubled: list[Tensor] = [weight] * (columns // 2)

    def row(self, r: int, v: Tensor) -> Tensor:
        """Row r of the vertical stream, (N, width, 1, W) -> (N, width, 1, W); call it before the row's pixels."""
        passed = [v]
        for of_v, of_h in zip(self.in_vertical, self.in_horizontal, strict=True):
            v = of_v(v)
            of_h.begin(v)
            passed.append(v)
        if self.coarser is None:
            passed.pop()
        else:
            if r % 2 == 0:
                self.halve_horizontal.begin()
                coarse = self.coarser.row(r // 2, self.halve_vertical(v))
                self.two_rows = conv_transpose2d(coarse, *self.double_vertical, 2, (0, 1), (0, 1))
            else:
                self.halve_vertical.before = v
            v = self.two_rows[:, :, r % 2, None]
        for of_v, of_h in zip(self.back_vertical, self.back_horizontal, strict=True):
            v = of_v(v, passed.pop())
            of_h.begin(v)
        return v

    def pixel(self, r: int, c: int, h: Tensor) -> Tensor:
        """The horizontal stream at pixel (r, c), (N, width) -> (N, width); call it in raster order."""
        passed = []
        for block in self.in_horizontal:
            passed.append(block.first.slots[c])
            h = block(c, h)
        if self.coarser is not None:
            passed.append(concat_elu(h))
            self.halve_horizontal.slots[c].copy_(h)
            if r % 2 == c % 2 == 0:
                coarse = self.coarser.pixel(r // 2, c // 2, self.halve_horizontal(c))
                weight, bias = self.double_horizontal
                self.doubled[c // 2] = torch.addmm(bias, coarse, weight).unflatten(1, (2, 2, -1))
            h = self.doubled[c // 2][:, r % 2, c % 2]
        for block in self.back_horizontal:
            h = block(c, h, passed.pop())
        return h


class CachedPixelCNNPP:
    """`OutputsAt` of a net, without dropout, for n images of side `size`; call it for every pixel in raster order."""

    def __init__(self, net: PixelCNNPP, n: int, size: int):
        self.rows_above = _VerticalConv(net.rows_above)
        self.row_above = _filters(net.row_above.conv)
        weight, self.column_bias = _filters(net.column_left.conv)
        self.column_above, left = weight[:, :, :1], weight[:, :, 1, 0].t()
        self.left, self.left_one = left[:-1].contiguous(), left[-1]
        self.stage = _CachedStage(net.stage, n, size)
        weight, bias = _filters(net.out)
        self.out = bias, weight.flatten(1).t().contiguous()

    def __call__(self, x: Tensor, r: int, c: int) -> Tensor:
        if c == 0:
            self._begin(x, r)
        h = self.heads[c]
        if c:
            h = torch.addmm(h, x[:, :, r, c - 1], self.left)
        bias, weight = self.out
        return torch.addmm(bias, elu(self.stage.pixel(r, c, h)), weight)

    def _begin(self, x: Tensor, r: int) -> None:
        """Compute row r of the vertical stream, and the horizontal stream's input but for the part of the pixel to the
        left."""
        if r == 0:
            before = torch.zeros_like(x[:, :1, :1]).expand(-1, x.shape[1] + 1, -1, -1)
            v = above = before.new_zeros(len(x), len(self.column_bias), 1, x.shape[3])
        else:
            before = pad(x[:, :, r - 1, None], (0, 0, 0, 0, 0, 1), value=1.0)
            v, above = self.rows_above(before), conv2d(before, *self.row_above, padding=(0, 1))
        left = conv2d(before, self.column_above, self.column_bias + self.left_one)
        self.heads = (above + shift_right(left)).squeeze(2).permute(2, 0, 1).contiguous().unbind(0)
        self.stage.row(r, v)
