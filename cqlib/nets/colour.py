"""Luma and chroma: an exact, invertible change of variables between 8-bit pixels.

Reference: the reversible colour transform of JPEG 2000 (ISO/IEC 15444-1, annex G.2), on integers:

    g = floor((R + 2 G + B) / 4),   U = B - G,   V = R - G
    G = g - floor((U + V) / 4),     R = V + G,   B = U + G

The map is a bijection, so P(x) = P(g) P(U, V | g), with grey g in {0..255} and chroma U, V in {-255..255}. Not every
(g, U, V) is an 8-bit colour.
"""

import torch
from torch import Generator, Tensor

from cqlib.pixels import LEVELS_PER_UNIT, add_uniform_noise, check_integers

CHROMA_LIMIT = 255


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 (N, 3, H, W) -> grey uint8 (N, 1, H, W) and chroma (U, V) int16 (N, 2, H, W). ValueError for floats."""
    check_integers(x)
    red, green, blue = x.to(torch.int16).split(1, dim=1)
    grey = (red + 2 * green + blue) >> 2
    return grey.to(torch.uint8), torch.cat([blue - green, red - green], dim=1)


def join(grey: Tensor, chroma: Tensor) -> Tensor:
    """The inverse of `split`: uint8 (N, 1, H, W), int16 (N, 2, H, W) -> int16 (N, 3, H, W), outside {0..255} where the
    pair is not a colour."""
    blue_less_green, red_less_green = chroma.split(1, dim=1)
    green = grey.to(torch.int16) - ((blue_less_green + red_less_green) >> 2)
    return torch.cat([red_less_green + green, green, blue_less_green + green], dim=1)


def is_colour(grey: Tensor, chroma: Tensor) -> Tensor:
    """Whether the pair lies in the cube of 8-bit colours, bool (N, 1, H, W)."""
    x = join(grey, chroma)
    return ((x >= 0) & (x <= 255)).all(dim=1, keepdim=True)


def into_gamut(grey: Tensor, chroma: Tensor) -> Tensor:
    """Grey (N, 1, H, W) and chroma int16 (N, 2, H, W) -> colours, uint8 (N, 3, H, W): chroma outside the gamut is
    scaled by a factor k / 256 that fits, found by bisection. `split` of the result returns the same grey."""
    chroma = chroma.clamp(-CHROMA_LIMIT, CHROMA_LIMIT)
    low = torch.zeros_like(grey, dtype=torch.int32)  # in 256ths; 0 is always a colour
    for step in (128, 64, 32, 16, 8, 4, 2, 1):
        candidate = low + step
        low = torch.where(is_colour(grey, _scaled(chroma, candidate)), candidate, low)
    fitted = torch.where(is_colour(grey, chroma), chroma, _scaled(chroma, low))
    return join(grey, fitted).to(torch.uint8)


def _scaled(chroma: Tensor, share: Tensor) -> Tensor:
    return torch.div(chroma * share, 256, rounding_mode="trunc").to(torch.int16)


def dequantise_chroma(chroma: Tensor, *, generator: Generator | None = None) -> Tensor:
    """int16 (...) -> float32 (...) in [-255/128, 2): (c + u) / 128 with u ~ U[0, 1), as pixels are dequantised."""
    return add_uniform_noise(chroma, generator=generator) / LEVELS_PER_UNIT


def to_chroma(c: Tensor) -> Tensor:
    """float (...) -> int16 (...): the cell of a point, the inverse of `dequantise_chroma`; clamped to +-255."""
    return (c.float() * LEVELS_PER_UNIT).floor().clamp(-CHROMA_LIMIT, CHROMA_LIMIT).to(torch.int16)
