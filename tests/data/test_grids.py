"""Grids: no pixel is changed on the way in, and none on the way out."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cqlib.data.grids import animation, grid, grid_png, tiles, unscaled

IMAGES = torch.randint(256, (11, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("columns", [3, 8, 20])
def test_tiles_undo_grid(columns):
    found = tiles(grid(IMAGES, columns=columns), 6)
    assert torch.equal(found[:11], IMAGES)
    assert (found[11:] == 128).all() and len(found) < 11 + columns


@pytest.mark.parametrize("size", [6, 16, 32])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_file_of_a_grid_gives_its_images(size, scale):
    images = torch.randint(256, (19, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for n in range(1, 20):  # fewer than a row of them, too
        assert torch.equal(tiles(unscaled(grid_png(images[:n], scale=scale), size), size)[:n], images[:n])


def test_an_animation_has_all_frames_in_order_and_stays_at_the_last():
    frames = [np.full((8, 10, 3), level, np.uint8) for level in (0, 100, 200)]
    shown = Image.open(io.BytesIO(animation(frames, seconds=0.1)))
    levels, durations = [], []
    for k in range(shown.n_frames):
        shown.seek(k)
        levels.append(np.asarray(shown.convert("RGB")).mean())
        durations.append(shown.info["duration"])
    assert levels == pytest.approx([0, 100, 200], abs=3) and durations == [100, 100, 1000]
    assert shown.info["loop"] == 0 and shown.size == (10, 8)
