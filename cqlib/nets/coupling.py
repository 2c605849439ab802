"""Real-NVP coupling layers: the invertible f of CQ-F between image space x and feature space y, Eqs. (6) to (8).

Reference: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017, sections 3.2 to 3.4.

Deviations:
- y2 = t(x1) + diag(s(x1)) x2 as on the slides (the reference code multiplies after adding).
- Weight normalisation only: batch normalisation would see two populations, images in f and samples in f^-1.
- Plainer nets than Real NVP's: no sum of skip outputs over the blocks, and as input x1 alone, without -x1 and the mask.
- ln s = b tanh(a r / b) with a learned a and b = `MAX_LOG_SCALE`, so that exp never overflows; the reference code has
  a tanh(r), which a learned a bounds. Its L2 penalty on magnitudes and on a is left out (`models.nvp` has it), and
  weights start as PyTorch's do, those of the last layer a tenth as large.
- A learned 1x1 convolution mixes the colours of a pixel before each coupling (`ColourConvolution`), as in Glow (Kingma
  and Dhariwal 2018, section 3.2), but starts as a rotation to luma and opponents and not as a random one. Within a
  checkerboard coupling the colours of a pixel never see each other; Real NVP mixes channels only after squeezing.
  Whether the authors' f mixed colours is not known. One fixed rotation, and no mixing (`FlowConfig.colours`), are
  ablations; docs/tuning.md has the trials.
- The nets see x1, one colour of the checkerboard, packed as channels at half the resolution (the reference code masks
  the other colour at full resolution). Partition, Jacobian and inverse are the same; a 3x3 convolution spans 6x6
  pixels.
- More scales follow the reference code, except that the nets of channel couplings start with s = 1 too, and that
  features keep the places of their pixels, since the decoder that predicts them is convolutional; from the third scale
  on, which no row has, channels are ordered by colour of the checkerboard and not by place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from cqlib.nets.conv import at_least_fp32, bounded
from cqlib.nets.weight_norm import lengths, weight_norm

MAX_LOG_SCALE = 4.0
"""|ln s| stays below this: one layer cannot scale by more than e^4."""


@dataclass(frozen=True)
class FlowConfig:
    """f: `couplings` alternating checkerboard couplings, their nets `width` channels wide with `blocks` blocks.

    With more `scales` every scale but the last has as many channel couplings too, the last scale has one checkerboard
    coupling more, and the nets' width doubles at each halving of the resolution (Dinh et al. 2017, section 3.6).
    """

    couplings: int = 3
    width: int = 32
    blocks: int = 2
    scales: int = 1
    colours: Literal["learned", "rotated", "apart"] = "learned"
    """How the colours of each pixel are mixed: by a `ColourConvolution` before each coupling, by the first of them
    alone and fixed, which is a rotation, or not at all."""


OPPONENTS = {
    2: ((1, 1), (1, -1)),
    3: ((1, 1, 1), (1, 0, -1), (-1, 2, -1)),
}
"""Channels -> orthogonal mixtures of them. Of red, green and blue: the luma, red against blue, green against both."""


def colour_rotation(channels: int) -> Tensor:
    """The orthonormal (C, C), float64, whose rows are `OPPONENTS` at length 1. ValueError for a number of channels that
    has none."""
    if channels not in OPPONENTS:
        raise ValueError(f"f mixes 1, 2 or 3 colours, not {channels}: take colours='apart'")
    opponents = torch.tensor(OPPONENTS[channels], dtype=torch.float64)
    return opponents / opponents.norm(dim=1, keepdim=True)


class ColourConvolution(nn.Module):
    """An invertible 1x1 convolution, x -> W x for the colours x of every pixel: ln |det| = H W sum ln |d|, since
    W = P L (U + diag(d)) with a permutation P and triangular L and U whose diagonals are 1 and 0 (Kingma and Dhariwal
    2018, Eqs. 10 and 11). W starts as `start`; L, U and ln |d| are learned unless `fixed`, P and the signs of d never.
    """

    order: Tensor
    signs: Tensor
    lower: Tensor
    upper: Tensor
    log_scale: Tensor

    def __init__(self, start: Tensor, fixed: bool = False):
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(start.double())
        d = upper.diagonal()
        self.register_buffer("order", permutation.argmax(1), persistent=False)
        self.register_buffer("signs", d.sign().float(), persistent=False)
        for name, value in (("lower", lower.tril(-1)), ("upper", upper.triu(1)), ("log_scale", d.abs().log())):
            if fixed:
                self.register_buffer(name, value.float(), persistent=False)
            else:
                setattr(self, name, nn.Parameter(value.float()))

    @property
    def weight(self) -> Tensor:
        """W, (C, C); the product as sums, since autocast would take a matrix product in bf16."""
        lower = self.lower.tril(-1) + torch.eye(len(self.signs), device=self.signs.device, dtype=self.signs.dtype)
        upper = self.upper.triu(1) + (self.signs * self.log_scale.exp()).diag()
        return (lower[:, :, None] * upper).sum(1)[self.order]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W), or the pixels of a colour of the checkerboard (N, 2C, H/2, W/2) -> the same in other
        colours, and ln |det| (N,)."""
        log_det = x.shape[1:].numel() // len(self.signs) * self.log_scale.sum()
        return self._mixed(x, self.weight), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """The inverse of `forward`."""
        return self._mixed(y, torch.linalg.inv_ex(self.weight).inverse)

    @staticmethod
    def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
        """Products and sums: autocast would take a convolution in bf16."""
        places = x.unflatten(1, (len(matrix), -1))
        return (matrix[:, :, None, None, None] * places[:, None]).sum(2).flatten(1, 2)


