"""Images as one picture: a grid in which no pixel is changed, and the files of it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GRID_ROWS = 6
"""Rows of a published grid; fewer for images with sides above 32 pixels."""
EXACT, QUALITY = 16, 90  # WebP: the side in pixels up to which an image keeps every pixel, and Pillow's quality above
_GREY = 128  # between the images of a grid: neither glares on a dark page nor vanishes on a light one


def grid(images: Tensor, *, columns: int = 8, scale: int = 1) -> np.ndarray:
    """Images (N, C, H, W) uint8 in rows of `columns` with grey lines of one pixel between them, each pixel repeated
    `scale` times a side, as one (H', W', 3) uint8 picture. ValueError unless the images are uint8 with four axes."""
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not pixels.size or pixels.shape[1] not in (1, 3):
        raise ValueError(f"a grid needs images (N, 1 or 3, H, W) in uint8, not {pixels.shape} {pixels.dtype}")
    n, _, height, width = pixels.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), _GREY, np.uint8)
    for i, image in enumerate(pixels.transpose(0, 2, 3, 1)):
        y, x = 1 + i // columns * (height + 1), 1 + i % columns * (width + 1)
        sheet[y : y + height, x : x + width] = image
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)


def unscaled(picture: bytes, size: int) -> np.ndarray:
    """The picture that `grid` made of images of `size` x `size` pixels, from the bytes of its file and with repeated
    pixels only once: uint8 (H', W', 3)."""
    sheet = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    sides = sheet.shape[:2]
    scales = range(min(sides) // (size + 2), 1, -1)  # of a scale, each side is a multiple of size + 1, and one line
    scale = next((k for k in scales if all(side % k == 0 and side // k % (size + 1) == 1 for side in sides)), 1)
    return sheet[::scale, ::scale]


def tiles(sheet: np.ndarray, size: int) -> Tensor:
    """The images of `size` x `size` pixels on an unscaled grid: uint8 (N, 3, size, size), grey where it is empty."""
    rows, columns = (side // (size + 1) for side in sheet.shape[:2])
    cells = sheet[1 : rows * (size + 1) + 1, 1 : columns * (size + 1) + 1].reshape(rows, size + 1, columns, size + 1, 3)
    return torch.from_numpy(cells[:, :size, :, :size].transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size).copy())


def webp(picture: np.ndarray, size: int = 0) -> bytes:
    """The bytes of a WebP file of `picture`, uint8 (H, W, 3 or 4), which shows images with sides of `size` pixels:
    without loss for a `size` up to `EXACT`, else with `QUALITY`."""
    kind = {"lossless": True, "quality": 75} if size <= EXACT else {"quality": QUALITY}
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", method=6, **kind)
    return buffer.getvalue()


def animation(frames: Sequence[np.ndarray], seconds: float = 0.4) -> bytes:
    """An animated WebP file, which begins anew without end: each of the `frames`, uint8 (H, W, 3 or 4), for
    so many seconds, the last one ten times as long."""
    first, *others = map(Image.fromarray, frames)
    milliseconds = [int(1000 * seconds)] * len(others) + [int(10_000 * seconds)]
    how: dict[str, Any] = {"quality": 60, "method": 6, "loop": 0, "duration": milliseconds}
    buffer = io.BytesIO()
    first.save(buffer, format="WEBP", save_all=True, append_images=others, **how)
    return buffer.getvalue()


def published_grid(picture: bytes, size: int) -> bytes:
    """The first rows of a grid of images of `size` x `size` pixels, as a WebP without repeated pixels."""
    rows = GRID_ROWS * 32 // max(size, 32)
    return webp(unscaled(picture, size)[: rows * (size + 1) + 1], size)


def grid_png(images: Tensor, *, columns: int = 8, scale: int = 4) -> bytes:
    """`grid` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(grid(images, columns=columns, scale=scale)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
