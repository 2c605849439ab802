"""Conversions between 8-bit pixels and the continuous range [-1, 1) in which models work.

A pixel value v in {0..255} owns the cell [v/128 - 1, (v+1)/128 - 1) of width 1/128. `dequantise` draws a
uniform point of the cell, `to_uint8` maps every point of the cell back to v.
"""

import math

import torch
from torch import Tensor

LEVELS_PER_UNIT = 128.0
LN_LEVELS = math.log(LEVELS_PER_UNIT)
"""ln 128: -ln P(x) <= E_u[-ln p(dequantise(x))] + D ln 128 for D dimensions (Theis et al. 2016, section 3.1)."""


def dequantise(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """uint8 (...) -> float32 (...) in [-1, 1): (x + u) / 128 - 1 with u ~ U[0, 1)."""
    return add_uniform_noise(x, generator=generator).div_(LEVELS_PER_UNIT).sub_(1)


def add_uniform_noise(values: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Integers v (...) with |v| < 512 -> float32 (...): v + u with u ~ U[0, 1), strictly inside [v, v + 1). ValueError
    for floats."""
    check_integers(values)
    u = torch.rand(values.shape, device=values.device, generator=generator)
    # v + u in float32 can round up to v + 1, the next cell; stay strictly inside
    return torch.minimum(values + u, values + (1 - 2**-10))


def cell_centres(x: Tensor, levels: int = 256, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixel values {0..levels-1} (...) -> floats (...) in (-1, 1): the centres of their cells.

    ValueError if the values are floats.
    """
    check_integers(x)
    return (x.to(dtype) + 0.5) * (2 / levels) - 1


def check_integers(x: Tensor) -> None:
    """ValueError for floats, such as samples in [-1, 1], where pixel values are asked for."""
    if x.is_floating_point():
        kind = str(x.dtype).removeprefix("torch.")
        raise ValueError(f"pixels are uint8 ({kind} given): convert floats in [-1, 1] with to_uint8()")


def to_uint8(x: Tensor) -> Tensor:
    """float (...) -> uint8 (...): the value whose cell a point lies in; points outside [-1, 1) are clamped. ValueError
    for integers."""
    if not x.is_floating_point():
        raise ValueError(f"to_uint8 takes floats in [-1, 1), not {str(x.dtype).removeprefix('torch.')}")
    return ((x.float() + 1) * LEVELS_PER_UNIT).floor().clamp(0, 255).to(torch.uint8)