class CouplingNet(nn.Module):
    """The functions t and ln s, (N, c_in, H, W) -> two of (N, c_out, H, W): 3x3 convolution, `blocks` pre-activation
    residual blocks, 1x1 convolution to t and r; ln s = MAX tanh(a r / MAX) with a learned scalar a that starts at 0."""

    def __init__(self, in_channels: int, out_channels: int, width: int, blocks: int):
        super().__init__()

        def conv(a: int, b: int, kernel: int) -> Any:
            return weight_norm(nn.Conv2d(a, b, kernel, padding=kernel // 2))

        self.stem = conv(in_channels, width, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), conv(width, width, 3), nn.ReLU(), conv(width, width, 3)) for _ in range(blocks)
        )
        self.out = conv(width, 2 * out_channels, 1)
        self.scale = nn.Parameter(torch.zeros(()))
        with torch.no_grad():  # t starts near 0, so that f starts near the identity
            lengths(self.out).mul_(0.1)
            self.out.bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_autocast_enabled(x.device.type) or self._channels_last(x):
            x = x.contiguous(memory_format=torch.channels_last)
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        t, r = at_least_fp32(self.out(h.relu())).chunk(2, dim=1)
        return t, bounded(self.scale * r, MAX_LOG_SCALE)

    def _channels_last(self, x: Tensor) -> bool:
        """Whether x is on a CPU, which alone gains by it, and the weights (before weight norm) are channels-last."""
        weight = self.stem.parametrizations.weight.original1
        last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        return last and x.device.type == "cpu"


