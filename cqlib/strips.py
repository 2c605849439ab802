"""Rows of images with a name each, and what is to be said above the columns or below single images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import torch
from matplotlib.figure import Figure

from cqlib import plots
from cqlib.images import grid

SIDE, LABEL, LINE, GAP = 0.62, 1.3, 0.17, 0.04
"""Inches: an image, the names of rows, a line of text, between rows."""


def strips(
    rows: Mapping[str, torch.Tensor],
    *,
    columns: Sequence[str] = (),
    captions: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """One row of images (N, C, H, W) uint8 per name; `columns` are written above the first row, one per image (an
    empty one for none), `captions[name]` below the images of a row."""
    captions = captions or {}
    most = max(len(images) for images in rows.values())
    heights = {name: SIDE + GAP + LINE * (name in captions) for name in rows}
    width, height = LABEL + SIDE * most, sum(heights.values()) + LINE * bool(columns)
    small = {"fontsize": 7.5, "ha": "center", "va": "top"}
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(width, height)
        figure.set_layout_engine("none")  # images of all rows in one lattice
        top = height - LINE * bool(columns)
        for k, text in enumerate(columns):
            figure.text((LABEL + (k + 0.5) * SIDE) / width, (top + 0.02) / height, text, ha="center", va="bottom")
        for name, images in rows.items():
            n = len(images)
            ax = figure.add_axes((LABEL / width, (top - SIDE) / height, n * SIDE / width, SIDE / height))
            ax.set_axis_off()
            ax.imshow(grid(images, columns=n), interpolation="none", aspect="auto")
            figure.text((LABEL - 0.06) / width, (top - SIDE / 2) / height, name, ha="right", va="center")
            for k, text in enumerate(captions.get(name, ())):
                figure.text((LABEL + (k + 0.5) * SIDE) / width, (top - SIDE - 0.03) / height, text, **small)
            top -= heights[name]
        return figure
