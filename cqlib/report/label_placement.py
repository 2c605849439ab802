"""Labels beside marks in a plot that cover neither a mark, nor a line, nor each other."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MARK = 5.0  # half a mark's side, in points
DISTANCES = (7, 12, 18, 26, 36, 48, 62, 78)  # from the mark to the label, in points
STEP = 4.0  # between the points at which a line is tested for being covered, in pixels
NEAR = 12  # up to this distance a label needs no line to its mark, in points
# Unit steps away from the mark, in order of preference; text grows in their direction.
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
ALIGN_X = {-1: "right", 0: "center", 1: "left"}
ALIGN_Y = {-1: "top", 0: "center", 1: "bottom"}


class Label(NamedTuple):
    """`text` for the mark at `anchor` (data coordinates of `axes`)."""

    text: str
    axes: Axes
    anchor: tuple[float, float]
    colour: str


def place(
    figure: Figure, labels: Sequence[Label], segments: Sequence[tuple[Axes, Sequence[float], Sequence[float]]]
) -> None:
    """Draw every label where it covers least, nearest first; `segments` are lines (axes, x, y) to keep clear of."""
    figure.draw_without_rendering()  # fixes the layout, so that pixels mean something
    scale = figure.dpi / 72
    margin = 1.5 * scale
    marks = np.stack([label.axes.transData.transform(label.anchor) for label in labels])
    taken = np.hstack([marks - MARK * scale, marks + MARK * scale])  # boxes: left, bottom, right, top, in pixels
    points = [axes.transData.transform(np.stack([x, y], 1)) for axes, x, y in segments]
    ends = [(line[0], line[-1]) for line in points]  # a line may be a single point
    lines = np.concatenate([np.linspace(a, b, max(2, int(np.hypot(*(b - a)) / STEP))) for a, b in ends])
    frames = np.array([label.axes.get_window_extent().extents for label in labels])
    frame = np.hstack([frames[:, :2].min(0), frames[:, 2:].max(0)])[None]
    for label in labels:
        probe = label.axes.text(0, 0, label.text)
        size = np.array(probe.get_window_extent().size)
        probe.remove()
        places = list(itertools.product(DISTANCES, DIRECTIONS))
        away = np.array([direction for _, direction in places])
        offsets = np.array([distance for distance, _ in places])[:, None] * away / np.hypot(*away.T)[:, None]
        at = label.axes.transData.transform(label.anchor)
        corners = at + scale * offsets - size * (1 - away) / 2  # text grows away from its mark
        boxes = np.hstack([corners - margin, corners + size + margin])
        outside = np.prod(size + 2 * margin) - _overlaps(boxes, frame)
        crossed = ((lines > boxes[:, None, :2]) & (lines < boxes[:, None, 2:])).all(2).sum(1)
        covered = _overlaps(boxes, taken) + 4 * outside + 20 * scale**2 * crossed
        best = int(covered.round(3).argmin())
        distance, (dx, dy) = places[best]
        leader = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4}
        text = label.axes.annotate(
            label.text, label.anchor, tuple(offsets[best]), textcoords="offset points", color=label.colour,
            ha=ALIGN_X[dx], va=ALIGN_Y[dy], annotation_clip=False, arrowprops=leader if distance > NEAR else None,
        )  # fmt: skip
        text.set_in_layout(False)
        taken = np.vstack([taken, boxes[best]])


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, 4), (m, 4) -> (n,): the sum of the areas that each box shares with the others, in square pixels."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    return np.prod((high - low).clip(min=0), axis=2).sum(1)