class Coupling(nn.Module):
    """y1 = x1; y2 = t(x1) + s(x1) x2 on a pair of groups, ln |det| = sum ln s(x1); t and s may also read
    `context` channels, a condition that is not transformed."""

    def __init__(self, channels: int, *, width: int, blocks: int, context: int = 0):
        super().__init__()
        self.net: nn.Module = CouplingNet(channels + context, channels, width, blocks)

    def forward(self, x1: Tensor, x2: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """The changed group y2, and the log-determinant (N,)."""
        t, log_s = self.net(torch.cat([x1, *context], dim=1))
        return t + log_s.exp() * x2, log_s.flatten(1).sum(1)

    def inverse(self, y1: Tensor, y2: Tensor, *context: Tensor) -> Tensor:
        """The inverse of `forward`: x2 in one pass, since s and t need not be inverted."""
        t, log_s = self.net(torch.cat([y1, *context], dim=1))
        return (y2 - t) * (-log_s).exp()


def split_checkerboard(x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W), H and W even -> the pixels with even and with odd row + column, each (N, 2C, H/2, W/2)."""
    n, c, h, w = x.shape
    cells = pixel_unshuffle(x, 2).view(n, c, 4, h // 2, w // 2)  # within a 2x2 cell: 0 1 / 2 3
    return cells[:, :, ::3].flatten(1, 2), cells[:, :, 1:3].flatten(1, 2)  # slices: a list would go to the device


def join_checkerboard(even: Tensor, odd: Tensor) -> Tensor:
    """The inverse of `split_checkerboard`."""
    e, o = even.unflatten(1, (-1, 2)), odd.unflatten(1, (-1, 2))
    cells = torch.stack([e[:, :, 0], o[:, :, 0], o[:, :, 1], e[:, :, 1]], dim=2)
    return pixel_shuffle(cells.flatten(1, 2), 2)


def split_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W), H and W even, squeezed to (N, 4C, H/2, W/2): the lower and the upper half of the channels."""
    lower, upper = pixel_unshuffle(x, 2).chunk(2, dim=1)
    return lower, upper


def join_channels(lower: Tensor, upper: Tensor) -> Tensor:
    """The inverse of `split_channels`."""
    return pixel_shuffle(torch.cat([lower, upper], dim=1), 2)


def apply_couplings(
    couplings: Iterable[Any], groups: Sequence[Tensor], *context: Tensor, colours: Iterable[Any] = ()
) -> tuple[list[Tensor], Tensor]:
    """The groups after `couplings`, which change the second group, the first, the second, …, the k-th of `colours`
    before the k-th of them; and the sum of their ln |det| (N,)."""
    groups, log_det = list(groups), groups[0].new_zeros(len(groups[0]))
    for k, (mix, coupling) in enumerate(zip_longest(colours, couplings)):
        if mix is not None:
            (groups[0], first), (groups[1], second) = map(mix, groups)
            log_det = log_det + first + second
        if coupling is not None:
            kept, changed = k % 2, 1 - k % 2
            groups[changed], term = coupling(groups[kept], groups[changed], *context)
            log_det = log_det + term
    return groups, log_det


def invert_couplings(
    couplings: Iterable[Any], groups: Sequence[Tensor], *context: Tensor, colours: Iterable[Any] = ()
) -> list[Tensor]:
    """The inverse of `apply_couplings`."""
    groups = list(groups)
    for k, (mix, coupling) in reversed(list(enumerate(zip_longest(colours, couplings)))):
        if coupling is not None:
            kept, changed = k % 2, 1 - k % 2
            groups[changed] = coupling.inverse(groups[kept], groups[changed], *context)
        if mix is not None:
            groups = list(map(mix.inverse, groups))
    return groups


class MultiScale(nn.Module):
    """An invertible map of images, x and y both (N, C, S, S): `couplings` between the groups of a checkerboard.

    `colours` are maps of the colours of each pixel, one before each of the first couplings.

    With `coarser`, `channel_couplings` follow at half the resolution. Then one colour of the checkerboard is done (it
    is "factored out"), and `coarser` transforms the pixels of the other, as an image (N, 2C, S/2, S/2), which are put
    back where they were. The couplings of the finest checkerboard may read a `context` (N, …, S/2, S/2), on which the
    map then depends.
    """

    couplings: nn.ModuleList
    channel_couplings: nn.ModuleList
    split: Any = staticmethod(split_checkerboard)
    join: Any = staticmethod(join_checkerboard)
    """From an image to the two groups of a checkerboard, and back."""
    to_coarser: Any = staticmethod(lambda x: x)
    from_coarser: Any = staticmethod(lambda x: x)
    """From the channels of the colour that is not factored out to those of `coarser`, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.ModuleList()
        self.coarser: MultiScale | None = None

    def forward(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x), and ln |det df/dx| (N,)."""
        groups, log_det = apply_couplings(self.couplings, self.split(x), *context, colours=self.colours)
        y = self.join(*groups)
        if self.coarser is None:
            return y, log_det
        groups, of_channels = apply_couplings(self.channel_couplings, split_channels(y))
        active, done = split_checkerboard(join_channels(*groups))
        active, of_coarser = self.coarser(self.to_coarser(active))
        return join_checkerboard(self.from_coarser(active), done), log_det + of_channels + of_coarser

    def inverse(self, y: Tensor, *context: Tensor) -> Tensor:
        """x = f^-1(y), Eq. (7); as fast as `forward`, and differentiable in y and in the parameters."""
        if self.coarser is not None:
            active, done = split_checkerboard(y)
            y = join_checkerboard(self.from_coarser(self.coarser.inverse(self.to_coarser(active))), done)
            y = join_channels(*invert_couplings(self.channel_couplings, split_channels(y)))
        return self.join(*invert_couplings(self.couplings, self.split(y), *context, colours=self.colours))


class RealNVP(MultiScale):
    """f of Eqs. (7) and (8), couplings and before them maps of the colours, of which grey images have none, on images
    (N, channels, S, S), S divisible by 2^scales. With one scale its couplings may read `context` channels (N, context,
    S/2, S/2). ValueError for several scales with a context, and for more than 3 channels unless colours are apart."""

    def __init__(self, channels: int, config: FlowConfig, context: int = 0):
        super().__init__()
        if context and config.scales != 1:
            raise ValueError(f"a conditional f has one scale, not {config.scales}")

        def row(couplings: int, width: int) -> nn.ModuleList:
            nets = {"width": width, "blocks": config.blocks, "context": context}
            return nn.ModuleList(Coupling(2 * channels, **nets) for _ in range(couplings))

        self.couplings = row(config.couplings, config.width)
        if config.colours != "apart" and channels > 1:
            self.colours.append(ColourConvolution(colour_rotation(channels), fixed=config.colours == "rotated"))
        if config.colours == "learned" and channels > 1:
            self.colours.extend(ColourConvolution(torch.eye(channels)) for _ in range(config.couplings - 1))
        if config.scales > 1:
            wide, scales = 2 * config.width, config.scales - 1
            self.channel_couplings = row(config.couplings, wide)
            couplings = config.couplings + 1 if scales == 1 else config.couplings
            coarser = replace(config, couplings=couplings, width=wide, scales=scales, colours="apart")
            self.coarser = RealNVP(2 * channels, coarser)
