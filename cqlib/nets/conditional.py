"""A decoder and an f that are given an image beside what they transform: mu(z, g), sigma(z, g) and y = f(c; g).

Reference: the decoder and the critic's pyramid of `conv.py`, joined at every resolution as in Ronneberger et al. 2015
(U-Net); Real NVP's couplings, whose functions s and t may read anything that is known on both sides.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from cqlib.nets.conv import BOTTOM, doubling, halving, normalisation
from cqlib.nets.coupling import Coupling, FlowConfig, alternate, join_checkerboard, split_checkerboard, undo
from cqlib.nets.precision import at_least_fp32


class ConditionalDecoder(nn.Module):
    """z (N, latent), g (N, channels, S, S) -> (N, out_channels, S, S), linear at the end.

    A pyramid of convolutions reads g from fine to coarse; the decoder goes from z at the bottom to the image, and at
    every resolution reads what the pyramid holds there. `widths` are the decoder's, from fine to coarse, `seen` the
    pyramid's.
    """

    def __init__(
        self, size: int, widths: tuple[int, ...], seen: tuple[int, ...], latent: int, *, channels: int,
        out_channels: int, norm: str,
    ):  # fmt: skip
        super().__init__()
        self.bottom = (widths[-1], BOTTOM[size], BOTTOM[size])
        self.down = nn.ModuleList([nn.Sequential(nn.Conv2d(channels, seen[0], 3, padding=1), nn.ELU())])
        self.down.extend(nn.Sequential(*halving(a, b, norm)) for a, b in pairwise(seen))
        self.head = nn.Linear(latent, widths[-1] * BOTTOM[size] ** 2)
        self.start = nn.Sequential(normalisation(norm, widths[-1]), nn.ELU())
        self.up = nn.ModuleList(
            nn.Sequential(*doubling(widths[k] + seen[k], widths[k - 1], norm)) for k in range(len(widths) - 1, 0, -1)
        )
        self.out = nn.Conv2d(widths[0] + seen[0], out_channels, 3, padding=1)
        with torch.no_grad():
            self.out.weight.mul_(0.5)

    def forward(self, z: Tensor, g: Tensor) -> Tensor:
        found = []
        for layer in self.down:
            g = layer(g)
            found.append(g)
        h = self.start(self.head(z).unflatten(1, self.bottom))
        for layer in self.up:
            h = layer(torch.cat([h, found.pop()], dim=1))
        return at_least_fp32(self.out(torch.cat([h, found.pop()], dim=1)))


class ConditionalNVP(nn.Module):
    """f of Eqs. (7) and (8) given an image: y = f(c; g), for every g an invertible map of c, (N, C, S, S) both.

    The couplings of `RealNVP` at one scale; s and t read g besides, its 2x2 cells packed as channels.
    """

    def __init__(self, channels: int, context: int, config: FlowConfig):
        super().__init__()
        if config.scales != 1:
            raise ValueError(f"a conditional f has one scale, not {config.scales}")
        self.couplings = nn.ModuleList(
            Coupling(2 * channels, width=config.width, blocks=config.blocks, context=4 * context)
            for _ in range(config.couplings)
        )

    def forward(self, c: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(c; g), and ln |det df/dc| (N,)."""
        groups, log_det = alternate(self.couplings, split_checkerboard(c), pixel_unshuffle(g, 2))
        return join_checkerboard(*groups), log_det

    def inverse(self, y: Tensor, g: Tensor) -> Tensor:
        """c = f^-1(y; g), differentiable in both and in the parameters."""
        return join_checkerboard(*undo(self.couplings, split_checkerboard(y), pixel_unshuffle(g, 2)))
