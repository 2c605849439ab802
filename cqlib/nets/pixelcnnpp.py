"""The net of PixelCNN++: its outputs at a pixel depend only on the pixels before it in raster order.

Reference: Salimans, Karpathy, Chen, Kingma, "PixelCNN++", ICLR 2017, sections 2.3 to 2.5, layer by layer as in their
code openai/pixel-cnn. Two streams: the vertical one sees the rows above, the horizontal one these and the pixels to
the left. Convolutions are shifted instead of masked; short-cuts lead from the way down to the way back up.

Deviations: the first batch initialises a transposed convolution by its output after cropping.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, glu, pad

from cqlib.nets.conv import at_least_fp32
from cqlib.nets.weight_norm import normal_weight_norm

STAGES = 3
"""Resolutions: S, S/2, S/4."""


def concat_elu(x: Tensor) -> Tensor:
    """ELU of x and of -x: (N, C, ...) -> (N, 2C, ...)."""
    return elu(torch.cat([x, -x], dim=1))


def shift_down(x: Tensor) -> Tensor:
    """(N, C, H, W) shifted down by one row, the first row 0."""
    return pad(x[:, :, :-1], (0, 0, 1, 0))


def shift_right(x: Tensor) -> Tensor:
    """(N, C, H, W) shifted right by one column, the first column 0."""
    return pad(x[..., :-1], (1, 0))


class ShiftedConv2d(nn.Module):
    """A convolution that sees its own row and rows above, in columns on both sides ("down-shifted") or, with `left`,
    only in its own column and those to the left ("down-right-shifted"). Size S -> S / stride."""

    def __init__(
        self, channels: int, out: int, kernel: tuple[int, int], *, left: bool, stride: int = 1, start: float = 1.0
    ):
        super().__init__()
        self.conv = normal_weight_norm(nn.Conv2d(channels, out, kernel, stride), start=start)
        h, w = kernel
        self.padding = (w - 1, 0, h - 1, 0) if left else (w // 2, w // 2, h - 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, self.padding))


vertical = partial(ShiftedConv2d, kernel=(2, 3), left=False)
horizontal = partial(ShiftedConv2d, kernel=(2, 2), left=True)


class GatedBlock(nn.Module):
    """h + a sigmoid(b), (a, b) = conv(dropout(f(conv(f(h)) + W f(aux)))), f the concatenated ELU; (N, width, S, S).

    aux (N, `auxiliary`, S, S) comes from other blocks by short-cuts; the block starts near the identity.
    """

    def __init__(self, width: int, conv: Callable[..., ShiftedConv2d], auxiliary: int, dropout: float):
        super().__init__()
        self.first = conv(2 * width, width)
        self.short_cut = normal_weight_norm(nn.Conv2d(2 * auxiliary, width, 1)) if auxiliary else None
        self.dropout = nn.Dropout(dropout)
        self.second = conv(2 * width, 2 * width, start=0.1)

    def forward(self, h: Tensor, aux: Tensor | None = None) -> Tensor:
        c = self.first(concat_elu(h))
        if self.short_cut is not None and aux is not None:
            c = c + self.short_cut(concat_elu(aux))
        return h + glu(self.second(self.dropout(concat_elu(c))), dim=1)


class Stage(nn.Module):
    """One resolution on the way down and back up, with the coarser ones in between: both streams -> both streams.

    Each stream has `blocks` blocks down and as many up, and one more up where a coarser stage comes in between. The
    short-cut of a block on the way up brings the output of one on the way down, or the stage's input.
    """

    def __init__(self, width: int, blocks: int, dropout: float, stages: int):
        super().__init__()

        def row(n: int, conv: Callable[..., ShiftedConv2d], auxiliary: int) -> nn.ModuleList:
            return nn.ModuleList(GatedBlock(width, conv, auxiliary, dropout) for _ in range(n))

        self.coarser: Stage | None = None
        back = blocks + (stages > 1)
        if stages > 1:
            self.halve_vertical = vertical(width, width, stride=2)
            self.halve_horizontal = horizontal(width, width, stride=2)
            self.coarser = Stage(width, blocks, dropout, stages - 1)
            # rows 2i and 2i + 1 come from row i alone; so do columns in the horizontal stream
            self.double_vertical = normal_weight_norm(
                nn.ConvTranspose2d(width, width, (2, 3), stride=2, padding=(0, 1), output_padding=(0, 1))
            )
            self.double_horizontal = normal_weight_norm(nn.ConvTranspose2d(width, width, 2, stride=2))
        self.in_vertical = row(blocks, vertical, 0)
        self.in_horizontal = row(blocks, horizontal, width)
        self.back_vertical = row(back, vertical, width)
        self.back_horizontal = row(back, horizontal, 2 * width)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        passed = [(v, h)]
        for of_v, of_h in zip(self.in_vertical, self.in_horizontal, strict=True):
            v = of_v(v)
            h = of_h(h, v)
            passed.append((v, h))
        if self.coarser is None:
            passed.pop()
        else:
            v, h = self.coarser(self.halve_vertical(v), self.halve_horizontal(h))
            v, h = self.double_vertical(v), self.double_horizontal(h)
        for of_v, of_h in zip(self.back_vertical, self.back_horizontal, strict=True):
            short_v, short_h = passed.pop()
            v = of_v(v, short_v)
            h = of_h(h, torch.cat([v, short_h], dim=1))
        return v, h


class PixelCNNPP(nn.Module):
    """Images (N, C, S, S) in [-1, 1], S divisible by 4 -> (N, outputs, S, S): the outputs at a pixel depend on
    the pixels before it in raster order, neither on itself nor on later ones."""

    def __init__(self, image_channels: int, outputs: int, *, width: int, blocks: int, dropout: float):
        super().__init__()
        seen = image_channels + 1  # a channel of ones distinguishes the image from the zeros that pad it
        self.rows_above = ShiftedConv2d(seen, width, (2, 3), left=False)
        self.row_above = ShiftedConv2d(seen, width, (1, 3), left=False)
        self.column_left = ShiftedConv2d(seen, width, (2, 1), left=True)
        self.stage = Stage(width, blocks, dropout, STAGES)
        self.out = normal_weight_norm(nn.Conv2d(width, outputs, 1))

    def streams(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical and the horizontal stream at their ends, each (N, width, S, S)."""
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        v = shift_down(self.rows_above(x))
        return self.stage(v, shift_down(self.row_above(x)) + shift_right(self.column_left(x)))

    def forward(self, x: Tensor) -> Tensor:
        _, h = self.streams(x)
        with torch.autocast(x.device.type, enabled=False):  # means in bf16 would be off by half an 8-bit cell
            return self.out(elu(at_least_fp32(h)))
